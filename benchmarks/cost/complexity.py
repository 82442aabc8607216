"""Over-fitting without a validation set: effective parameters and leave-one-out loss over the prior and the width.

MLPs 784-w-10 on part of MNIST or Fashion-MNIST (data folder: MEMORYMAPS_DATA), trained to a stationary point of
`Σℓ + δ‖θ‖²/2` by L-BFGS for δ from 1 to 1,000. The leave-one-out loss comes from the training data alone; the test
loss stands beside it. "Same" tells whether both have their minimum within one step of the grid of each other.

    MEMORYMAPS_DATA=… python benchmarks/cost/complexity.py --data fmnist --width 32 --picture complexity.png
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import memorymaps as mm

DELTAS = 10 ** np.arange(0, 3.01, 0.5)


def load(name: str, n: int) -> tuple[torch.Tensor, ...]:
    folder = os.environ.get("MEMORYMAPS_DATA")
    if not folder:
        sys.exit("skipped: set MEMORYMAPS_DATA to a folder with the data sets")
    found = np.load(next(Path(folder).rglob(f"{name}*.npz")))
    keys = {key: found[key] for key in found.files}
    x, y, tx, ty = (keys[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    rows = np.random.RandomState(0).permutation(len(x))[:n]
    flat = [torch.tensor(a.reshape(len(a), -1) / 255.0, dtype=torch.float32) for a in (x[rows], tx)]
    return flat[0], torch.tensor(y[rows].astype(np.int64)), flat[1], torch.tensor(ty.astype(np.int64))


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, steps: int = 400) -> None:
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=steps, history_size=30, line_search_fn="strong_wolfe",
                                  tolerance_grad=1e-6, tolerance_change=0)  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = sum(p.square().sum() for p in net.parameters()) * delta / 2
        loss = nn.functional.cross_entropy(net(x), y, reduction="sum") + penalty
        loss.backward()
        return loss

    optimizer.step(closure)


def study(data: tuple[torch.Tensor, ...], width: int, structure: str) -> list[tuple[float, float, float]]:
    x, y, tx, ty = data
    curves = []
    for delta in DELTAS[::-1]:  # from the strongest prior on, each from new weights of the same seed
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(784, width), nn.Tanh(), nn.Linear(width, 10))
        train(net, x, y, float(delta))
        m = mm.memory_map(
            net, x, y, likelihood="categorical", posterior=mm.Laplace(structure, prior=float(delta)), progress=False
        )
        loo = m.leave_one_out()
        with torch.no_grad():
            test = float(nn.functional.cross_entropy(net(tx), ty))
        total = float(m["leverage"].sum())
        curves.append((total, loo.loo_loss, test))
        away = m.provenance.description.distance
        print(
            f"| {width} | {structure}, {m.provenance.estimator} | {delta:.3g} | {total:.0f} | {loo.loss:.3f} | "
            f"{loo.loo_loss:.3f} | {test:.3f} | {away:.2f} |",
            flush=True,
        )
    return curves[::-1]


def draw(curves: dict[int, list[tuple[float, float, float]]], path: str) -> None:
    from matplotlib import pyplot as plt

    from memorymaps.viz.displays.style import PALETTE, style_context

    with style_context():
        figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
        for color, (width, found) in zip(PALETTE, curves.items(), strict=False):
            total, loo, test = zip(*found, strict=True)
            axes[0].loglog(DELTAS, total, "o-", color=color, label=f"{width} hidden units")
            axes[1].semilogx(DELTAS, loo, "o-", color=color, label=f"{width}: left out, training data only")
            axes[1].semilogx(DELTAS, test, "s--", color=color, label=f"{width}: test data")
        axes[0].set(xlabel="prior precision δ", ylabel="Σ leverage (effective parameters)")
        axes[1].set(xlabel="prior precision δ", ylabel="loss (nats)")
        for ax in axes:
            ax.legend(fontsize=7)
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--width", type=int, action="append")
    parser.add_argument("--structure", default="ekfac")
    parser.add_argument("--picture")
    a = parser.parse_args()
    data, curves = load(a.data, a.n), {}
    print("| width | posterior | δ | Σ leverage | loss | LOO loss | test loss | distance |\n" + "|---" * 8 + "|")
    for width in a.width or (8, 32, 128):
        curves[width] = study(data, width, a.structure)
        low = [int(np.argmin([c[k] for c in curves[width]])) for k in (1, 2)]
        same = "yes" if abs(low[0] - low[1]) <= 1 else "no"
        print(f"<!-- width {width}: minimum at δ = {DELTAS[low[0]]:.3g} (LOO), {DELTAS[low[1]]:.3g} (test): {same} -->")
    if a.picture:
        draw(curves, a.picture)


if __name__ == "__main__":
    main()
