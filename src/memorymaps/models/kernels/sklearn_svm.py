"""scikit-learn's kernel support vector machines, with losses smoothed by the posterior.

Errors are dual coefficients, `e_i = −α_i y_i/φ` for SVC: zero, like the sensitivity, unless `i` is a support vector.
`V` is computed from the Gram matrix with the smoothed curvature of `models.smoothing`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.svm import SVC, SVR

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.hinge import EpsilonInsensitive, Hinge
from memorymaps.core.likelihoods.output_codes import OneVsOne
from memorymaps.data.class_labels import encode_labels
from memorymaps.data.examples import Examples
from memorymaps.data.gather import check_training_data
from memorymaps.models.clone_refit import CloneRefit
from memorymaps.models.kernels.dual_path import PiecewiseLinear
from memorymaps.models.kernels.fit_checks import (
    check_bounds,
    check_labels,
    check_related,
    check_rows,
    check_support,
    margin_violation,
    tube_violation,
    violation_in_deviations,
)
from memorymaps.models.kernels.gram_posterior import GramConditional, GramPosterior, Kernel, KernelOutput
from memorymaps.models.kernels.kernel_functions import (
    feature_map,
    gather_features,
    kernel_function,
    libsvm_gamma,
    require_fitted,
    with_raw_inputs,
)
from memorymaps.models.kernels.support_removal import Machine, SupportRefit, SupportRemovals
from memorymaps.models.sklearn_targets import apply_class_weights, balanced_weights, held_at_value, numeric_target
from memorymaps.models.smoothing import FittedErrors, smoothed_curvature, with_solver_tolerance
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import Capabilities, ModelKernel
from memorymaps.posteriors.contract import Description, Marginals
from memorymaps.posteriors.registry import posterior, training_data

_NARROWEST = 1e-3  # of the margin: libsvm's default tolerance
_MANY = 1_000  # examples from which the map makes fewer fits to check its sizes
_CHECKS, _FEW_CHECKS = 16, 8
_REFIT_TOLERANCE = 1e-5  # of refits: differences between two fits are what is measured …
_REFIT_ITERATIONS = 200_000  # … within so many steps: libsvm goes on for ever where rounding keeps it from 1e-6

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap


@dataclass(frozen=True)
class SupportVectorPosterior(GramPosterior):
    """Posterior of a support vector machine.

    `subgradient`: errors from the dual variables; `tolerance_variance`: square of the solver's tolerance; `removals`:
    the exact change without single examples.
    """

    subgradient: FittedErrors
    tolerance_variance: float
    removals: SupportRemovals

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, refits, the dual variables, and of classes the kernel."""
        check = None if self.refits is None else SupportRefit(self.removals, self.refits)
        return dataclasses.replace(
            super().capabilities, subgradient=self.subgradient, check=check, kernel=self._class_kernel(),
            example_refits=self.removals.capability,
        )  # fmt: skip

    def _class_kernel(self) -> ModelKernel | None:
        """The kernel with the ridge `1/C`: least-squares support vector machines [Suykens & Vandewalle 1999]."""
        loss = self.likelihood.binary if isinstance(self.likelihood, OneVsOne) else self.likelihood
        if not isinstance(loss, Hinge):
            return None
        kernel, phi = self.kernel_outputs[0].kernel, float(self.description.dispersion or 1.0)  # type: ignore[arg-type]
        return ModelKernel(lambda inputs: kernel(inputs, inputs), 1 / (loss.cost * phi))

    def marginals(self, inputs: Any) -> Marginals:
        """`f`, `V`, and the variance of `f` due to the solver's tolerance."""
        return with_solver_tolerance(super().marginals(inputs), self.tolerance_variance)


@training_data.register(SVR)
def _regression_data(model: Any, examples: Examples | None) -> Examples:
    return require_fitted(model, "support_", examples).map(numeric_target)


@training_data.register(SVC)
def _class_data(model: Any, examples: Examples | None) -> Examples:
    indexed = require_fitted(model, "support_", examples).map(functools.partial(encode_labels, model.classes_))
    if model.class_weight is None:
        return indexed
    return indexed.map(functools.partial(apply_class_weights, model.class_weight_))


