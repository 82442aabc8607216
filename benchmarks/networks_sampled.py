"""Sampled rows against the exact posterior, EKFAC beside them: leverage, sensitivity, left-out loss, cost and memory.

Real images with 5 % of the labels drawn at random, trained to a minimum; the exact answer is `dual`'s. Slopes are
regressions on the exact column through the origin, errors relative to its length; "covered" is the share of examples
within two stated standard errors, "stated/true" the ratio of the lengths of stated and true errors.

    MEMORYMAPS_DATA=… python benchmarks/networks_sampled.py --network lenet --n 800 --delta 20
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import memorymaps as mm

MEASURES = ("leverage", "sensitivity", "loo_loss")


def mlp(c: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.Tanh(), nn.Linear(100, 50), nn.Tanh(), nn.Linear(50, c))


def lenet(c: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, c),
    )  # fmt: skip


NETWORKS = {"mlp": mlp, "lenet": lenet}


def data(name: str, n: int, regression: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels, 5 % of them drawn at random; of a regression, the label as a number, standardised."""
    file, rng = np.load(Path(os.environ["MEMORYMAPS_DATA"]) / f"{name}.npz"), np.random.default_rng(0)
    rows = rng.permutation(len(file["x_train"]))[:n]
    x = torch.tensor(file["x_train"][rows, None] / 255, dtype=torch.float32)
    y = file["y_train"][rows].astype(np.int64)
    flipped = rng.random(n) < 0.05
    y[flipped] = rng.integers(0, 10, flipped.sum())
    return x, torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32) if regression else torch.tensor(y)


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, likelihood: mm.nets.likelihoods, delta: float) -> float:
    """To a minimum: Adam, then L-BFGS. Returns the seconds of one of Adam's epochs."""

    def loss(rows: torch.Tensor) -> torch.Tensor:
        f = net(x[rows])
        if y.is_floating_point():
            return (f[:, 0] - y[rows]).square().sum() / (2 * NOISE)
        return nn.functional.cross_entropy(f, y[rows], reduction="sum")

    everybody = torch.arange(len(x))

    def objective() -> torch.Tensor:
        return loss(everybody) + delta / 2 * sum(v.square().sum() for v in net.parameters())

    adam, start, epochs = torch.optim.Adam(net.parameters(), 1e-3), time.perf_counter(), 40
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            adam.zero_grad()
            penalty = delta / 2 * sum(v.square().sum() for v in net.parameters())
            ((loss(rows) * len(x) / len(rows) + penalty) / len(x)).backward()
            adam.step()
    epoch = (time.perf_counter() - start) / epochs
    finish = torch.optim.LBFGS(
        net.parameters(), max_iter=200, history_size=30, line_search_fn="strong_wolfe", tolerance_grad=1e-4
    )

    def closure() -> torch.Tensor:
        finish.zero_grad()
        value = objective()
        value.backward()
        return value

    finish.step(closure)
    return epoch
