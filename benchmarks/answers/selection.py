"""Selection of a setting by left-out losses: regret on held-out data beside 5-fold cross-validation.

Regret is the held-out loss (or error rate, where accuracy selects) of the chosen setting minus that of the best setting
of the grid; `cost` is CPU time of all maps, or of all folds, in fits of the grid.

    MEMORYMAPS_DATA=… python benchmarks/answers/selection.py [--n 2000] [--seeds 3] [--only TEXT]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from data import Data, bikes, fashion, spambase
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy import stats
from sklearn.base import clone, is_classifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import memorymaps as mm


def logarithms() -> Data:
    """The logarithm of the number of rented bicycles, centred."""
    X, count = bikes()
    y = np.log1p(count)
    return X, y - y.mean()


@dataclass(frozen=True)
class Family:
    """A grid of one model, the data, and how its maps are ranked."""

    grid: Callable[[], dict[str, Any]]
    data: Callable[[], Data]
    options: dict[str, Any]
    n: int = 10**9  # at most as many examples


def logistic() -> dict[str, Any]:
    return {f"C={C:g}": LogisticRegression(C=C, tol=1e-6, max_iter=3000) for C in np.logspace(-3, 3, 7)}


def perceptron() -> dict[str, Any]:
    return {
        f"alpha={a:g}": MLPClassifier((16,), solver="lbfgs", alpha=a, max_iter=3000, tol=1e-7, random_state=0)
        for a in (0.03, 0.3, 1.0, 3.0, 10.0, 30.0)
    }


def boosting(kind: type, **options: Any) -> dict[str, Any]:
    sizes = [(leaves, trees) for leaves in (4, 15, 63) for trees in (20, 60, 180)]
    return {f"{a}x{b}": kind(num_leaves=a, n_estimators=b, verbose=-1, n_jobs=1, **options) for a, b in sizes}


def processes() -> dict[str, Any]:
    return {
        f"{scale:g},{noise:g}": GaussianProcessRegressor(2.0 * RBF(scale) + WhiteKernel(noise), optimizer=None)
        for scale in (0.5, 1.0, 2.0, 4.0)
        for noise in (0.03, 0.1, 0.3, 1.0)
    }


def machines() -> dict[str, Any]:
    return {f"{C:g},{gamma:g}": SVC(C=C, gamma=gamma) for C in (0.3, 3.0, 30.0) for gamma in (0.003, 0.03, 0.3)}


FAMILIES = {
    "logistic, spambase": Family(logistic, spambase, {}),
    "logistic, Fashion": Family(logistic, fashion, {}),
    "MLP, spambase": Family(perceptron, spambase, {}),
    "MLP, Fashion": Family(perceptron, fashion, {}, 1000),
    "LightGBM, spambase": Family(lambda: boosting(LGBMClassifier), spambase, {"cross_fit": 5}),
    "LightGBM, bikes": Family(lambda: boosting(LGBMRegressor), logarithms, {"cross_fit": 5, "by": "score"}),
    "GP, bikes": Family(processes, logarithms, {"by": "predictive"}),
    "SVC, spambase": Family(machines, spambase, {"by": "score"}),
    "SVC, Fashion": Family(machines, fashion, {"by": "score"}, 1000),
}


def losses(model: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Held-out losses `[n]`: nats, errors 0 and 1 of classifiers without probabilities, or squared errors of trees."""
    if isinstance(model, SVC):
        return (model.predict(X) != y) * 1.0
    if is_classifier(model):
        p = model.predict_proba(X)
        own = p[np.arange(len(y)), np.searchsorted(model.classes_, y)]
        return -np.log(np.maximum(own, 1e-15))
    if isinstance(model, GaussianProcessRegressor):
        mean, sd = model.predict(X, return_std=True)
        return -stats.norm.logpdf(y, mean, sd)
    return np.square(y - model.predict(X))


def cross_validated(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Mean loss over five folds."""
    folds = (StratifiedKFold if is_classifier(model) else KFold)(5, shuffle=True, random_state=0)
    found = [losses(clone(model).fit(X[a], y[a]), X[b], y[b]) for a, b in folds.split(X, y)]
    return float(np.concatenate(found).mean())


def case(family: Family, n: int, seed: int) -> dict[str, Any]:
    """Regrets and costs of one draw of training data."""
    X, y = family.data()
    rows = np.random.default_rng(seed).permutation(len(y))
    n = min(n, family.n, len(y) // 2)
    train, test = rows[:n], rows[n : n + 5000]
    X, y, X_test, y_test = X[train], y[train], X[test], y[test]
    grid = family.grid()
    start = time.process_time()
    fitted = {name: clone(model).fit(X, y) for name, model in grid.items()}
    fits = time.process_time() - start
    truth = {name: float(losses(model, X_test, y_test).mean()) for name, model in fitted.items()}
    start = time.process_time()
    maps = {name: mm.memory_map(model, X, y) for name, model in fitted.items()}
    found = mm.select_model(maps, **family.options)
    ours = time.process_time() - start
    start = time.process_time()
    folds = {name: cross_validated(model, X, y) for name, model in grid.items()}
    theirs = time.process_time() - start
    sign = -1 if found.ranked_by.endswith("accuracy") else 1
    value = dict(zip(found["name"].tolist(), (sign * found["value"]).tolist(), strict=True))
    chosen = {
        "select_model": found.best,
        "simplest": found.simplest,
        "5-fold CV": min(folds, key=folds.__getitem__),
        "training loss": min(grid, key=lambda name: losses(fitted[name], X, y).mean()),
        "loo_loss as it is": min(grid, key=lambda name: maps[name].leave_one_out().loo_loss),
        "loo_score as it is": min(grid, key=lambda name: score_as_it_is(maps[name])),
    }
    least = min(truth.values())
    return {
        "n": n, "settings": len(grid), **{how: truth[name] - least for how, name in chosen.items()},
        "worst": max(truth.values()) - least,
        "rank correlation": stats.spearmanr([value[name] for name in grid], list(truth.values())).statistic,
        "cost": ours / fits, "cost CV": theirs / fits, "trust": "/".join(sorted(set(found["trust"].tolist()))),
    }  # fmt: skip


def score_as_it_is(m: mm.MemoryMap) -> float:
    """Left-out error rate or root mean squared error, whatever the verdict on it."""
    loo = m.leave_one_out()
    return -loo.loo_score if loo.metric == "accuracy" else loo.loo_score


def cases(n: int, seeds: int, only: str) -> Iterator[dict[str, Any]]:
    """All families and seeds, a row each."""
    for name, family in FAMILIES.items():
        for seed in range(seeds) if only in name else ():
            yield {"family": name, "seed": seed, **case(family, n, seed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for row in cases(options.n, options.seeds, options.only):
        rows.append(row)
        print(pd.DataFrame([row]).round(4).to_string(index=False), flush=True)
    table = pd.DataFrame(rows).groupby("family", sort=False)
    print(table.mean(numeric_only=True).drop(columns="seed").round(4).to_string())


if __name__ == "__main__":
    main()
