"""scikit-learn's linear models: least squares, ridge, Bayesian ridge, lasso, logistic and the GLM regressors.

Each estimator is translated into a `LinearModel`: its likelihood, its coefficients and the ridge of its objective,
rewritten in the sum-loss convention `Σ_i w_i ℓ_i + δ‖θ‖²/2` with an unpenalised intercept.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import linear_model as sk
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gamma, Gaussian, InverseGaussian, Poisson, Tweedie
from memorymaps.core.likelihoods.links import Identity, Log
from memorymaps.data.examples import Examples
from memorymaps.models.clone_refit import CloneRefit, without_class_weight
from memorymaps.models.linear.coordinates.centring import centred
from memorymaps.models.linear.coordinates.row_space import in_row_space
from memorymaps.models.linear.design_matrix import Design
from memorymaps.models.linear.glm.fit import laplace
from memorymaps.models.linear.glm.model import FittedRank, LinearModel
from memorymaps.models.linear.glm.penalty import ConstantPenalty, ProportionalPenalty
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.models.linear.saga import with_best_intercept
from memorymaps.models.sklearn_targets import balanced_weights, class_data, held_at_value, numeric_data
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data

_REFITS, _SMALL = 64, 200_000  # refits that a map may make unasked, up to this size of the data
_REFIT_TOLERANCE, _REFIT_ITERATIONS = 1e-10, 100_000
Penalty = ConstantPenalty | ProportionalPenalty

_SQUARED = (
    sk.LinearRegression, sk.Ridge, sk.RidgeCV, sk.BayesianRidge, sk.Lasso, sk.LassoCV, sk.ElasticNet, sk.ElasticNetCV,
)  # fmt: skip
_GLM = (sk.PoissonRegressor, sk.GammaRegressor, sk.TweedieRegressor)
_LOGISTIC = (sk.LogisticRegression, sk.LogisticRegressionCV)
# subclasses of the above with other objectives
_UNSUPPORTED = tuple(
    getattr(sk, name) for name in ("LassoLars", "LassoLarsIC", "LassoLarsCV", "MultiTaskLasso", "MultiTaskElasticNet")
)


# hyperparameters that an estimator chooses from the data
_CHOSEN: dict[type, str] = {
    sk.RidgeCV: "alpha, by cross-validation",
    sk.BayesianRidge: "alpha_ and lambda_, by the evidence",
    sk.LassoCV: "alpha, by cross-validation",
    sk.ElasticNetCV: "alpha and l1_ratio, by cross-validation",
    sk.LogisticRegressionCV: "C, by cross-validation",
}


def _check(model: Any) -> None:
    if isinstance(model, _UNSUPPORTED):
        raise UnsupportedModelError(f"{type(model).__name__} is not supported yet: refit with Lasso or ElasticNet")
    try:
        check_is_fitted(model, "coef_")
    except NotFittedError as error:
        raise NotFittedError(f"{type(model).__name__} is not fitted: call model.fit(X, y) before memory_map") from error


def design_of(model: Any) -> Design:
    """The design of a fitted linear estimator."""
    return Design.of_estimator(model, bool(model.fit_intercept))


def coefficients_of(model: Any) -> Array:
    """`[p, c]`, intercept first where there is one."""
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=float)).T
    if not model.fit_intercept:
        return coef
    return np.concatenate([np.broadcast_to(np.asarray(model.intercept_, dtype=float), (1, coef.shape[1])), coef])


def _on_slopes(model: Any, shape: tuple[int, ...], penalty: Penalty) -> Penalty:
    """The penalty of a strength, for all outputs or of each, on the coefficients `[p, c]`: none on the intercept."""
    strength = np.broadcast_to(np.asarray(penalty.strength, dtype=float), shape).copy()
    if model.fit_intercept:
        strength[0] = 0.0
    return dataclasses.replace(penalty, strength=strength)


def _linear(
    model: Any, likelihood: Likelihood, penalty: Penalty, prior: str, sparse: bool, l1: Penalty | None = None,
    **facts: Any,
) -> LinearModel:  # fmt: skip
    design, coefficients = design_of(model), coefficients_of(model)
    free = coefficients != 0 if sparse else np.ones(coefficients.shape, dtype=bool)
    if model.fit_intercept:
        free[0] = True
    known = isinstance(likelihood, (Poisson, Bernoulli, Categorical))
    return LinearModel(
        name=f"scikit-learn {type(model).__name__}",
        likelihood=likelihood,
        coefficients=coefficients,
        design=design,
        parameters=design.parameters,
        penalty=_on_slopes(model, coefficients.shape, penalty),
        free=free,
        prior=prior,
        dispersion_known=known,
        l1=None if l1 is None else _on_slopes(model, coefficients.shape, l1),
        shrinkable=_shrinkable(model, coefficients.shape) if sparse else None,
        positive=bool(getattr(model, "positive", False)),
        hyperparameters_held=held_at_value(
            next((words for kind, words in _CHOSEN.items() if isinstance(model, kind)), ""), balanced_weights(model)
        ),
        **facts,
    )


def _shrinkable(model: Any, shape: tuple[int, ...]) -> Array:
    """All coefficients but the intercept `[p, c]`."""
    shrinkable = np.ones(shape, dtype=bool)
    shrinkable[: int(model.fit_intercept)] = False
    return shrinkable


def _is_direct(model: Any) -> bool:
    """Whether least squares or ridge were solved directly, in double precision."""
    if np.asarray(model.coef_).dtype != np.float64 or getattr(model, "positive", False):
        return False
    if isinstance(model, sk.BayesianRidge):
        return True  # a singular value decomposition, at the final precisions
    if isinstance(model, sk.LinearRegression):
        return hasattr(model, "singular_")  # LAPACK; sparse inputs are solved by iterations, which have none
    return getattr(model, "solver_", "") in ("svd", "cholesky")


_ACTIVE_SET = (
    "The L1 penalty or sign constraint is not smooth: coefficients that are exactly zero are fixed at zero, "
    "the others are free (active set).",
)


@functools.singledispatch
def _translate(model: Any) -> LinearModel:
    raise TypeError(f"{type(model).__name__} is not supported")


@_translate.register(sk.LinearRegression)
def _(model: Any) -> LinearModel:
    sparse = bool(model.positive)
    notes = _ACTIVE_SET if sparse else ()
    return _linear(
        model,
        Gaussian(),
        ConstantPenalty(0.0),
        "none (least squares)",
        sparse,
        notes=notes,
        closed_form=_is_direct(model),
        rank=_rank(model),
    )


_SCALE = "put StandardScaler() in front where sizes differ; where columns are nearly collinear, drop one"


def _rank(model: Any) -> FittedRank | None:
    """Directions that `scipy.linalg.lstsq` kept; `None` of other solvers."""
    if not hasattr(model, "rank_") or getattr(model, "positive", False):
        return None
    tol = model.get_params().get("tol")  # of dense columns, too, from scikit-learn 1.9 on
    largest = float(np.max(model.singular_, initial=0.0))
    by_tol = tol is not None and np.count_nonzero(model.singular_ > tol * largest) == model.rank_
    rule = f"by tol={tol:g}, relative to the largest" if by_tol else "by singular values that are zero to rounding"
    remedy = f"{_SCALE}, or fit LinearRegression(tol=1e-15)" if by_tol else _SCALE
    return FittedRank(int(model.rank_) + int(model.fit_intercept), rule, remedy)


@_translate.register(sk.Ridge)
@_translate.register(sk.RidgeCV)
def _(model: Any) -> LinearModel:
    alpha = np.asarray(model.alpha_ if isinstance(model, sk.RidgeCV) else model.alpha, dtype=float)
    sparse = bool(getattr(model, "positive", False))
    prior = f"δ = alpha/σ² with alpha = {_format_numbers(alpha)}, from the model"
    return _linear(
        model, Gaussian(), ConstantPenalty(alpha), prior, sparse, notes=_ACTIVE_SET if sparse else (),
        closed_form=_is_direct(model),
    )  # fmt: skip


@_translate.register(sk.BayesianRidge)
def _(model: Any) -> LinearModel:
    noise, weights = float(model.alpha_), float(model.lambda_)  # precisions; δ = weights/noise at φ = 1
    prior = f"δ = lambda_ = {weights:.4g} with 1/σ² = alpha_ = {noise:.4g}, from the model"
    return _linear(
        model, Gaussian(), ConstantPenalty(weights / noise), prior, False, closed_form=_is_direct(model),
        dispersion=1 / noise,
    )  # fmt: skip


@_translate.register(sk.ElasticNet)
@_translate.register(sk.ElasticNetCV)
@_translate.register(sk.LassoCV)
def _(model: Any) -> LinearModel:
    alpha = float(getattr(model, "alpha_", getattr(model, "alpha", np.nan)))
    l1 = float(getattr(model, "l1_ratio_", getattr(model, "l1_ratio", 1.0)))
    prior = f"δ = Σw·alpha·(1 − l1_ratio)/σ² with alpha = {alpha:.4g}, l1_ratio = {l1:.4g}, from the model"
    ridge, lasso = (ProportionalPenalty(alpha * share) for share in (1 - l1, l1))
    return _linear(model, Gaussian(), ridge, prior, True, lasso, notes=_ACTIVE_SET)


@_translate.register(sk.PoissonRegressor)
@_translate.register(sk.GammaRegressor)
@_translate.register(sk.TweedieRegressor)
def _(model: Any) -> LinearModel:
    alpha = float(model.alpha)
    prior = f"δ = Σw·alpha/φ with alpha = {alpha:.4g}, from the model"
    return _linear(model, _glm_likelihood(model), ProportionalPenalty(alpha), prior, False)


@functools.singledispatch
def _glm_likelihood(model: Any) -> Likelihood:
    raise TypeError(f"{type(model).__name__} is not supported")


@_glm_likelihood.register(sk.PoissonRegressor)
def _(model: Any) -> Likelihood:
    return Poisson()


@_glm_likelihood.register(sk.GammaRegressor)
def _(model: Any) -> Likelihood:
    return Gamma()


@_glm_likelihood.register(sk.TweedieRegressor)
def _(model: Any) -> Likelihood:
    log = model.link == "log" or (model.link == "auto" and model.power > 0)
    link = Log() if log else Identity()
    named: dict[float, Callable[..., Likelihood]] = {0: Gaussian, 1: Poisson, 2: Gamma, 3: InverseGaussian}
    if model.power in named:
        return named[model.power](link=link)
    if model.power < 0:
        raise ValueError(f"Tweedie power {model.power} (extreme stable) has no likelihood here: expected power ≥ 0")
    return Tweedie(power=float(model.power), link=link)


@_translate.register(sk.LogisticRegression)
@_translate.register(sk.LogisticRegressionCV)
def _(model: Any) -> LinearModel:
    _refuse_other_losses(model)
    c, l1 = _inverse_strength(model), _l1_ratio(model)
    likelihood = Bernoulli() if len(model.classes_) == 2 else Categorical()
    ridge = 0.0 if np.isinf(c) else (1 - l1) / c
    prior = "none" if np.isinf(c) else f"δ = (1 − l1_ratio)/C = {ridge:.4g} with C = {c:.4g}, from the model"
    translated = _linear(
        model, likelihood, ConstantPenalty(ridge), prior, l1 > 0,
        ConstantPenalty(l1 / c) if l1 > 0 else None,
        classes=tuple(model.classes_.tolist()), notes=_ACTIVE_SET if l1 > 0 else (),
    )  # fmt: skip
    return (
        _liblinear_intercept(model, translated, ridge)
        if model.solver == "liblinear" and model.fit_intercept
        else translated
    )


def _refuse_other_losses(model: Any) -> None:
    """Refuse fits that minimise neither the logistic loss of two classes nor the softmax loss of several."""
    several, scheme = len(model.classes_) > 2, getattr(model, "multi_class", None)  # scikit-learn < 1.8
    if several and model.solver == "liblinear":
        raise TypeError("LogisticRegression(solver='liblinear') with several classes fits one-versus-rest: use 'lbfgs'")
    if scheme == ("ovr" if several else "multinomial"):
        raise TypeError(
            f"LogisticRegression(multi_class={scheme!r}) of {len(model.classes_)} classes has another loss: "
            "fit it without multi_class"
        )


def _liblinear_intercept(model: Any, translated: LinearModel, ridge: float) -> LinearModel:
    """Add the ridge of liblinear, which penalises the intercept as a feature of constant value `intercept_scaling`."""

    strength = translated.penalty(1.0)
    strength[0] = ridge / model.intercept_scaling**2
    notes = (*translated.notes, "liblinear penalises the intercept; so does the map.")
    penalised = dataclasses.replace(translated, penalty=ConstantPenalty(strength), notes=notes)
    return penalised if translated.l1 is None else _liblinear_l1(model, penalised, translated.l1(1.0))


def _liblinear_l1(model: Any, translated: LinearModel, l1: Array) -> LinearModel:
    """liblinear's L1 penalty on the intercept, which it may hold at zero."""
    l1[0] = np.max(l1) / model.intercept_scaling
    free, every = translated.coefficients != 0, np.ones(translated.coefficients.shape, dtype=bool)
    return dataclasses.replace(translated, l1=ConstantPenalty(l1), free=free, shrinkable=every)


