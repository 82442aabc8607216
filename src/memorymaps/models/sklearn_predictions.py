"""The predictions of scikit-learn's estimators, for comparison with what their adapters make of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.svm import SVC

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.data.indexed import InputsWithRows
from memorymaps.posteriors.reproduction import AdapterOutputs, Comparand, own_predictions

_TIE = 1e-3  # two classes whose means are closer than this (relative) may be told apart differently


@own_predictions.register(BaseEstimator)
def _estimator(model: Any, seen: AdapterOutputs) -> tuple[Comparand, ...]:
    inputs = inputs_as_fitted(model, seen)
    if not hasattr(model, "classes_"):
        return (Comparand("predict", model.predict(inputs), seen.likelihood.mean(seen.f)),)
    return (*_scores(model, inputs, seen), *own_labels(model, inputs, seen))


@own_predictions.register(TransformedTargetRegressor)
def _transformed(model: Any, seen: AdapterOutputs) -> tuple[Comparand, ...]:
    own = np.asarray(model.regressor_.predict(inputs_as_fitted(model, seen)))
    mean = seen.likelihood.mean(seen.f)
    back = np.asarray(model.transformer_.inverse_transform(mean))
    return (
        Comparand("regressor_.predict", own, mean),
        Comparand("predict", model.predict(inputs_as_fitted(model, seen)), back),
    )


def inputs_as_fitted(model: Any, seen: AdapterOutputs) -> Any:
    """Inputs as scikit-learn takes them: a data frame's columns in the order of the fit."""
    inputs = seen.batch.inputs
    inputs = inputs.inputs if isinstance(inputs, InputsWithRows) else inputs
    if hasattr(inputs, "toarray") and getattr(_last_step(model), "_sparse", None) is False:
        inputs = inputs.toarray()  # support vector machines that were trained on dense data predict for dense only
    names = getattr(model, "feature_names_in_", None)
    if names is None or not hasattr(inputs, "columns") or list(inputs.columns) == list(names):
        return inputs
    return inputs[list(names)] if set(names) <= set(inputs.columns) else inputs


def _scores(model: Any, inputs: Any, seen: AdapterOutputs) -> Iterator[Comparand]:
    """Probabilities of logistic and softmax models, decision values of the others."""
    last = _last_step(model)
    if isinstance(last, GaussianProcessClassifier):
        return  # its probabilities average over the posterior, and leave a WhiteKernel out
    if isinstance(seen.likelihood, (Bernoulli, Categorical)) and hasattr(model, "predict_proba"):
        own = np.asarray(model.predict_proba(inputs))
        yield Comparand("predict_proba", own[:, 1] if seen.f.shape[1] == 1 else own, seen.likelihood.mean(seen.f))
    elif isinstance(last, SVC) and seen.f.shape[1] > 1:
        yield Comparand("decision_function", _by_pairs(model, inputs), seen.f)
    elif hasattr(model, "decision_function"):
        own = np.asarray(model.decision_function(inputs))
        if own.size == seen.f.size:
            yield Comparand("decision_function", own, seen.f)


def _by_pairs(model: Any, inputs: Any) -> Array:
    """Decision values of an SVC for each pair of classes, as they were fitted, through pipelines and searches."""
    while not isinstance(model, SVC):
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
            continue
        inputs = model[:-1].transform(inputs) if len(model.steps) > 1 else inputs
        model = model.steps[-1][1]
    changed = copy.copy(model)
    changed.decision_function_shape = "ovo"
    return np.asarray(changed.decision_function(inputs))


def _last_step(model: Any) -> Any:
    """The classifier inside pipelines and searches."""
    while True:
        inner = getattr(model, "best_estimator_", None)
        inner = model.steps[-1][1] if inner is None and hasattr(model, "steps") else inner
        if inner is None:
            return model
        model = inner


def own_labels(model: Any, inputs: Any, seen: AdapterOutputs) -> Iterator[Comparand]:
    """Predicted classes of subclasses that predict in their own way, where no two classes are nearly tied."""
    module = getattr(getattr(type(model), "predict", None), "__module__", "sklearn.")
    if module.startswith("sklearn.") or seen.f.shape[1] not in (1, len(model.classes_)):
        return
    mean = seen.likelihood.mean(seen.f)
    clear = _clear(seen.f)
    decided = seen.likelihood.predict_target(mean)
    second = decided[:, 0] > 0.5 if decided.ndim == 2 else decided
    adapted = np.asarray(model.classes_)[np.asarray(second, dtype=np.intp)]
    own = np.asarray(model.predict(inputs))
    yield Comparand("predict", np.where(clear, own, adapted).astype(str), adapted.astype(str))


def _clear(f: Array) -> Array:
    """Whether the two largest outputs (of a binary model: the output and 0) differ by more than rounding `[n]`."""
    outputs = np.concatenate([f, np.zeros_like(f)], axis=1) if f.shape[1] == 1 else f
    ordered = np.sort(outputs, axis=1)
    return ordered[:, -1] - ordered[:, -2] > _TIE * (1 + np.abs(ordered[:, -1]))
