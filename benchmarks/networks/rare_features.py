"""Sampled rows where a few examples decide: features that two or four examples have, against the exact matrix.

Softmax regression on the digits modulo three, every fourth pixel and the rare features; logistic regression on random
inputs with pairs of one class that share a large one, or four; a class that no example has; inputs that three examples
have and only one of two outputs uses. Several seeds of the draw. What the map states of leverage and of
the mean left-out loss, what it is off by, and how far leverages are from the exact ones in their own standard errors.
Drawn by the trace of their curvature alone (`--by-trace`), such rows are hardly ever there
(`nets/sampled/rows/leverages.py`); of those that are missing half of the drawn rows beside all of them tells
(`nets/sampled/errors/half.py`).

    python benchmarks/networks/rare_features.py
    python benchmarks/networks/rare_features.py --data pairs --by-trace
    python benchmarks/networks/rare_features.py --data outputs --seeds 6
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.nets import Sampled
from memorymaps.nets.sampled.rows import leverages

DELTA, TINY, COMMON = 0.3, 1e-300, 5
MEASURES = ("leverage", "sensitivity")
DIGITS = {  # examples; rare features, examples that have each, its size, whether these are of one class
    "50 features of 4 examples, size 3": (400, 50, 4, 3.0, False),
    "100 features of 2 examples, size 1": (400, 100, 2, 1.0, False),
    "40 features of 2 examples of one class, size 30": (400, 40, 2, 30.0, True),
    "of 1,700 examples, 10 features of 2 of one class, size 30": (1700, 10, 2, 30.0, True),
}
PAIRS = {  # examples beside those that share a feature, its size, how many share it
    "10 pairs beside 1,000, size 30": (1000, 30.0, 2),
    "10 pairs beside 5,000, size 30": (5000, 30.0, 2),
    "10 pairs beside 5,000, size 8": (5000, 8.0, 2),
    "10 pairs beside 20,000, size 30": (20000, 30.0, 2),
    "10 groups of 4 beside 4,000, size 3": (4000, 3.0, 4),
    "10 groups of 8 beside 4,000, size 30": (4000, 30.0, 8),
}
OUTPUTS = {  # examples, and the classes or, in regression, the examples that share an input of the second output
    "4 classes of which no example has one, 2,000": (2000, 4, 0),
    "3 examples for each of 4 inputs of the second output, 3,000": (3000, 0, 3),
    "1 example for each of 4 inputs of the second output, 3,000": (3000, 0, 1),
}


def digits(n: int, many: int, each: int, size: float, same: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and three classes; the `same` class for all that have a feature, if asked for."""
    images, numbers = load_digits(return_X_y=True)
    rng, rare, y = np.random.default_rng(0), np.zeros((n, many)), numbers[:n] % 3
    for feature in range(many):
        rows = np.arange(each) + each * feature if same else rng.choice(n, each, replace=False)
        rare[rows, feature] = size
        y[rows] = y[rows[0]] if same else y[rows]
    return torch.tensor(np.c_[images[:n, ::4] / 16, rare]), torch.tensor(y)


