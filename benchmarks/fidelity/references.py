"""Refits without one example that owe nothing to the library: estimators and statsmodels' results, to tight tolerances.

Preprocessing, kernels' hyperparameters and chosen penalties are held, penalties as they stand in the sum of losses;
coefficients, support vectors and scales are fitted again. Each reference gives outputs before and after, both at an
optimum: what a solver left undone is in neither.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from sklearn import linear_model as lm
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

Change = tuple[np.ndarray, np.ndarray]  # outputs [k, c] of the rows before and after each is left out
CONVERGED = 0.05  # of its way, that a refit may have left
TIGHT = {"tol": 1e-9, "max_iter": 20_000}
GLMS = (lm.PoissonRegressor, lm.GammaRegressor, lm.TweedieRegressor)


@functools.singledispatch
def exact(model, x, share: float):
    """The estimator to fit in place of `model`, to a tight tolerance; `share` of the examples is left."""
    raise TypeError(f"no reference for {type(model).__name__}")


@exact.register(lm.LinearRegression)
@exact.register(KernelRidge)
def _(model, x, share):
    return clone(model)


@exact.register(lm.Ridge)
@exact.register(lm.RidgeCV)
def _(model, x, share):
    return lm.Ridge(getattr(model, "alpha_", getattr(model, "alpha", None)), solver="auto", tol=1e-12)


@exact.register(lm.ElasticNet)
@exact.register(lm.ElasticNetCV)
@exact.register(lm.LassoCV)
def _(model, x, share):
    alpha, ratio = getattr(model, "alpha_", None) or model.alpha, getattr(model, "l1_ratio_", None)
    ratio = getattr(model, "l1_ratio", 1.0) if ratio is None else ratio
    return lm.ElasticNet(alpha=alpha / share, l1_ratio=ratio, **TIGHT)


@exact.register(lm.PoissonRegressor)
@exact.register(lm.GammaRegressor)
@exact.register(lm.TweedieRegressor)
def _(model, x, share):
    return clone(model).set_params(alpha=model.alpha / share, solver="newton-cholesky", tol=1e-10, max_iter=1000)


@exact.register(lm.LogisticRegression)
@exact.register(lm.LogisticRegressionCV)
def _(model, x, share):
    c = float(np.ravel(getattr(model, "C_", model.C if hasattr(model, "C") else 1.0))[0])
    if getattr(model, "l1_ratio", None):
        return clone(model).set_params(**TIGHT)
    solver = "newton-cholesky" if not sparse.issparse(x) and x.shape[1] * len(model.classes_) < 700 else "lbfgs"
    return lm.LogisticRegression(C=c, class_weight=model.class_weight, solver=solver, tol=1e-10, max_iter=20_000)


@exact.register(lm.HuberRegressor)
def _(model, x, share):
    return _Huber(model.epsilon, model.alpha)


class _Huber:
    """`min nσ + Σ σ H_ε((y − xᵀw − b)/σ) + α‖w‖²` on standardised columns, where its solver does not stop short."""

    def __init__(self, epsilon: float, alpha: float):
        self.epsilon, self.alpha = epsilon, alpha

    def fit(self, x, y):
        middle, width, unit = x.mean(0), x.std(0), y.std()
        z, t = (x - middle) / width, (y - y.mean()) / unit
        penalty = self.alpha * unit / width**2  # of the objective in units of y's standard deviation

        def value(theta):
            w, b, scale = theta[:-2], theta[-2], np.exp(theta[-1])
            u = np.clip((t - z @ w - b) / scale, -self.epsilon, self.epsilon)
            r = (t - z @ w - b) / scale
            h, slope = 2 * np.abs(r) * np.abs(u) - u**2, 2 * u
            loss = len(t) * scale + scale * np.sum(h) + penalty @ w**2
            to_scale = len(t) * scale + scale * np.sum(h - slope * r)
            return loss, np.concatenate([-z.T @ slope + 2 * penalty * w, [-np.sum(slope), to_scale]])

        start = np.zeros(x.shape[1] + 2)
        found = minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": 5000}).x
        self.coef_ = found[:-2] * unit / width
        self.intercept_ = y.mean() + unit * found[-2] - middle @ self.coef_
        return self

    def predict(self, x):
        return x @ self.coef_ + self.intercept_


@exact.register(lm.QuantileRegressor)
def _(model, x, share):
    return clone(model).set_params(alpha=model.alpha / share)


@exact.register(LinearSVC)
def _(model, x, share):
    return clone(model).set_params(dual=False, tol=1e-9, max_iter=10_000)  # of the squared hinge, by Newton's method


@exact.register(LinearSVR)
def _(model, x, share):
    return clone(model).set_params(tol=1e-6, max_iter=200_000)


@exact.register(SVC)
@exact.register(SVR)
def _(model, x, share):
    held = {"gamma": 1 / (x.shape[1] * _variance(x))} if model.gamma == "scale" else {}
    ovo = {"decision_function_shape": "ovo", "probability": False} if isinstance(model, SVC) else {}
    return clone(model).set_params(tol=1e-5, max_iter=1_000_000, **held, **ovo)


@exact.register(GaussianProcessRegressor)
@exact.register(GaussianProcessClassifier)
def _(model, x, share):
    return clone(model).set_params(kernel=model.kernel_, optimizer=None)


@exact.register(lm.SGDRegressor)
def _(model, x, share):
    """Ridge with the penalty `n·alpha` of SGD's objective."""
    return lm.Ridge(model.alpha * x.shape[0], tol=1e-12)


