"""Sampled rows where a few examples decide: features that two or four of 400 digits have, against the exact matrix.

Softmax regression on the digits modulo three, every fourth pixel and the rare features; several seeds of the draw. What
the map states of the mean left-out loss, what it is off by, and how far leverages are from the exact ones in their own
standard errors: rows that were not drawn are not in a jackknife over those that were; half of the drawn rows beside all
of them tells (`nets/sampled/errors/half.py`).

    python benchmarks/networks/rare_features.py
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import memorymaps as mm
from memorymaps.nets import Sampled

N, DELTA, TINY = 400, 0.3, 1e-300
CASES = {
    "50 features of 4 examples, size 3": (50, 4, 3.0, False),
    "100 features of 2 examples, size 1": (100, 2, 1.0, False),
    "40 features of 2 examples of one class, size 30": (40, 2, 30.0, True),
}


def fitted(many: int, each: int, size: float, same: bool) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """The network at its minimum, inputs and classes; the `same` class for all that have a feature, if asked for."""
    images, digits = load_digits(return_X_y=True)
    rng, rare, y = np.random.default_rng(0), np.zeros((N, many)), digits[:N] % 3
    for feature in range(many):
        rows = np.arange(each) + each * feature if same else rng.choice(N, each, replace=False)
        rare[rows, feature] = size
        y[rows] = y[rows[0]] if same else y[rows]
    x, y = torch.tensor(np.c_[images[:N, ::4] / 16, rare]), torch.tensor(y)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(x.shape[1], 3)).double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = DELTA / 2 * sum(p.square().sum() for p in net.parameters())
        total = nn.functional.cross_entropy(net(x), y, reduction="sum") + penalty
        total.backward()
        return total

    optimizer.step(loss)
    return net, x, y


def main() -> None:
    """A row of the table for each size and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    print("| data | rows | leverage: stated, true | left-out loss: stated, off | within 2, beyond 10 errors | warned |")
    print("|---|---|---|---|---|---|")
    for name, case in CASES.items():
        net, x, y = fitted(*case)

        def drawn(structure, net=net, x=x, y=y):
            recipe = mm.Laplace(structure, prior=DELTA)
            return mm.memory_map(net, x, y, likelihood="categorical", posterior=recipe, progress=False)

        exact = drawn("full")
        for rows in (200, 400, 600, None):
            for seed in range(options.seeds):
                m = drawn(Sampled(rows=rows, seed=seed))
                d, true = m.provenance.description, float(exact["loo_loss"].mean())
                z = np.abs(m["leverage"] - exact["leverage"]) / np.maximum(m["leverage_se"], TINY)
                off = float(m["loo_loss"].mean()) / true - 1
                stated = 0.0 if d.size_errors is None else d.size_errors[1]
                gap = np.linalg.norm(m["leverage"] - exact["leverage"]) / np.linalg.norm(m["leverage"])
                took = d.notes[0].split()[0]
                within = f"{np.mean(z < 2):.0%}, {np.mean(z > 10):.0%}" if np.any(m["leverage_se"]) else "exact"
                warned = "yes" if d.cautions else "no"
                print(
                    f"| {name} | {took} | {d.relative_error or 0:.1%}, {gap:.1%} | {stated:.1%}, {off:+.1%} | {within} "
                    f"| {warned} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