@posterior.register(SVR)
def _regression(model: Any, examples: Examples) -> SupportVectorPosterior:
    data, weight = gather_features(model, examples)
    check_rows(model, len(data))
    check_support(model)
    loss = EpsilonInsensitive(epsilon=float(model.epsilon), cost=float(model.C))
    phi = _noise_scale(model, loss, SVR.predict(model, data.inputs)[:, None], data.target, weight)
    description = Description(
        model="scikit-learn SVR",
        approximation=Approximation.NONSMOOTH,
        posterior="Gaussian process, losses smoothed by the posterior",
        likelihood="EpsilonInsensitive",
        prior=f"kernel {model.kernel}, C = {model.C:.4g}, from the model; flat on the intercept",
        dispersion=phi,
        dispersion_estimated=True,
        hyperparameters_held=_held(model),
    )
    duals = np.zeros((len(data), 1))
    duals[_support(model, weight), 0] = _dense(model.dual_coef_)[0]
    scaled = dataclasses.replace(loss, cost=loss.cost / phi)
    found = _svm_posterior(model, data, weight, scaled, duals, description)
    return dataclasses.replace(found, refits=_clone_refit(model, examples, data.inputs))


def _noise_scale(model: Any, loss: Any, f: Array, y: Array, weight: Array) -> float:
    """The maximum-likelihood `φ` of `exp(−ℓ/φ)`: the mean loss, at least `C` times the narrowest smoothing.

    Nearly separable classes have almost no loss: kinks would be smoothed over less than the width of rounding errors.
    """
    machines = loss.classes - 1 if isinstance(loss, OneVsOne) else 1  # trained on each example
    return float(max(weight @ loss.nll(f, y) / (np.sum(weight) * machines), model.C * max(model.tol, _NARROWEST)))


@posterior.register(SVC)
def _classification(model: Any, examples: Examples) -> SupportVectorPosterior:
    data, weight = gather_features(model, examples)
    check_rows(model, len(data))
    support = _support(model, weight)
    check_labels(model, data.target[support])
    classes = len(model.classes_)
    duals = (
        _binary_duals(model, support, len(data)) if classes == 2 else _pair_duals(model, support, data.target, classes)
    )
    x = data.inputs
    f = _decision_values(_kernel(model, x), x, x, duals) + np.asarray(model.intercept_)
    loss: Any = Hinge(cost=float(model.C)) if classes == 2 else OneVsOne(Hinge(cost=float(model.C)), classes)
    phi = _noise_scale(model, loss, f, data.target, weight)
    scaled_hinge = Hinge(cost=float(model.C) / phi)
    scaled = scaled_hinge if classes == 2 else OneVsOne(scaled_hinge, classes)
    description = Description(
        model="scikit-learn SVC",
        approximation=Approximation.NONSMOOTH,
        posterior="Gaussian process, losses smoothed by the posterior",
        likelihood="Hinge" if classes == 2 else "one-vs-one Hinge",
        prior=f"kernel {model.kernel}, C = {model.C:.4g}, from the model; flat on the intercept",
        classes=tuple(model.classes_.tolist()),
        dispersion=phi,
        dispersion_estimated=True,
        hyperparameters_held=_held(model),
        notes=() if classes == 2 else (loss.describe_outputs(model.classes_, "binary machines"),),
    )
    found = _svm_posterior(model, data, weight, scaled, duals, description)
    return dataclasses.replace(found, refits=_clone_refit(model, examples, data.inputs))


def _held(model: Any) -> str:
    """What follows from the examples and is held when some are left out: the kernel's width, class weights."""
    by_scale = model.gamma == "scale" and model.kernel in ("rbf", "poly", "sigmoid")
    return held_at_value("gamma, by gamma='scale'" if by_scale else "", balanced_weights(model))


def _clone_refit(model: Any, examples: Examples, x: Array) -> CloneRefit:
    """Clones with the kernel's width fixed and the solver's tolerance tightened."""
    settings: dict[str, Any] = {"tol": min(float(model.tol), _REFIT_TOLERANCE), "max_iter": _REFIT_ITERATIONS}
    automatic = _CHECKS if len(examples) <= _MANY else _FEW_CHECKS
    if not callable(model.kernel):
        settings["gamma"] = libsvm_gamma(model, x)
    if isinstance(model, SVC):
        settings |= {"decision_function_shape": "ovo", "break_ties": False, "class_weight": None}
        return CloneRefit(
            model, examples, lambda fresh, inputs: fresh.decision_function(inputs), settings, automatic=automatic
        )
    return CloneRefit(model, examples, lambda fresh, inputs: fresh.predict(inputs), settings, automatic=automatic)


