"""Data and model of the demo: scikit-learn's bundled digits (no download)."""

from __future__ import annotations

from typing import Any

from memorymaps._imports import require
from memorymaps.core.arrays import Array


def demo_model() -> tuple[Any, Array, Array]:
    """Logistic regression fitted to the 1,797 bundled 8 × 8 digits: `(model, X [n, 64] in [0, 1], y [n])`.

    Examples
    --------
    >>> model, X, y = demo_model()
    >>> X.shape
    (1797, 64)
    """
    datasets, linear = require("sklearn.datasets"), require("sklearn.linear_model")
    X, y = datasets.load_digits(return_X_y=True)
    X = X / 16
    return linear.LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(X, y), X, y