def _inverse_strength(model: Any) -> float:
    if getattr(model, "penalty", None) in (None, "none") and not isinstance(model, sk.LogisticRegressionCV):
        return np.inf
    values = np.unique(np.asarray(model.C_ if isinstance(model, sk.LogisticRegressionCV) else model.C, dtype=float))
    if len(values) > 1:
        raise TypeError(
            f"LogisticRegressionCV chose a different C for each class ({values}), one-versus-rest: "
            "fit LogisticRegression(C=…) with one of them"
        )
    return float(values[0])


def _l1_ratio(model: Any) -> float:
    """The share of L1 that was fitted with; scikit-learn says it once, once a class, or not at all (then it is 0)."""
    penalty = getattr(model, "penalty", "deprecated")
    if penalty in ("l1", "l2"):
        return float(penalty == "l1")
    chosen = getattr(model, "l1_ratio_", None)
    chosen = model.__dict__.get("l1_ratio") if chosen is None else chosen
    values = {float(value) for value in np.ravel(np.asarray(chosen, dtype=object)) if value not in (None, "deprecated")}
    if len(values) > 1:
        raise TypeError(
            f"LogisticRegressionCV chose a different l1_ratio for each class ({sorted(values)}): fit "
            "LogisticRegression(l1_ratio=…) with one of them"
        )
    return values.pop() if values else 0.0