def _support(model: Any, weight: Array) -> Array:
    """Positions of the support vectors; libsvm leaves rows of weight zero out and counts without them."""
    return np.asarray(np.flatnonzero(weight > 0)[model.support_])


def _binary_duals(model: Any, support: Array, n: int) -> Array:
    duals = np.zeros((n, 1))
    duals[support, 0] = _dense(model.dual_coef_)[0]
    return duals


def _pair_duals(model: Any, support: Array, y: Array, classes: int) -> Array:
    """Dual variables `[n, pairs]`; libsvm has pair `(i, j)` in row `j − 1` for class `i`, in row `i` for class `j`."""
    pairs = list(itertools.combinations(range(classes), 2))
    coefficients, duals = _dense(model.dual_coef_), np.zeros((len(y), len(pairs)))
    of_class = y[support]
    for k, (i, j) in enumerate(pairs):
        duals[support, k] = np.where(of_class == i, coefficients[j - 1], 0) + np.where(
            of_class == j, coefficients[i], 0
        )
    return duals


def _dense(values: Any) -> Array:
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def _svm_posterior(
    model: Any, data: Batch, weight: Array, loss: Likelihood, duals: Array, description: Description
) -> SupportVectorPosterior:
    """The posterior from dual variables `[N, c]`: `f = K·duals + b`, `e = −duals/φ`."""
    features, x = feature_map(model), data.inputs
    kernel = _kernel(model, x)
    if not callable(model.kernel):  # scikit-learn stores no support vectors for a callable kernel
        check_training_data(x[_support(model, weight)], model.support_vectors_, type(model).__name__)
    gram, phi, intercept = kernel(x, x), float(description.dispersion or 1.0), np.asarray(model.intercept_)  # type: ignore[arg-type]
    f, prior_variance, tolerance_variance = gram @ duals + intercept, np.diagonal(gram), float(model.tol) ** 2

    involved = np.ones(f.shape, dtype=bool) if isinstance(model, SVR) else _sides(model, data.target) != 0

    def variance(curvature: Array) -> Array:
        columns = [
            phi * GramConditional.from_gram(gram, phi * c, True).training_variance(gram, rows)
            for c, rows in zip(curvature.T, involved.T, strict=True)
        ]
        return np.stack(columns, axis=1)

    start = np.repeat(phi * prior_variance[:, None], f.shape[1], axis=1)
    curvature = smoothed_curvature(loss, f, data.target, weight, tolerance_variance, start, variance)
    first = with_raw_inputs(KernelOutput(kernel, x, gram, curvature[:, 0], True, phi), features)
    parts = tuple(dataclasses.replace(first, curvature=c) for c in curvature.T)
    alphas, top = np.abs(duals), float(model.C) * weight[:, None]
    marginal = variance(curvature)
    distance = _check_optimal(model, data, weight, duals, f, marginal)
    description = dataclasses.replace(
        description,
        distance=distance,
        coverage=(f"f at {len(data)} training inputs: full covariance",),
        effective_parameters=float(np.sum(curvature * marginal)),
        notes=(*description.notes, _support_note(alphas, top)),
    )
    errors = FittedErrors.of(data.ids, -duals / phi)
    machines = _machines(model, data, weight, duals, intercept)
    return SupportVectorPosterior(
        loss,
        description,
        lambda new: _decision_values(kernel, features(new), x, duals) + intercept,
        parts,
        errors,
        tolerance_variance,
        SupportRemovals(gram, machines, lambda new: kernel(features(new), x)),
    )


