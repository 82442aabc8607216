"""Leverages of trees with their splits held against how far refits follow a target, splits free [Ye 1998].

`∂f_i/∂y_i` by refits with `y_i` raised and lowered by half a standard deviation and by one, for 60 examples.

    python benchmarks/fidelity/tree_leverage.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

import memorymaps as mm

N, K, STEPS = 300, 60, (0.5, -0.5, 1.0, -1.0)  # examples, of which are refitted; standard deviations
MODELS = (
    DecisionTreeRegressor(max_depth=3, random_state=0),
    DecisionTreeRegressor(min_samples_leaf=5, random_state=0),
    RandomForestRegressor(50, max_depth=4, random_state=0),
    RandomForestRegressor(50, min_samples_leaf=3, random_state=0),
    RandomForestRegressor(50, random_state=0),
    ExtraTreesRegressor(100, random_state=0),
    ExtraTreesRegressor(50, min_samples_leaf=3, random_state=0),
    GradientBoostingRegressor(n_estimators=50, max_depth=2, random_state=0),
    GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=0),
)


def followed(model: Any, x: np.ndarray, y: np.ndarray, row: int) -> float:
    """Change of the prediction over that of the target, a mean over the steps."""
    found = []
    for step in STEPS:
        other = y.copy()
        other[row] += step
        change = clone(model).fit(x, other).predict(x[[row]]) - model.predict(x[[row]])
        found.append(float(change[0]) / step)
    return float(np.mean(found))


def compare(name: str, model: Any, x: np.ndarray, y: np.ndarray) -> str:
    """A line of the table."""
    model = clone(model).fit(x, y)
    m = mm.memory_map(model, x, y, progress=False)
    rows = np.random.default_rng(0).choice(len(x), K, replace=False)
    truth, h = np.array([followed(model, x, y, row) for row in rows]), m["leverage"][rows]
    error = np.linalg.norm(h - truth) / np.linalg.norm(truth)
    figures = f"{h.sum() / truth.sum():.2f} | {error:.2f} | {spearmanr(h, truth).statistic:.2f}"
    changed = {k: v for k, v in model.get_params().items() if k in ("max_depth", "min_samples_leaf", "n_estimators")}
    kind = m.provenance.description.approximation
    return f"| {name} | {type(model).__name__} {changed} | {kind} | {figures} | {m.trust['leverage'].level} |"


def main() -> None:
    inputs, target = load_diabetes(return_X_y=True)
    friedman = make_friedman1(N, noise=1.0, random_state=0)
    print("| data | model | kind | leverage: ratio of the sums | error | ρ | verdict |")
    print("|---|---|---|---|---|---|---|")
    for name, x, y in (("diabetes", inputs[:N], target[:N]), ("Friedman", *friedman)):
        for model in MODELS:
            print(compare(name, model, x, (y - y.mean()) / y.std()), flush=True)


if __name__ == "__main__":
    main()
