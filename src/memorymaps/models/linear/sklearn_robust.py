"""scikit-learn's linear models with nonsmooth losses: linear SVMs, SGD, Huber and quantile regression.

Each estimator's objective is rewritten as `Σ_i w_i ℓ_i/φ + Σ δθ²/2`, with `φ` the noise scale estimated from its
losses: the maximum-likelihood `φ` of `exp(−ℓ/φ)`. It determines the width over which kinks are smoothed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import HuberRegressor, QuantileRegressor, SGDClassifier, SGDRegressor
from sklearn.svm import LinearSVC, LinearSVR

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian
from memorymaps.core.likelihoods.hinge import (
    EpsilonInsensitive,
    Hinge,
    Huber,
    ModifiedHuber,
    Perceptron,
    Pinball,
    SquaredEpsilonInsensitive,
    SquaredHinge,
)
from memorymaps.core.likelihoods.output_codes import OneVsRest
from memorymaps.core.likelihoods.piecewise_linear import NonsmoothLoss
from memorymaps.data.examples import Examples
from memorymaps.models.clone_refit import CloneRefit
from memorymaps.models.linear.coordinates.row_space import in_row_space
from memorymaps.models.linear.glm.fit import laplace
from memorymaps.models.linear.glm.model import LinearModel
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.models.linear.piecewise_linear import NonsmoothLinearModel, multiclass_loss, nonsmooth_posterior
from memorymaps.models.linear.sklearn import classification_data, coefficients_of, design_of, regression_data
from memorymaps.models.sklearn_targets import balanced_weights, held_at_value
from memorymaps.posteriors.registry import posterior, training_data

_TOLERANCE = 1e-6  # relative to the scale of the outputs, for exact solvers
_COORDINATE_DESCENT_TOLERANCE = 1e-3  # LinearSVC, LinearSVR: accuracy of coordinate descent
_REFIT_TOLERANCE, _REFIT_ITERATIONS = 1e-8, 1_000_000
_REFITS, _SMALL = 32, 10_000  # refits that a map may make unasked, up to this size of the data (a second, measured)
_SCALE = "the residuals' scale, by HuberRegressor"
_SGD = "SGD stops near the optimum, not at it: the map treats its coefficients as the optimum; see `distance`."
_L1 = "The L1 penalty is not smooth: coefficients at zero are fixed there, the others are free (active set)."


def _linear(
    model: Any, likelihood: Any, ridge: float, l1: float, intercept_ridge: float = 0.0, weight: float = 0.0,
    held: str = "", **facts: Any,
) -> LinearModel:  # fmt: skip
    """The linear model; `weight`: total weight of the data where penalties are proportional to it, else 0."""
    coefficients, design = coefficients_of(model), design_of(model)
    free = np.abs(coefficients) > (1e-9 * np.max(np.abs(coefficients)) if l1 > 0 else -1.0)  # a linear program's zeros
    penalty, strength = np.full(coefficients.shape, ridge), np.full(coefficients.shape, l1)
    if model.fit_intercept:
        free[0], penalty[0], strength[0] = True, intercept_ridge, 0.0
    notes = (*facts.pop("notes", ()), *((_L1,) if l1 > 0 else ()))
    return LinearModel(
        name=f"scikit-learn {type(model).__name__}", likelihood=likelihood, coefficients=coefficients, design=design,
        parameters=design.parameters, penalty=_of_weight(penalty, weight), free=free, notes=notes,
        l1=_of_weight(strength, weight) if l1 > 0 else None, shrinkable=strength > 0 if l1 > 0 else None,
        hyperparameters_held=held_at_value(held, balanced_weights(model)), **facts,
    )  # fmt: skip


def _of_weight(values: Array, weight: float) -> Callable[[float], Array]:
    """A penalty as a function of the total weight: proportional, with these `values` at `weight`, or constant."""
    return (lambda w: values * (w / weight)) if weight else (lambda w: values)


def _l1_gradient(model: Any, l1: float) -> Array:
    """Gradient `[p, c]` of `l1 · ‖θ‖₁`, zero for the intercept."""
    gradient = l1 * np.sign(coefficients_of(model))
    if model.fit_intercept:
        gradient[0] = 0.0
    return gradient


def _noise_scale(model: Any, unit: Any, power: int, floor: float, examples: Examples) -> float:
    """The maximum-likelihood `φ` of `exp(−ℓ/φ)`, `ℓ ∝ |u|^power`: `power · mean ℓ`, at least `floor`."""
    total = weights = 0.0
    for batch in examples:
        weight = np.ones(len(batch)) if batch.weight is None else batch.weight
        f = design_of(model)(batch.inputs) @ coefficients_of(model)
        total += float(weight @ unit.nll(f, batch.target))
        weights += float(np.sum(weight))
    machines = unit.classes if isinstance(unit, OneVsRest) else 1  # trained on each example
    return max(power * total / (weights * machines), floor)


@dataclass(frozen=True)
class _Objective:
    """The estimator's objective `Σ w·loss + Σ ridge θ²/2 + l1 ‖θ‖₁`; `power`: growth of the loss in its tails.

    `tolerance`: an output closer than this to a kink of the loss, in units of `f`, is taken to be at the kink;
    `weight`: total weight of the data where the penalties are proportional to it, else 0.
    """

    loss: Any
    power: int
    ridge: float
    tolerance: float
    l1: float = 0.0
    intercept_ridge: float = 0.0
    weight: float = 0.0

    def posterior(self, model: Any, examples: Examples, phi: float | None = None, **facts: Any) -> LinearPosterior:
        """The posterior with likelihood `exp(−ℓ/φ)`, and ridge and L1 penalties divided by `φ`."""
        wrap = functools.partial(multiclass_loss, classes=len(getattr(model, "classes_", "01")))
        floor = self.loss.cost * self.tolerance**self.power
        phi = phi or _noise_scale(model, wrap(self.loss), self.power, floor, examples)
        loss = dataclasses.replace(self.loss, cost=self.loss.cost / phi)
        facts |= {"dispersion": phi, "classes": tuple(getattr(model, "classes_", np.empty(0)).tolist())}
        ridges = (self.ridge / phi, self.l1 / phi, self.intercept_ridge / phi)
        linear = in_row_space(_linear(model, wrap(loss), *ridges, self.weight, **facts), examples)
        gradient = _l1_gradient(model, self.l1 / phi) if self.l1 else np.zeros_like(linear.coefficients)
        found = nonsmooth_posterior(NonsmoothLinearModel(linear, loss, gradient, self.tolerance), examples)
        return _with_refits(found, model, examples, self.ridge + self.l1)


def _with_refits(found: LinearPosterior, model: Any, examples: Examples, penalty: float) -> LinearPosterior:
    """The posterior with refits by clones where it has none by Newton's method; `penalty`: on all but the intercept."""
    return found if found.refits else dataclasses.replace(found, refits=_clone_refit(model, examples, penalty > 0))


