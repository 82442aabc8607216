"""Cross-fitting: every example predicted by a model that was fitted without its fold."""

from __future__ import annotations

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.settings import as_count
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.origin import Origin

_STEPS, _TOLERANCE = 500, 1e-3


def fold_of(target: Array, folds: int, classes: bool, seed: int = 0) -> Array:
    """The fold of each example `[n]`: equal sizes, drawn at random; with `classes`, equal shares of every class.

    Examples
    --------
    >>> fold_of(np.array([0, 1, 0, 1]), 2, classes=True).tolist()
    [1, 0, 0, 1]
    """
    order = np.random.default_rng(seed).permutation(len(target))
    if classes:
        order = order[np.argsort(np.asarray(target)[order], kind="stable")]
    found = np.empty(len(target), dtype=np.intp)
    found[order] = np.arange(len(target)) % folds
    return found


def cross_fitted_outputs(origin: Origin, folds: int, classes: bool) -> Array:
    """Outputs `f [n, c]` of all training examples, each from the refit without its fold.

    Raises
    ------
    TypeError
        The posterior cannot refit its model.
    ValueError
        `folds` is below 2 or above the number of examples; a class of fewer than two examples.
    """
    source, n = capabilities_of(origin.posterior).refit, len(origin.examples)
    if source is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} cannot refit its model: leave cross_fit out, or cross-validate the "
            "model itself"
        )
    if as_count("number of folds", folds, least=2) > n:
        raise ValueError(f"number of folds = {folds}: expected one from 2 to {n}, the number of examples")
    target = np.asarray(origin.examples.take(np.arange(n)).target)
    fold = fold_of(target, folds, classes and target.ndim == 1)
    f: Array | None = None
    for k in range(folds):
        rows = np.flatnonzero(fold == k)
        found, _ = source.refit(rows, rows, _STEPS, _TOLERANCE)
        f = np.full((n, found.shape[1]), np.nan) if f is None else f
        f[rows] = found
    return np.asarray(f)
