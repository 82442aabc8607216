"""Targets of scikit-learn's estimators: numbers, or class indices with `class_weight` multiplied into the weights."""

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
from memorymaps.data.class_labels import encode_labels
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
    """Training examples of a regressor, with numeric targets.

    Raises
    ------
    ValueError
        No examples given: the estimator does not store them.
    """
    return _require_examples(model, examples).map(numeric_target)


def class_data(model: Any, examples: Examples | None) -> Examples:
    """Training examples of a classifier, with class indices and `class_weight` multiplied into their weights.

    `class_weight="balanced_subsample"` is left to the forest adapter, as it differs between trees.

    Raises
    ------
    ValueError
        No examples given: the estimator does not store them.
    """
    indexed = _require_examples(model, examples).map(functools.partial(encode_labels, model.classes_))
    if not has_class_weights(model):
        return indexed
    return indexed.map(functools.partial(apply_class_weights, class_weights(model, indexed)))


def has_class_weights(model: Any) -> bool:
    """Whether the classifier has a `class_weight` that is the same for all its parts."""
    return getattr(model, "class_weight", None) not in (None, "balanced_subsample")


def balanced_weights(model: Any) -> str:
    """Class weights that follow the number of examples, as what a removal holds at its value; empty: none."""
    balanced = getattr(model, "class_weight", None) in ("balanced", "balanced_subsample")
    return f"class weights, by class_weight={model.class_weight!r}" if balanced else ""


def held_at_value(*names: str) -> str:
    """`Description.hyperparameters_held` of those that are not empty."""
    return "; ".join(filter(None, names))


def _require_examples(model: Any, examples: Examples | None) -> Examples:
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    return examples


def numeric_target(batch: Batch) -> Batch:
    """A batch with its targets converted to float64.

    Raises
    ------
    TargetError
        Targets that are not numeric.
    """
    try:
        return dataclasses.replace(batch, target=np.asarray(batch.target, dtype=float))
    except (TypeError, ValueError) as error:
        raise TargetError(_not_numeric(np.asarray(batch.target))) from error


def _not_numeric(target: Array) -> str:
    """Names the first target that is no number, or the kind of all of them."""
    bad = [
        row for row, values in enumerate(target.reshape(len(target), -1).tolist()) if not all(map(_is_number, values))
    ]
    if not bad or len(bad) == len(target):
        return f"a regression model needs numeric targets, got an array of {target.dtype}: pass numbers"
    value = target[bad[0]].tolist() if target.ndim > 1 else target[bad[0]]
    return f"a regression model needs numeric targets, got {value!r} in row {bad[0]} of its batch: drop such rows"


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def apply_class_weights(weights: Array, batch: Batch) -> Batch:
    """A batch of class indices with its weights multiplied by the class weights `[c]`."""
    weight = weights[batch.target]
    return dataclasses.replace(batch, weight=weight if batch.weight is None else weight * batch.weight)


def class_weights(model: Any, indexed: Examples) -> Array:
    """Class weights `[c]` for the estimator's `class_weight`, from examples with class indices."""
    if isinstance(model.class_weight, str) and model.class_weight == "balanced":
        counts = sum(_class_counts(model, batch) for batch in indexed)
        return np.asarray(np.sum(counts) / (len(model.classes_) * np.asarray(counts)))
    y = model.classes_
    return np.asarray(compute_class_weight(model.class_weight, classes=y, y=y), dtype=float)


def _class_counts(model: Any, batch: Batch) -> Array:
    """Number of examples of each class `[c]`, or their total weight where scikit-learn's version uses it."""
    by_weight = isinstance(model, _WEIGHTED_COUNT_MODELS) and _HAS_WEIGHTED_COUNTS
    weight = np.asarray(batch.weight) if by_weight and batch.weight is not None else None
    return np.bincount(batch.target, weight, minlength=len(model.classes_))