def _clone_refit(model: Any, examples: Examples, penalised: bool) -> CloneRefit:
    """Clones with the solver's tolerance tightened; `penalised`: all coefficients are, but for the intercept."""
    own = model.get_params()
    settings: dict[str, Any] = (
        {"tol": _REFIT_TOLERANCE, "max_iter": _REFIT_ITERATIONS} if isinstance(model, (LinearSVC, LinearSVR)) else {}
    )
    if own.get("class_weight") is not None:
        settings["class_weight"] = None
    small = len(examples) * np.size(model.coef_) <= _SMALL and not isinstance(model, (SGDClassifier, SGDRegressor))
    return CloneRefit(
        model, examples, lambda fresh, x: design_of(fresh)(x) @ coefficients_of(fresh), settings,
        automatic=_REFITS if small else 0, unpenalised=None if penalised else design_of(model),
    )  # fmt: skip


def _total_weight(examples: Examples) -> float:
    return sum(float(len(b) if b.weight is None else np.sum(b.weight)) for b in examples)


def _target_std(examples: Examples) -> float:
    """Standard deviation of the targets, the unit of tolerances."""
    return float(np.std(np.concatenate([batch.target for batch in examples]))) or 1.0


@posterior.register(LinearSVC)
def _linear_svc(model: Any, examples: Examples) -> LinearPosterior:
    if model.multi_class != "ovr":
        raise TypeError(f"LinearSVC(multi_class={model.multi_class!r}) is not supported: use multi_class='ovr'")
    squared, l1 = model.loss == "squared_hinge", model.penalty == "l1"
    loss = (SquaredHinge if squared else Hinge)(cost=float(model.C))
    scaled = 0.0 if l1 else 1 / model.intercept_scaling**2
    fit = _Objective(loss, 1 + squared, 0.0 if l1 else 1.0, _COORDINATE_DESCENT_TOLERANCE, float(l1), scaled)
    return fit.posterior(model, examples, prior=_c_prior(model), notes=_intercept_note(model))


def _c_prior(model: Any) -> str:
    return f"δ = 1 with C = {model.C:.4g} on the losses, from the model"


def _intercept_note(model: Any) -> tuple[str, ...]:
    return ("liblinear penalises the intercept; so does the map.",) if model.fit_intercept else ()


