"""LightGBM: boosters and scikit-learn wrappers, with training parameters read from the model's text format."""

from __future__ import annotations

import re
from typing import Any

import lightgbm as lgb
import numpy as np

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
from memorymaps.models.trees.lightgbm_categories import with_category_ridge
from memorymaps.models.trees.training_leaves import weight_positives
from memorymaps.posteriors.model_state import parameters_of
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data

_FULL_DATA_SETTINGS = {"boosting": "gbdt", "data_sample_strategy": "bagging", "use_quantized_grad": "0"}
_REQUIRED_SETTINGS = {"lambda_l1": "0", "max_delta_step": "0", "path_smooth": "0", "linear_tree": "0", "sigmoid": "1"}
_REQUIRED_SETTINGS |= {"is_unbalance": "0", "reg_sqrt": "0", "monotone_constraints": ""}
_FLAGS = ("use_quantized_grad", "linear_tree", "is_unbalance", "reg_sqrt")
_TYPED: dict[str, tuple[str, Any]] = {name: (name, False) for name in _FLAGS}


def _booster(model: Any) -> Any:
    return model if isinstance(model, lgb.Booster) else model.booster_  # LightGBM raises NotFittedError


def _parameters(booster: Any) -> dict[str, str]:
    text = booster.model_to_string(num_iteration=1)
    return dict(re.findall(r"^\[(\w+): (.*)\]$", text[text.index("\nparameters:") :], flags=re.MULTILINE))


def _likelihood(name: str, objective: str, p: dict[str, str]) -> tuple[Likelihood, float]:
    """Likelihood, and LightGBM's factor on its curvature."""
    if objective == "regression":
        return Gaussian(), 1.0
    if objective == "binary":
        return Bernoulli(), 1.0
    if objective == "poisson":
        return Poisson(), float(np.exp(float(p["poisson_max_delta_step"])))
    if objective == "multiclass":
        c = int(p["num_class"])
        return Categorical(), c / (c - 1)
    raise UnsupportedModelError(
        f"{name} was trained with objective {objective!r}: expected regression, binary, multiclass or poisson"
    )


@to_spec.register(lgb.Booster)
@to_spec.register(lgb.LGBMModel)
def _spec(model: Any) -> EnsembleSpec:
    booster, name = _booster(model), f"LightGBM {type(model).__name__}"
    p = _parameters(booster)
    likelihood, curvature_factor = _likelihood(name, p.get("objective", "custom").split(" ")[0], p)
    require_settings(name, p, _FULL_DATA_SETTINGS, "whose rows or gradients leaves do not determine", _TYPED)
    require_settings(name, p, _REQUIRED_SETTINGS, "which changes leaf values", _TYPED)
    if int(p["bagging_freq"]) > 0:
        require_settings(name, p, {"bagging_fraction": "1"}, UNKNOWN_SUBSAMPLE)
    fixed_base = None if p["boost_from_average"] == "1" else np.zeros(booster.num_model_per_iteration())
    return EnsembleSpec(
        name,
        likelihood,
        leaves=lambda inputs: booster.predict(inputs, pred_leaf=True),
        outputs=lambda inputs: _outputs(booster, inputs),
        learning_rate=float(p["learning_rate"]),
        ridge=constant_ridge(p["lambda_l2"]),
        fixed_base=fixed_base,
        curvature_factor=curvature_factor,
        classes=_classes(model),
        scale_pos_weight=float(p["scale_pos_weight"]),
        rows=_number_of_rows(booster),
        zero_trees=lambda labels: labels.max(axis=0) == 0,  # a tree without a split is a constant 0
        finish=lambda model, labels: with_category_ridge(booster, p, model, labels),
    )


def _number_of_rows(booster: Any) -> int | None:
    """Number of examples of the fit, from the first split of its first trees; `None` if none of these has one."""
    counts = re.search(r"^internal_count=(\d+)", booster.model_to_string(num_iteration=1), flags=re.MULTILINE)
    return None if counts is None else int(counts[1])


def _outputs(booster: Any, inputs: Any) -> Array:
    return booster.predict(inputs, raw_score=True).reshape(-1, booster.num_model_per_iteration())


def _classes(model: Any) -> tuple[Any, ...]:
    return tuple(model.classes_.tolist()) if isinstance(model, lgb.LGBMClassifier) else ()


@training_data.register(lgb.Booster)
@training_data.register(lgb.LGBMModel)
def _data(model: Any, examples: Examples | None) -> Examples:
    from memorymaps.models.sklearn_targets import class_data, numeric_data

    booster = _booster(model)
    training = (class_data if isinstance(model, lgb.LGBMClassifier) else numeric_data)(model, examples)
    return ExamplesWithRows(weight_positives(training, float(_parameters(booster)["scale_pos_weight"])))


@parameters_of.register(lgb.Booster)
def _state(model: Any) -> dict[str, Any]:
    text = model.model_to_string(num_iteration=-1)
    return {"booster": np.frombuffer(text.encode(), dtype=np.uint8)}


@parameters_of.register(lgb.LGBMModel)
def _wrapper_state(model: Any) -> dict[str, Any]:
    return parameters_of_attributes(vars(model)) | (_state(_booster(model)) if model.__sklearn_is_fitted__() else {})


posterior.register(lgb.Booster)(boosted_posterior)
posterior.register(lgb.LGBMModel)(boosted_posterior)
