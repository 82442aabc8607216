"""Sensitivity gathers on few examples as training proceeds [MPE Fig. 3b]: share of the first 1 % and 5 % a checkpoint.

Writes the sorted sensitivities at five checkpoints, and the most and least sensitive examples of each class.

    MEMORYMAPS_DATA=… python benchmarks/papers/evolution.py --data fmnist --net lenet5
    MEMORYMAPS_DATA=… python benchmarks/papers/evolution.py --data mnist --net mlp-500-300
    MEMORYMAPS_DATA=… python benchmarks/papers/evolution.py --data mnist --net logistic  # by VON, 3 against 5
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from setting import NETWORKS, Data, load, parser, tracked

from memorymaps.build.draw import memory_map
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.summary import top_share
from memorymaps.models.linear.newton_methods import von
from memorymaps.nets.prior import prior_from
from memorymaps.nets.recipe import Laplace
from memorymaps.viz.displays.evolution import EvolutionDisplay

CHECKPOINTS = (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 75, 100)


def network(args: Any, data: Data, run: Path) -> dict[int, MemoryMap]:
    torch.manual_seed(0)
    net = NETWORKS[args.net]()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=args.delta / args.examples)
    recipe = Laplace("kfac", prior=prior_from(optimizer, args.examples))
    tracker = tracked(
        run, net, optimizer, data, 64, args.epochs, lambda epoch: epoch in CHECKPOINTS, posterior=recipe,
        subset=args.subset,
    )  # fmt: skip
    t = tracker.trajectory()
    EvolutionDisplay.from_trajectory(t, title=f"{args.data}, {args.net}").figure_.savefig(f"{run}.png", dpi=200)
    return {step: t.at(step) for step in t.steps}


def logistic(args: Any, data: Data, run: Path) -> dict[int, MemoryMap]:
    rows = (data.y == 3) | (data.y == 5)
    X = torch.nn.functional.avg_pool2d(data.x[rows], 2).flatten(1).double().numpy()
    X, y = np.column_stack([X, np.ones(len(X))]), (data.y[rows] == 5).double().numpy()
    states = von(X, y, likelihood=Bernoulli(), prior=1.0, rate=0.1, steps=args.epochs)
    ids = np.flatnonzero(rows.numpy())
    maps = {s.step: memory_map(s, X, y, ids=ids) for s in states if s.step in CHECKPOINTS}
    frames = [
        pd.DataFrame({"step": k, "part": np.arange(1, len(m) + 1) / len(m), "value": np.sort(m["sensitivity"])[::-1]})
        for k, m in maps.items()
    ]
    display = EvolutionDisplay(pd.concat(frames), f"{args.data}, Bayesian logistic regression").plot()
    display.figure_.savefig(f"{run}.png", dpi=200)
    return maps


def extremes(m: MemoryMap, data: Data, path: Path, each: int = 6) -> None:
    """The most (left) and least (right) sensitive examples of every class."""
    kinds = sorted(set(m["target"].tolist()))
    figure, axes = plt.subplots(len(kinds), 2 * each + 1, figsize=(0.5 * (2 * each + 1), 0.5 * len(kinds)))
    for ax in axes.flat:
        ax.axis("off")
    for row, kind in enumerate(kinds):
        ids = m.filter(m["target"] == kind).top(len(m))["id"]
        left, right = zip(axes[row], ids[:each], strict=False), zip(axes[row, each + 1 :], ids[-each:], strict=False)
        for ax, id in (*left, *right):  # of a class with fewer examples, those that it has
            ax.imshow(data.x[int(id)].permute(1, 2, 0).squeeze(-1), cmap="gray_r")
    figure.savefig(path, dpi=200, bbox_inches="tight")


def main() -> None:
    made = parser(
        __doc__, data="fmnist", net="lenet5", epochs=50, examples=5_000, tests=1_000, delta=20.0, subset=2_000
    )
    args = made.parse_args()
    data = load(args.data, args.examples, args.tests)
    run = args.out / f"evolution-{args.data}-{args.net}-{args.examples}"
    run.parent.mkdir(parents=True, exist_ok=True)
    maps = (logistic if args.net == "logistic" else network)(args, data, run)
    print("| checkpoint | first 1 % | first 5 % |\n|---|---|---|")
    for step, m in maps.items():
        print(f"| {step} | {top_share(m['sensitivity'], 0.01):.1%} | {top_share(m['sensitivity'], 0.05):.1%} |")
    extremes(list(maps.values())[-1], data, Path(f"{run}-examples.png"))


if __name__ == "__main__":
    main()
