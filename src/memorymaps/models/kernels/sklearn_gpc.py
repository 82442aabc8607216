"""scikit-learn's Gaussian process classifier: Laplace's approximation; several classes by binary classifiers.

Hyperparameters are fixed. With a `WhiteKernel` each training example has an independent latent term,
`g_i = f(x_i) + ε_i`; the likelihood, and therefore the map, is in terms of `g`. At other inputs `ε` is independent of
the training data; `model.predict` leaves it out for all inputs.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.gaussian_process import GaussianProcessClassifier

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.core.likelihoods.output_codes import OneVsOne, OneVsRest
from memorymaps.data.class_labels import encode_labels
from memorymaps.data.examples import Examples
from memorymaps.data.gather import check_training_data, gather_examples
from memorymaps.data.indexed import ExamplesWithRows, InputsWithRows
from memorymaps.data.views import with_inputs
from memorymaps.models.kernels.fit_checks import refuse_fit
from memorymaps.models.kernels.gram_posterior import GramPosterior, KernelOutput
from memorymaps.models.kernels.kernel_functions import vector_inputs
from memorymaps.models.kernels.latent_refits import LatentProblem, LatentRefit
from memorymaps.models.kernels.sklearn_gpr import (
    CHOSEN_BY_EVIDENCE,
    HYPERPARAMETERS_FIXED,
    METHODS,
    check_fitted,
    refuse_weights,
    white_noise_variance,
)
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import posterior, training_data

_FITS = 20  # Laplace approximations until an optimiser has chosen the hyperparameters, at least (assumed)
_MODE_NOTE = "Means are those at the mode, σ(f); predict_proba averages over the posterior."
_WHITE_NOISE_NOTE = (
    "WhiteKernel adds an independent latent term to each training example; outputs and predictions of the map contain "
    "it, those of model.predict do not. Left-out predictions are those of a model fitted without the example."
)
_TIES_NOTE = "Where votes tie, model.predict uses the probabilities and the map predicts the first class."


@dataclass(frozen=True)
class _BinaryClassifier:
    """A binary Gaussian process classifier and the rows of its training data.

    Its output is positive for its second class; `sign = −1` if the map's output is positive for the first. `features`
    converts inputs for the kernel.
    """

    fit: Any
    rows: Array
    sign: float = 1.0
    features: Callable[[Any], Array] = np.asarray

    @property
    def has_white_noise(self) -> bool:
        """Whether the kernel contains a `WhiteKernel`: independent latent terms of the examples."""
        return bool(white_noise_variance(self.fit.kernel_, self.fit.X_train_[:1])[0] > 0)

    def duals(self, n: int) -> Array:
        """`y − π [N]`, so that `f = K (y − π)`; zero for all other rows."""
        duals = np.zeros(n)
        duals[self.rows] = self.sign * (self.fit.y_train_ - self.fit.pi_)
        return duals

    def kernel_output(self, x: Any) -> KernelOutput:
        """The corresponding output of the map; `Λ` is zero for rows outside the classifier's training data."""
        curvature = np.zeros(len(x))
        curvature[self.rows] = self.fit.pi_ * (1 - self.fit.pi_)
        return KernelOutput(self.kernel, x, self.kernel(x, x), curvature)

    def kernel(self, a: Any, b: Any) -> Array:
        """`k(a, b)`; inputs with equal row numbers are the same example and share the `WhiteKernel` term."""
        kernel, x = self.fit.kernel_, self.features(_plain_inputs(a))
        if a is b:
            return np.asarray(kernel(x))
        gram = np.asarray(kernel(x, self.features(_plain_inputs(b))))
        if isinstance(a, InputsWithRows) and isinstance(b, InputsWithRows):
            gram = gram + (a.rows[:, None] == b.rows) * white_noise_variance(kernel, x)[:, None]
        return gram


def _plain_inputs(inputs: Any) -> Any:
    return inputs.inputs if isinstance(inputs, InputsWithRows) else inputs


@training_data.register(GaussianProcessClassifier)
def _class_data(model: Any, examples: Examples | None) -> Examples:
    check_fitted(model, "base_estimator_")
    if examples is None:
        raise ValueError(f"{type(model).__name__} does not keep its training data: pass it, memory_map(model, X, y)")
    indexed = examples.map(refuse_weights).map(functools.partial(encode_labels, model.classes_))
    return (
        ExamplesWithRows(indexed)
        if any(_BinaryClassifier(fit, np.arange(0)).has_white_noise for fit in _fits(model))
        else indexed
    )


