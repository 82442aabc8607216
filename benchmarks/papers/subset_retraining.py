"""Memorization by retraining on random subsets [FZ], of a small network: what the other measures are compared with.

`mem_i` = probability that a network gives the label of image `i`, averaged over the networks that were trained with
it, minus the same over those trained without it. Full command, as in the source (2,000 subsets of 50,000 images,
ResNet-50):

    MEMORYMAPS_DATA=… python benchmarks/papers/subset_retraining.py --examples 50000 --subsets 2000 --epochs 160

Shortened, the default: 50 subsets of seven tenths of 2,000 images of 16 × 16 pixels, a network of two convolutions.
Each subset's predictions are kept, so that a run that was stopped goes on; the standard error is that over subsets.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from setting import Data, load, parser
from torch import nn


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def subset(seed: int, n: int, share: float) -> Any:
    """Whether an image is in the subset: `[n]`."""
    inside = np.zeros(n, bool)
    inside[np.random.default_rng(seed).permutation(n)[: round(share * n)]] = True
    return inside


def probabilities(data: Data, seed: int, a: argparse.Namespace) -> Any:
    """Probability of each image's label by a network trained on one subset: `[n]`."""
    torch.manual_seed(seed)
    rows = torch.tensor(np.flatnonzero(subset(seed, len(data.y), a.share)))
    net = small()
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    for _ in range(a.epochs):
        for k in rows[torch.randperm(len(rows))].split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data.x[k]), data.y[k]).backward()
            optimizer.step()
    with torch.no_grad():
        return net(data.x).softmax(1).gather(1, data.y[:, None])[:, 0].numpy()


def memorization(run: Path, n: int, subsets: int, share: float) -> tuple[Any, Any]:
    """Score and its standard error over subsets, `[n]` each, from the files of a run."""
    inside = np.stack([subset(seed, n, share) for seed in range(subsets)])
    found = np.stack([np.load(run / f"{seed}.npy") for seed in range(subsets)])
    parts = [np.where(kept, found, np.nan) for kept in (inside, ~inside)]
    means = [np.nanmean(part, 0) for part in parts]
    variances = [np.nanvar(part, 0, ddof=1) / kept.sum(0) for part, kept in zip(parts, (inside, ~inside), strict=True)]
    return means[0] - means[1], np.sqrt(variances[0] + variances[1])


def main() -> None:
    made = parser(__doc__, data="cifar10", examples=2_000, subsets=50, epochs=12, share=0.7)
    a = made.parse_args()
    data = load(a.data, a.examples, 1, shrink=2)
    run = a.out / f"subset_retraining-{a.data}-{a.examples}"
    run.mkdir(parents=True, exist_ok=True)
    for seed in range(a.subsets):
        if not (run / f"{seed}.npy").exists():
            start = time.process_time()
            found = probabilities(data, seed, a)
            np.save(run / f"{seed}.npy", found)
            inside = subset(seed, len(found), a.share)
            print(
                f"subset {seed}: mean probability of the label {found[inside].mean():.2f} inside, "
                f"{found[~inside].mean():.2f} outside, {time.process_time() - start:.1f} processor seconds",
                flush=True,
            )
    score, error = memorization(run, a.examples, a.subsets, a.share)
    print(f"memorization: mean {score.mean():.3f}, median standard error {np.median(error):.3f}")


if __name__ == "__main__":
    main()