def _machines(model: Any, data: Batch, weight: Array, duals: Array, intercept: Array) -> list[Machine]:
    """The problem of each output, with the rows that it was trained on."""
    bound = float(model.C) * weight
    if isinstance(model, SVR):
        rows = np.flatnonzero(bound > 0)
        loss = PiecewiseLinear.tube(np.asarray(data.target, dtype=float)[rows], float(model.epsilon), bound[rows])
        return [Machine(rows, loss, duals[:, 0], float(intercept[0]))]
    found = []
    for c, side in enumerate(_sides(model, data.target).T):
        rows = np.flatnonzero((side != 0) & (bound > 0))
        found.append(Machine(rows, PiecewiseLinear.hinge(side[rows], bound[rows]), duals[:, c], float(intercept[c])))
    return found


def _check_optimal(model: Any, data: Batch, weight: Array, duals: Array, f: Array, variance: Array) -> float:
    """Distance from the optimality conditions in posterior standard deviations.

    Raises
    ------
    DataError
        `C`, weights or targets are told not to be those of the fit.
    """
    top = float(model.C) * weight[:, None]
    if isinstance(model, SVR):
        violation = tube_violation(data.target[:, None] - f, duals, top, float(model.epsilon))
    else:
        side = _sides(model, data.target)
        violation = np.where(side == 0, 0.0, margin_violation(side * f, np.abs(duals), top))
    violation = np.where(top > 0, violation, 0.0)  # a row of weight zero has no condition
    distance = violation_in_deviations(violation, variance, duals, 2 * float(model.tol))
    check_bounds(model, duals, weight, data.weight is not None, distance)
    if isinstance(model, SVR):
        check_related(model, f, data.target[:, None], distance)
    return distance


def _sides(model: Any, y: Array) -> Array:
    """±1 for the two classes of each machine, 0 for the others: `[n, c]`."""
    classes = len(model.classes_)
    if classes == 2:
        return 2.0 * y[:, None] - 1
    code = OneVsOne(Hinge(), classes).encode(y, classes * (classes - 1) // 2)
    return np.nan_to_num(2 * code - 1)


def _kernel(model: Any, x: Any) -> Kernel:
    return kernel_function(model, None if callable(model.kernel) else libsvm_gamma(model, x))


def _decision_values(kernel: Any, new: Any, x: Any, duals: Array) -> Array:
    active = np.flatnonzero(np.any(duals != 0, axis=1))
    return np.asarray(kernel(new, x[active]) @ duals[active])


def _support_note(alphas: Array, top: Array) -> str:
    kinds = _support_kinds(alphas, top)
    return (
        f"{np.count_nonzero(kinds == 'margin')} support vectors on the margin (0 < α < C), "
        f"{np.count_nonzero(kinds == 'bounded')} bounded (α = C), {np.count_nonzero(kinds == 'none')} examples that "
        "can be left out without any change of the model."
    )


def support_vectors(m: MemoryMap) -> Array:
    """The kind of each example in the map of an SVC or SVR: `"margin"`, `"bounded"` or `"none"`, `[n]`.

    `"margin"`: `0 < α < C`, on the margin; `"bounded"`: `α = C`, inside the margin or misclassified; `"none"`: `α = 0`,
    leaving the example out changes nothing. With several pairs of classes: bounded in any, otherwise margin in any.

    Raises
    ------
    ValueError
        The map is not of a support vector machine, or was loaded from disk.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from memorymaps import memory_map
    >>> X, y = load_iris(return_X_y=True)
    >>> kinds = support_vectors(memory_map(SVC(C=1.0).fit(X, y), X, y))
    >>> {kind: int((kinds == kind).sum()) for kind in ("margin", "bounded", "none")}
    {'margin': 7, 'bounded': 53, 'none': 90}
    """
    source = None if m.origin is None else m.origin.posterior
    if not isinstance(source, SupportVectorPosterior):
        raise ValueError(
            "support vectors need the map of an SVC or SVR, not loaded from disk: call memory_map(model, X, y) first"
        )
    alphas = np.abs(source.subgradient(m["id"]))
    loss: Any = source.likelihood.binary if isinstance(source.likelihood, OneVsOne) else source.likelihood
    return _support_kinds(alphas, loss.cost * m["weight"][:, None])


def _support_kinds(alphas: Array, top: Array) -> Array:
    bounded = np.any(alphas >= top * (1 - 1e-9), axis=1)
    return np.where(bounded, "bounded", np.where(np.any(alphas > 0, axis=1), "margin", "none"))
