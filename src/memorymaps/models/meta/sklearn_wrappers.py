"""scikit-learn's wrappers of one estimator: transformed targets are supported, calibrated classifiers refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor

from memorymaps.core.arrays import Batch
from memorymaps.data.examples import DataError, Examples
from memorymaps.models.sklearn_targets import held_at_value
from memorymaps.posteriors.contract import Posterior
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data


def _transform_targets(model: Any) -> Any:
    def change(batch: Batch) -> Batch:
        y = np.asarray(batch.target, dtype=float)
        transformed = np.asarray(model.transformer_.transform(y[:, None] if y.ndim == 1 else y))
        if not np.all(np.isfinite(transformed)):
            raise DataError(
                "the target transformer gives values that are not finite for these targets: pass those of the fit"
            )
        return dataclasses.replace(
            batch, target=transformed[:, 0] if transformed.ndim == 2 and transformed.shape[1] == 1 else transformed
        )

    return change


@training_data.register(TransformedTargetRegressor)
def _transformed_data(model: Any, examples: Examples | None) -> Examples:
    if not hasattr(model, "regressor_"):
        raise DataError("TransformedTargetRegressor is not fitted: call model.fit(X, y) before memory_map")
    changed = None if examples is None else examples.map(_transform_targets(model))
    training: Examples = training_data(model.regressor_, changed)
    return training


@posterior.register(TransformedTargetRegressor)
def _transformed(model: Any, examples: Examples) -> Posterior:
    inner = posterior(model.regressor_, examples)
    note = (
        "Targets, errors, predictions and sensitivities are in units of the transformed target, where the model is "
        "fitted; the transformer is fixed."
    )
    name = f"TransformedTargetRegressor of {inner.description.model}"
    fitted = "" if model.transformer is None else f"the targets' scale, by {type(model.transformer).__name__}"
    held = held_at_value(inner.description.hyperparameters_held, fitted)
    notes = (*inner.description.notes, note)
    description = dataclasses.replace(inner.description, model=name, notes=notes, hyperparameters_held=held)
    described: Posterior = dataclasses.replace(inner, description=description)
    return described


@training_data.register(CalibratedClassifierCV)
def _calibrated(model: Any, examples: Examples | None) -> Any:
    raise UnsupportedModelError(
        "CalibratedClassifierCV averages classifiers that were trained on different folds, and its calibrators on "
        "the remaining folds: there is no single model to map. Map the classifier itself, "
        "memory_map(clone(model.estimator).fit(X, y), X, y)"
    )
