"""Cross-fitting: every example predicted by a model that was fitted without its fold."""

from __future__ import annotations

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.settings import as_count
from memorymaps.files.executors.ordered_map import map_in_order
from memorymaps.files.executors.workers import ExecutorArgument, opened
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.refit_tasks import check_threads, refit_without

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


def cross_fitted_outputs(origin: Origin, folds: int, classes: bool, executor: ExecutorArgument = None) -> Array:
    """Outputs `f [n, c]` of all training examples, each from the refit without its fold; folds in parallel, if asked.

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
    check_threads(source, executor)
    rows = [np.flatnonzero(fold == k) for k in range(folds)]
    tasks = [(k, part, part) for k, part in enumerate(rows)]
    with opened(executor) as workers:
        found = [f for f, _ in map_in_order(workers, refit_without, (source, _STEPS, _TOLERANCE), tasks, "the model")]
    f = np.full((n, found[0].shape[1]), np.nan)
    f[np.concatenate(rows)] = np.concatenate(found)
    return f
