r"""The same examples ranked by several measures on ResNet-20 and CIFAR-10, the top 1 % of each circled [MM].

    leverage × error   Cook's form, leverages from the last layer
    gradient norm      ‖∇_f ℓ‖₂, the bound of Katharopoulos & Fleuret [KF]
    subset retraining  memorization by retraining a small network on random subsets [FZ] (`subset_retraining.py`)
    last layer         change of the prediction without the example [MPE], all other layers held, exact curvature
    Adam's state       the same, all layers, the posterior from the optimiser
    EKFAC              the same, all layers, Kronecker factors with corrected eigenvalues
    sampled rows       the same, all layers, from rows of the Jacobian drawn at random

Full command, as in the source (all images; hours):

    MEMORYMAPS_DATA=… python benchmarks/papers/ranking.py --rows 25000 --fisher exact --draws 20000 \
        --only last_layer adam ekfac sampled

Shortened, the default: the network of `resnet_cifar10.py`, curvature from (a sample of) its 25,000 images, maps of the
first 2,000, those of `subset_retraining.py`; the last layer only. `--only last_layer adam ekfac sampled` adds maps of
all layers. Maps are kept and drawn from there. The table has Spearman's ρ and the part of the top 1 % in common, with
bootstrap standard errors over examples, and how many of each top 1 % the network predicts wrongly.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from resnet_cifar10 import checkpoint, last_epoch
from scipy.stats import spearmanr
from setting import Data, kept, load, parser, resnet20
from subset_retraining import memorization

import memorymaps as mm
from memorymaps.nets import EKFAC, Sampled
from memorymaps.viz.displays.style import GREY, PALETTE, style_context

TOP = 0.01


def trained(a: argparse.Namespace) -> tuple[torch.nn.Module, torch.optim.Adam]:
    """The network and its optimiser at the last checkpoint."""
    run = a.out / f"resnet20-cifar10-{a.examples}"
    epoch = a.epoch or last_epoch(run)
    saved = torch.load(checkpoint(run, epoch), weights_only=True)
    net = resnet20()
    optimizer = torch.optim.Adam(net.parameters())
    net.load_state_dict(saved["net"])
    optimizer.load_state_dict(saved["optimizer"])
    return net, optimizer


def recipes(optimizer: Any, a: argparse.Namespace) -> dict[str, Any]:
    """Posterior of each map of all layers."""
    n = a.examples
    prior = mm.prior_from(optimizer, n)
    return {
        "adam": mm.FromOptimizer(optimizer, n),
        "ekfac": mm.Laplace(EKFAC(), prior=prior, fisher=a.fisher, probes=0),
        "sampled": mm.Laplace(Sampled(rows=a.draws), prior=prior),
    }


def mapped(name: str, data: Data, a: argparse.Namespace, file: Path) -> mm.MemoryMap:
    """One map; its processor seconds go to a file beside it."""
    start = time.process_time()
    net, optimizer = trained(a)
    if name == "last_layer":
        m = last_layer(net, data, a)
    else:
        recipe, rows = recipes(optimizer, a)[name], np.arange(a.rows)
        m = mm.memory_map(net, data.x, data.y, likelihood="categorical", posterior=recipe, rows=rows, path=file)
    file.with_suffix(".json").write_text(json.dumps({"seconds": time.process_time() - start}))
    return m


@torch.no_grad()
def features(net: torch.nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Inputs of the last layer `[n, 64]`."""
    return torch.cat([net[:-1](part) for part in x.split(256)])


def last_layer(net: Any, data: Data, a: argparse.Namespace) -> mm.MemoryMap:
    """The map of the last layer, all others held: the same as `subset="last_layer"`, its inputs computed once."""
    recipe, rows = mm.Laplace("full", prior=a.delta), np.arange(a.rows)
    x = features(net, data.x)
    return mm.memory_map(net[-1], x, data.y, likelihood="categorical", posterior=recipe, rows=rows)


def measures(maps: dict[str, mm.MemoryMap], a: argparse.Namespace) -> dict[str, Any]:
    """Each measure at the first `--rows` images, NaN where it was not computed."""
    head = maps["last_layer"]
    run = a.out / f"subset_retraining-cifar10-{a.retrained}"
    found = {
        "leverage × error": head["leverage"] * head["error"],
        "gradient norm": head["error"],
        "subset retraining": padded(memorization(run, a.retrained, a.subsets, 0.7)[0][: a.rows], a.rows),
        "last layer": head["sensitivity"],
    }
    names = {"adam": "Adam's state", "ekfac": "EKFAC", "sampled": "sampled rows"}
    return found | {name: maps[key]["sensitivity"] for key, name in names.items() if key in maps}


def padded(values: Any, n: int) -> Any:
    return np.pad(values, (0, n - len(values)), constant_values=np.nan)


def top(values: Any) -> Any:
    """Positions of the top 1 % of the finite values."""
    rows = np.flatnonzero(np.isfinite(values))
    return rows[np.argsort(-values[rows], kind="stable")[: max(1, round(TOP * len(rows)))]]


def overlap(x: Any, y: Any) -> float:
    return len(np.intersect1d(top(x), top(y))) / len(top(x))


