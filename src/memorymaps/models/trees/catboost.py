"""CatBoost: leaf values are Newton steps on all examples, also where splits were found on a subsample.

Several steps for each tree (`leaf_estimation_iterations`) are the default for two classes on some data. `MultiClass`
fits one tree for all classes and divides by the full softmax Hessian of each leaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import catboost as cb
import numpy as np
from sklearn.exceptions import NotFittedError

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.data.examples import Examples
from memorymaps.data.indexed import ExamplesWithRows
from memorymaps.models.sklearn_targets import class_data, numeric_data
from memorymaps.models.trees.boosting import FixedStructureBoosting, MultiOutputTreeBoosting
from memorymaps.models.trees.boosting_posterior import (
    EnsembleSpec,
    Finish,
    boosted_posterior,
    require_settings,
    to_spec,
)
from memorymaps.models.trees.repeated_newton import with_leaf_steps
from memorymaps.posteriors.model_state import parameters_of
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data

_LOSSES: dict[str, Likelihood] = {
    "RMSE": Gaussian(),
    "Logloss": Bernoulli(),
    "Poisson": Poisson(),
    "MultiClass": Categorical(),
}
_REQUIRED_SETTINGS: dict[str, Any] = {"boosting_type": "Plain", "leaf_estimation_method": "Newton"}
_REQUIRED_SETTINGS |= {"model_shrink_rate": 0, "langevin": False, "posterior_sampling": False}


def _check_fitted(model: Any) -> None:
    if not model.is_fitted():
        raise NotFittedError(f"{type(model).__name__} is not fitted: call model.fit(X, y) before memory_map")


@to_spec.register(cb.CatBoost)
def _spec(model: Any) -> EnsembleSpec:
    _check_fitted(model)
    name, p = f"CatBoost {type(model).__name__}", model.get_all_params()
    if p["loss_function"] not in _LOSSES:
        raise UnsupportedModelError(
            f"{name} was trained with loss {p['loss_function']!r}: refit with {' or '.join(_LOSSES)}"
        )
    require_settings(name, p, _REQUIRED_SETTINGS, "and its leaf values are not Newton steps")
    ridge, likelihood = float(p["l2_leaf_reg"]), _LOSSES[p["loss_function"]]
    base = np.reshape(model.get_scale_and_bias()[1], (-1,))
    multiclass = isinstance(likelihood, Categorical)
    return EnsembleSpec(
        name,
        likelihood,
        leaves=lambda inputs: np.repeat(model.calc_leaf_indexes(inputs)[:, :, None], len(base), axis=2),
        outputs=lambda inputs: model.predict(inputs, prediction_type="RawFormulaVal"),
        learning_rate=float(p["learning_rate"]),
        ridge=lambda weight: ridge * float(np.mean(weight)),
        base=None if multiclass else base,
        fixed_base=base if multiclass else None,  # MultiClass has no boost_from_average
        boosting_class=MultiOutputTreeBoosting if multiclass else FixedStructureBoosting,
        total_weight=None if multiclass else _total_weight(model),
        finish=_leaf_steps(model, name, p, base),
        classes=tuple(model.classes_.tolist()) if isinstance(model, cb.CatBoostClassifier) else (),
    )


def _total_weight(model: Any) -> float:
    """Sum of the weights of all examples, those of the first tree's leaves (`MultiClass` does not give them out)."""
    return float(np.sum(model.get_leaf_weights()[: model.get_tree_leaf_counts()[0]]))


def _leaf_steps(model: Any, name: str, p: Mapping[str, Any], base: Array) -> Finish | None:
    """How leaf values are found by several Newton steps; `None` where a tree has one."""
    steps = int(p["leaf_estimation_iterations"])
    if steps == 1:
        return None
    if len(base) > 1:
        require_settings(name, p, {"leaf_estimation_iterations": 1}, "which is supported for one output only")
    backtracking = p.get("leaf_estimation_backtracking", "No")
    if backtracking != "No":
        require_settings(name, p, {"leaf_estimation_backtracking": "AnyImprovement"}, "another rule for short steps")
    values = np.asarray(model.get_leaf_values())
    first = np.concatenate([[0], np.cumsum(model.get_tree_leaf_counts())[:-1]]).astype(np.int64)
    return lambda found, labels: with_leaf_steps(
        found, base, values[first + labels[:, :, 0].astype(np.int64)], steps, backtracking != "No"
    )


@training_data.register(cb.CatBoost)
def _data(model: Any, examples: Examples | None) -> Examples:
    _check_fitted(model)
    return ExamplesWithRows((class_data if isinstance(model, cb.CatBoostClassifier) else numeric_data)(model, examples))


@parameters_of.register(cb.CatBoost)
def _state(model: Any) -> dict[str, Any]:
    if not model.is_fitted():
        return {}
    leaves = {"leaves": model.get_leaf_values(), "counts": model.get_tree_leaf_counts()}
    return leaves | {"base": np.asarray(model.get_scale_and_bias()[1]), "trees": model.tree_count_}


posterior.register(cb.CatBoost)(boosted_posterior)
