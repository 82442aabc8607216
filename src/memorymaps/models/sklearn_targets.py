"""Targets as scikit-learn's estimators saw them: numbers, or class numbers with class weights as weights."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from memorymaps._types import Array, Batch
from memorymaps.examples import Examples
from memorymaps.likelihoods import TargetError
from memorymaps.models.classes import numbered


def numeric_data(model: Any, examples: Examples | None) -> Examples:
    """Examples with targets as numbers.

    Raises
    ------
    ValueError
        No examples: the estimator does not keep them.
    """
    return _given(model, examples).map(numeric_target)


def class_data(model: Any, examples: Examples | None) -> Examples:
    """Examples with class numbers; `class_weight` multiplies their weights (per tree where it is per sample).

    Raises
    ------
    ValueError
        No examples: the estimator does not keep them.
    """
    coded = _given(model, examples).map(functools.partial(numbered, model.classes_))
    if getattr(model, "class_weight", None) in (None, "balanced_subsample"):
        return coded
    return coded.map(functools.partial(class_weighted, _class_weights(model, coded)))


def _given(model: Any, examples: Examples | None) -> Examples:
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    return examples


def numeric_target(batch: Batch) -> Batch:
    """A batch with targets as numbers.

    Raises
    ------
    TargetError
        Targets that are not.
    """
    try:
        return dataclasses.replace(batch, target=np.asarray(batch.target, dtype=float))
    except (TypeError, ValueError) as error:
        raise TargetError(f"a regression model needs numeric targets, got {batch.target[0]!r}") from error


def class_weighted(weights: Array, batch: Batch) -> Batch:
    """A batch of class numbers with each class's weight `[c]` in its examples' weights."""
    weight = weights[batch.target]
    return dataclasses.replace(batch, weight=weight if batch.weight is None else weight * batch.weight)


def _class_weights(model: Any, coded: Examples) -> Array:
    if isinstance(model.class_weight, str) and model.class_weight == "balanced":
        counts = sum(np.bincount(batch.target, minlength=len(model.classes_)) for batch in coded)
        return np.asarray(np.sum(counts) / (len(model.classes_) * np.asarray(counts)))
    y = model.classes_
    return np.asarray(compute_class_weight(model.class_weight, classes=y, y=y), dtype=float)
