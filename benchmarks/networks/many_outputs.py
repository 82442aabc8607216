"""Many outputs: what a map costs when V is asked for along directions only, and how far its leverage is off.

The whole map after the curvature pass, in training epochs, for C = 10, 100 and 1,000 outputs; the error of the
leverage against all C × C variances on a part of the data (C ≤ 100). Processor time.

    python benchmarks/networks/many_outputs.py
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from speed import epoch, lenet, seconds
from torch import nn

from memorymaps.core.perturbation.estimators import Estimator, estimator_named, perturb
from memorymaps.data.examples import Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets.recipe import Laplace
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.registry import posterior, training_data


def mlp(c: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 300), nn.ReLU(), nn.Linear(300, c)
    )


def lenet5(c: int) -> nn.Module:
    return nn.Sequential(*lenet()[:-1], nn.Linear(84, c))


NETS = {"MLP": mlp, "LeNet5": lenet5}


def learn(net: nn.Module, x: torch.Tensor, y: torch.Tensor, passes: int = 15) -> None:
    """To confident predictions, as trained networks make them."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(passes):
        for rows in torch.split(torch.randperm(len(x)), 128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()


def perturbed(origin: Origin, data: Examples, estimator: Estimator) -> None:
    """What a map computes of each example, without its table."""
    for batch in data:
        for part in origin.chunks(batch):
            perturb(origin.batch_statistics(part), estimator)


def study(name: str, c: int, n: int, directions: int) -> None:
    torch.manual_seed(0)
    net, teacher, x = NETS[name](c), torch.randn(16, c), torch.randn(n, 1, 28, 28)
    hidden = torch.randn(784, 16)
    y = (x.flatten(1) @ hidden @ teacher).argmax(1)
    learn(net, x, y)
    unit = min(seconds(lambda: epoch(net, x, y, 1e-6)) for _ in range(3))
    model = Laplace("kfac", prior=1.0, fisher="leading", directions=directions)(net, "categorical")
    data = training_data(model, ArrayExamples.of(x, y))
    made: list[Any] = []
    fit = seconds(lambda: made.append(posterior(model, data))) / unit
    origin, form = Origin(made[0], data), estimator_named("F-sm")
    cost = min(seconds(lambda: perturbed(origin, data, form)) for _ in range(3)) / unit
    part = data.take(np.arange(200))
    error = top = float("nan")
    if directions and c <= 100:
        h = origin.batch_statistics(part).leverage
        whole = Laplace("kfac", prior=1.0, fisher="leading", directions=0)(net, "categorical")
        exact = Origin(posterior(whole, data), data).batch_statistics(part).leverage
        error = float(np.median(np.abs(h / exact - 1)))
        top = len(np.intersect1d(np.argsort(-h)[:10], np.argsort(-exact)[:10])) / 10
    print(
        f"| {name} | {c:,} | {directions or 'all C × C'} | {fit:.1f} | {cost:.1f} | {error:.1%} | {top:.0%} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", type=int, action="append")
    parser.add_argument("--net", choices=NETS, default="MLP")
    args = parser.parse_args()
    print(
        "| network | outputs | directions | curvature, epochs | map, epochs | median error of leverage | same top 5 % |"
    )
    print("|---|---|---|---|---|---|---|")
    for c in args.outputs or (10, 100, 1000):
        for directions in (0, 1, 2, 3) if c == 10 else (0, 1, 2) if c == 100 else (1, 2):
            study(args.net, c, 4000 if c < 1000 else 2000, directions)


if __name__ == "__main__":
    main()
