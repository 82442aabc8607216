"""Pruning: test loss and accuracy of refits on the examples kept by `prune`, at random, by margin, by EL2N.

Scores of the fitted model: `EL2N` keeps the largest `‖p − y‖`, `margin` the smallest difference of the two largest
probabilities (for numbers `error` keeps the largest residuals), `sensitivity` the largest sensitivities of the map.
Losses are in nats on test examples that were never used; means over seeds, each with its own split.

    MEMORYMAPS_DATA=… python benchmarks/answers/pruning.py [--n 1500] [--seeds 3] [--only TEXT]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from data import DATA, spambase
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.neural_network import MLPClassifier

import memorymaps as mm

SHARES = (0.8, 0.6, 0.4, 0.2, 0.1)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits, averaged to 4 × 4 pixels."""
    X, y = load_digits(return_X_y=True)
    return X.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(X), -1) / 16, y


def fashion() -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST, averaged to 4 × 4 pixels."""
    with np.load(DATA / "fmnist.npz") as file:
        images, labels = file["x_train"][:12_000], file["y_train"][:12_000]
    return images.reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4)).reshape(-1, 16) / 255, labels.astype(int)


def bikes() -> tuple[np.ndarray, np.ndarray]:
    """Hourly counts of rented bicycles by hour, weather and season."""
    table = pd.read_parquet(DATA / "tabular" / "bike_sharing_hour.parquet")
    hour = pd.get_dummies(table["hr"], prefix="hr", drop_first=True).to_numpy(float)
    return np.column_stack([hour, table[["temp", "hum", "windspeed", "workingday", "yr"]].to_numpy(float)]), table[
        "cnt"
    ].to_numpy(float)


CASES: dict[str, tuple[Callable[[], tuple[np.ndarray, np.ndarray]], object]] = {
    "spambase, logistic C = 1": (spambase, LogisticRegression(C=1.0, tol=1e-8, max_iter=5000)),
    "spambase, logistic C = 0.1": (spambase, LogisticRegression(C=0.1, tol=1e-8, max_iter=5000)),
    "digits, softmax C = 1": (digits, LogisticRegression(C=1.0, tol=1e-6, max_iter=5000)),
    "digits, softmax C = 10": (digits, LogisticRegression(C=10.0, tol=1e-6, max_iter=5000)),
    "Fashion-MNIST, softmax C = 1": (fashion, LogisticRegression(C=1.0, tol=1e-6, max_iter=5000)),
    "digits, MLP of 8 tanh units": (
        digits, MLPClassifier((8,), activation="tanh", solver="lbfgs", alpha=1.0, max_iter=5000, random_state=0),
    ),
    "Fashion-MNIST, MLP of 8 tanh units": (
        fashion, MLPClassifier((8,), activation="tanh", solver="lbfgs", alpha=1.0, max_iter=5000, random_state=0),
    ),
    "bicycles, ridge": (bikes, Ridge(alpha=1.0)),
    "bicycles, Poisson": (bikes, PoissonRegressor(alpha=0.0, tol=1e-8, max_iter=5000)),
}  # fmt: skip


def scores(model: object, m: mm.MemoryMap, X: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Of the training examples: the larger, the longer an example is kept."""
    if not hasattr(model, "predict_proba"):
        return {"error": np.abs(model.predict(X) - y), "sensitivity": m["sensitivity"]}
    p = model.predict_proba(X)
    top = np.sort(p, axis=1)
    el2n = np.linalg.norm(p - np.eye(p.shape[1])[y], axis=1)
    return {"EL2N": el2n, "margin": top[:, -2] - top[:, -1], "sensitivity": m["sensitivity"]}


def test_result(model: object, data: tuple[np.ndarray, ...], kept: np.ndarray) -> tuple[float, float]:
    """Loss and accuracy (R² for numbers) on the test examples, of a refit; NaN where a class is lost."""
    X, y, X_test, y_test = data
    if hasattr(model, "predict_proba") and len(np.unique(y[kept])) < len(np.unique(y)):
        return np.nan, np.nan
    fitted = clone(model).fit(X[kept], y[kept])
    if not hasattr(model, "predict_proba"):
        error, total = fitted.predict(X_test) - y_test, y_test - y_test.mean()
        return float(np.mean(error**2) / np.mean(total**2)), float(1 - np.sum(error**2) / np.sum(total**2))
    p = fitted.predict_proba(X_test)
    own = np.maximum(p[np.arange(len(y_test)), y_test], 1e-300)
    return float(-np.log(own).mean()), float(np.mean(fitted.classes_[p.argmax(axis=1)] == y_test))


def one(name: str, n: int, seed: int, methods: list[str]) -> list[dict[str, object]]:
    """A row for each method and share."""
    make, model = CASES[name]
    X, y = make()
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = order[: min(n, len(y) // 2)], order[min(n, len(y) // 2) :][:3000]
    data = (X[train], y[train], X[test], y[test])
    fitted = clone(model).fit(X[train], y[train])
    m = mm.memory_map(fitted, X[train], y[train])
    pruned, rng = mm.prune(m), np.random.default_rng(100 + seed)
    kept_last = np.concatenate([pruned.order, np.setdiff1d(m["id"], pruned.order)])
    ranks = {"prune": np.argsort(kept_last)}
    ranks |= scores(fitted, m, X[train], y[train])
    rows = [{"method": "all", "share": 1.0, "result": test_result(model, data, np.arange(len(train)))}]
    for share in SHARES:
        keep = round(share * len(train))
        sets = {method: np.argsort(-score, kind="stable")[:keep] for method, score in ranks.items()}
        sets = {method: rows for method, rows in sets.items() if not methods or method in methods}
        drawn = [rng.permutation(len(train))[:keep] for _ in range(3)]
        rows += [{"method": k, "share": share, "result": test_result(model, data, v)} for k, v in sets.items()]
        if not methods or "random" in methods:
            random = [test_result(model, data, each) for each in drawn]
            rows.append({"method": "random", "share": share, "result": tuple(np.mean(random, axis=0))})
    return [{"case": name, **row, "loss": row["result"][0], "score": row["result"][1]} for row in rows]


def main() -> None:
    """Print a table for each case as soon as it is there: loss, and in brackets accuracy or R²."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--methods", nargs="*", default=[], help="default: all")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"| case | kept by | all | {' | '.join(f'{share:.0%}' for share in SHARES)} |\n{'|---' * (len(SHARES) + 3)}|")
    for name in CASES:
        if args.only not in name:
            continue
        table = pd.DataFrame([row for seed in range(args.seeds) for row in one(name, args.n, seed, args.methods)])
        mean = table.groupby(["method", "share"], sort=False)[["loss", "score"]].agg(lambda v: v.mean(skipna=False))
        whole = mean.loc[("all", 1.0)]
        for method in dict.fromkeys(table["method"][table["method"] != "all"]):
            cells = [mean.loc[(method, share)] for share in SHARES]
            shown = " | ".join("lost a class" if np.isnan(c.loss) else f"{c.loss:.3f} ({c.score:.3f})" for c in cells)
            print(f"| {name} | {method} | {whole.loss:.3f} ({whole.score:.3f}) | {shown} |", flush=True)


if __name__ == "__main__":
    main()
