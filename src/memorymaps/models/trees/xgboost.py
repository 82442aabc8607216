"""XGBoost: boosters and scikit-learn wrappers, with training parameters read from the booster's configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xgboost as xgb

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.data.examples import Examples
from memorymaps.data.indexed import ExamplesWithRows
from memorymaps.models.sklearn_parameters import parameters_of_attributes
from memorymaps.models.trees.boosting_posterior import (
    UNKNOWN_SUBSAMPLE,
    EnsembleSpec,
    boosted_posterior,
    constant_ridge,
    require_settings,
    to_spec,
)
from memorymaps.models.trees.training_leaves import weight_positives
from memorymaps.posteriors.model_state import parameters_of
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data

# objective → likelihood, factor on its curvature, base_score → output
_OBJECTIVES: dict[str, tuple[Likelihood, float, Callable[[Array], Array]]] = {
    "reg:squarederror": (Gaussian(), 1.0, lambda mean: mean),
    "binary:logistic": (Bernoulli(), 1.0, lambda mean: np.log(mean / (1 - mean))),
    "binary:logitraw": (Bernoulli(), 1.0, lambda f: f),
    "count:poisson": (Poisson(), float(np.exp(0.7)), np.log),
    "multi:softprob": (Categorical(), 2.0, lambda f: f),
    "multi:softmax": (Categorical(), 2.0, lambda f: f),
}
_TYPED: dict[str, tuple[str, Any]] = {"alpha": ("reg_alpha", 0)}  # XGBRegressor(alpha=…) is ignored beside it


def _booster(model: Any) -> Any:
    return model if isinstance(model, xgb.Booster) else model.get_booster()  # XGBoost raises NotFittedError


def _configuration(booster: Any) -> dict[str, Any]:
    learner: dict[str, Any] = json.loads(booster.save_config())["learner"]
    return learner


def _iteration_range(model: Any) -> tuple[int, int]:
    """Range of iterations used by `model.predict`."""
    booster = _booster(model)
    stopped = not isinstance(model, xgb.Booster) and model.early_stopping_rounds is not None
    return 0, (booster.best_iteration + 1 if stopped else booster.num_boosted_rounds())


@to_spec.register(xgb.Booster)
@to_spec.register(xgb.XGBModel)
def _spec(model: Any) -> EnsembleSpec:
    booster, name, iterations = _booster(model), f"XGBoost {type(model).__name__}", _iteration_range(model)
    learner = _configuration(booster)
    objective, model_parameters = learner["learner_train_param"]["objective"], learner["learner_model_param"]
    if objective not in _OBJECTIVES:
        raise UnsupportedModelError(
            f"{name} was trained with objective {objective!r}: expected one of {', '.join(_OBJECTIVES)}"
        )
    p = _training_parameters(name, learner)
    likelihood, curvature_factor, link = _OBJECTIVES[objective]
    base = np.asarray(json.loads(model_parameters["base_score"]), dtype=float).reshape(-1)
    step = float(p["max_delta_step"]) or (0.7 if objective == "count:poisson" else 0.0)
    c = max(1, int(model_parameters["num_class"]))
    start = np.broadcast_to(link(base), (c,))
    return EnsembleSpec(
        name,
        likelihood,
        leaves=lambda inputs: booster.predict(_to_dmatrix(model, inputs), pred_leaf=True, iteration_range=iterations),
        outputs=lambda inputs: booster.predict(
            _to_dmatrix(model, inputs), output_margin=True, iteration_range=iterations
        ).reshape(-1, c),
        learning_rate=float(p["eta"]),
        ridge=constant_ridge(p["lambda"]),
        base=start,
        curvature_factor=curvature_factor,
        max_step=step or np.inf,
        classes=tuple(model.classes_.tolist()) if isinstance(model, xgb.XGBClassifier) else (),
        tolerance=1e-4,
        total_weight=_root_curvature(booster) / (curvature_factor * _curvature_at(likelihood, start)),
        zero_trees=lambda labels: _zero_trees(booster, labels, iterations[0] * c),
    )


def _root_curvature(booster: Any) -> float:
    """Sum of the curvatures of all examples at the start, the `cover` of the first tree's root."""
    root = booster[:1].get_dump(with_stats=True, dump_format="json")[0]
    return float(json.loads(root)["cover"])


