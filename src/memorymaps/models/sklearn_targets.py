"""Targets as scikit-learn's trees saw them: numbers, or class numbers with class weights as weights."""

from __future__ import annotations

import functools
from typing import Any

from memorymaps.examples import Examples
from memorymaps.models.classes import numbered
from memorymaps.models.sklearn_linear import _class_weighted, _class_weights, _numeric_target


def _given(model: Any, examples: Examples | None) -> Examples:
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    return examples


def numeric_data(model: Any, examples: Examples | None) -> Examples:
    """Examples with targets as numbers."""
    return _given(model, examples).map(_numeric_target)


def class_data(model: Any, examples: Examples | None) -> Examples:
    """Examples with class numbers; `class_weight` multiplies their weights (per tree where it is per sample)."""
    coded = _given(model, examples).map(functools.partial(numbered, model.classes_))
    if getattr(model, "class_weight", None) in (None, "balanced_subsample"):
        return coded
    return coded.map(functools.partial(_class_weighted, _class_weights(model, coded)))
