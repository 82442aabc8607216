"""Maps of ensembles, dropout and snapshots of networks beside that of the posterior, on its full curvature.

Their members differ by the seed, by the rate of dropout or by the learning rate: nothing in that knows how far leaving
an example out moves the network. A chain that samples the posterior does (the last line of each network: Langevin's,
preconditioned by the curvature).

    python benchmarks/fidelity/network_draws.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from last_layer import diabetes, digits, trained
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_wine
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import memorymaps as mm
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.nets.ensembles import chain, ensemble, mc_dropout, snapshots

DRAWS, EPOCHS, BATCH = 200, 800, 32
Data = tuple[torch.Tensor, torch.Tensor]
State = dict[str, torch.Tensor]


def classes(load: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Data:
    """Columns of unit variance, and labels."""
    x, y = load(return_X_y=True)
    return torch.tensor((x - x.mean(0)) / x.std(0)), torch.tensor(y)


def network(inputs: int, hidden: int, outputs: int, dropout: float = 0.0) -> nn.Module:
    layers = nn.Linear(inputs, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, outputs)
    return nn.Sequential(*layers).double()


def loss(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    f = net(x)
    return (f - y).square().sum() / 2 if y.is_floating_point() else nn.functional.cross_entropy(f, y, reduction="sum")


def run(net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, rate: float, sgd: bool) -> Iterator[State]:
    """States after each epoch of Adam on all examples, or of SGD on batches."""
    optimizer = (torch.optim.SGD if sgd else torch.optim.Adam)(net.parameters(), rate)
    net.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH if sgd else len(x)):
            optimizer.zero_grad()
            penalty = delta / 2 * sum(p.square().sum() for p in net.parameters())
            (loss(net, x[rows], y[rows]) / len(rows) + penalty / len(x)).backward()
            optimizer.step()
        yield copy.deepcopy(net.state_dict())
    net.eval()


def langevin(net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, step: float = 0.05) -> list[State]:
    """Langevin's chain from the minimum on, preconditioned by the inverse Hessian where that is positive."""
    parameters = list(net.parameters())
    hessian = torch.autograd.functional.hessian(
        lambda v: objective(net, v, x, y, delta), parameters_to_vector(parameters).detach()
    )
    values, vectors = torch.linalg.eigh(hessian)
    root = vectors / values.clamp(min=delta).sqrt()
    theta, states = parameters_to_vector(parameters).detach(), []
    for k in range(25 * DRAWS):
        theta = theta.requires_grad_()
        gradient = torch.autograd.grad(objective(net, theta, x, y, delta), theta)[0]
        noise = root @ torch.randn(len(theta), dtype=theta.dtype)
        theta = theta.detach() - step / 2 * root @ (root.T @ gradient) + step**0.5 * noise
        if k % 25 == 24:
            moved = copy.deepcopy(net)
            vector_to_parameters(theta, moved.parameters())
            states.append(moved.state_dict())
    return states


def objective(net: nn.Module, v: torch.Tensor, x: torch.Tensor, y: torch.Tensor, delta: float) -> torch.Tensor:
    """`Σℓ + δ‖θ‖²/2` at a vector of parameters."""
    sizes = [p.numel() for p in net.parameters()]
    named = {name: part.view_as(p) for (name, p), part in zip(net.named_parameters(), v.split(sizes), strict=True)}
    at = torch.func.functional_call
    return loss(lambda inputs: at(net, named, inputs), x, y) + delta / 2 * v.square().sum()


def kinds(dims: tuple[int, ...], best: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float) -> Iterator[tuple]:
    """`(name, model)` of every kind of draws."""
    likelihood = Gaussian(1.0) if y.is_floating_point() else Categorical()
    for p in (0.1, 0.5):
        torch.manual_seed(0)
        net = network(*dims, p)
        for _ in run(net, x, y, delta, 1e-2, sgd=False):
            pass
        yield f"dropout {p}", mc_dropout(net, likelihood, draws=DRAWS)
    for rate in (0.01, 0.1):
        net = copy.deepcopy(best)
        states = list(run(net, x, y, delta, rate, sgd=True))[-DRAWS:]
        yield f"SGD, rate {rate}", snapshots(net, states, likelihood)
    nets = []
    for seed in range(30):
        torch.manual_seed(seed + 1)
        nets.append(network(*dims))
        for _ in run(nets[-1], x, y, delta, 1e-2, sgd=False):
            pass
    yield "ensemble of 30", ensemble(nets, likelihood)
    yield "Langevin's chain", chain(best, langevin(best, x, y, delta), likelihood)


def compared(m: mm.MemoryMap, reference: mm.MemoryMap, what: str) -> str:
    """Ratio of the sums, relative error, rank correlation."""
    a, b = m[what], reference[what]
    error = np.linalg.norm(a - b) / np.linalg.norm(b)
    return f"{a.sum() / b.sum():.3f} | {error:.2f} | {spearmanr(a, b).statistic:.2f}"


CASES = {
    "digits": (digits, (64, 16, 10)), "wine": (lambda: classes(load_wine), (13, 8, 3)),
    "breast cancer": (lambda: classes(load_breast_cancer), (30, 8, 2)), "diabetes": (diabetes, (10, 8, 1)),
}  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    print("| data | δ | draws | leverage: ratio | error | ρ | sensitivity: ratio | error | ρ | mean left-out loss |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, (data, dims) in CASES.items():
        for delta in (1.0, 10.0):
            x, y = data()
            torch.manual_seed(0)
            best = trained(network(*dims), x, y, delta)
            likelihood = "gaussian" if y.is_floating_point() else "categorical"
            recipe = mm.Laplace("full", prior=delta)
            reference = mm.memory_map(best, x, y, likelihood=likelihood, posterior=recipe, progress=False)
            for kind, model in kinds(dims, best, x, y, delta):
                m = mm.memory_map(model, x, y, progress=False)
                both = " | ".join(compared(m, reference, what) for what in ("leverage", "sensitivity"))
                losses = f"{m['loo_loss'].mean():.3f}, posterior {reference['loo_loss'].mean():.3f}"
                print(f"| {name} | {delta} | {kind} | {both} | {losses} |", flush=True)


if __name__ == "__main__":
    main()