@posterior.register(GaussianProcessClassifier)
def _classification(model: Any, examples: Examples) -> GramPosterior:
    features = vector_inputs(model)
    data = gather_examples(examples.map(with_inputs(lambda inputs: features(_plain_inputs(inputs)))))
    binaries, classes = _binaries(model, data.target), len(model.classes_)
    has_white_noise = any(binary.has_white_noise for binary in binaries)
    x = InputsWithRows(data.inputs, np.arange(len(data))) if has_white_noise else data.inputs
    likelihood, several, note = _multiclass_likelihood(model)
    _check_labels(model, binaries, likelihood.encode(data.target, len(binaries)))
    for binary in binaries:
        check_training_data(data.inputs[binary.rows], binary.fit.X_train_, type(model).__name__)
    parts = tuple(binary.kernel_output(x) for binary in binaries)
    description = Description(
        model="scikit-learn GaussianProcessClassifier",
        approximation=Approximation.ONE_STEP,
        posterior="Laplace at the mode" + several,
        likelihood="Bernoulli" if classes == 2 else f"{model.multi_class.replace('_', '-')} Bernoulli",
        prior=f"kernel {model.kernel_}, from the model",
        coverage=(f"f at {len(data)} training inputs: full covariance",),
        classes=tuple(model.classes_.tolist()),
        effective_parameters=sum(part.effective_parameters for part in parts),
        distance=_distance(binaries, parts),
        hyperparameters_held=CHOSEN_BY_EVIDENCE if model.optimizer is not None else "",
        notes=(HYPERPARAMETERS_FIXED, _MODE_NOTE, *note, *((_WHITE_NOISE_NOTE,) if has_white_noise else ())),
        methods=(*METHODS, "rasmussen2006gaussian"),
    )
    problems = [_latent_problem(binary, part, x) for binary, part in zip(binaries, parts, strict=True)]
    refits = LatentRefit(problems, 1 if model.optimizer is None else _FITS * (1 + model.n_restarts_optimizer))
    return GramPosterior(likelihood, description, functools.partial(_latent_mode, binaries, x), parts, refits=refits)


def _latent_problem(binary: _BinaryClassifier, part: KernelOutput, x: Any) -> LatentProblem:
    n, fit = len(part.gram), binary.fit
    target, weight = np.zeros(n), np.zeros(n)
    target[binary.rows] = fit.y_train_ if binary.sign > 0 else 1 - fit.y_train_
    weight[binary.rows] = 1.0
    return LatentProblem(part.gram, target, weight, binary.duals(n), lambda inputs: binary.kernel(inputs, x))


def _check_labels(model: Any, binaries: list[_BinaryClassifier], code: Array) -> None:
    """Raise `DataError` unless the classifiers were fitted to these targets `[n, c]` of 0 and 1."""
    for k, binary in enumerate(binaries):
        expected = code[binary.rows, k] if binary.sign > 0 else 1 - code[binary.rows, k]
        fitted = np.asarray(binary.fit.y_train_, dtype=float)
        if len(fitted) == len(expected) and not np.array_equal(fitted, expected):
            raise refuse_fit(model, "targets. Pass those of the fit, row by row in the order of the inputs")


def _distance(binaries: list[_BinaryClassifier], parts: tuple[KernelOutput, ...]) -> float:
    """Root mean square of `(f − f(π))/√V` at the training examples: how far the modes are from where `π` was left."""
    squares = []
    for binary, part in zip(binaries, parts, strict=True):
        f = (part.gram @ binary.duals(len(part.gram)))[binary.rows]
        pi = np.clip(binary.fit.pi_, 1e-12, 1 - 1e-12)
        variance = part.scale * part.conditional.variance(part.gram, np.diagonal(part.gram))[binary.rows]
        step = (binary.sign * f - np.log(pi / (1 - pi))) ** 2 / np.maximum(variance, 1e-12)
        squares.append(np.mean(step * binary.fit.pi_ * (1 - binary.fit.pi_)))
    return float(np.sqrt(np.mean(squares)))


def _multiclass_likelihood(model: Any) -> tuple[Likelihood, str, tuple[str, ...]]:
    """Likelihood, text for the description, and notes, for the binary, one-vs-rest or one-vs-one scheme."""
    classes = len(model.classes_)
    if classes == 2:
        return Bernoulli(), "", ()
    if model.multi_class == "one_vs_rest":
        return OneVsRest(Bernoulli(), classes), ", one classifier for each class (one against the rest)", ()
    pairs = OneVsOne(Bernoulli(), classes)
    return (
        pairs,
        f", {len(pairs.pairs)} binary classifiers (one for each pair)",
        (pairs.describe_outputs(model.classes_, "binary classifiers"), _TIES_NOTE),
    )


def _fits(model: Any) -> list[Any]:
    return [model.base_estimator_] if len(model.classes_) == 2 else list(model.base_estimator_.estimators_)


def _binaries(model: Any, target: Array) -> list[_BinaryClassifier]:
    fits, classes, features = _fits(model), len(model.classes_), vector_inputs(model)
    if classes == 2 or model.multi_class == "one_vs_rest":
        return [_BinaryClassifier(fit, np.arange(len(target)), features=features) for fit in fits]
    pairs = itertools.combinations(range(classes), 2)
    return [
        _BinaryClassifier(fit, np.flatnonzero(np.isin(target, pair)), -1.0, features)
        for fit, pair in zip(fits, pairs, strict=True)
    ]


def _latent_mode(binaries: list[_BinaryClassifier], x: Any, inputs: Any) -> Array:
    """`f = k(x, X)(y − π)`, the latent mode: `[n, c]`."""
    columns = [binary.kernel(inputs, x) @ binary.duals(len(x)) for binary in binaries]
    return np.stack(columns, axis=1)
