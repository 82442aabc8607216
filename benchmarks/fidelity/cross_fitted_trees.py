"""Fully grown trees without bootstrap: sizes by five folds against refits without one example.

`python benchmarks/fidelity/cross_fitted_trees.py`; data of scikit-learn and statsmodels. Of each map the 8 largest
sizes and 8 others are compared with clones fitted without the example, with the same seed.
"""

from __future__ import annotations

import numpy as np
import statsmodels.api as sm
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_diabetes, load_digits, make_classification, make_friedman1
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestRegressor

import memorymaps as mm

K = 8  # largest sizes, and others


def cases():
    """Names, models and data."""
    rng = np.random.default_rng(1)
    x, y = load_digits(return_X_y=True)
    rows = rng.choice(len(y), 300, replace=False)
    x, y = x[rows], y[rows]
    fair = sm.datasets.fair.load_pandas().data.sample(300, random_state=0)
    crime = sm.datasets.statecrime.load_pandas().data
    classes, numbers = ExtraTreesClassifier(random_state=0), ExtraTreesRegressor(random_state=0)
    yield "digits", classes, x, y
    yield "affairs", classes, fair.drop(columns="affairs").to_numpy(), (fair.affairs > 0).to_numpy().astype(int)
    yield "noisy classes", classes, *make_classification(300, 10, flip_y=0.2, random_state=0)
    yield "friedman", numbers, *make_friedman1(300, noise=1.0, random_state=0)
    yield "crime", numbers, crime.drop(columns="violent").to_numpy(), crime.violent.to_numpy()
    yield "a pixel", numbers, np.delete(x, 20, axis=1), x[:, 20]
    yield "diabetes", numbers, *load_diabetes(return_X_y=True)
    forest = RandomForestRegressor(bootstrap=False, max_features=0.5, random_state=0)
    yield "friedman, forest", forest, *make_friedman1(300, noise=1.0, random_state=1)
    for trees in (50, 20, 5):
        few = ExtraTreesRegressor(trees, random_state=0)
        yield f"friedman, {trees} trees", few, *make_friedman1(300, noise=1.0, random_state=2)


def outputs(model, x):
    """What the map's sizes are changes of."""
    return model.predict_proba(x) if is_classifier(model) else model.predict(x)[:, None]


def compared(model, x, y):
    """Sizes of the map and of refits."""
    m = mm.memory_map(model.fit(x, y), x, y)
    order = np.argsort(-m["sensitivity"])
    rows = np.r_[order[:K], np.random.default_rng(0).permutation(order[K:])[:K]]
    f, truth = outputs(model, x[rows]), []
    for k, row in enumerate(rows):
        rest = np.arange(len(y)) != row
        truth.append(np.sum(np.abs(outputs(clone(model).fit(x[rest], y[rest]), x[[row]])[0] - f[k])))
    return m["sensitivity"][rows], np.asarray(truth)


if __name__ == "__main__":
    for name, model, x, y in cases():
        found, truth = compared(model, x, y)
        slope, error = found @ truth / (truth @ truth), np.linalg.norm(found - truth) / np.linalg.norm(truth)
        print(f"{name:22} slope {slope:.2f}  error {error:.2f}", flush=True)
