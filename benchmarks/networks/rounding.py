"""What rounding changes of leverages, stated and true, where inputs are large under a weak prior.

Linear networks with a Gaussian likelihood, whose exact leverages are those of a QR decomposition of the inputs with
columns scaled to one, the prior's rows below them. Cells: true error / stated one (relative, of all leverages
together), `–` where none is stated, `refused` where none is left.

    python benchmarks/networks/rounding.py
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import nn

import memorymaps as mm
from memorymaps.nets.sampled.structure import Sampled

STRUCTURES = ("full", "kfac", "dual", "active_set", "lowrank", Sampled(rows=10**6))


def leverages(x: np.ndarray, delta: float) -> np.ndarray:
    """Exact ones, to some 10⁻¹⁶ times the condition number of the scaled columns."""
    whole = np.c_[x, np.ones(len(x))]
    scale = np.abs(whole).max(0)
    q, _ = np.linalg.qr(np.r_[whole / scale, np.sqrt(delta) * np.diag(1 / scale)])
    return (q[: len(x)] ** 2).sum(1)


def mapped(x: np.ndarray, delta: float, structure: object) -> mm.MemoryMap:
    """The map of a linear network on these inputs; of what targets it was trained does not matter to leverages."""
    torch.manual_seed(0)
    net, y = nn.Linear(x.shape[1], 1).double(), torch.zeros(len(x), 1, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recipe = mm.Laplace(structure, prior=delta, probes=0)
        return mm.memory_map(net, torch.tensor(x), y, likelihood="gaussian", posterior=recipe)


def cell(x: np.ndarray, delta: float, structure: object) -> str:
    """True and stated error of one map."""
    try:
        m = mapped(x, delta, structure)
    except ValueError:
        return "refused"
    true = leverages(x, delta)
    stated = m.provenance.description.relative_error
    off = np.linalg.norm(m["leverage"] - true) / np.linalg.norm(true)
    return f"{off:.0e} / {'–' if stated is None else f'{stated:.0e}'}"


def cases() -> dict[str, tuple[np.ndarray, float]]:
    """Inputs and prior precisions."""
    rng = np.random.default_rng(0)
    year, noise = rng.uniform(1900, 2020, 60), rng.normal(size=(60, 2))
    normal, wide = rng.normal(size=(80, 40)), rng.normal(size=(40, 80))
    scaled = {f"80 × 40, of 10^{k}, δ = 1": (normal * 10.0**k, 1.0) for k in (0, 3, 5, 6, 7)}
    return scaled | {
        "40 × 80, of 10^6, δ = 1": (wide * 1e6, 1.0),
        "40 × 80, of 10^7, δ = 1": (wide * 1e7, 1.0),
        "year, year², δ = 0.001": (np.c_[year, year**2], 1e-3),
        "year, year², year³, δ = 1": (np.c_[year, year**2, year**3], 1.0),
        "two of 10^7 that differ by 1, δ = 0.0001": (np.c_[year * 1e4, year * 1e4 + noise[:, 0], noise[:, 1]], 1e-4),
    }


if __name__ == "__main__":
    names = [each if isinstance(each, str) else "sampled, all rows" for each in STRUCTURES]
    print("| inputs |", " | ".join(names), "|")
    print("|---" * (1 + len(names)) + "|")
    for name, (x, delta) in cases().items():
        print(f"| {name} |", " | ".join(cell(x, delta, each) for each in STRUCTURES), "|", flush=True)
