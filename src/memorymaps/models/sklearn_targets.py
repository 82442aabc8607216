"""Targets as scikit-learn's estimators saw them: numbers, or class numbers with class weights as weights."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_class_weight

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import TargetError
from memorymaps.data.class_labels import numbered
from memorymaps.data.examples import Examples

_WEIGHTED_COUNT_MODELS = (
    LogisticRegression,
    LogisticRegressionCV,
    LinearSVC,
    RandomForestClassifier,
    ExtraTreesClassifier,
)
_HAS_WEIGHTED_COUNTS = "sample_weight" in inspect.signature(compute_class_weight).parameters


def numeric_data(model: Any, examples: Examples | None) -> Examples:
    """Examples with targets as numbers.

    Raises
    ------
    ValueError
        No examples: the estimator does not keep them.
    """
    return _require_examples(model, examples).map(numeric_target)


def class_data(model: Any, examples: Examples | None) -> Examples:
    """Examples with class numbers; `class_weight` multiplies their weights (per tree where it is per sample).

    Raises
    ------
    ValueError
        No examples: the estimator does not keep them.
    """
    coded = _require_examples(model, examples).map(functools.partial(numbered, model.classes_))
    return (
        coded.map(functools.partial(apply_class_weights, class_weights(model, coded)))
        if has_class_weights(model)
        else coded
    )


def has_class_weights(model: Any) -> bool:
    """Whether the classifier weighs classes, the same way for all its parts."""
    return getattr(model, "class_weight", None) not in (None, "balanced_subsample")


def _require_examples(model: Any, examples: Examples | None) -> Examples:
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


def apply_class_weights(weights: Array, batch: Batch) -> Batch:
    """A batch of class numbers with each class's weight `[c]` in its examples' weights."""
    weight = weights[batch.target]
    return dataclasses.replace(batch, weight=weight if batch.weight is None else weight * batch.weight)


def class_weights(model: Any, coded: Examples) -> Array:
    """The weight of each class `[c]` that `class_weight` stands for, from class numbers."""
    if isinstance(model.class_weight, str) and model.class_weight == "balanced":
        counts = sum(_class_counts(model, batch) for batch in coded)
        return np.asarray(np.sum(counts) / (len(model.classes_) * np.asarray(counts)))
    y = model.classes_
    return np.asarray(compute_class_weight(model.class_weight, classes=y, y=y), dtype=float)


def _class_counts(model: Any, batch: Batch) -> Array:
    """Examples of each class; recent scikit-learn counts them by weight in some of its models."""
    by_weight = isinstance(model, _WEIGHTED_COUNT_MODELS) and _HAS_WEIGHTED_COUNTS
    weight = np.asarray(batch.weight) if by_weight and batch.weight is not None else None
    return np.bincount(batch.target, weight, minlength=len(model.classes_))