def pairs(n: int, size: float, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs and two classes; ten pairs or groups at the end."""
    rng, total = np.random.default_rng(0), n + 10 * each
    rare, y = np.zeros((total, 10)), rng.integers(0, 2, total)
    for feature in range(10):
        rows = n + each * feature + np.arange(each)
        rare[rows, feature], y[rows] = size, y[rows[0]]
    return torch.tensor(np.c_[rng.normal(size=(total, 20)), rare]), torch.tensor(y)


def outputs(n: int, classes: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs and all classes but the last; or two targets and four inputs more, which some examples have."""
    rng = np.random.default_rng(0)
    if classes:
        x = rng.normal(size=(n, 8))
        return torch.tensor(x), torch.tensor((x[:, : classes - 1] + 0.7 * rng.normal(size=(n, classes - 1))).argmax(1))
    x = np.c_[rng.normal(size=(n, COMMON)), np.zeros((n, 4))]
    x[np.arange(4 * each), COMMON + np.arange(4 * each) // each] = 5
    return torch.tensor(x), torch.tensor(x[:, :COMMON].sum(1, keepdims=True) + rng.normal(size=(n, 2)))


class TwoOutputs(nn.Module):
    """Of which the second has inputs of its own."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(COMMON, 1), nn.Linear(total, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As a module is called."""
        return torch.cat([self.first(x[:, :COMMON]), self.second(x)], dim=1)


def network_for(x: torch.Tensor, y: torch.Tensor, classes: int) -> tuple[nn.Module, object]:
    """A layer and its likelihood, of one output for two classes."""
    torch.manual_seed(0)
    if y.is_floating_point():
        return TwoOutputs(x.shape[1]).double(), Gaussian(1.0)
    if classes == 2:
        return nn.Linear(x.shape[1], 1).double(), "bernoulli"
    return nn.Linear(x.shape[1], classes).double(), "categorical"


def fitted(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """The network at its minimum."""
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = DELTA / 2 * sum(p.square().sum() for p in net.parameters())
        f = net(x)
        f = torch.cat([torch.zeros_like(f), f], dim=1) if f.shape[1] == 1 else f
        regression = y.is_floating_point()
        misfit = (f - y).square().sum() / 2 if regression else nn.functional.cross_entropy(f, y, reduction="sum")
        total = misfit + penalty
        total.backward()
        return total

    optimizer.step(loss)
    return net


def main() -> None:
    """A row of the table for each size and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--data", choices=["digits", "pairs", "outputs"], default="digits")
    parser.add_argument("--by-trace", action="store_true", help="no first sample: by the trace of the curvature alone")
    options = parser.parse_args()
    if options.by_trace:
        leverages.FIRST = 0
    make, cases = {"digits": (digits, DIGITS), "pairs": (pairs, PAIRS), "outputs": (outputs, OUTPUTS)}[options.data]
    columns = ("data", "rows", "leverage: stated, true", "sensitivity: stated, true", "left-out loss: stated, off")
    print("| " + " | ".join((*columns, "within 2, beyond 10 errors", "warned")) + " |")
    print("|---|---|---|---|---|---|---|")
    for name, case in cases.items():
        x, y = make(*case)
        classes = case[1] if options.data == "outputs" else 3 if options.data == "digits" else 2
        net, likelihood = network_for(x, y, classes)
        fitted(net, x, y)

        def drawn(structure, net=net, x=x, y=y, likelihood=likelihood):
            recipe = mm.Laplace(structure, prior=DELTA)
            return mm.memory_map(net, x, y, likelihood=likelihood, posterior=recipe, progress=False)

        exact = drawn("full")
        for rows in (200, 400, 600, None) if options.data == "digits" else (None,):
            for seed in range(options.seeds):
                m = drawn(Sampled(rows=rows, seed=seed))
                d, true = m.provenance.description, float(exact["loo_loss"].mean())
                z = np.abs(m["leverage"] - exact["leverage"]) / np.maximum(m["leverage_se"], TINY)
                off = float(m["loo_loss"].mean()) / true - 1
                of_sensitivity, of_loss = d.size_errors or (0.0, 0.0)
                gap, moved = (np.linalg.norm(m[c] - exact[c]) / np.linalg.norm(exact[c]) for c in MEASURES)
                took = d.notes[0].split()[0]
                within = f"{np.mean(z < 2):.0%}, {np.mean(z > 10):.0%}" if np.any(m["leverage_se"]) else "exact"
                warned = "yes" if d.cautions else "no"
                print(
                    f"| {name} | {took} | {d.relative_error or 0:.1%}, {gap:.1%} | {of_sensitivity:.1%}, {moved:.1%} "
                    f"| {of_loss:.1%}, {off:+.1%} | {within} | {warned} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