@posterior.register(LinearSVR)
def _linear_svr(model: Any, examples: Examples) -> LinearPosterior:
    squared = model.loss == "squared_epsilon_insensitive"
    loss = (SquaredEpsilonInsensitive if squared else EpsilonInsensitive)(float(model.epsilon), float(model.C))
    tolerance = _COORDINATE_DESCENT_TOLERANCE * _target_std(examples)
    fit = _Objective(loss, 1 + squared, 1.0, tolerance, intercept_ridge=1 / model.intercept_scaling**2)
    return fit.posterior(model, examples, prior=_c_prior(model), notes=_intercept_note(model))


@posterior.register(HuberRegressor)
def _huber(model: Any, examples: Examples) -> LinearPosterior:
    sigma = float(model.scale_)
    loss = Huber(threshold=float(model.epsilon) * sigma, cost=2 / sigma)
    prior = f"δ = alpha/σ with alpha = {model.alpha:.4g}, σ = {sigma:.4g}, from the model"
    fit = _Objective(loss, 2, 2 * float(model.alpha), _TOLERANCE * sigma)
    return fit.posterior(model, examples, phi=2 * sigma, prior=prior, held=_SCALE)


@posterior.register(QuantileRegressor)
def _quantile(model: Any, examples: Examples) -> LinearPosterior:
    l1 = float(model.alpha) * _total_weight(examples)
    tolerance, weight = _TOLERANCE * _target_std(examples), _total_weight(examples)
    fit = _Objective(Pinball(float(model.quantile)), 1, 0.0, tolerance, l1, weight=weight)
    return fit.posterior(model, examples, prior=f"L1 with alpha = {model.alpha:.4g}, from the model")


def _sgd_strengths(model: Any, examples: Examples) -> tuple[float, float]:
    """`δ` and the L1 strength of the sum objective."""
    share = {"l2": 0.0, "l1": 1.0, "elasticnet": float(model.l1_ratio), None: 0.0}[model.penalty]
    strength = 0.0 if model.penalty is None else float(model.alpha) * sum(len(batch) for batch in examples)
    return strength * (1 - share), strength * share


_CLASSIFIER_LOSSES: dict[str, tuple[NonsmoothLoss, int]] = {
    "hinge": (Hinge(), 1),
    "squared_hinge": (SquaredHinge(), 2),
    "modified_huber": (ModifiedHuber(), 2),
    "perceptron": (Perceptron(), 1),
}


@posterior.register(SGDClassifier)
def _sgd_classifier(model: Any, examples: Examples) -> LinearPosterior:
    (ridge, l1), weight = _sgd_strengths(model, examples), _total_weight(examples)
    facts: dict[str, Any] = {"prior": f"δ = n·alpha with alpha = {model.alpha:.4g}, from the model", "notes": (_SGD,)}
    if model.loss == "log_loss":
        classes = tuple(model.classes_.tolist())
        likelihood = multiclass_loss(Bernoulli(), len(classes))
        linear = _linear(model, likelihood, ridge, l1, weight=weight, classes=classes, stochastic=True, **facts)
        return _with_refits(laplace(in_row_space(linear, examples), examples), model, examples, ridge + l1)
    if model.loss not in _CLASSIFIER_LOSSES:
        raise TypeError(
            f"SGDClassifier(loss={model.loss!r}) is not supported: choose log_loss, {', '.join(_CLASSIFIER_LOSSES)}"
        )
    fit = _Objective(*_CLASSIFIER_LOSSES[model.loss], ridge, _TOLERANCE, l1, weight=weight)
    return fit.posterior(model, examples, **facts)


@posterior.register(SGDRegressor)
def _sgd_regressor(model: Any, examples: Examples) -> LinearPosterior:
    (ridge, l1), weight = _sgd_strengths(model, examples), _total_weight(examples)
    facts: dict[str, Any] = {"prior": f"δ = n·alpha/φ with alpha = {model.alpha:.4g}, from the model", "notes": (_SGD,)}
    if model.loss == "squared_error":
        linear = _linear(
            model, Gaussian(), ridge, l1, weight=weight, dispersion_known=False, stochastic=True, **facts
        )  # fmt: skip
        return _with_refits(laplace(in_row_space(linear, examples), examples), model, examples, ridge + l1)
    epsilon = float(model.epsilon)
    losses = {
        "huber": (Huber(epsilon), 2),
        "epsilon_insensitive": (EpsilonInsensitive(epsilon), 1),
        "squared_epsilon_insensitive": (SquaredEpsilonInsensitive(epsilon), 2),
    }
    tolerance = _TOLERANCE * _target_std(examples)
    fit = _Objective(*losses[model.loss], ridge, tolerance, l1, weight=weight)
    return fit.posterior(model, examples, **facts)


for _kind in (LinearSVC, SGDClassifier):
    training_data.register(_kind)(classification_data)
for _kind in (LinearSVR, SGDRegressor, HuberRegressor, QuantileRegressor):
    training_data.register(_kind)(regression_data)
