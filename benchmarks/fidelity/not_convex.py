"""Losses that are not convex, whose negative curvature counts as none: maps against refits without each example.

Student's t with `ν` degrees of freedom and scale `s`, as a `Custom` loss, for targets with noise of `t_df`; a linear
network and one with a hidden layer of four. L-BFGS from the fit.

    python benchmarks/fidelity/not_convex.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

import memorymaps as mm
from memorymaps.nets import Custom

N = 60
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def student(nu: float, scale: float) -> Loss:
    """Up to a constant."""
    return lambda f, y: (nu + 1) / 2 * torch.log1p((f[..., 0] - y).square() / (nu * scale**2))


def fitted(net: nn.Module, loss: Loss, x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """At a minimum of `Σℓ + ‖θ‖²/2`."""
    options = {"history_size": 50, "tolerance_grad": 1e-10, "tolerance_change": 1e-15}
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=2000, line_search_fn="strong_wolfe", **options)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        total = loss(net(x), y).sum() + sum(p.square().sum() for p in net.parameters()) / 2
        total.backward()
        return total

    for _ in range(3):
        optimizer.step(closure)
    return net


def compare(df: float, scale: float, nu: float, hidden: int, seed: int) -> str:
    """A line of the table."""
    random = np.random.default_rng(seed)
    x = torch.tensor(random.normal(size=(N, 3)))
    y = x @ torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64) + 0.3 * torch.tensor(random.standard_t(df, size=N))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Linear(hidden, 1)) if hidden else nn.Linear(3, 1)
    loss = student(nu, scale)
    net = fitted(net.double(), loss, x, y)
    recipe = mm.Laplace("full", prior=1.0)
    m = mm.memory_map(net, x, y, likelihood=Custom(loss), posterior=recipe, progress=False)
    truth = []
    for row in range(N):
        kept = torch.tensor(np.delete(np.arange(N), row))
        other = fitted(copy.deepcopy(net), loss, x[kept], y[kept])
        truth.append(float((other(x[[row]]) - net(x[[row]])).detach().abs()))
    truth, s = np.array(truth), m["sensitivity"]
    share = m.provenance.description.negative_curvature
    slope, error = s @ truth / (truth @ truth), np.linalg.norm(s - truth) / np.linalg.norm(truth)
    kind = f"hidden layer of {hidden}" if hidden else "linear"
    level = m.trust["sensitivity"].level
    return f"| {kind} | t({df}) | {nu}, {scale} | {share:.3f} | {slope:.2f} | {error:.2f} | {level} |"


def main() -> None:
    torch.set_num_threads(1)
    print("| network | noise | ν, s | negative curvature | slope | error | verdict |")
    print("|---|---|---|---|---|---|---|")
    linear = (1.5, 0.1, 5), (1.5, 0.3, 5), (1.5, 0.3, 2), (1.5, 0.1, 1), (5, 0.3, 5), (5, 0.3, 1)
    for case in (*((*each, 0, 0) for each in linear), (1.5, 0.2, 1, 0, 1), (5, 0.1, 1, 0, 2), (1.5, 0.3, 2, 4, 0)):
        print(compare(*case), flush=True)


if __name__ == "__main__":
    main()
