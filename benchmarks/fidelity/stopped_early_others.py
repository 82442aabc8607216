"""As `stopped_early.py`, of other kinds of model: GLMs, lasso and elastic net, kernel SVMs, small networks.

Each is stopped after some steps of its own solver and compared with the same model at its optimum; networks with the
minimum that their own weights lead to. Grouped by the distance from the optimum that the map states.

    python benchmarks/fidelity/stopped_early_others.py
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import ElasticNet, GammaRegressor, Lasso, LogisticRegression, PoissonRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from stopped_early import compared

import memorymaps as mm

DISTANCES = (0.01, 0.1, 0.5, 1, 1.5, 2, np.inf)  # posterior standard deviations each
MOST = 250  # examples
ENDS = {"max_iter": 100_000, "tol": 1e-10}
Case = tuple[mm.MemoryMap, mm.MemoryMap]


def data(load: Callable[..., Any]) -> tuple[Any, Any]:
    x, y = load(return_X_y=True)
    return StandardScaler().fit_transform(x)[:MOST], y[:MOST]


CANCER, WINE = data(load_breast_cancer), data(load_wine)
X, Y = data(load_diabetes)
COUNTS, SCORES, UNEVEN = np.round(Y / 25), (Y - Y.mean()) / Y.std(), X * np.geomspace(0.1, 30, 10)


def stopped(model: Any, x: Any, y: Any, steps: tuple[int, ...], **end: Any) -> Iterator[Case]:
    best = mm.memory_map(copy.deepcopy(model).set_params(**{**ENDS, **end}).fit(x, y), x, y)
    for k in steps:
        yield mm.memory_map(copy.deepcopy(model).set_params(max_iter=k, tol=1e-10).fit(x, y), x, y), best


def glms() -> Iterator[Case]:
    steps, (x, y) = (1, 2, 3, 5, 10, 30), CANCER
    for solver in ("newton-cg", "newton-cholesky", "liblinear", "sag", "saga"):
        model = LogisticRegression(C=10, solver=solver, random_state=0)
        yield from stopped(model, x, y, steps, solver="liblinear" if solver == "liblinear" else "lbfgs")
    for inputs, (model, targets) in itertools.product(
        (X, UNEVEN), ((PoissonRegressor(alpha=1e-3), COUNTS), (GammaRegressor(alpha=1e-3), Y))
    ):
        yield from stopped(model, inputs, targets, steps)
    few = sm.add_constant(x[:, :6])
    for model, method in itertools.product(
        (sm.Logit(y, few), sm.Poisson(COUNTS, sm.add_constant(X))), ("newton", "bfgs")
    ):
        best = mm.memory_map(model.fit(maxiter=1000, disp=0))
        for k in (1, 2, 3, 5, 8):
            yield mm.memory_map(model.fit(maxiter=k, method=method, disp=0)), best


def lassos() -> Iterator[Case]:
    for (x, y), share, kind in itertools.product(
        (CANCER, (X, Y), (UNEVEN, Y)), (0.003, 0.03, 0.3), (Lasso, ElasticNet)
    ):
        alpha = share * np.max(np.abs(x.T @ (y - y.mean()))) / len(y)
        yield from stopped(kind(alpha=alpha), x, y * 1.0, (1, 2, 3, 5, 8, 12, 20, 40), tol=1e-12)


def machines() -> Iterator[Case]:
    steps = (5, 20, 40, 80, 160, 320)
    for (model, (x, y)), strength in itertools.product(
        ((SVC(), CANCER), (SVC(), (WINE[0], WINE[1] > 0)), (SVR(), (X, Y / 50)), (SVR(), (WINE[0], WINE[1] * 1.0))),
        (0.1, 1, 10),
    ):
        yield from stopped(model.set_params(C=strength), x, y, steps, max_iter=-1, tol=1e-8)


def networks() -> Iterator[Case]:
    recipes = itertools.product(
        ((MLPClassifier, CANCER), (MLPClassifier, WINE), (MLPRegressor, (X, SCORES))), (0.1, 1.0), ("adam", "lbfgs")
    )
    for (kind, (x, y)), alpha, solver in recipes:
        for k in (3, 10, 30, 100, 300):
            model = kind(
                hidden_layer_sizes=(8,), activation="tanh", solver=solver, alpha=alpha, max_iter=k, tol=0,
                n_iter_no_change=10**6, batch_size=len(y), learning_rate_init=0.01, random_state=1,
            )  # fmt: skip
            m = mm.memory_map(model.fit(x, y), x, y)
            further = copy.deepcopy(model).set_params(solver="lbfgs", warm_start=True, max_iter=4000, tol=1e-12)
            yield m, mm.memory_map(further.fit(x, y), x, y)


def line(kind: str, m: mm.MemoryMap, best: mm.MemoryMap) -> dict[str, Any]:
    about = {"kind": kind, "distance": m.provenance.description.distance, "ranks are": str(m.trust["ranks"].level)}
    return {**about, **compared(m, best, "leverage"), **compared(m, best, "sensitivity")}


def main() -> None:
    warnings.simplefilter("ignore")
    kinds = {"GLMs": glms, "lassos": lassos, "kernel SVMs": machines, "networks": networks}
    found = pd.DataFrame(line(name, *case) for name, cases in kinds.items() for case in cases())
    columns = [name for name in found.columns if name.startswith(("leverage ", "sensitivity "))]
    found["from"] = pd.cut(found["distance"], (-1, *DISTANCES))
    for by in ("from", "ranks are"):
        groups = found.groupby(["kind", by], observed=True)[columns]
        quantiles = {q: groups.quantile(q).round(2) for q in (0.1, 0.5, 0.9)}
        print(pd.concat({"maps": groups.size(), **quantiles}, axis=1).to_string())


if __name__ == "__main__":
    main()
