"""scikit-learn's Gaussian processes: exact for regression, Laplace's approximation for classes.

Hyperparameters are held at their fitted values; so are the mean and scale that `normalize_y` took from the targets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.utils.validation import check_is_fitted

from memorymaps._types import Array, Batch
from memorymaps.examples import DataError, Examples
from memorymaps.likelihoods import Bernoulli, Gaussian
from memorymaps.models.classes import numbered
from memorymaps.models.dual import GramOutput, GramPosterior
from memorymaps.models.gathered import check_same, gathered, weighted
from memorymaps.models.one_vs_rest import OneVsRest
from memorymaps.models.sklearn_targets import numeric_target
from memorymaps.posteriors import Description, posterior, training_data

_HELD = "Hyperparameters are held at their fitted values: leaving an example out does not optimise them again."
_SCALED = "The targets' mean and scale (normalize_y) are held at those of the whole data."
_CITED = ("nickl2023memory", "tailor2023maps")


def _check(model: Any, attribute: str) -> None:
    try:
        check_is_fitted(model, attribute)
    except NotFittedError as error:
        raise NotFittedError(f"{type(model).__name__} is not fitted: call model.fit(X, y) before memory_map") from error


def _no_weights(batch: Batch) -> Batch:
    if batch.weight is not None:
        raise DataError(
            "scikit-learn's Gaussian processes are fitted without sample_weight; noise that differs between examples "
            "goes into GaussianProcessRegressor(alpha=[...])"
        )
    return batch


# --- regression ------------------------------------------------------------------------------------------------------


def _noise(model: Any, x: Any) -> Array:
    """Noise variances `[n]` of the training examples, in units of the scaled targets: WhiteKernel and `alpha`."""
    white = model.kernel_.diag(x) - np.diagonal(model.kernel_(x, x))
    noise = np.broadcast_to(np.asarray(model.alpha, dtype=float), white.shape) + np.where(
        np.abs(white) < 1e-12 * model.kernel_.diag(x), 0.0, white
    )
    if np.any(noise <= 0):
        raise DataError("a noise variance is not positive: set alpha > 0 or add a WhiteKernel")
    return np.asarray(noise)


@training_data.register(GaussianProcessRegressor)
def _regression_data(model: Any, examples: Examples | None) -> Examples:
    _check(model, "X_train_")
    if examples is None:
        raise ValueError(f"{type(model).__name__} needs its targets in their own units: memory_map(model, X, y)")
    examples = examples.map(numeric_target).map(_no_weights)
    noise = _noise(model, model.X_train_)
    if np.ptp(noise) <= 1e-12 * noise.max():
        return examples
    if len(noise) != len(examples):
        raise DataError(f"{len(examples)} examples: the model was fitted on {len(noise)}")
    return weighted(examples, lambda batch: np.mean(noise) / noise)


@posterior.register(GaussianProcessRegressor)
def _regression(model: Any, examples: Examples) -> GramPosterior:
    whole = gathered(examples)
    check_same(whole.inputs, model.X_train_, type(model).__name__)
    noise, y = _noise(model, model.X_train_), whole.target.reshape(len(whole), -1)
    scale = _target_variance(y) if model.normalize_y else np.ones(y.shape[1])
    phi = scale * np.mean(noise)
    gram = model.kernel_(model.X_train_, model.X_train_)
    parts = tuple(GramOutput(_kernel(model), model.X_train_, gram, 1 / (s * noise), scale=float(s)) for s in scale)
    description = Description(
        model="scikit-learn GaussianProcessRegressor",
        posterior="exact Gaussian process",
        likelihood="Gaussian",
        prior=f"kernel {model.kernel_}, from the model",
        coverage=(f"f at {len(y)} training inputs: exact, full covariance",),
        effective_parameters=sum(part.effective for part in parts),
        dispersion=float(phi[0]) if len(phi) == 1 else tuple(phi.tolist()),
        notes=(_HELD, *((_SCALED,) if model.normalize_y else ())),
        methods=(*_CITED, "rasmussen2006gaussian"),
    )
    return GramPosterior(Gaussian(description.dispersion or 1.0), description, _predicted(model), parts)


def _target_variance(y: Array) -> Array:
    variance = np.var(y, axis=0)
    return np.where(variance > 0, variance, 1.0)


def _kernel(model: Any) -> Callable[[Any, Any], Array]:
    return lambda a, b: np.asarray(model.kernel_(np.asarray(a), np.asarray(b)))


def _predicted(model: Any) -> Callable[[Any], Array]:
    def outputs(inputs: Any) -> Array:
        f = model.predict(inputs)
        return np.reshape(f, (len(f), -1))

    return outputs


# --- classes ---------------------------------------------------------------------------------------------------------


@training_data.register(GaussianProcessClassifier)
def _class_data(model: Any, examples: Examples | None) -> Examples:
    _check(model, "base_estimator_")
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    return examples.map(_no_weights).map(functools.partial(numbered, model.classes_))


@posterior.register(GaussianProcessClassifier)
def _classification(model: Any, examples: Examples) -> GramPosterior:
    whole, fits = gathered(examples), _binary_fits(model)
    check_same(whole.inputs, fits[0].X_train_, type(model).__name__)
    parts = tuple(_laplace(fit) for fit in fits)
    binary = len(model.classes_) == 2
    description = Description(
        model="scikit-learn GaussianProcessClassifier",
        posterior="Laplace at the mode" + ("" if binary else ", one classifier for each class (one against the rest)"),
        likelihood="Bernoulli" if binary else "one-vs-rest Bernoulli",
        prior=f"kernel {model.kernel_}, from the model",
        coverage=(f"f at {len(whole)} training inputs: full covariance",),
        classes=tuple(model.classes_.tolist()),
        effective_parameters=sum(part.effective for part in parts),
        notes=(_HELD, "Means are those at the mode, σ(f); predict_proba averages over the posterior."),
        methods=(*_CITED, "rasmussen2006gaussian"),
    )
    likelihood = Bernoulli() if binary else OneVsRest(Bernoulli(), len(model.classes_))
    return GramPosterior(likelihood, description, functools.partial(_latent, fits), parts)


def _binary_fits(model: Any) -> list[Any]:
    if len(model.classes_) == 2:
        return [model.base_estimator_]
    if model.multi_class != "one_vs_rest":
        raise TypeError("GaussianProcessClassifier(multi_class='one_vs_one') is not supported: use 'one_vs_rest'")
    return list(model.base_estimator_.estimators_)


def _laplace(fit: Any) -> GramOutput:
    x = fit.X_train_
    gram = fit.kernel_(x)
    if not np.allclose(gram, fit.kernel_(x, x)):
        raise TypeError("a WhiteKernel in GaussianProcessClassifier gives latent noise that has no input: remove it")
    return GramOutput(_kernel(fit), x, gram, fit.pi_ * (1 - fit.pi_))


def _latent(fits: list[Any], inputs: Any) -> Array:
    """`f = k(x, X)(y − π)`, the latent mode: `[n, c]`."""
    x = np.asarray(inputs)
    return np.stack([fit.kernel_(x, fit.X_train_) @ (fit.y_train_ - fit.pi_) for fit in fits], axis=1)