def _curvature_at(likelihood: Likelihood, start: Array) -> float:
    """Curvature of one example of weight 1 at the start, in its first output."""
    return float(likelihood.fisher_diagonal(start[None].astype(float), np.zeros(1, dtype=int))[0, 0])


def _zero_trees(booster: Any, labels: Array, first: int) -> Array:
    """Trees `[T, c]` without a split of value 0: those with less curvature than `min_child_weight` take no step."""
    unsplit = labels.max(axis=0) == 0
    if not np.any(unsplit):
        return unsplit
    texts = booster.get_dump()[first : first + unsplit.size]
    zero = [text.partition("=")[2].strip() in ("0", "-0") for text in texts]
    return unsplit & np.reshape(zero, unsplit.shape)


def _training_parameters(name: str, learner: dict[str, Any]) -> dict[str, str]:
    """The trees' training parameters; raise where leaf values cannot be recomputed."""
    booster, train = learner["gradient_booster"], learner["learner_train_param"]
    require_settings(
        name, {"booster": booster["name"]}, {"booster": "gbtree"}, "whose leaf values are not single Newton steps"
    )
    targets = learner["learner_model_param"]["num_target"]
    if targets != "1":
        raise UnsupportedModelError(f"{name} was trained on {targets} targets at once: fit one model for each target")
    dropout = {key: float(value) for key, value in booster.get("dart_train_param", {}).items() if key.endswith("_drop")}
    require_settings(name, dropout, {"rate_drop": 0.0, "one_drop": 0.0}, "which weights trees anew")  # from 3.4 on
    require_settings(name, train, {"multi_strategy": "one_output_per_tree"}, "whose leaf values are vectors")
    p: dict[str, str] = booster["tree_train_param"]
    require_settings(name, p, {"subsample": "1"}, UNKNOWN_SUBSAMPLE)
    require_settings(name, p, {"alpha": "0", "monotone_constraints": "()"}, "which changes leaf values", _TYPED)
    forests = booster["gbtree_model_param"]
    require_settings(name, forests, {"num_parallel_tree": "1"}, "several trees in each iteration")
    return p


def _to_dmatrix(model: Any, inputs: Any) -> Any:
    if isinstance(inputs, xgb.DMatrix):
        return inputs
    settings = {} if isinstance(model, xgb.Booster) else {"missing": model.missing}
    return xgb.DMatrix(inputs, enable_categorical=True, **settings)


@training_data.register(xgb.Booster)
@training_data.register(xgb.XGBModel)
def _data(model: Any, examples: Examples | None) -> Examples:
    from memorymaps.models.sklearn_targets import class_data, numeric_data

    booster = _booster(model)
    training = (class_data if isinstance(model, xgb.XGBClassifier) else numeric_data)(model, examples)
    losses = _configuration(booster)["objective"].get("reg_loss_param", {})
    return ExamplesWithRows(weight_positives(training, float(losses.get("scale_pos_weight", 1))))


@parameters_of.register(xgb.Booster)
def _state(model: Any) -> dict[str, Any]:
    return {"booster": np.frombuffer(model.save_raw("ubj"), dtype=np.uint8)}


@parameters_of.register(xgb.XGBModel)
def _wrapper_state(model: Any) -> dict[str, Any]:
    return parameters_of_attributes(vars(model)) | (_state(_booster(model)) if model.__sklearn_is_fitted__() else {})


posterior.register(xgb.Booster)(boosted_posterior)
posterior.register(xgb.XGBModel)(boosted_posterior)
