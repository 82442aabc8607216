"""What a map holds at its value although it was computed from all examples: sizes against refits of the whole pipeline.

Scalers, `normalize_y`, balanced class weights, `gamma="scale"` and Huber's scale change when examples are left out.
Examples: the 30 most sensitive and 30 at random; groups: the members' and the others' changes summed, map on refit.

    python benchmarks/fidelity/held.py
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import HuberRegressor, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import memorymaps as mm

N, EACH = 250, 30  # examples; compared, of the most sensitive and at random
Case = tuple[str, Any, np.ndarray, np.ndarray]


def cases() -> list[Case]:
    """Name, pipeline, inputs and targets; with one input at 20 standard deviations, and with 12 examples of a class."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x, y = x[:N], y[:N] / 10
    far = x.copy()
    far[0, 4] = x[:, 4].mean() + 20 * x[:, 4].std()
    scaled = StandardScaler().fit_transform(x)
    many, label = load_breast_cancer(return_X_y=True)
    many = StandardScaler().fit_transform(many)
    rare = np.r_[np.flatnonzero(label == 0)[:12], np.flatnonzero(label == 1)[:150]]
    many_n, label_n = many[:N], label[:N]
    noise = np.random.default_rng(0)
    few = noise.normal(size=(60, 3))
    skewed, heavy = (few @ [1, -1, 0.5] + e for e in (2 * noise.exponential(size=60), noise.standard_t(2, size=60)))
    balanced = LogisticRegression(class_weight="balanced", tol=1e-8, max_iter=10_000)
    process = GaussianProcessRegressor(RBF(3.0) + WhiteKernel(0.5), normalize_y=True, optimizer=None)
    return [
        ("StandardScaler, ridge", make_pipeline(StandardScaler(), Ridge()), x, y),
        ("StandardScaler, ridge, a far input", make_pipeline(StandardScaler(), Ridge(10.0)), far, y),
        ("normalize_y", process, scaled, y),
        ("balanced", balanced, many_n, label_n),
        ("balanced, 12 of a class", clone(balanced).set_params(C=0.1), many[rare], label[rare]),
        ("SVC, gamma='scale'", SVC(), many_n, label_n),
        ("Huber", HuberRegressor(tol=1e-10, max_iter=10_000), scaled, y),
        ("Huber, alpha=10", HuberRegressor(alpha=10.0, tol=1e-10, max_iter=10_000), scaled, 10 * y),
        ("Huber, 60 with exponential noise", HuberRegressor(tol=1e-10, max_iter=10_000), few, skewed),
        ("Huber, 60 with noise of Student's t (2)", HuberRegressor(tol=1e-10, max_iter=10_000), few, heavy),
    ]


def outputs(model: Any, x: np.ndarray) -> np.ndarray:
    """What sensitivities are of: probabilities, decision values or predictions."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(x)[:, 1]
    return model.decision_function(x) if hasattr(model, "decision_function") else model.predict(x)


def change(model: Any, x: np.ndarray, y: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Of every example's output, by a refit of the whole pipeline."""
    rest = np.setdiff1d(np.arange(len(y)), removed)
    return np.abs(outputs(clone(model).fit(x[rest], y[rest]), x) - outputs(model, x))


def of_examples(m: mm.MemoryMap, model: Any, x: np.ndarray, y: np.ndarray) -> str:
    """Slope and relative error of the sensitivities."""
    random = np.random.default_rng(0).permutation(len(y))[:EACH]
    rows = np.union1d(np.argsort(-m["sensitivity"])[:EACH], random)
    truth = np.array([change(model, x, y, np.array([row]))[row] for row in rows])
    s = m["sensitivity"][rows]
    return f"{s @ truth / (truth @ truth):.2f}, {np.linalg.norm(s - truth) / np.linalg.norm(truth):.3f}"


def groups_of(model: Any, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """At random, the highest in a column, and most of a class; of Huber regression also by the residuals' size."""
    n, random, column = len(y), np.random.default_rng(1).permutation(len(y)), np.argsort(-x[:, 2])
    groups = {f"{share:.0%} {name}": order[: int(share * n)]
              for name, order in (("at random", random), ("of a column", column)) for share in (0.1, 0.3)}  # fmt: skip
    if len(np.unique(y)) == 2:
        of_class = np.flatnonzero(y == 0)
        groups["80% of a class"] = of_class[: int(0.8 * len(of_class))]
    if isinstance(model, HuberRegressor):
        order = np.argsort(np.abs(y - model.predict(x)))
        groups |= {"30% smallest residuals": order[: int(0.3 * n)], "30% largest residuals": order[-int(0.3 * n) :]}
    return groups


def main() -> None:
    warnings.simplefilter("ignore")
    for name, model, x, y in cases():
        m = mm.memory_map(model.fit(x, y), x, y)
        print(f"{name}: trust {m.trust['sensitivity'].level}; an example: slope, error {of_examples(m, model, x, y)}")
        groups = groups_of(model, x, y)
        found = m.leave_out({key: m["id"][rows] for key, rows in groups.items()})
        at = {key: k for k, key in enumerate(found["group"])}
        for key, rows in groups.items():
            truth = change(model, x, y, rows)
            rest = np.delete(truth, rows).sum()
            print(f"  {key}: members {found['sensitivity'][at[key]] / truth[rows].sum():.2f}, "
                  f"others {found['rest_sensitivity'][at[key]] / rest:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
