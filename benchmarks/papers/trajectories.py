"""The same examples followed through training [MM]: Fashion-MNIST and LeNet5, CIFAR-10 and ResNet-20.

Full commands, as in the source (all images):

    MEMORYMAPS_DATA=… python benchmarks/papers/trajectories.py --examples 60000 --rows 60000 --epochs 50
    MEMORYMAPS_DATA=… python benchmarks/papers/trajectories.py --net resnet20 --examples 25000 --rows 25000

Shortened, the default: 1,500 images, 500 of them mapped, from the optimiser's state at six checkpoints. `resnet20`
maps the checkpoints of `resnet_cifar10.py` (with the same `--examples`) and trains nothing. Written: one panel per
checkpoint with the most sensitive examples marked in all, the table of their ranks, and the explorer's page of the
run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from resnet_cifar10 import checkpoint, last_epoch
from scipy.stats import spearmanr
from setting import Data, lenet, load, parser, resnet20, tracked

import memorymaps as mm
from memorymaps.training import Trajectory
from memorymaps.viz.displays.style import MARKERS, PALETTE, style_context


def trained(a: argparse.Namespace, data: Data, run: Path) -> Trajectory:
    """LeNet5 by Adam, recorded at six epochs."""
    torch.manual_seed(0)
    net = lenet()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=a.delta / a.examples)
    due = {round(a.epochs ** (k / 5)) for k in range(6)}
    tracker = tracked(run, net, optimizer, data, 32, a.epochs, due.__contains__, subset=a.rows)
    tracker.close()
    return tracker.trajectory()


def of_checkpoints(a: argparse.Namespace, data: Data, run: Path) -> Trajectory:
    """ResNet-20 at six of the epochs that `resnet_cifar10.py` has saved; what is recorded is not recorded again."""
    saved = a.out / f"resnet20-cifar10-{a.examples}"
    last = last_epoch(saved)
    net = resnet20()
    optimizer = torch.optim.Adam(net.parameters())
    done = max(Trajectory.load(run).steps) if run.exists() and list(run.glob("step=*")) else 0
    for epoch in sorted({round(last ** (k / 5)) for k in range(6)} - set(range(done + 1))):
        state = torch.load(checkpoint(saved, epoch), weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        tracker = mm.Tracker(
            net, optimizer, data.x, data.y, likelihood="categorical", path=run, subset=a.rows, start=done
        )
        tracker.steps, start = epoch, time.process_time()
        tracker.record()
        tracker.close()
        print(f"epoch {epoch}: map in {time.process_time() - start:.0f} processor seconds", flush=True)
        done = epoch
    return Trajectory.load(run)


def draw(run: Trajectory, data: Data, file: Path, follow: int = 6) -> None:
    """A panel per checkpoint; the most sensitive of the last one have the same marker in all."""
    steps = run.steps
    followed = run.at(steps[-1]).top(follow)["id"]
    with style_context():
        figure = plt.figure(figsize=(9.6, 5.2), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(8, 1))
        axes = left.subplots(2, 3, sharex=True, sharey=True)
        for ax in axes.flat[len(steps) :]:
            ax.axis("off")
        for step, ax in zip(steps, axes.flat, strict=False):
            panel(run.at(step), followed, ax)
            ax.set_title(f"epoch {step}", loc="left")
        left.supxlabel("leverage (effective parameters), log scale", fontsize=9)
        left.supylabel("prediction error", fontsize=9)
        for id, ax, color, marker in zip(followed, right.subplots(follow, 1), PALETTE, MARKERS, strict=False):
            picture = data.x[int(id)].permute(1, 2, 0)
            ax.imshow(picture[..., 0] if picture.shape[2] == 1 else (0.25 * picture + 0.47).clamp(0, 1), cmap="gray_r")
            ax.set_title(data.classes[int(data.y[int(id)])], fontsize=7, pad=2)
            ax.plot(-4, 14, marker, ms=7, color=color, clip_on=False)
            ax.axis("off")
        figure.savefig(file, dpi=100)


def panel(m: mm.MemoryMap, followed: object, ax: plt.Axes) -> None:
    ax.plot(m["leverage"], m["error"], "o", ms=1.6, mew=0, alpha=0.35, color=PALETTE[7], rasterized=True)
    ax.set(xscale="log", ylim=(0, 1.5))
    part = m.select(followed)
    at = {id: k for k, id in enumerate(part["id"])}
    for id, color, marker in zip(followed, PALETTE, MARKERS, strict=False):
        ax.plot(part["leverage"][at[id]], part["error"][at[id]], marker, ms=6, mec="white", mew=0.6, color=color)


def main() -> None:
    defaults = {"data": "fmnist", "net": "lenet5", "epochs": 15, "examples": 1_500, "rows": 500, "delta": 1.5}
    a = parser(__doc__, **defaults).parse_args()
    deep = a.net == "resnet20"
    name = "cifar10" if deep else a.data
    data = load(name, a.examples, 1_000)
    run = a.out / f"trajectories-{name}-{a.net}-{a.examples}"
    trajectory = (of_checkpoints if deep else trained)(a, data, run)
    last = trajectory.at(trajectory.steps[-1])
    print("| epoch | loss | Σ leverage | top 1 % | ρ with the last | top 1 % of the last |\n|---|---|---|---|---|---|")
    for step in trajectory.steps:
        m = trajectory.at(step)
        both = mm.compare(m, last)
        share = np.sort(m["sensitivity"])[::-1][: len(m) // 100].sum() / m["sensitivity"].sum()
        print(
            f"| {step} | {m['loss'].mean():.3f} | {m['leverage'].mean() * a.examples:,.0f} | {share:.0%} | "
            f"{spearmanr(m['sensitivity'], last['sensitivity']).statistic:.2f} | {both.overlap():.0%} |"
        )
    draw(trajectory, data, Path(f"{run}.png"))
    shown = data.x * 0.25 + 0.47 if deep else data.x
    pictures = (255 * shown.clamp(0, 1)).byte().permute(0, 2, 3, 1).squeeze(-1).numpy()
    mm.explore(trajectory, f"{run}.html", payload=pictures)


if __name__ == "__main__":
    main()