def _format_numbers(values: Array) -> str:
    return ", ".join(f"{value:.4g}" for value in np.atleast_1d(values))


def _posterior(model: Any, examples: Examples) -> LinearPosterior:
    _check(model)
    found = laplace(in_row_space(centred(_translate(model), examples), examples), examples)
    template = _constrained(model)
    if template is None:
        return found
    settings: dict[str, Any] = {"tol": _REFIT_TOLERANCE, "max_iter": _REFIT_ITERATIONS}
    settings = {name: value for name, value in settings.items() if name in template.get_params()}
    outputs = lambda fresh, x: design_of(fresh)(x) @ coefficients_of(fresh)  # noqa: E731
    small = len(examples) * found.coefficients.size <= _SMALL and not isinstance(template, _LOGISTIC)  # saga is slow
    refits = CloneRefit(
        template, examples, outputs, settings | without_class_weight(template), automatic=_REFITS if small else 0,
        finish=_finish(template),
    )  # fmt: skip
    coefficients = functools.partial(refits.refit_with, coefficients_of)
    return dataclasses.replace(found, refits=refits, coefficient_refit=coefficients)


def _finish(template: Any) -> Any:
    """What a fit by saga may lack: the best intercept."""
    if not isinstance(template, _LOGISTIC) or template.solver != "saga":
        return None
    return functools.partial(with_best_intercept, _l1_ratio(template) / _inverse_strength(template))


