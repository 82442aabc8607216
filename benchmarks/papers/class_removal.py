"""A class removed: its members' loss as predicted from the map against retraining without it [MPE Sec. 4; MM].

An MLP on Fashion-MNIST or MNIST, trained to a minimum. Three predictions: `leave_out` of the map (which refits by
itself where that is affordable, as here), one step on the exact curvature for the whole class, `Δf_M = V_MM (I − Λ_M
V_MM)⁻¹ e_M`, and the sensitivities of the members added up, as in the source. Full command, as in the source:

    MEMORYMAPS_DATA=… python benchmarks/papers/class_removal.py --examples 60000 --structure kfac

Shortened, the default: 1,000 images of 7 × 7 pixels, for which the curvature is the exact one. Retrained losses are
kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from scipy.stats import spearmanr
from setting import Data, kept, load, parser
from torch import nn

import memorymaps as mm
from memorymaps.viz.displays.style import GREY, PALETTE, style_context

COLUMNS = {
    "leave_out": "leave_out of the map (nats)",
    "step": "one step (nats)",
    "sum": "sum of the members' sensitivities",
}


def trained(data: Data, rows: torch.Tensor, a: argparse.Namespace, start: nn.Module | None = None) -> nn.Module:
    """A minimum of `Σℓ + δ‖θ‖²/2` over some rows by L-BFGS, from new weights or from those of `start`."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(49, a.width), nn.Tanh(), nn.Linear(a.width, 10)).double()
    if start is not None:
        net.load_state_dict(start.state_dict())
    x, y = data.x[rows].double(), data.y[rows]
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=a.steps, history_size=30, line_search_fn="strong_wolfe", tolerance_grad=1e-6,
        tolerance_change=0,
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = sum(v.square().sum() for v in net.parameters())
        loss = nn.functional.cross_entropy(net(x), y, reduction="sum") + a.delta / 2 * penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return net


@torch.no_grad()
def members_loss(net: nn.Module, data: Data, rows: torch.Tensor) -> float:
    return float(nn.functional.cross_entropy(net(data.x[rows].double()), data.y[rows]))


def retrained(net: nn.Module, data: Data, a: argparse.Namespace, file: Path) -> dict[str, float]:
    """Loss of each class's members of a network without the class; every class is kept as soon as it is known."""
    found: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    for k, name in enumerate(data.classes):
        if name not in found:
            without = trained(data, (data.y != k).nonzero()[:, 0], a, net)
            found[name] = members_loss(without, data, (data.y == k).nonzero()[:, 0])
            file.write_text(json.dumps(found))
    return found


def predicted(m: mm.MemoryMap, data: Data, file: Path) -> dict[str, dict[str, float]]:
    """Of each class: its members' loss, and what it is without them by three predictions; from the map in memory."""
    if file.exists():
        return dict(json.loads(file.read_text()))
    members = {name: np.flatnonzero(data.y.numpy() == k) for k, name in enumerate(data.classes)}
    groups = m.leave_out(members)
    found = {}
    for name, loss, left in zip(groups["group"], groups["loss"], groups["leave_out_loss"], strict=True):
        rows = members[str(name)]
        step = one_step(m, data.x[rows].double(), data.y[rows].numpy())
        total = float(m["sensitivity"][rows].sum())
        found[str(name)] = {"loss": float(loss), "leave_out": float(left), "step": step, "sum": total}
    file.write_text(json.dumps(found))
    return found


def one_step(m: mm.MemoryMap, x: torch.Tensor, y: Any) -> float:
    """The members' mean loss at `f + Z(I − ZᵀΛZ)⁻¹Zᵀe`, `V_MM = ZZᵀ`."""
    source: Any = m.origin.posterior  # type: ignore[union-attr]
    f, z = source.outputs(x), source.covariance_root(x)
    mean = np.exp(f - f.max(1, keepdims=True))
    mean /= mean.sum(1, keepdims=True)
    error = mean - np.eye(10)[y]
    weighted = mean[..., None] * (z - np.einsum("nc,ncp->np", mean, z)[:, None])  # ΛZ
    flat = z.reshape(-1, z.shape[2])
    u = np.linalg.solve(np.eye(z.shape[2]) - flat.T @ weighted.reshape(flat.shape), flat.T @ error.ravel())
    return float(nn.functional.cross_entropy(torch.tensor(f + z @ u), torch.tensor(y)))


def draw(guess: dict[str, dict[str, float]], truth: dict[str, float], file: Path) -> None:
    """Each prediction against retraining."""
    y = [truth[name] for name in guess]
    with style_context():
        figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), layout="constrained", sharey=True)
        for ax, (column, words) in zip(axes, COLUMNS.items(), strict=True):
            x = [row[column] for row in guess.values()]
            ax.plot(x, y, "o", ms=4, color=PALETTE[0])
            for name, at, height in zip(guess, x, y, strict=True):
                ax.annotate(name, (at, height), xytext=(4, 2), textcoords="offset points", fontsize=7)
            ax.set_xlabel(words)
            ax.margins(x=0.15, y=0.08)
        axes[0].axline((y[0], y[0]), slope=1, lw=0.7, color=GREY)
        axes[0].set_ylabel("loss of the members, retrained (nats)")
        figure.savefig(file, dpi=100)


def main() -> None:
    defaults: dict[str, Any] = {"data": "fmnist", "examples": 1_000, "width": 16, "delta": 1.0, "steps": 1_000}
    a = parser(__doc__, **defaults, structure="full").parse_args()
    out = a.out / f"class_removal-{a.data}-{a.examples}-{a.width}-{a.delta:g}"
    out.mkdir(parents=True, exist_ok=True)
    data = load(a.data, a.examples, 1, shrink=4)
    start = time.process_time()
    net = trained(data, torch.arange(a.examples), a)
    fitted = time.process_time()
    recipe = mm.Laplace(a.structure, prior=a.delta)
    m = mm.memory_map(net, data.x.double(), data.y, likelihood="categorical", posterior=recipe)
    kept(out / "map.parquet", lambda: m)
    guess = predicted(m, data, out / "predicted.json")
    mapped = time.process_time()
    truth = retrained(net, data, a, out / "retrained.json")
    seconds = (fitted - start, mapped - fitted, time.process_time() - mapped)
    print("| class | loss | leave_out | one step | retrained without it | Σ sensitivity |\n|---|---|---|---|---|---|")
    for name, row in guess.items():
        print(
            f"| {name} | {row['loss']:.3f} | {row['leave_out']:.2f} | {row['step']:.2f} | {truth[name]:.2f} | "
            f"{row['sum']:.2f} |"
        )
    real = [truth[name] for name in guess]
    for column in COLUMNS:
        print(f"{column}: ρ {spearmanr([row[column] for row in guess.values()], real).statistic:.2f}")
    print("processor seconds: training {:.1f}, map and predictions {:.1f}, retraining {:.1f}".format(*seconds))
    draw(guess, truth, out / "class_removal.png")


if __name__ == "__main__":
    main()
