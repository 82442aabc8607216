"""Model complexity and over-fitting [MM]: Σ h and left-out loss over width and δ, against the loss on test images.

MLPs with one hidden layer on 14 × 14 pixels, trained to a minimum of `Σℓ + δ‖θ‖²/2` from the strongest prior on, each
started at the last. The left-out loss comes from the training images, by sampled curvature. Full command, as in the
source:

    MEMORYMAPS_DATA=… python benchmarks/papers/complexity.py --examples 60000 --rows 60000 --draws 20000

Shortened, the default: 10,000 images, 1,000 of them mapped, 2,000 rows of the curvature. Maps are kept, one file each.
"Step" is the number of steps of the grid between the minima of left-out and test loss.
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
from setting import Data, kept, load, parser
from torch import nn

import memorymaps as mm
from memorymaps.nets import Sampled
from memorymaps.viz.displays.style import PALETTE, style_context

ROW = (
    "| {width} | {delta:g} | {h:,.0f} | {loss:.3f} | {loo:.3f} ± {se:.3f} | {test:.3f} | {fit:.1f} | {map:.1f} | "
    "{trust} |"
)
DELTAS = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)


def network(width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(196, width), nn.Tanh(), nn.Linear(width, 10))


def train(net: nn.Module, data: Data, delta: float, steps: int) -> None:
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=steps, history_size=30, line_search_fn="strong_wolfe", tolerance_grad=1e-5,
        tolerance_change=0,
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = sum(v.square().sum() for v in net.parameters())
        loss = nn.functional.cross_entropy(net(data.x), data.y, reduction="sum") + delta / 2 * penalty
        loss.backward()
        return loss

    optimizer.step(closure)


def study(width: int, data: Data, out: Path, a: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each δ; training is repeated where a later map is missing."""
    net, found = network(width), []
    for delta in DELTAS:
        file = out / f"{width}-{delta:g}.parquet"
        if not file.exists():
            start = time.process_time()
            train(net, data, delta, a.steps)
            fitted = time.process_time()
            m = kept(file, lambda d=delta, f=file: mapped(net, data, d, f, a))
            with torch.no_grad():
                test = float(nn.functional.cross_entropy(net(data.test_x), data.test_y))
            times = {"fit": fitted - start, "map": time.process_time() - fitted}
            file.with_suffix(".json").write_text(json.dumps({"test": test, "net": _weights(net), **times}))
        m, extra = mm.load(file), json.loads(file.with_suffix(".json").read_text())
        net.load_state_dict({key: torch.tensor(value) for key, value in extra.pop("net").items()})
        loo = m.leave_one_out()
        row = {"width": width, "delta": delta, "h": float(m["leverage"].mean()) * a.examples, "loss": loo.loss}
        row |= {"loo": loo.loo_loss, "se": loo.loo_loss_se, "trust": str(m.trust["loo_loss"].level), **extra}
        print(ROW.format(**row), flush=True)
        found.append(row)
    return found


def _weights(net: nn.Module) -> dict[str, Any]:
    return {key: value.tolist() for key, value in net.state_dict().items()}


def mapped(net: nn.Module, data: Data, delta: float, file: Path, a: argparse.Namespace) -> mm.MemoryMap:
    recipe = mm.Laplace(Sampled(rows=a.draws), prior=delta)
    rows = np.random.default_rng(0).permutation(a.examples)[: a.rows]
    return mm.memory_map(net, data.x, data.y, likelihood="categorical", posterior=recipe, rows=rows)


def draw(curves: dict[int, list[dict[str, Any]]], file: Path) -> None:
    with style_context():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.0, 3.2), layout="constrained")
        for (width, rows), color in zip(curves.items(), PALETTE, strict=False):
            x = [row["delta"] for row in rows]
            left.loglog(x, [row["h"] for row in rows], "o-", ms=4, color=color, label=f"{width} units")
            loo, se = (np.array([row[key] for row in rows]) for key in ("loo", "se"))
            right.semilogx(x, loo, "o-", ms=4, color=color, label=f"{width} units, left out")
            right.fill_between(x, loo - se, loo + se, color=color, alpha=0.15, lw=0)
            right.semilogx(x, [row["test"] for row in rows], "s--", ms=4, color=color, label=f"{width} units, test")
        left.set(xlabel="prior precision δ", ylabel="Σ leverage (effective parameters)")
        right.set(xlabel="prior precision δ", ylabel="mean loss (nats)")
        for ax in (left, right):
            ax.legend(fontsize=7)
        figure.savefig(file, dpi=100)


def main() -> None:
    defaults: dict[str, Any] = {"data": "mnist", "examples": 10_000, "rows": 1_000, "draws": 2_000, "steps": 300}
    made = parser(__doc__, **defaults)
    made.add_argument("--widths", type=int, nargs="+", default=[8, 32])
    a = made.parse_args()
    data = load(a.data, a.examples, 10_000, shrink=2)
    out = a.out / f"complexity-{a.data}-{a.examples}-{a.rows}-{a.draws}"
    out.mkdir(parents=True, exist_ok=True)
    print("| width | δ | Σ leverage | loss | left-out loss | test loss | training, s | map, s | left-out loss is |")
    print("|---" * 9 + "|")
    curves = {width: study(width, data, out, a) for width in a.widths}
    for width, rows in curves.items():
        low = [int(np.argmin([row[key] for row in rows])) for key in ("loo", "test")]
        places = f"left out at δ = {DELTAS[low[0]]:g}, test at δ = {DELTAS[low[1]]:g}"
        print(f"width {width}: lowest {places}, {abs(low[0] - low[1])} steps apart")
    draw(curves, out / "complexity.png")


if __name__ == "__main__":
    main()
