"""Relatives that only look like a supported model, draws and conjugate families, by faults."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import statsmodels.api as sm
import tables
from scipy.stats import gumbel_r
from statsmodels.discrete import count_model
from statsmodels.discrete.discrete_model import GeneralizedPoisson, NegativeBinomialP
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.othermod.betareg import BetaModel
from statsmodels.regression.rolling import RollingOLS
from verdict import Case, Truth

import memorymaps as mm
from memorymaps import models
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian

REAL, COUNT, TWO, THREE = (tables.table(kind) for kind in ("real", "count", "two", "three"))
GROUPS = np.arange(tables.N) // 4


def design(x: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(x)), x])


X = design(REAL.x)
RELATIVES: dict[str, Callable[[], Any]] = {
    "gee": lambda: sm.GEE(REAL.y, X, groups=GROUPS, cov_struct=sm.cov_struct.Exchangeable()).fit(),
    "gee_of_counts": lambda: sm.GEE(COUNT.y, X, groups=GROUPS, family=sm.families.Poisson()).fit(),
    "ordinal_gee": lambda: sm.OrdinalGEE(THREE.y, THREE.x, groups=GROUPS).fit(),
    "nominal_gee": lambda: sm.NominalGEE(THREE.y, THREE.x, groups=GROUPS).fit(maxiter=20),
    "robust": lambda: sm.RLM(REAL.y, X).fit(),
    "quantile": lambda: sm.QuantReg(REAL.y, X).fit(),
    "gls": lambda: sm.GLS(REAL.y, X, sigma=np.eye(tables.N) + 0.3).fit(),
    "glsar": lambda: sm.GLSAR(REAL.y, X, 1).iterative_fit(3),
    "mixed": lambda: sm.MixedLM(REAL.y, X, groups=GROUPS).fit(),
    "mixed_of_classes": lambda: BinomialBayesMixedGLM(TWO.y, X, np.eye(20)[GROUPS], np.zeros(20, dtype=int)).fit_map(),
    "recursive": lambda: sm.RecursiveLS(REAL.y, X).fit(),
    "rolling": lambda: RollingOLS(REAL.y, X, window=30).fit(),
    "generalised_poisson": lambda: GeneralizedPoisson(COUNT.y, X).fit(disp=0),
    "negative_binomial_p": lambda: NegativeBinomialP(COUNT.y, X).fit(disp=0),
    "negative_binomial_1": lambda: sm.NegativeBinomial(COUNT.y, X, loglike_method="nb1").fit(disp=0),
    "zero_inflated": lambda: count_model.ZeroInflatedPoisson(COUNT.y, X).fit(disp=0, maxiter=200),
    "beta": lambda: BetaModel(np.clip(TWO.y * 0.6 + 0.2, 0.01, 0.99) + 0.05 * np.tanh(TWO.x[:, 0]), X).fit(disp=0),
    "ridge_of_ols": lambda: sm.OLS(REAL.y, X).fit_regularized(alpha=0.1, L1_wt=0.0),
    "lasso_of_ols": lambda: sm.OLS(REAL.y, X).fit_regularized(alpha=0.1, L1_wt=1.0),
    "lasso_of_ols_refitted": lambda: sm.OLS(REAL.y, X).fit_regularized(alpha=0.1, L1_wt=1.0, refit=True),
    "lasso_of_logit": lambda: sm.Logit(TWO.y, X).fit_regularized(alpha=1.0, disp=0),
    "elastic_net_of_glm": lambda: sm.GLM(COUNT.y, X, family=sm.families.Poisson()).fit_regularized(alpha=0.1),
    "constrained_glm": lambda: sm.GLM(REAL.y, X).fit_constrained("x3 = 0"),
    "constrained_poisson": lambda: sm.Poisson(COUNT.y, X).fit_constrained("x1 = 0", disp=0),
    "ordered_of_another_link": lambda: OrderedModel(THREE.y, THREE.x, distr=gumbel_r).fit(method="bfgs", disp=0),
}


def relative_case(name: str) -> Case:
    """Never a map of the parent; the least-squares or maximum-likelihood fit of the same data is the way out."""
    results = RELATIVES[name]()
    return Case(lambda: mm.memory_map(results), None, lambda: mm.memory_map(sm.OLS(REAL.y, X).fit()), "", ())


# --- draws and conjugate families ------------------------------------------------------------------------------------


def posterior_draws(count: int = 4000) -> np.ndarray:
    """Draws of the outputs of a linear model of known noise with a flat prior: `[s, n]`."""
    fit = np.linalg.lstsq(X, REAL.y, rcond=None)[0]
    root = np.linalg.cholesky(0.49 * np.linalg.inv(X.T @ X))
    return (fit + np.random.default_rng(0).normal(size=(count, X.shape[1])) @ root.T) @ X.T


def linear_truth() -> Truth:
    def changes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fit = np.linalg.lstsq(X, REAL.y, rcond=None)[0]
        kept = [np.arange(tables.N) != row for row in rows]
        after = [X[row] @ np.linalg.lstsq(X[k], REAL.y[k], rcond=None)[0] for row, k in zip(rows, kept, strict=True)]
        return (X[rows] @ fit)[:, None], np.asarray(after)[:, None]

    return Truth(changes, REAL.y)


def draws_map(f: Any = None, likelihood: Any = None, y: Any = None, **options: Any) -> mm.MemoryMap:
    f = posterior_draws() if f is None else f
    likelihood = Gaussian(dispersion=0.49) if likelihood is None else likelihood
    return mm.memory_map(models.Draws(f, likelihood), REAL.x, REAL.y if y is None else y, **options)


def draws_with(where: Any, value: float) -> np.ndarray:
    f = posterior_draws()
    f[where] = value
    return f


DRAWS: dict[str, Callable[[], Any]] = {
    "as_they_are": draws_map,
    "nan_in_a_draw": lambda: draws_map(draws_with((3, 4), np.nan)),
    "infinity_in_a_draw": lambda: draws_map(draws_with((3, 4), np.inf)),
    "one_draw": lambda: draws_map(posterior_draws()[:1]),
    "few_draws": lambda: draws_map(posterior_draws()[:5]),
    "transposed": lambda: draws_map(posterior_draws(200).T),
    "nan_noise": lambda: draws_map(likelihood=Gaussian(dispersion=np.nan)),
    "negative_noise": lambda: draws_map(likelihood=Gaussian(dispersion=-1.0)),
    "zero_noise": lambda: draws_map(likelihood=Gaussian(dispersion=0.0)),
    "infinite_noise": lambda: draws_map(likelihood=Gaussian(dispersion=np.inf)),
    "no_likelihood": lambda: mm.memory_map(models.Draws(posterior_draws(), "gaussian"), REAL.x, REAL.y),
    "fewer_targets": lambda: draws_map(y=REAL.y[:-1]),
    "nan_target": lambda: draws_map(y=np.r_[np.nan, REAL.y[1:]]),
    "targets_of_another_likelihood": lambda: draws_map(likelihood=Bernoulli()),
    "text_targets": lambda: draws_map(y=np.array(["a"] * tables.N)),
    "duplicate_ids": lambda: draws_map(ids=[0, 0, *range(2, tables.N)]),
    "negative_weights": lambda: draws_map(sample_weight=np.r_[-1.0, np.ones(tables.N - 1)]),
}
MAPPED_RIGHTLY = ("as_they_are", "few_draws")


def draws_case(name: str) -> Case:
    return Case(DRAWS[name], linear_truth() if name in MAPPED_RIGHTLY else None, draws_map, "")


def conjugate_map() -> mm.MemoryMap:
    return mm.memory_map(models.GammaPoisson(1.0, 1.0).given(COUNTS))


COUNTS, BITS, LABELS = COUNT.y.astype(int), TWO.y, THREE.y
CONJUGATE: dict[str, Callable[[], Any]] = {
    "poisson-nan_target": lambda: mm.memory_map(models.GammaPoisson(1.0, 1.0).given(np.r_[np.nan, COUNT.y[1:]])),
    "poisson-negative_count": lambda: mm.memory_map(models.GammaPoisson(1.0, 1.0).given(np.r_[-1, COUNTS[1:]])),
    "poisson-negative_prior": lambda: mm.memory_map(models.GammaPoisson(-1.0, 1.0).given(COUNTS)),
    "poisson-nan_prior": lambda: mm.memory_map(models.GammaPoisson(np.nan, 1.0).given(COUNTS)),
    "bernoulli-target_of_two": lambda: mm.memory_map(models.BetaBernoulli(1.0, 1.0).given(np.r_[2, BITS[1:]])),
    "bernoulli-nan_target": lambda: mm.memory_map(models.BetaBernoulli(1.0, 1.0).given(np.r_[np.nan, BITS[1:]])),
    "bernoulli-zero_prior": lambda: mm.memory_map(models.BetaBernoulli(0.0, 1.0).given(BITS)),
    "categorical-class_out_of_range": lambda: mm.memory_map(
        models.DirichletCategorical(np.ones(3)).given(np.r_[3, LABELS[1:]])
    ),
    "categorical-negative_class": lambda: mm.memory_map(
        models.DirichletCategorical(np.ones(3)).given(np.r_[-1, LABELS[1:]])
    ),
    "categorical-negative_prior": lambda: mm.memory_map(models.DirichletCategorical([1.0, -1.0, 1.0]).given(LABELS)),
}


def cases() -> dict[str, Callable[[], Case]]:
    found: dict[str, Callable[[], Case]] = {}
    for name in RELATIVES:
        found[f"relative-{name}"] = functools.partial(relative_case, name)
    for name in DRAWS:
        found[f"draws-{name}"] = functools.partial(draws_case, name)
    for name, draw in CONJUGATE.items():
        found[f"conjugate-{name}"] = functools.partial(Case, draw, None, conjugate_map)
    return found