def bootstrap(statistic: Callable[[Any, Any], float], x: Any, y: Any, repeats: int = 200) -> tuple[float, float]:
    """The statistic and its standard error over examples."""
    rng, n = np.random.default_rng(0), len(x)
    draws = [statistic(x[rows], y[rows]) for rows in (rng.integers(0, n, n) for _ in range(repeats))]
    return statistic(x, y), float(np.std(draws, ddof=1))


def table(found: dict[str, Any]) -> None:
    print("| measures | n | Spearman ρ | top 1 % in common |\n|---|---|---|---|")
    for one, other in combinations(found, 2):
        both = np.isfinite(found[one]) & np.isfinite(found[other])
        x, y = found[one][both], found[other][both]
        rho = bootstrap(lambda x, y: float(spearmanr(x, y).statistic), x, y)
        part = bootstrap(overlap, x, y)
        print(f"| {one}, {other} | {len(x)} | {rho[0]:.2f} ± {rho[1]:.2f} | {part[0]:.0%} ± {part[1]:.0%} |")


def wrong(m: mm.MemoryMap, found: dict[str, Any]) -> None:
    """How many of each top 1 % the network predicts otherwise than their label."""
    print("| measure | top 1 % | of these predicted otherwise |\n|---|---|---|")
    for name, values in found.items():
        rows = top(values)
        print(f"| {name} | {len(rows)} | {int(np.sum(m['target'][rows] != m['prediction'][rows]))} |")


def draw(m: mm.MemoryMap, found: dict[str, Any], file: Path) -> None:
    """The map of the last layer once for every measure, with the measure's top 1 % circled."""
    across = 4
    down = -(-len(found) // across)
    with style_context():
        figure, axes = plt.subplots(
            down, across, figsize=(2.5 * across, 2.3 * down), layout="constrained", sharex=True, sharey=True
        )
        for ax in axes.flat[len(found) :]:
            ax.axis("off")
        for (name, values), ax in zip(found.items(), axes.flat, strict=False):
            shown, rows = np.isfinite(values), top(values)
            ax.plot(m["leverage"][shown], m["error"][shown], "o", ms=1.8, mew=0, alpha=0.4, color=GREY, rasterized=True)
            ax.plot(m["leverage"][rows], m["error"][rows], "o", ms=5, mfc="none", mec=PALETTE[1], mew=0.9)
            ax.set_title(f"{name}, {len(rows)} of {shown.sum():,}", loc="left")
            ax.set_xscale("log")
        low = np.quantile(m["leverage"][m["leverage"] > 0], 0.01)
        axes.flat[0].set_xlim(low, 2 * m["leverage"].max())
        figure.supxlabel("leverage by the last layer (effective parameters), log scale", fontsize=9)
        figure.supylabel("prediction error", fontsize=9)
        figure.savefig(file, dpi=100)


def contact_sheet(m: mm.MemoryMap, values: Any, data: Data, file: Path) -> None:
    """The top 1 % by a measure, with the label (and the prediction, where it differs)."""
    rows = top(values)
    across = 10
    down = -(-len(rows) // across)
    with style_context():
        figure, axes = plt.subplots(down, across, figsize=(0.95 * across, 1.25 * down), layout="constrained")
        for ax in axes.flat:
            ax.axis("off")
        for row, ax in zip(rows, axes.flat, strict=False):
            ax.imshow((data.x[row].permute(1, 2, 0) * 0.25 + 0.47).clamp(0, 1), interpolation="nearest")
            label, predicted = (data.classes[int(m[name][row])] for name in ("target", "prediction"))
            ax.set_title(label if label == predicted else f"{label}\n(not {predicted})", fontsize=7)
        figure.savefig(file, dpi=90)


def options() -> argparse.ArgumentParser:
    defaults = {"examples": 25_000, "rows": 2_000, "draws": 512, "retrained": 2_000, "subsets": 50}
    made = parser(__doc__, **defaults, epoch=0, fisher="mc", delta=5.0)
    made.add_argument("--only", nargs="+", default=["last_layer"], help="maps: last_layer, ekfac, adam, sampled")
    return made


def main() -> None:
    a = options().parse_args()
    data = load("cifar10", a.examples, 1)
    out = a.out / f"ranking-{a.examples}-{a.rows}"
    out.mkdir(parents=True, exist_ok=True)
    maps = {
        name: kept(out / f"{name}.parquet", lambda n=name: mapped(n, data, a, out / f"{n}.parquet")) for name in a.only
    }
    for name, m in maps.items():
        spent = json.loads((out / f"{name}.json").read_text())["seconds"]
        print(f"{name}: Σ leverage of {len(m)} examples {m['leverage'].sum():.0f}, {spent:.0f} processor seconds")
    found = measures(maps, a)
    table(found)
    wrong(maps["last_layer"], found)
    draw(maps["last_layer"], found, out / "ranking.png")
    for name, values in found.items():
        contact_sheet(maps["last_layer"], values, data, out / f"top-{name.lower().replace(' ', '-')}.png")


if __name__ == "__main__":
    main()
