"""The map of LeNet5 on Fashion-MNIST, and the pictures it points at: what docs/models/networks_fashion.md shows.

MEMORYMAPS_DATA=… python benchmarks/networks/fashion.py --n 6000 --picture docs/img/fashion.png
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from speed import lenet

import memorymaps as mm


def train(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-3)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x)), 128):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return optimizer


def draw(m: mm.MemoryMap, x: torch.Tensor, classes: np.ndarray, path: Path) -> None:
    """The map, and beside it the eighteen most sensitive examples with their labels and what else they look like."""
    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.15, 1])
    mm.MapDisplay.from_map(m, ax=left.subplots())
    top = m.top(18)
    for axis, row, label, other in zip(
        right.subplots(3, 6).flat, top["row"], top["target"], top["loo_prediction"], strict=True
    ):
        axis.imshow(x[int(row), 0], cmap="gray_r")
        axis.set_title(f"{classes[label]}\n→ {classes[other]}", fontsize=6)
        axis.set_axis_off()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--picture", type=Path, required=True)
    a = parser.parse_args()
    file = np.load(Path(os.environ["MEMORYMAPS_DATA"]) / "fmnist.npz")
    x = torch.tensor(file["x_train"][: a.n, None] / 255, dtype=torch.float32)
    y = torch.tensor(file["y_train"][: a.n])
    torch.manual_seed(0)
    net, start = lenet(), time.perf_counter()
    optimizer = train(net, x, y, a.epochs)
    between = time.perf_counter()
    recipe = mm.Laplace("ekfac", prior=mm.prior_from(optimizer, n=len(y)))
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe)
    print(m.summary())
    epochs = (time.perf_counter() - between) / (between - start) * a.epochs
    print(f"trained in {between - start:.0f} s, mapped in {epochs:.0f} training epochs' time")
    draw(m, x, file["classes"], a.picture)


if __name__ == "__main__":
    main()
