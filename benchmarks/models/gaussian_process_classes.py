"""Maps of Gaussian process classifiers against the Laplace approximation fitted again without each example.

`python benchmarks/models/gaussian_process_classes.py [examples …]`: two classes in two dimensions, hyperparameters
given; every example is left out of a dense Newton iteration, of more than 200 the 20 with the largest move and 20 at
random. One step: `estimator="cavity"`; as drawn: the map's own choice, which refits. Errors of the move of its
own latent output (relative, Euclidean; its largest, as a share of the true one) and of the sum of left-out losses.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, DotProduct, Matern, WhiteKernel

from memorymaps import MemoryMap, Warn, memory_map

KERNELS = {
    "RBF, 1": RBF(1.0),
    "RBF, 9": 9 * RBF(1.0),
    "RBF, 100": 100 * RBF(1.0),
    "RBF, 900": 900 * RBF(1.0),
    "Matern, 100": 100 * Matern(1.0, nu=1.5),
    "DotProduct, 100": 100 * DotProduct(1.0),
    "RBF, 100, white noise 5": 100 * RBF(1.0) + WhiteKernel(5.0),
}

KINDS = ("separate", "overlapping", "5 % wrong labels", "twins", "two of a class")


def data(n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng, y = np.random.default_rng(0), np.arange(n) % 2
    if kind == "two of a class":
        y = (np.arange(n) < 2).astype(int)
    gap = {"separate": 4.0, "overlapping": 1.0}.get(kind, 2.0)
    X = rng.normal(size=(n, 2)) + np.outer(y - 0.5, [gap, 0.0])
    if kind == "5 % wrong labels":
        wrong = rng.choice(n, max(1, n // 20), replace=False)
        y[wrong] = 1 - y[wrong]
    if kind == "twins":
        X[n // 2 :] = X[: n - n // 2]
    return X, y


def mode(gram: np.ndarray, y: np.ndarray, duals: np.ndarray) -> np.ndarray:
    """`y − π` at the mode, by Newton steps that are halved until the log posterior rises."""

    def value(a: np.ndarray) -> float:
        f = gram @ a
        return float(np.sum(y * f - np.logaddexp(0, f)) - a @ f / 2)

    for _ in range(100):
        f = gram @ duals
        p = np.exp(-np.logaddexp(0, -f))
        w = p * (1 - p)
        b = w * f + y - p
        step = b - w * np.linalg.solve(np.eye(len(y)) + gram * w, gram @ b) - duals
        if np.max(np.abs(gram @ step)) < 1e-8:
            break
        while value(duals + step) < value(duals) - 1e-10:
            step = step / 2
        duals = duals + step
    return duals


def moves(gram: np.ndarray, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    duals, everyone = mode(gram, y, np.zeros(len(y))), np.arange(len(y))
    kept = [everyone[everyone != i] for i in rows]
    left = [
        gram[i, keep] @ mode(gram[np.ix_(keep, keep)], y[keep], duals[keep]) for i, keep in zip(rows, kept, strict=True)
    ]
    return np.asarray(left) - gram[rows] @ duals


def timed(draw: Callable[[], MemoryMap]) -> tuple[MemoryMap, float]:
    start = time.perf_counter()
    return draw(), time.perf_counter() - start


def figures(m: MemoryMap, y: np.ndarray, rows: np.ndarray, truth: np.ndarray) -> str:
    left, found = m["output"][rows] + truth, m["deviation"][rows]
    loss = np.sum(np.logaddexp(0, left) - y[rows] * left)
    largest = np.argmax(np.abs(truth))
    error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    return f"{error:.3f} | {found[largest] / truth[largest]:.2f} | {m['loo_loss'][rows].sum() / loss - 1:+.1%}"


def compare(n: int, kind: str, name: str) -> None:
    X, y = data(n, kind)
    model = GaussianProcessClassifier(KERNELS[name], optimizer=None)
    start = time.perf_counter()
    model.fit(X, y)
    fitted = time.perf_counter() - start
    step, one = timed(lambda: memory_map(model, X, y, estimator="cavity", progress=False))
    m, drawn = timed(lambda: memory_map(model, X, y, progress=False))
    order = np.argsort(-step["output_sensitivity"])
    rows = np.union1d(order[:20], np.random.default_rng(0).choice(n, 20)) if n > 200 else np.arange(n)
    truth = moves(model.kernel_(X), y, rows)
    refitted = int(m["refitted"].sum()) if "refitted" in m.table.column_names else 0
    marked = int(np.count_nonzero(m["warning"] & int(Warn.LONG_STEP)))
    print(
        f"| {n} | {kind} | {name} | {figures(step, y, rows, truth)} | {figures(m, y, rows, truth)} | {refitted} | "
        f"{marked} | {m.trust['loo_loss'].level} | {fitted:.2f} | {one:.2f} | {drawn:.2f} |",
        flush=True,
    )


def main(sizes: list[int]) -> None:
    print(
        "| n | classes | kernel | one step: error | largest | loss | as drawn: error | largest | loss | refitted | ",
        end="",
    )
    print("marked | trust | fit, s | one step, s | as drawn, s |\n|" + "---|" * 15)
    compare(20, "overlapping", "RBF, 1")  # imports
    for n in sizes:
        for kind in KINDS if n <= 200 else KINDS[1:3]:
            for name in KERNELS:
                compare(n, kind, name)


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [50, 200])
