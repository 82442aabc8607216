"""Memory maps of generic models on one data set, side by side [MM]: linear, logistic, GP, SVM, forest, MLP, CNN.

Two classes of MNIST or Fashion-MNIST; images of 14 × 14 pixels. The same examples are marked in all panels: the ten
most sensitive of the MLP. Full command, as in the source (all images of two classes):

    MEMORYMAPS_DATA=… python benchmarks/papers/side_by_side.py --examples 12000

Shortened, the default: 600 images, for which the posterior of each model is the exact one. A table: rank correlations
of the sensitivities with those of the MLP, top 5 % in common, effective parameters, time of the map relative to
fitting.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from setting import kept, load, parser
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC
from torch import nn

import memorymaps as mm
from memorymaps.viz.displays.style import GREY, PALETTE, style_context

Fit = Callable[["Pair", argparse.Namespace], tuple[Any, dict[str, Any]]]


@dataclass(frozen=True)
class Pair:
    """Images of two classes, `[n, 196]`, labels 0 and 1, rows in the data set."""

    x: Any
    y: Any
    rows: Any


def pair(a: argparse.Namespace) -> Pair:
    data = load(a.data, 60_000, 1, shrink=2)
    rows = torch.isin(data.y, torch.tensor([a.first, a.second])).nonzero()[: a.examples, 0]
    return Pair(data.x[rows].flatten(1).double().numpy(), (data.y[rows] == a.second).long().numpy(), rows.numpy())


def _network(net: nn.Module, shape: tuple[int, ...]) -> Fit:
    """Full batches of Adam with weight decay, then L-BFGS: to a minimum of the penalised loss."""

    def fit(d: Pair, a: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
        torch.manual_seed(0)
        for layer in net.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.reset_parameters()
        x, y = torch.tensor(d.x, dtype=torch.float32).reshape(-1, *shape), torch.tensor(d.y)

        def loss() -> torch.Tensor:
            penalty = sum(v.square().sum() for v in net.parameters())
            return nn.functional.cross_entropy(net(x), y, reduction="sum") + a.delta / 2 * penalty

        for optimizer in (torch.optim.Adam(net.parameters(), 3e-3), torch.optim.LBFGS(net.parameters(), 1.0, 200)):
            for _ in range(100 if isinstance(optimizer, torch.optim.Adam) else 1):

                def closure(optimizer: Any = optimizer) -> torch.Tensor:
                    optimizer.zero_grad()
                    value = loss()
                    value.backward()
                    return value

                optimizer.step(closure)
        options = {"likelihood": "categorical", "posterior": mm.Laplace("dual", prior=a.delta)}
        return (net, x, y), options

    return fit


def _plain(model: Any) -> Fit:
    return lambda d, _: ((model.fit(d.x, d.y), d.x, d.y), {})


MLP = nn.Sequential(nn.Linear(196, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 2))
CNN = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 12, 3), nn.Tanh(), nn.Flatten(),
    nn.Linear(300, 32), nn.Tanh(), nn.Linear(32, 2),
)  # fmt: skip
MODELS: dict[str, Fit] = {
    "linear (ridge)": _plain(Ridge(alpha=10.0)),
    "logistic": _plain(LogisticRegression(C=1.0, max_iter=5_000, tol=1e-8)),
    "Gaussian process": _plain(GaussianProcessClassifier(ConstantKernel(9.0) * RBF(4.0), optimizer=None)),
    "SVM": _plain(SVC(C=1.0, gamma=1 / 32, tol=1e-6)),
    "forest": _plain(RandomForestClassifier(100, min_samples_leaf=3, random_state=0)),
    "MLP": _network(MLP, (196,)),
    "CNN": _network(CNN, (1, 14, 14)),
}


def mapped(name: str, d: Pair, a: argparse.Namespace, times: Path) -> mm.MemoryMap:
    """Fit and map; the processor seconds of both go to a file."""
    start = time.process_time()
    model, options = MODELS[name](d, a)
    fitted = time.process_time()
    m = mm.memory_map(*model, ids=d.rows, **options)
    times.write_text(json.dumps({"fit": fitted - start, "map": time.process_time() - fitted}))
    return m


def draw(m: mm.MemoryMap, name: str, marked: Any, ax: plt.Axes) -> None:
    shown = np.isfinite(m["leverage"]) & np.isfinite(m["error"])
    for value, color in ((0, PALETTE[0]), (1, PALETTE[1])):
        rows = shown & (m["row"] % 1 == 0) & (classes(m) == value)
        ax.plot(m["leverage"][rows], m["error"][rows], "o", ms=2.2, mew=0, alpha=0.5, color=color, rasterized=True)
    rows = np.isin(m["id"], marked)
    ax.plot(m["leverage"][rows], m["error"][rows], "o", ms=6, mfc="none", mec="black", mew=0.7)
    ax.set(xlim=(0, None), ylim=(0, None))
    ax.set_title(name, loc="left")
    for spine in ("left", "bottom"):
        ax.spines[spine].set_color(GREY)


def classes(m: mm.MemoryMap) -> Any:
    """Class numbers 0 and 1, whatever the model calls them."""
    return np.unique(m["target"], return_inverse=True)[1]


def main() -> None:
    made = parser(__doc__, data="mnist", first=3, second=5, examples=600, delta=1.0)
    a = made.parse_args()
    out = a.out / f"side_by_side-{a.data}-{a.first}-{a.second}-{a.examples}"
    out.mkdir(parents=True, exist_ok=True)
    d = pair(a)
    maps = {}
    for name in MODELS:
        file = out / f"{name.split()[0]}.parquet"
        maps[name] = kept(file, lambda n=name, f=file: mapped(n, d, a, f.with_suffix(".json")))
    base = maps["MLP"]
    marked = base.top(10)["id"]
    print(
        "| model | Σ leverage | ρ with the MLP | top 5 % in common | map / fit, processor time |\n|---|---|---|---|---|"
    )
    with style_context():
        figure, axes = plt.subplots(2, 4, figsize=(9.6, 4.8), layout="constrained")
        for (name, m), ax in zip(maps.items(), axes.flat, strict=False):
            draw(m, name, marked, ax)
            both = mm.compare(base, m, targets_changed=True)
            times = json.loads((out / f"{name.split()[0]}.json").read_text())
            print(
                f"| {name} | {np.nansum(m['leverage']):.1f} | {both.spearman():.2f} | {both.overlap(part=0.05):.0%} | "
                f"{times['map']:.2f} s / {times['fit']:.2f} s |"
            )
        pictures(axes.flat[-1], d, marked)
        figure.supxlabel("leverage (effective parameters)", fontsize=9)
        figure.supylabel("prediction error", fontsize=9)
        figure.savefig(out / "side_by_side.png", dpi=110)


def pictures(ax: plt.Axes, d: Pair, marked: Any) -> None:
    """The marked examples, in a panel of their own."""
    at = {row: k for k, row in enumerate(d.rows)}
    tiles = [np.pad(d.x[at[id]].reshape(14, 14), 1) for id in marked]
    tiles += [np.zeros((16, 16))] * (-len(tiles) % 4)
    ax.imshow(np.vstack([np.hstack(tiles[k : k + 4]) for k in range(0, len(tiles), 4)]), cmap="gray_r")
    ax.set_title("circled: the MLP's top ten", loc="left")
    ax.axis("off")


if __name__ == "__main__":
    main()
