"""Sampled rows against the exact posterior, EKFAC beside them: leverage, sensitivity, left-out loss, cost and memory.

Real images with 5 % of the labels drawn at random, trained to a minimum; the exact answer is that of `dual` or `full`.
Each cell: slope (regression on the exact column through the origin), relative error; in brackets the share of examples
within two stated standard errors, the ratio of the lengths of stated and true errors, and the median over examples of
the ratio of stated to true error (1.48 where errors are normal and the stated ones are right).

    MEMORYMAPS_DATA=… python benchmarks/networks/sampled.py --network lenet --n 800 --delta 20
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.nets.sampled.structure import Sampled

NOISE = 0.1  # variance of the regression's targets around the network
EPOCHS = 40
MEASURES = ("leverage", "sensitivity", "loo_loss")


def mlp(c: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.Tanh(), nn.Linear(100, 50), nn.Tanh(), nn.Linear(50, c))


def lenet(c: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, c),
    )  # fmt: skip


def pooled(c: int) -> nn.Module:
    """Small enough for the dense matrix at any number of examples."""
    return nn.Sequential(
        nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 64), nn.Tanh(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, c)
    )


class FRN(nn.Module):
    """Filter response normalisation with its thresholded activation [Singh & Krishnan 2020]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        shape = (1, channels, 1, 1)
        self.scale, self.shift = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.floor = nn.Parameter(torch.zeros(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As a module is called."""
        size = x.square().mean((2, 3), keepdim=True)
        return torch.maximum(self.scale * x * (size + 1e-6).rsqrt() + self.shift, self.floor)


class Residual(nn.Module):
    """Two convolutions and the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), FRN(channels), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.end = FRN(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As a module is called."""
        return self.end(x + self.way(x))


def resnet(c: int) -> nn.Module:
    """A residual network with filter response normalisation on images of 14 × 14."""
    return nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(1, 8, 3, padding=1), FRN(8), Residual(8), nn.Conv2d(8, 16, 3, stride=2, padding=1),
        FRN(16), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, c),
    )  # fmt: skip


class Transformer(nn.Module):
    """One layer of attention over the 14 rows of an image of 14 × 14, each a token; the mean token is classified."""

    def __init__(self, c: int, width: int = 16) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(14, width), nn.Parameter(0.1 * torch.randn(14, width))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As a module is called."""
        tokens = self.embed(nn.functional.avg_pool2d(x, 2)[:, 0]) + self.place
        seen = self.first(tokens)
        tokens = tokens + self.attend(seen, seen, seen, need_weights=False)[0]
        tokens = tokens + self.narrow(nn.functional.gelu(self.wide(self.second(tokens))))
        return self.head(tokens.mean(1))


NETWORKS = {"mlp": mlp, "lenet": lenet, "pooled": pooled, "resnet": resnet, "transformer": Transformer}
_FULL = 5_000  # parameters up to which the exact answer is the dense matrix's


def data(name: str, n: int, regression: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels, 5 % of them drawn at random; of a regression, the label as a number, standardised."""
    file, rng = np.load(Path(os.environ["MEMORYMAPS_DATA"]) / f"{name}.npz"), np.random.default_rng(0)
    rows = rng.permutation(len(file["x_train"]))[:n]
    x = torch.tensor(file["x_train"][rows, None] / 255, dtype=torch.float32)
    y = file["y_train"][rows].astype(np.int64)
    flipped = rng.random(n) < 0.05
    y[flipped] = rng.integers(0, 10, flipped.sum())
    return x, torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32) if regression else torch.tensor(y)


def loss(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The sum of the examples' losses."""
    if y.is_floating_point():
        return (net(x)[:, 0] - y).square().sum() / (2 * NOISE)
    return nn.functional.cross_entropy(net(x), y, reduction="sum")


def penalty(net: nn.Module, delta: float) -> torch.Tensor:
    return delta / 2 * sum((v.square().sum() for v in net.parameters()), start=torch.tensor(0.0))


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float) -> float:
    """To a minimum: Adam, then L-BFGS. Returns the seconds of one of Adam's epochs."""
    adam, start, n = torch.optim.Adam(net.parameters(), 1e-3), time.perf_counter(), len(x)
    for _ in range(EPOCHS):
        for rows in torch.randperm(n).split(64):
            adam.zero_grad()
            (loss(net, x[rows], y[rows]) / len(rows) + penalty(net, delta) / n).backward()
            adam.step()
    epoch = (time.perf_counter() - start) / EPOCHS
    finish = torch.optim.LBFGS(
        net.parameters(), max_iter=200, history_size=30, line_search_fn="strong_wolfe", tolerance_grad=1e-4
    )

    def closure() -> torch.Tensor:
        finish.zero_grad()
        value = loss(net, x, y) + penalty(net, delta)
        value.backward()
        return value

    finish.step(closure)
    return epoch


def compared(m: mm.MemoryMap, exact: mm.MemoryMap, name: str) -> str:
    """Slope and relative error of a column; how its stated errors cover the true ones, where it states any."""
    a, b = m[name], exact[name]
    words = f"{a @ b / (b @ b):.2f}, {np.linalg.norm(a - b) / np.linalg.norm(b):.3f}"
    if f"{name}_se" not in m:
        return words
    off, stated = np.abs(a - b), m[f"{name}_se"]
    covered = np.mean(off <= 2 * stated + 1e-12)
    lengths = np.linalg.norm(stated) / max(np.linalg.norm(off), 1e-12)
    return f"{words} ({covered:.0%}, {lengths:.2f}, {np.median(stated / np.maximum(off, 1e-300)):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="mlp")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--n", type=int, default=800)
    parser.add_argument("--delta", type=float, default=5.0)
    parser.add_argument("--regression", action="store_true")
    parser.add_argument("--multiples", type=float, nargs="+", default=[2, 4, 8], help="rows for each unit of Σh")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--weights", type=Path, help="where the trained weights are kept from run to run")
    a = parser.parse_args()
    torch.manual_seed(0)
    x, y = data(a.data, a.n, a.regression)
    net = NETWORKS[a.network](1 if a.regression else 10)
    epoch = trained(net, x, y, a.delta, a.weights)
    likelihood = Gaussian(NOISE) if a.regression else "categorical"

    def draw(structure: str | Sampled) -> tuple[mm.MemoryMap, float]:
        start = time.perf_counter()
        m = mm.memory_map(net, x, y, likelihood=likelihood, posterior=mm.Laplace(structure, prior=a.delta))
        return m, (time.perf_counter() - start) / epoch

    count = sum(v.numel() for v in net.parameters())
    oracle = "full" if count <= _FULL else "dual"
    exact, cost = draw(oracle)
    total = float(exact["leverage"].sum())
    print(f"{a.network} on {a.data}, N = {a.n:,}, P = {count:,}, δ = {a.delta:g}{', regression' * a.regression}: "
          f"Σh = {total:.1f}, mean left-out loss {exact['loo_loss'].mean():.4f}, {oracle} in {cost:.0f} epochs "
          f"of {epoch:.2f} s")  # fmt: skip
    print("| structure | rows | leverage | sensitivity | left-out loss | its mean | epochs | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    named = [(f"{k:g} Σh, seed {s}", Sampled(round(k * total), seed=s)) for k in a.multiples for s in a.seeds]
    for name, structure in [("ekfac", "ekfac"), ("auto", "auto"), *named]:
        m, cost = draw(structure)
        rows = m.origin.posterior.covariance.q.numel() if hasattr(m.origin.posterior.covariance, "q") else 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        columns = " | ".join(compared(m, exact, each) for each in MEASURES)
        print(
            f"| {name} | {rows:,} | {columns} | {m['loo_loss'].mean():.4f} | {cost:.0f} | {peak:.1f} GB |", flush=True
        )
        print(m.provenance.description.notes[1] if rows else "", flush=True)


def trained(net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, kept: Path | None) -> float:
    """Trains the network, or reads its weights; the seconds of an epoch."""
    if kept is not None and kept.exists():
        state = torch.load(kept)
        net.load_state_dict(state["net"])
        return float(state["epoch"])
    epoch = train(net, x, y, delta)
    if kept is not None:
        torch.save({"net": net.state_dict(), "epoch": epoch}, kept)
    return epoch


if __name__ == "__main__":
    main()