def _constrained(model: Any) -> Any:
    """The estimator to clone where coefficients are held at zero (L1, signs), with the fit's choices; else `None`."""
    if isinstance(model, (sk.ElasticNet, sk.ElasticNetCV, sk.LassoCV)):
        alpha = float(getattr(model, "alpha_", getattr(model, "alpha", np.nan)))
        l1 = float(getattr(model, "l1_ratio_", getattr(model, "l1_ratio", 1.0)))
        positive, selection = bool(model.positive), model.selection
        return sk.ElasticNet(
            alpha=alpha, l1_ratio=l1, fit_intercept=model.fit_intercept, positive=positive, selection=selection
        )
    if isinstance(model, _LOGISTIC):
        return model if _l1_ratio(model) > 0 and isinstance(model, sk.LogisticRegression) else None
    return model if getattr(model, "positive", False) else None


def regression_data(model: Any, examples: Examples | None) -> Examples:
    """Training data of a fitted regressor."""
    _check(model)
    return numeric_data(model, examples)


def classification_data(model: Any, examples: Examples | None) -> Examples:
    """Training data of a fitted classifier."""
    _check(model)
    return class_data(model, examples)


for _kind in (*_SQUARED, *_GLM):
    posterior.register(_kind)(_posterior)
    training_data.register(_kind)(regression_data)
for _kind in _UNSUPPORTED:  # refused with a remedy, and not among the models that are listed as supported
    training_data.register(_kind)(regression_data)
for _kind in _LOGISTIC:
    posterior.register(_kind)(_posterior)
    training_data.register(_kind)(classification_data)
