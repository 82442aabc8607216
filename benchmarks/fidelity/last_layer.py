"""Maps of the last layer beside those of all layers: two networks of digits and one of the diabetes data, trained to a
minimum of `Σℓ + δ‖θ‖²/2`, on the full curvature of either.

    python benchmarks/fidelity/last_layer.py
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes, load_digits
from torch import nn

import memorymaps as mm

TOP = 0.05  # of the examples


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(x))[:600]
    return torch.tensor(x[rows] / 16), torch.tensor(y[rows])


def diabetes() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_diabetes(return_X_y=True)
    return torch.tensor(x / x.std(0)), torch.tensor((y - y.mean()) / y.std())[:, None]


def perceptron(*widths: int) -> nn.Module:
    layers = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).double()


def trained(net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float) -> nn.Module:
    """By L-BFGS."""
    parameters = list(net.parameters())
    classes = not y.is_floating_point()
    options = {"max_iter": 500, "history_size": 50, "tolerance_grad": 1e-8, "tolerance_change": 1e-14}
    optimizer = torch.optim.LBFGS(parameters, line_search_fn="strong_wolfe", **options)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        f = net(x)
        loss = nn.functional.cross_entropy(f, y, reduction="sum") if classes else (f - y).square().sum() / 2
        loss = loss + delta / 2 * sum(p.square().sum() for p in parameters)
        loss.backward()
        return loss

    for _ in range(10):
        optimizer.step(closure)
    return net


def mapped(net: nn.Module, x: torch.Tensor, y: torch.Tensor, delta: float, subset: str) -> mm.MemoryMap:
    likelihood = "gaussian" if y.is_floating_point() else "categorical"
    recipe = mm.Laplace("full", prior=delta, subset=subset)
    return mm.memory_map(net, x, y, likelihood=likelihood, posterior=recipe, progress=False)


def compared(last: np.ndarray, every: np.ndarray) -> str:
    """Ratio of the sums, rank correlation, and the share of the top in common."""
    k = round(TOP * len(last))
    common = len(set(np.argsort(-last)[:k]) & set(np.argsort(-every)[:k])) / k
    return f"{last.sum() / every.sum():.2f} | {spearmanr(last, every).statistic:.2f} | {common:.2f}"


def main() -> None:
    torch.set_num_threads(1)
    figures = "ratio of the sums | ρ | top 5 % in common"
    print(f"| network | δ | distance, sd | leverage: {figures} | sensitivity: {figures} |")
    print("|---|---|---|---|---|---|---|---|---|")
    nets = (64, 32, 10), (64, 32, 32, 10), (10, 16, 1)
    cases = zip(("digits", "digits", "diabetes"), (digits, digits, diabetes), nets, strict=True)
    for name, data, widths in cases:
        for delta in (0.1, 1.0, 10.0):
            torch.manual_seed(0)
            x, y = data()
            net = trained(perceptron(*widths), x, y, delta)
            every, last = (mapped(net, x, y, delta, subset) for subset in ("all", "last_layer"))
            both = " | ".join(compared(last[what], every[what]) for what in ("leverage", "sensitivity"))
            distance = every.provenance.description.distance
            print(f"| {name} {'-'.join(map(str, widths))} | {delta} | {distance:.2g} | {both} |", flush=True)


if __name__ == "__main__":
    main()
