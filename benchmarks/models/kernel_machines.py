"""Maps of kernel machines, robust and quantile regression against really refitting without the example.

`MEMORYMAPS_DATA=… python benchmarks/models/kernel_machines.py [examples]`: a random subset of spambase (57 features,
log and scaled) and of diamonds (6 numeric features; log price, or price where it says so); the 60 with the largest
sensitivity and 60 at random are removed in turn and the model fitted again. Score: the move of the example's own
output. "Forgotten": how many of them have sensitivity zero in the map, and the largest move that any of those made.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import HuberRegressor, QuantileRegressor, SGDClassifier, SGDRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from memorymaps import memory_map

warnings.simplefilter("ignore")  # solvers stopped at their iteration limit
SOLVER = {"max_iter": 300_000, "tol": 1e-7, "random_state": 0}
SGD = {"max_iter": 1500, "tol": None, "random_state": 0, "average": True}
CLASSES = {
    "GaussianProcessClassifier": GaussianProcessClassifier(ConstantKernel(4.0) * RBF(8.0), optimizer=None),
    "SVC, rbf, C = 0.1": SVC(C=0.1, tol=1e-6),
    "SVC, rbf, C = 1": SVC(C=1, tol=1e-6),
    "SVC, rbf, C = 10": SVC(C=10, tol=1e-6),
    "SVC, linear, C = 0.1": SVC(C=0.1, kernel="linear", tol=1e-6),
    "LinearSVC, squared hinge": LinearSVC(C=0.1, **SOLVER),
    "LinearSVC, hinge": LinearSVC(C=0.1, loss="hinge", **SOLVER),
    "SGDClassifier, hinge": SGDClassifier(alpha=0.01, **SGD),
    "SGDClassifier, modified Huber": SGDClassifier(loss="modified_huber", alpha=0.01, **SGD),
}
NUMBERS = {
    "KernelRidge": KernelRidge(alpha=0.1, kernel="rbf", gamma=0.2),
    "SVR, C = 1, ε = 0.1": SVR(C=1, tol=1e-6),
    "SVR, C = 10, ε = 0.05": SVR(C=10, epsilon=0.05, tol=1e-6),
    "LinearSVR": LinearSVR(C=1, epsilon=0.05, **SOLVER),
    "LinearSVR, squared": LinearSVR(C=1, epsilon=0.05, loss="squared_epsilon_insensitive", **SOLVER),
    "HuberRegressor": HuberRegressor(alpha=0.01, tol=1e-8, max_iter=5000),
    "QuantileRegressor, 0.5": QuantileRegressor(quantile=0.5, alpha=0),
    "QuantileRegressor, 0.9": QuantileRegressor(quantile=0.9, alpha=0),
    "SGDRegressor, Huber": SGDRegressor(loss="huber", epsilon=0.2, alpha=0.01, **SGD),
}
PRICES = {
    "SVR, price, C = 1000, ε = 50": SVR(C=1000, epsilon=50, tol=1e-4),
    "HuberRegressor, price": HuberRegressor(alpha=0.01, tol=1e-8, max_iter=5000),
    "QuantileRegressor, 0.5, price": QuantileRegressor(quantile=0.5, alpha=0),
}


def data(n: int) -> tuple[np.ndarray, ...]:
    folder = Path(os.environ["MEMORYMAPS_DATA"]) / "tabular"
    spam, gems = pd.read_parquet(folder / "spambase.parquet"), pd.read_parquet(folder / "diamonds.parquet")
    spam, gems = (frame.sample(n, random_state=0) for frame in (spam, gems))
    scaled = StandardScaler().fit_transform(np.log1p(spam.iloc[:, :57].to_numpy(float)))
    features = StandardScaler().fit_transform(gems[["carat", "depth", "table", "x", "y", "z"]].to_numpy(float))
    return scaled, spam["spam"].to_numpy().astype(int), features, gems["price"].to_numpy(float)


def output(model, X):
    if isinstance(model, GaussianProcessClassifier):
        inner = model.base_estimator_
        return inner.kernel_(X, inner.X_train_) @ (inner.y_train_ - inner.pi_)
    return (model.decision_function if hasattr(model, "decision_function") else model.predict)(X)


def compare(name, model, X, y) -> None:
    start = time.perf_counter()
    model.fit(X, y)
    fitted = time.perf_counter()
    m = memory_map(model, X, y, progress=False)
    mapped = time.perf_counter()
    f, everyone = output(model, X), np.arange(len(y))
    rows = np.union1d(
        np.argsort(-m["output_sensitivity"])[:60], np.random.default_rng(0).choice(len(y), 60, replace=False)
    )
    truth = np.asarray([output(model.fit(X[everyone != i], y[everyone != i]), X[[i]])[0] - f[i] for i in rows])
    found = m["deviation"][rows]
    still = m["output_sensitivity"][rows] == 0
    error, slope = np.linalg.norm(found - truth) / np.linalg.norm(truth), found @ truth / (truth @ truth)
    forgotten = f"{still.sum()}: {np.abs(truth[still]).max():.1g}" if still.any() else "–"
    print(
        f"| {name} | {error:.3f} | {slope:.2f} | {spearmanr(np.abs(found), np.abs(truth))[0]:.3f} | "
        f"{m['leverage'].sum():.1f} | {forgotten} | {fitted - start:.2f} | {mapped - fitted:.2f} |",
        flush=True,
    )


def main(n: int) -> None:
    spam, labels, gems, price = data(n)
    print(f"{n} examples\n")
    print(
        "| model | relative error | slope | Spearman ρ | Σ leverage | no memory: largest true move | fit, s | map, s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, model in CLASSES.items():
        compare(name, model, spam, labels)
    for name, model in NUMBERS.items():
        compare(name, model, gems, np.log(price))
    for name, model in PRICES.items():
        compare(name, model, gems, price)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
