"""What a tree or forest of scikit-learn predicts itself, from leaves that are known: stored values, averaged.

`predict` and `predict_proba` of scikit-learn's own classes are averages of `tree_.value` over the leaves that `apply`
finds. Classes with methods or trees of their own are asked by their methods.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from memorymaps.core.arrays import Array
from memorymaps.models.sklearn_parameters import parameters_of_attributes
from memorymaps.models.sklearn_predictions import inputs_as_fitted, own_labels
from memorymaps.posteriors.model_state import parameters_of
from memorymaps.posteriors.reproduction import AdapterOutputs, Comparand, own_predictions

FORESTS = (RandomForestRegressor, RandomForestClassifier, ExtraTreesRegressor, ExtraTreesClassifier)
TREES = (DecisionTreeRegressor, DecisionTreeClassifier)
_NODES = ("value", "threshold", "feature")
_METHODS = ("apply", "predict", "predict_proba")


def trees_of(model: Any) -> list[Any]:
    """The trees of a forest, or the tree itself."""
    return list(getattr(model, "estimators_", [model]))


def own_outputs(model: Any, inputs: Any, leaves: Array) -> Array:
    """`predict` or `predict_proba` of the model, `[n]`, `[n, c]` or `[n, classes]`; `leaves [n, T]` as by `apply`."""
    if not _methods_are_of_library(model):
        return np.asarray(model.predict_proba(inputs) if hasattr(model, "classes_") else model.predict(inputs))
    trees = trees_of(model)
    total = sum(tree.tree_.value[leaves[:, t]] for t, tree in enumerate(trees)) / len(trees)
    found = total[:, 0, :] if hasattr(model, "classes_") else total[:, :, 0]
    return np.asarray(found)


def _methods_are_of_library(model: Any) -> bool:
    """Whether model and trees predict by scikit-learn's own methods, not by those of a subclass or an instance."""
    return all(
        getattr(getattr(type(each), name, None), "__module__", "sklearn.").startswith("sklearn.")
        and name not in vars(each)
        for each in (model, *trees_of(model))
        for name in _METHODS
    )


def _labels(model: Any, seen: AdapterOutputs) -> tuple[Comparand, ...]:
    """Labels of classifiers that decide in their own way: the posterior has compared the outputs themselves."""
    return tuple(own_labels(model, inputs_as_fitted(model, seen), seen)) if hasattr(model, "classes_") else ()


def _forest_parameters(model: Any) -> dict[str, Any]:
    """The forest's own attributes, and all nodes of its trees at once."""
    fitted = [tree.tree_ for tree in model.estimators_]
    nodes = {name: np.concatenate([np.ravel(getattr(t, name)) for t in fitted]) for name in _NODES}
    own = {name: value for name, value in vars(model).items() if name not in ("estimators_", "estimator_")}
    return {**parameters_of_attributes(own), **nodes, "node_count": np.asarray([t.node_count for t in fitted])}


for _kind in (*FORESTS, *TREES):
    own_predictions.register(_kind)(_labels)
for _kind in FORESTS:
    parameters_of.register(_kind)(_forest_parameters)
