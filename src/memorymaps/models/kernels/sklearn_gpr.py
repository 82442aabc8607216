"""scikit-learn's Gaussian process regressor: the exact posterior.

Hyperparameters are fixed at their fitted values, and so are the mean and scale of the targets under `normalize_y`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.utils.validation import check_is_fitted

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.gather import check_training_data, gather_examples, reweight_examples
from memorymaps.models.kernels.fit_checks import check_regression_fit
from memorymaps.models.kernels.gram_posterior import GramPosterior, KernelOutput
from memorymaps.models.kernels.kernel_functions import vector_inputs
from memorymaps.models.kernels.kernel_refits import GaussianRefit
from memorymaps.models.kernels.rounding import Rounding
from memorymaps.models.linear.design_matrix import Design
from memorymaps.models.sklearn_targets import held_at_value, numeric_target
from memorymaps.models.smoothing import FittedErrors
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import posterior, training_data

CHOSEN_BY_EVIDENCE = "the kernel's hyperparameters, by the marginal likelihood"
HYPERPARAMETERS_FIXED = (
    "Hyperparameters are fixed at their fitted values: they are not optimised again when an example is left out."
)
_NORMALISATION_FIXED = "The targets' mean and scale (normalize_y) are fixed at those of the complete data."
METHODS = ("nickl2023memory", "tailor2023maps")


def check_fitted(model: Any, attribute: str) -> None:
    """Raise `NotFittedError` unless the model has `attribute`, which `fit` sets."""
    try:
        check_is_fitted(model, attribute)
    except NotFittedError as error:
        raise NotFittedError(f"{type(model).__name__} is not fitted: call model.fit(X, y) before memory_map") from error


def refuse_weights(batch: Batch) -> Batch:
    """Return the batch; raise `DataError` if it has weights."""
    if batch.weight is not None:
        raise DataError(
            "scikit-learn's Gaussian processes are fitted without sample_weight: leave it out; noise that differs "
            "between examples goes into GaussianProcessRegressor(alpha=[...])"
        )
    return batch


# --- regression ------------------------------------------------------------------------------------------------------


def white_noise_variance(kernel: Any, x: Any) -> Array:
    """The variance `[n]` that `WhiteKernel` adds on the diagonal of the kernel matrix only."""
    total = kernel.diag(x)
    white = total - np.diagonal(kernel(x, x))
    return np.where(np.abs(white) < 1e-12 * total, 0.0, white)


def _noise(model: Any, x: Any) -> Array:
    """Noise variances `[n]` of the training examples, in units of the scaled targets: WhiteKernel and `alpha`."""
    white = white_noise_variance(model.kernel_, x)
    noise = np.broadcast_to(np.asarray(model.alpha, dtype=float), white.shape) + white
    if np.any(noise <= 0):
        raise DataError("a noise variance is not positive: set alpha > 0 or add a WhiteKernel")
    return np.asarray(noise)


@training_data.register(GaussianProcessRegressor)
def _regression_data(model: Any, examples: Examples | None) -> Examples:
    check_fitted(model, "X_train_")
    if examples is None:
        raise ValueError(
            f"{type(model).__name__} keeps no targets in their original units: call memory_map(model, X, y)"
        )
    examples = examples.map(numeric_target).map(refuse_weights)
    noise = _noise(model, model.X_train_)
    if np.ptp(noise) <= 1e-12 * noise.max():
        return examples
    if len(noise) != len(examples):
        raise DataError(f"{len(examples)} examples: the model was fitted on {len(noise)}. Pass the rows of the fit")
    return reweight_examples(examples, lambda batch: np.mean(noise) / noise)


@posterior.register(GaussianProcessRegressor)
def _regression(model: Any, examples: Examples) -> GramPosterior:
    data = gather_examples(examples)
    check_training_data(data.inputs, model.X_train_, type(model).__name__)
    noise, y = _noise(model, model.X_train_), data.target.reshape(len(data), -1)
    scale = _target_variance(y) if model.normalize_y else np.ones(y.shape[1])
    phi = scale * np.mean(noise)
    gram = model.kernel_(model.X_train_, model.X_train_)
    check_regression_fit(model, gram, noise, y)
    kernel = _kernel(model)
    errors = -np.reshape(model.alpha_, y.shape).astype(float) / np.sqrt(scale)
    parts = tuple(
        KernelOutput(kernel, model.X_train_, gram, 1 / (s * noise), scale=float(s), error=e)
        for s, e in zip(scale, errors.T, strict=True)
    )
    rounding = Rounding.of(parts, float(np.finfo(model.alpha_.dtype).eps))
    description = Description(
        model="scikit-learn GaussianProcessRegressor",
        approximation=Approximation.EXACT,
        posterior="exact Gaussian process",
        likelihood="Gaussian",
        prior=f"kernel {model.kernel_}, from the model",
        coverage=(f"f at {len(y)} training inputs: exact, full covariance",),
        effective_parameters=sum(part.effective_parameters for part in parts),
        dispersion=float(phi[0]) if len(phi) == 1 else tuple(phi.tolist()),
        hyperparameters_held=held_at_value(
            CHOSEN_BY_EVIDENCE if model.optimizer is not None else "",
            "mean and standard deviation of the targets, by normalize_y" if model.normalize_y else "",
        ),
        notes=(HYPERPARAMETERS_FIXED, *((_NORMALISATION_FIXED,) if model.normalize_y else ())),
        cautions=rounding.cautions("alpha", "a larger alpha, or add a WhiteKernel"),
        relative_error=rounding.stated,
        methods=(*METHODS, "rasmussen2006gaussian"),
    )
    found = GramPosterior(
        Gaussian(description.dispersion or 1.0), description, _predict_function(model), parts,
        fitted=FittedErrors.of(data.ids, errors),
    )  # fmt: skip
    return dataclasses.replace(found, refits=GaussianRefit(found, examples))


def _target_variance(y: Array) -> Array:
    variance = np.var(y, axis=0)
    return np.where(variance > 0, variance, 1.0)


def _kernel(model: Any) -> Callable[[Any, Any], Array]:
    features = vector_inputs(model)
    return lambda a, b: np.asarray(model.kernel_(features(a), b if b is model.X_train_ else features(b)))


def _predict_function(model: Any) -> Callable[[Any], Array]:
    order = Design.of_estimator(model).ordered if model.kernel_.requires_vector_input else np.asarray

    def outputs(inputs: Any) -> Array:
        f = GaussianProcessRegressor.predict(model, order(inputs))
        return np.reshape(f, (len(f), -1))

    return outputs
