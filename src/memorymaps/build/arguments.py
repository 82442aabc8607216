"""What `memory_map` is given: the recipe, the examples, the estimator, the positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.estimators import Estimator, estimator_named
from memorymaps.data.coercion import as_array, checked_ids
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.library_errors import explained_errors
from memorymaps.data.loading import Loading
from memorymaps.data.views import WithColumns
from memorymaps.posteriors.registry import examples_for, training_data


def requested_estimator(estimator: str | None, change: str | None) -> Estimator | None:
    """The estimator and the change of the mean by their names, `None` for the posterior's own."""
    if estimator is None:
        if change is not None:
            raise ValueError(
                f"change = {change!r} without an estimator: pass both, estimator='cavity', change={change!r}"
            )
        return None
    return estimator_named(estimator, change)


def with_recipe(model: Any, likelihood: Any, recipe: Any) -> Any:
    """The model with the recipe of its posterior, or itself without one."""
    if recipe is None and likelihood is None:
        return model
    if recipe is None:
        raise ValueError(
            f"likelihood = {likelihood!r} without posterior=…: a network needs both, posterior=Laplace(prior="
            "prior_from(optimizer, n)); any other model has its own likelihood: leave out likelihood="
        )
    if isinstance(recipe, type) or not callable(recipe):
        raise TypeError(
            f"posterior = {recipe!r}: expected a recipe, such as "
            f"posterior=Laplace({recipe if isinstance(recipe, str) else 'auto'!r}, prior=prior_from(optimizer, n))"
        )
    return recipe(model, likelihood)


def check_resumable(recipe: Any, path: Any) -> None:
    """Raise `ValueError` where batches beside `path` could not be gone on with: the posterior depends on timing."""
    timed = getattr(recipe, "timed", "")
    if path is not None and timed:
        raise ValueError(
            f"path= with {timed}, which is timed: after an interruption other rows would be drawn and finished batches "
            "lost. Expected a budget in seconds, which are counted, budget=600, or no path= and m.save(path) afterwards"
        )


def as_examples(model: Any, data: Any, target: Any, columns: tuple[Any, Any, Any], loading: Loading) -> Examples | None:
    """The inputs, targets and `columns` (ids, weights, offset); `None`: the model contains its own."""
    has_columns = any(value is not None for value in (target, *columns))
    if loading.given and (data is None or target is not None or isinstance(data, Examples)):
        raise ValueError(
            f"{' and '.join(loading.options)}: for a network's data set, whose examples contain their targets; arrays "
            "are divided into batches as memory allows: leave it out"
        )
    if data is None:
        if any(value is not None for value in (target, *columns[1:])):
            raise ValueError("targets, weights or an offset without inputs: call memory_map(model, X, y, …)")
        return None
    if isinstance(data, Examples):
        if has_columns:
            raise ValueError(f"{type(data).__name__} has its own targets, ids, weights and offset: pass no others")
        return data
    if target is not None:
        return ArrayExamples.of(data, target, *columns)
    found: Examples = examples_for(model, data, loading)
    return WithColumns.of(found, *columns) if has_columns else found


def training_examples(model: Any, given: Examples | None, ids: Any) -> Examples:
    """The examples as the model was trained on them; those contained in a model with the `ids` that were given."""
    with explained_errors(model):
        found: Examples = training_data(model, given)
    if given is None and ids is not None:
        return WithColumns(found, checked_ids(ids, None, len(found)))
    return found


def sorted_positions(rows: Any, n: int) -> Array:
    """Sorted unique positions.

    Raises
    ------
    DataError
        No position, or one outside `0 … n − 1`.
    """
    found = np.unique(as_array(rows))
    if found.size == 0 or found.dtype.kind not in "iu" or found[0] < 0 or found[-1] >= n:
        raise DataError(f"rows = {rows!r}: expected positions from 0 to {n - 1}, at least one")
    return found
