"""What a network's map costs, in training epochs over the same data (forward, backward, step; batches of 128).

Random inputs of the data sets' shapes: no number here depends on their content. The peer forms Jacobians, as
`vmap(jacrev)` and `einsum`, on a part of the data that is scaled up (its cost is linear in n).

    python benchmarks/networks_speed.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from memorymaps.examples import ArrayExamples
from memorymaps.nets.laplace import Laplace
from memorymaps.posteriors import posterior, training_data

OUTPUTS = 10


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 300), nn.ReLU(), nn.Linear(300, OUTPUTS)
    )  # fmt: skip


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, OUTPUTS),
    )  # fmt: skip


def cnn() -> nn.Module:
    """The 3c3d network of DeepOBS on 3 × 32 × 32."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 5), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(64, 96, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(96, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(),
        nn.Linear(1152, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, OUTPUTS),
    )  # fmt: skip


NETS = {
    "MLP 784-500-300-10": (mlp, (1, 28, 28), 4000, 40),
    "LeNet5": (lenet, (1, 28, 28), 4000, 200),
    "3c3d CNN": (cnn, (3, 32, 32), 400, 20),
}


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def epoch(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
    for rows in torch.split(torch.arange(len(x)), 128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()


def jacobians(net: nn.Module, x: torch.Tensor, precision: dict[str, torch.Tensor]) -> torch.Tensor:
    """`V [n, c, c]` of a diagonal posterior by explicit Jacobians."""
    values = {name: value.detach() for name, value in net.named_parameters()}
    one = jacrev(lambda p, row: functional_call(net, p, row[None])[0])
    found = []
    for rows in torch.split(torch.arange(len(x)), 10):
        j = vmap(one, in_dims=(None, 0))(values, x[rows])
        scaled = torch.cat([(j[name] / precision[name].sqrt()).flatten(2) for name in j], 2)
        found.append(torch.einsum("ncp,ndp->ncd", scaled, scaled))
    return torch.cat(found)


def study(name: str) -> None:
    make, shape, n, few = NETS[name]
    torch.manual_seed(0)
    net, x, y = make(), torch.randn(n, *shape), torch.randint(0, OUTPUTS, (n,))
    epoch(net, x, y)
    unit = min(seconds(lambda: epoch(net, x, y)) for _ in range(3))
    ones = {key: torch.ones_like(value) for key, value in net.named_parameters()}
    jacobians(net, x[:10], ones)
    peer = seconds(lambda: jacobians(net, x[:few], ones)) * n / few / unit
    for structure in ("diag", "kfac", "ekfac"):
        model = Laplace(structure, prior=1.0)(net, "categorical")
        data = training_data(model, ArrayExamples.of(x, y))
        made: list[Any] = []
        fit = seconds(lambda: made.append(posterior(model, data))) / unit  # noqa: B023
        variance = seconds(lambda: [made[0].marginals(batch.inputs) for batch in data]) / unit  # noqa: B023
        print(
            f"| {name} | {structure} | {fit:.1f} | {variance:.1f} | {peer:.0f} | {peer / variance:.0f} × |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=NETS, action="append")
    print("| network | structure | curvature, epochs | V (C × C), epochs | V by Jacobians, epochs | ratio |")
    print("|---|---|---|---|---|---|")
    for name in parser.parse_args().net or NETS:
        study(name)


if __name__ == "__main__":
    main()
