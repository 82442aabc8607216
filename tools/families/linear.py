"""Linear and generalised linear models: scikit-learn, statsmodels, and the package's own Newton methods."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from sklearn import linear_model as sk
from sklearn.svm import LinearSVC, LinearSVR
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.miscmodels.ordinal_model import OrderedModel

from families import data as d
from families.family import Call, Families, call
from families.lookup import find

_EXACT = {"tol": 1e-10, "max_iter": 10_000}
_FRAME = pd.DataFrame(d.X, columns=["age", "dose", "size"], index=d.IDS)

_REGRESSORS = {
    "LinearRegression": sk.LinearRegression(),
    "LinearRegression positive": sk.LinearRegression(positive=True),
    "LinearRegression no intercept": sk.LinearRegression(fit_intercept=False),
    "Ridge": sk.Ridge(alpha=0.7),
    "RidgeCV": sk.RidgeCV(alphas=[0.1, 1.0, 10.0]),
    "Lasso": sk.Lasso(alpha=0.05, **_EXACT),
    "LassoCV": sk.LassoCV(alphas=[0.01, 0.05, 0.2], cv=3, **_EXACT),
    "ElasticNet": sk.ElasticNet(alpha=0.05, l1_ratio=0.4, **_EXACT),
    "ElasticNetCV": sk.ElasticNetCV(alphas=[0.01, 0.1], l1_ratio=[0.3, 0.8], cv=3, **_EXACT),
    "HuberRegressor": sk.HuberRegressor(alpha=0.1, max_iter=1000, tol=1e-9),
    "QuantileRegressor": sk.QuantileRegressor(quantile=0.4, alpha=0.01),
    "LinearSVR": LinearSVR(epsilon=0.2, random_state=0, **_EXACT),
    "LinearSVR squared": LinearSVR(epsilon=0.2, loss="squared_epsilon_insensitive", random_state=0, **_EXACT),
    "TweedieRegressor 0": sk.TweedieRegressor(power=0, alpha=0.1, **_EXACT),
    **{
        f"SGDRegressor {loss}": sk.SGDRegressor(loss=loss, alpha=0.01, random_state=0, max_iter=20_000, tol=1e-9)
        for loss in ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
    },
}
_COUNTS = {
    "PoissonRegressor": sk.PoissonRegressor(alpha=0.1, **_EXACT),
    "TweedieRegressor 1.5": sk.TweedieRegressor(power=1.5, alpha=0.1, **_EXACT),
}
_POSITIVES = {
    "GammaRegressor": sk.GammaRegressor(alpha=0.1, **_EXACT),
    "TweedieRegressor 3": sk.TweedieRegressor(power=3, alpha=0.1, **_EXACT),
}
_CLASSIFIERS = {
    "LogisticRegression": sk.LogisticRegression(C=2.0, **_EXACT),
    "LogisticRegression liblinear": sk.LogisticRegression(solver="liblinear", C=2.0, **_EXACT),
    "LogisticRegression l1": sk.LogisticRegression(l1_ratio=1.0, solver="saga", C=2.0, random_state=0, **_EXACT),
    "LogisticRegression balanced": sk.LogisticRegression(class_weight="balanced", **_EXACT),
    "LogisticRegressionCV": sk.LogisticRegressionCV(
        Cs=[0.1, 1.0], cv=3, l1_ratios=(0.0,), use_legacy_attributes=False, **_EXACT
    ),
    "LinearSVC": LinearSVC(C=0.5, random_state=0, **_EXACT),
    "LinearSVC hinge": LinearSVC(loss="hinge", C=0.5, random_state=0, **_EXACT),
    **{
        f"SGDClassifier {loss}": sk.SGDClassifier(loss=loss, alpha=0.01, random_state=0, max_iter=20_000, tol=1e-9)
        for loss in ("log_loss", "hinge", "squared_hinge", "modified_huber", "perceptron")
    },
}
_CLASSES = {
    "LogisticRegression three": sk.LogisticRegression(C=2.0, **_EXACT),
    "LinearSVC three": LinearSVC(C=0.5, random_state=0, **_EXACT),
    "SGDClassifier log_loss three": sk.SGDClassifier(loss="log_loss", alpha=0.01, random_state=0, tol=1e-9),
}


def _fitted(model: Any, y: Any, **given: Any) -> Call:
    return call(model.fit(d.X, y, **given), d.X, y, **given)


def _each(models: dict[str, Any], y: Any) -> Families:
    return {f"sklearn {name}": functools.partial(_fitted, model, y) for name, model in models.items()}


def _frame() -> Call:
    model = sk.LinearRegression().fit(_FRAME, d.REAL)
    return call(model, _FRAME, d.REAL)


_EXTRA: Families = {
    "sklearn Ridge weighted": lambda: _fitted(sk.Ridge(alpha=0.7), d.REAL, sample_weight=d.WEIGHT),
    "sklearn Ridge two targets": lambda: _fitted(sk.Ridge(alpha=[0.7, 2.0]), d.TWO),
    "sklearn LogisticRegression weighted": lambda: _fitted(
        sk.LogisticRegression(C=2.0, **_EXACT), d.LABEL, sample_weight=d.WEIGHT
    ),
    "sklearn LinearRegression frame": _frame,
    "sklearn LinearRegression ids": lambda: call(sk.LinearRegression().fit(d.X, d.REAL), d.X, d.REAL, ids=d.IDS),
    "sklearn LinearRegression rows": lambda: call(
        sk.LinearRegression().fit(d.X, d.REAL), d.X, d.REAL, rows=[1, 5, 7, 20]
    ),
}

# --- statsmodels ------------------------------------------------------------------------------------------------------

_DESIGN = sm.add_constant(d.X)


def _glm(family: Any, y: Any, **options: Any) -> Call:
    return call(sm.GLM(y, _DESIGN, family=family, **options).fit(tol=1e-12, maxiter=200))


_F = sm.families
_STATSMODELS: Families = {
    "OLS": lambda: call(sm.OLS(d.REAL, _DESIGN).fit()),
    "OLS frame": lambda: call(sm.OLS(pd.Series(d.REAL, index=d.IDS), sm.add_constant(_FRAME)).fit()),
    "WLS": lambda: call(sm.WLS(d.REAL, _DESIGN, weights=d.WEIGHT).fit()),
    "GLM Gaussian": lambda: _glm(_F.Gaussian(), d.REAL),
    "GLM Gaussian log": lambda: _glm(_F.Gaussian(_F.links.Log()), d.POSITIVE),
    "GLM Binomial": lambda: _glm(_F.Binomial(), d.BIT),
    "GLM Binomial probit": lambda: _glm(_F.Binomial(_F.links.Probit()), d.BIT),
    "GLM Binomial cloglog": lambda: _glm(_F.Binomial(_F.links.CLogLog()), d.BIT),
    "GLM Poisson": lambda: _glm(_F.Poisson(), d.COUNT, offset=d.OFFSET),
    "GLM Poisson weighted": lambda: _glm(_F.Poisson(), d.COUNT, freq_weights=np.arange(d.N) % 3 + 1),
    "GLM Gamma": lambda: _glm(_F.Gamma(_F.links.Log()), d.POSITIVE),
    "GLM InverseGaussian": lambda: _glm(_F.InverseGaussian(_F.links.Log()), d.POSITIVE),
    "GLM NegativeBinomial": lambda: _glm(_F.NegativeBinomial(alpha=0.5), d.COUNT),
    "GLM Tweedie": lambda: _glm(_F.Tweedie(_F.links.Log(), var_power=1.5), d.COUNT),
    "Logit": lambda: call(sm.Logit(d.BIT, _DESIGN).fit(disp=0)),
    "Probit": lambda: call(sm.Probit(d.BIT, _DESIGN).fit(disp=0)),
    "Poisson": lambda: call(sm.Poisson(d.COUNT, _DESIGN, exposure=d.WEIGHT).fit(disp=0)),
    "NegativeBinomial": lambda: call(sm.NegativeBinomial(d.COUNT + (d.COUNT > 4) * 3, _DESIGN).fit(disp=0)),
    "MNLogit": lambda: call(sm.MNLogit(d.THREE, _DESIGN).fit(disp=0)),
    "OrderedModel logit": lambda: _ordered("logit"),
    "OrderedModel probit": lambda: _ordered("probit"),
    "PHReg breslow": lambda: call(PHReg(d.TIME, d.X, status=d.EVENT, ties="breslow").fit(disp=0)),
    "PHReg efron": lambda: call(PHReg(d.TIME, d.X, status=d.EVENT, ties="efron").fit(disp=0)),
}


def _ordered(link: str) -> Call:
    return call(OrderedModel(d.ORDERED, d.X, distr=link).fit(method="bfgs", maxiter=2000, gtol=1e-8, disp=False))


# --- Newton's method, online Newton, VON ------------------------------------------------------------------------------

_TARGETS = {"Gaussian": d.REAL, "Bernoulli": d.BIT.astype(float), "Poisson": d.COUNT, "Categorical": d.CODE}
_RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "newton": ("newton", {}),
    "online_newton full": ("online_newton", {"steps": 30}),
    "online_newton diag": ("online_newton", {"steps": 30, "structure": "diag", "batch_size": 10}),
    "von full": ("von", {"steps": 4}),
    "von diag": ("von", {"steps": 4, "structure": "diag"}),
}


def learned(rule: str, likelihood: str) -> Any:
    """The last state of a learning rule on one of the targets."""
    name, options = _RULES[rule]
    made = find(likelihood)()
    *_, state = find(name)(d.X, _TARGETS[likelihood], likelihood=made, prior=0.5, **options)
    return state


def target_of(likelihood: str) -> Any:
    """The target that goes with a likelihood."""
    return _TARGETS[likelihood]


def _learned(rule: str, likelihood: str) -> Callable[[], Call]:
    return lambda: call(learned(rule, likelihood), d.X, _TARGETS[likelihood])


FAMILIES: Families = {
    **_each(_REGRESSORS, d.REAL),
    **_each(_COUNTS, d.COUNT),
    **_each(_POSITIVES, d.POSITIVE),
    **_each(_CLASSIFIERS, d.LABEL),
    **_each(_CLASSES, d.THREE),
    **_EXTRA,
    **{f"statsmodels {name}": make for name, make in _STATSMODELS.items()},
    **{f"rule {rule} {likelihood}": _learned(rule, likelihood) for rule in _RULES for likelihood in _TARGETS},
}