@exact.register(lm.SGDClassifier)
def _(model, x, share):
    """The hinge or logistic loss of SGD's objective with `C = 1/(n·alpha)`, one machine a class."""
    c = 1 / (model.alpha * x.shape[0])
    one = lm.LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    one = one if model.loss == "log_loss" else SVC(kernel="linear", C=c, tol=1e-6, max_iter=100_000)
    return one if len(model.classes_) == 2 else OneVsRestClassifier(one)


def _variance(x) -> float:
    return float(x.multiply(x).mean() - x.mean() ** 2) if sparse.issparse(x) else float(x.var())


def outputs(model, x) -> np.ndarray:
    """Outputs `[n, c]` on the scale of the map, up to a constant over classes."""
    if isinstance(model, GaussianProcessClassifier):
        f = model.base_estimator_.latent_mean_and_variance(x)[0]
    elif hasattr(model, "decision_function"):
        f = model.decision_function(x)
    else:
        logarithmic = isinstance(model, GLMS) and getattr(model, "power", 1) > 0
        f = np.log(model.predict(x)) if logarithmic else model.predict(x)
    return np.reshape(f, (x.shape[0], -1))


def innermost(model, x, y):
    """The estimator inside searches, pipelines and transformed targets, with the data that it was fitted on."""
    while isinstance(model, (GridSearchCV, Pipeline, TransformedTargetRegressor)):
        if isinstance(model, GridSearchCV):
            model = model.best_estimator_
        elif isinstance(model, Pipeline):
            x, model = (model[:-1].transform(x) if len(model) > 1 else x), model[-1]
        else:
            y, model = model.transformer_.transform(np.reshape(y, (-1, 1)))[:, 0], model.regressor_
    return model, x, y


def estimator_change(model, x, y, rows: np.ndarray) -> Change:
    """Outputs of an estimator's rows at the optimum with all examples, and without each."""
    model, x, y = innermost(model, x, y)
    if isinstance(model, (MultiOutputRegressor, MultiOutputClassifier)):
        parts = [estimator_change(part, x, y[:, k], rows) for k, part in enumerate(model.estimators_)]
        return tuple(np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    x, y = (x if sparse.issparse(x) else np.asarray(x, dtype=float)), np.asarray(y)
    n = x.shape[0]
    with warnings.catch_warnings(action="ignore"):
        before = outputs(exact(model, x, 1.0).fit(x, y), x[rows])
        after = []
        for i in rows:
            kept = np.arange(n) != i
            after.append(outputs(exact(model, x, 1 - 1 / n).fit(x[kept], y[kept]), x[[i]]))
    return before, np.concatenate(after)


def results_change(results, rows: np.ndarray, **options) -> Change:
    """Linear predictors of statsmodels' rows with all examples, and without each: the same model of the other rows."""
    model = results.model
    before = _linear_predictor(model, results.params, rows)
    after = []
    with warnings.catch_warnings(action="ignore"):
        for i in rows:
            kept = np.arange(len(model.endog)) != i
            try:
                params = _rows_of_model(model, kept).fit(**options).params
            except ValueError:  # statsmodels' own iteration overflows: no truth for this row
                params = np.full(np.shape(results.params), np.nan)
            after.append(_linear_predictor(model, params, [i]))
    return before, np.concatenate(after)


def _rows_of_model(model, kept: np.ndarray):
    """The same statsmodels model of some rows, weights, offsets and exposures with them."""
    given = {name: value for name, value in model._get_init_kwds().items() if value is not None}
    cut = {
        name: np.asarray(value)[kept] if np.shape(value)[:1] == (len(kept),) else value for name, value in given.items()
    }
    endog, trials = model.endog[kept], cut.pop("n_trials", None)
    if trials is not None and np.any(trials != 1):  # of counts, statsmodels keeps the share
        endog, cut["family"] = np.column_stack([endog * trials, (1 - endog) * trials]), copy.copy(cut["family"])
    return type(model)(endog, model.exog[kept], **cut)


def _linear_predictor(model, params, rows) -> np.ndarray:
    beta = np.asarray(params, dtype=float)
    x = model.exog[rows]
    if beta.ndim == 2:  # multinomial: the first class is the reference
        return np.column_stack([np.zeros(len(x)), x @ beta])
    offset = sum(
        np.asarray(v)[rows] for name in ("offset", "exposure") if (v := getattr(model, name, None)) is not None
    )
    return (x @ beta[: x.shape[1]] + offset)[:, None]


def own_change(m, rows: np.ndarray) -> Change:
    """Outputs before and after by the library's own refits: clones for trees, L-BFGS of the objective for networks.

    NaN where a refit says that it has not converged.
    """
    source = m.origin.posterior.capabilities.refit
    with warnings.catch_warnings(action="ignore"):
        found = [source.refit(rows[[k]], rows[[k]]) for k in range(len(rows))]
        before = source.refit(rows[:0], rows)[0]
    after = [f if moving <= CONVERGED else np.full(f.shape, np.nan) for f, moving in found]
    return before, np.concatenate(after)


Reference = Callable[[object, np.ndarray], Change]  # map, rows
