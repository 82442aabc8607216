"""Save small maps of every kind, a run and journals: `python tools/save_examples.py tests/maps/saved/VERSION`.

Run once with each released version: `tests/maps/test_saved_by_earlier_versions.py` loads what earlier ones wrote.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import statsmodels.api as sm
import torch
from families import data as d
from families.lookup import find
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from torch import nn

import memorymaps as mm

N = 12
X, REAL, TWO, THREE, BIT, IDS, WEIGHT = (a[:N] for a in (d.X, d.REAL, d.TWO, d.THREE, d.BIT, d.IDS, d.WEIGHT))
FORMS = ("P", "P-sm", "F", "R", "I", "I-sm")  # F-sm, R-sm and R/F-sm are those of other maps below


def network(outputs: int, spread: float = 1.0) -> nn.Module:
    """Three inputs, two hidden units, weights by a formula: the same in every version of torch."""
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, outputs)).double()
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(spread * torch.sin(1.0 + torch.arange(value.numel(), dtype=torch.float64)).view_as(value))
    return net


def mapped(net: nn.Module, y: Any, likelihood: str, structure: str = "full", **options: Any) -> mm.MemoryMap:
    """A network's map under a Laplace posterior."""
    form, recipe = options.pop("estimator", None), mm.Laplace(structure, prior=0.5, **options)
    return mm.memory_map(
        net, torch.as_tensor(X), torch.as_tensor(y), likelihood=likelihood, posterior=recipe, estimator=form
    )


def at_the_bound() -> mm.MemoryMap:
    """One example alone in its column: leverage 1, no leave-one-out prediction."""
    x = np.column_stack([X[:, 0], np.arange(N) == 5])
    return mm.memory_map(LinearRegression().fit(x, REAL), x, REAL)


def heavy_tails() -> mm.MemoryMap:
    """Few draws that hardly know the outlier: Pareto-k past its threshold, columns of the posterior's own."""
    slopes = np.random.default_rng(3).normal([1.0, -0.7, 0.3], 0.3, size=(60, 3))
    return mm.memory_map(find("Draws")(1.5 + slopes @ X.T, find("Gaussian")(0.5), find("psis")), X, REAL)


def improved() -> mm.MemoryMap:
    """Refined and refitted rows in one map, with an iteration that has not converged."""
    m = mapped(network(3), np.arange(N) % 3, "categorical", "kfac", probes=0)
    return mm.refit(mm.refine(m, top=4, steps=1, tolerance=1e-9, progress=False), top=2, steps=3, progress=False)


def maps() -> dict[str, mm.MemoryMap]:
    """Name → map."""
    logit = sm.GLM(BIT, sm.add_constant(X[:, :2]), family=sm.families.Binomial()).fit()
    three = LogisticRegression(C=2.0).fit(X, THREE)
    return {
        "regression": mm.memory_map(Ridge().fit(X, REAL, sample_weight=WEIGHT), X, REAL, ids=IDS, sample_weight=WEIGHT),
        "classes": mm.memory_map(three, X, THREE).select(
            [7, 3, 1, 0, 2, 4, 5, 6, 8, 9, 10]
        ),  # not all that were fitted
        "two_targets": mm.memory_map(Ridge().fit(X, TWO), X, TWO),
        "statsmodels": mm.memory_map(sm.OLS(REAL, sm.add_constant(X)).fit()),
        "at_the_bound": at_the_bound(),
        "own_columns": heavy_tails(),
        "directions": mapped(network(3), np.arange(N) % 3, "categorical", directions=1),
        "first_order": mapped(network(1), REAL, "gaussian", estimator="F-sm"),
        "improved": improved(),
        **{f"form_{form.replace('/', '_')}": mm.memory_map(logit, estimator=form) for form in FORMS},
    }


def run(folder: Path) -> None:
    """A run of two recorded steps."""
    net, y = network(3), torch.arange(N) % 3
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, weight_decay=0.01)
    given = {"likelihood": "categorical", "every": 3, "path": folder, "test": (torch.as_tensor(X[:4]), y[:4])}
    with find("Tracker")(net, optimizer, torch.as_tensor(X), y, **given) as tracker:
        for _ in range(6):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(torch.as_tensor(X)), y).backward()
            optimizer.step()
            tracker.step()


def journals(folder: Path) -> None:
    """Refits of a network, and retrainings of a ridge regression by the user's own function."""
    mm.refit(mapped(network(1), REAL, "gaussian"), top=3, steps=20, path=folder / "refit.jsonl", progress=False)

    def retrain(removed: Any, wanted: Any) -> Any:
        return Ridge().fit(np.delete(X, removed, 0), np.delete(REAL, removed)).predict(X[wanted])

    m = mm.memory_map(Ridge().fit(X, REAL), X, REAL)
    mm.retrain_check(m, retrain, k=4, path=folder / "retrain.jsonl", progress=False)


def main() -> None:
    """Write everything into one folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    for name, m in maps().items():
        m.save(folder / f"{name}.parquet")
    run(folder / "run")
    journals(folder)


if __name__ == "__main__":
    main()
