"""What a network's map costs, in training epochs over the same data (forward, backward, step; batches of 128).

Random inputs of the data sets' shapes: no number here depends on their content. Decompositions of factors, made once
whatever the size of the data, are given in seconds. The peers form Jacobians, as
`vmap(jacrev)` and `einsum`, and as laplace-torch does where it is installed, on a part of the data that is scaled up
(their cost is linear in n).

    python benchmarks/networks/speed.py
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from memorymaps.data.in_memory import ArrayExamples
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.curvature.structures import as_structure
from memorymaps.nets.problem import build_problem
from memorymaps.nets.recipe import Laplace
from memorymaps.posteriors.registry import posterior, training_data

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


class Basic(nn.Module):
    """Two convolutions and a way around them, with group norms."""

    def __init__(self, i: int, o: int, step: int):
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(i, o, 3, step, 1, bias=False), nn.GroupNorm(4, o), nn.ReLU(),
            nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.GroupNorm(4, o),
        )  # fmt: skip
        self.around = nn.Conv2d(i, o, 1, step, bias=False) if i != o else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs."""
        return torch.relu(self.way(x) + self.around(x))


def resnet20() -> nn.Module:
    """ResNet-20 for 3 × 32 × 32, group norms instead of batch norms."""
    blocks = [Basic(i, o, s) for i, o, s in [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)]]
    blocks += [Basic(64, 64, 1), Basic(64, 64, 1)]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.GroupNorm(4, 16), nn.ReLU(), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, OUTPUTS),
    )  # fmt: skip


NETS = {
    "MLP 784-500-300-10": (mlp, (1, 28, 28), 8000, 40),
    "LeNet5": (lenet, (1, 28, 28), 4000, 200),
    "3c3d CNN": (cnn, (3, 32, 32), 400, 20),
    "ResNet-20": (resnet20, (3, 32, 32), 400, 20),
}


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()  # other processes share the cores
    work()
    return time.process_time() - start


def best(work: Callable[[], Any]) -> float:
    """The shortest of three times: what else the machine does only adds."""
    return min(seconds(work) for _ in range(3))


def epoch(net: nn.Module, x: torch.Tensor, y: torch.Tensor, rate: float = 1e-6) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
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


def laplace_torch(net: nn.Module, x: torch.Tensor, y: torch.Tensor, structure: str, few: int) -> tuple[float, float]:
    """Seconds an example of laplace-torch's curvature and variances; NaN where it is not installed or refuses."""
    try:
        from laplace import Laplace as Peer
    except ImportError:
        return float("nan"), float("nan")
    try:
        warnings.simplefilter("ignore")
        peer = Peer(net, "classification", subset_of_weights="all", hessian_structure=structure, prior_precision=1.0)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:128], y[:128]), batch_size=32)
        fit = seconds(lambda: peer.fit(loader)) / 128
        return fit, seconds(
            lambda: [peer.functional_variance(peer.backend.jacobians(r)[0]) for r in x[:few].split(5)]
        ) / few
    except (RuntimeError, NotImplementedError, ValueError) as error:
        print(f"<!-- laplace-torch {structure}: {type(error).__name__}: {error} -->")
        return float("nan"), float("nan")


def study(name: str, structures: tuple[str, ...], alone: bool) -> None:
    make, shape, n, few = NETS[name]
    torch.manual_seed(0)
    net, x, y = make(), torch.randn(n, *shape), torch.randint(0, OUTPUTS, (n,))
    epoch(net, x, y)
    unit = best(lambda: epoch(net, x, y))
    ones = {key: torch.ones_like(value) for key, value in net.named_parameters()}
    peer, peers = float("nan"), {}
    if not alone:
        jacobians(net, x[:10], ones)
        peer = seconds(lambda: jacobians(net, x[:few], ones)) * n / few / unit
        peers = {s: laplace_torch(net, x, y, theirs, few) for s, theirs in (("diag", "diag"), ("kfac", "kron"))}
    for structure in structures:
        model = Laplace(structure, prior=1.0)(net, "categorical")
        data = training_data(model, ArrayExamples.of(x, y))
        source, held = posterior(model, data), []
        with evaluation_mode(net):
            problem = build_problem(model, data)
            fit = best(lambda: held.append(as_structure(structure).fit(problem))) / unit  # noqa: B023
            once = seconds(lambda: held[0].build(problem.prior))  # noqa: B023
        variance = best(lambda: [source.marginals(batch.inputs) for batch in data]) / unit  # noqa: B023
        lt_fit, lt_variance = (n * each / unit for each in peers.get(structure, (float("nan"),) * 2))
        print(
            f"| {name} | {structure} | {fit:.1f} | {once:.1f} | {variance:.1f} | {lt_fit:.1f} | {lt_variance:.0f} | "
            f"{peer:.0f} | {min(peer, lt_variance) / variance:.0f} × |".replace("nan", "–"),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=NETS, action="append")
    parser.add_argument("--structure", choices=("diag", "kfac", "ekfac"), action="append")
    parser.add_argument("--alone", action="store_true", help="without the peers, which take hours and many GB")
    a = parser.parse_args()
    print(
        "| network | structure | curvature, epochs | once, s | V (C × C), epochs | curvature, laplace-torch "
        "| V, laplace-torch | V by vmap(jacrev) | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in a.net or NETS:
        study(name, tuple(a.structure or ("diag", "kfac", "ekfac")), a.alone)


if __name__ == "__main__":
    main()
