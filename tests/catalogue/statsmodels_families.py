"""statsmodels' models: their results carry the training data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import statsmodels.api as sm
from families import Family
from statsmodels.discrete.discrete_model import NegativeBinomial
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.miscmodels.ordinal_model import OrderedModel
from tables import Table

family, link = sm.families, sm.families.links
TIGHT: dict[str, Any] = {"tol": 1e-12, "maxiter": 300}


def design(x: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(x)), x])


def predictor(results: Any, x: np.ndarray) -> np.ndarray:
    """Linear predictor of the coefficients that there are columns for."""
    return design(x) @ np.asarray(results.params)[: x.shape[1] + 1]


def of(name: str, fit: Callable[[np.ndarray, np.ndarray, Any], Any], kind: str, **facts: Any) -> Family:
    outputs = facts.pop("outputs", predictor)
    return Family(
        name, lambda data, total: fit(data.y, design(data.x), data.weight), outputs, kind, carries=True, **facts
    )


def glm(name: str, made: Any, kind: str) -> Family:
    def fit(y: Any, x: np.ndarray, weight: Any) -> Any:
        return sm.GLM(y, x, family=made, var_weights=weight).fit(**TIGHT)

    def refit(model: Any, data: Table, total: float) -> Any:
        """The optimum's coefficients, from the fitted ones or from statsmodels' own start."""
        x, to_params = orthonormal(design(data.x))
        again = sm.GLM(data.y, x, family=made, var_weights=data.weight)
        for start in (np.linalg.pinv(to_params) @ np.asarray(model.params), None):
            found = again.fit(start_params=start, **TIGHT)
            if found.converged:
                return SimpleNamespace(params=to_params @ found.params)
        raise ArithmeticError("the refit has not converged")

    return of(f"glm {name}", fit, kind, refit=refit)


def orthonormal(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`Q [n, r]`, `QᵀQ = I`, of the same column space, and `T [p, r]` with `xT = Q`: `β = Tγ` has the outputs of `γ`.

    The optimum's outputs do not depend on the basis. statsmodels' iterations do where columns determine each other: by
    rounding they end without converging, or where the deviance repeats itself by chance, off the optimum.
    """
    q, size, axes = np.linalg.svd(x, full_matrices=False)
    kept = size > len(x) * np.finfo(float).eps * size[0]
    return q[:, kept], axes[kept].T / size[kept]


def families() -> Iterator[Family]:
    yield of("ols", lambda y, x, w: sm.OLS(y, x).fit(), "real", weighted=False)
    yield of("wls", lambda y, x, w: sm.WLS(y, x, weights=1.0 if w is None else w).fit(), "real")
    yield glm("gaussian", family.Gaussian(), "real")
    yield glm("gaussian log", family.Gaussian(link.Log()), "positive")
    yield glm("poisson", family.Poisson(), "count")
    yield glm("poisson sqrt", family.Poisson(link.Sqrt()), "count")
    yield glm("binomial", family.Binomial(), "two")
    yield glm("binomial probit", family.Binomial(link.Probit()), "two")
    yield glm("binomial cloglog", family.Binomial(link.CLogLog()), "two")
    yield glm("gamma log", family.Gamma(link.Log()), "positive")
    yield glm("inverse gaussian log", family.InverseGaussian(link.Log()), "positive")
    yield glm("negative binomial", family.NegativeBinomial(alpha=0.5), "count")
    yield glm("tweedie", family.Tweedie(link.Log(), var_power=1.5), "positive")
    yield of("logit", lambda y, x, w: sm.Logit(y, x).fit(disp=0, **TIGHT), "two", weighted=False)
    yield of("probit", lambda y, x, w: sm.Probit(y, x).fit(disp=0, **TIGHT), "two", weighted=False)
    yield of("discrete poisson", lambda y, x, w: sm.Poisson(y, x).fit(disp=0, **TIGHT), "count", weighted=False)
    yield of("mnlogit", lambda y, x, w: sm.MNLogit(y, x).fit(disp=0, **TIGHT), "three", weighted=False, outputs=classes)
    yield of("ordered logit", ordered("logit"), "three", weighted=False, outputs=cumulative, wide=False)
    yield of("ordered probit", ordered("probit"), "three", weighted=False, outputs=cumulative, wide=False)
    yield of("hazards", hazards, "positive", weighted=False, outputs=no_outputs, sizes=False, noisy=True)
    yield of("discrete negative binomial", counts, "count", weighted=False, sizes=False)


def ordered(distribution: str) -> Callable[..., Any]:
    return lambda y, x, w: OrderedModel(y, x[:, 1:], distr=distribution).fit(
        method="bfgs", disp=0, maxiter=2000, gtol=1e-9
    )


def hazards(y: Any, x: np.ndarray, w: Any) -> Any:
    return PHReg(y, x[:, 1:], ties="efron").fit(disp=0)


def counts(y: Any, x: np.ndarray, w: Any) -> Any:
    return NegativeBinomial(y, x).fit(disp=0, maxiter=500)


def cumulative(results: Any, x: np.ndarray) -> np.ndarray:
    """Thresholds minus the linear predictor."""
    params = np.asarray(results.params)
    return results.model.transform_threshold_params(params)[1:-1] - (x @ params[: x.shape[1]])[:, None]


def no_outputs(results: Any, x: np.ndarray) -> np.ndarray:
    """Survival models are not refitted here: an event's own hazard vanishes without it."""
    return np.full((len(x), 1), np.nan)


def classes(results: Any, x: np.ndarray) -> np.ndarray:
    f = design(x) @ np.asarray(results.params)
    return np.column_stack([np.zeros(len(f)), f])


FAMILIES = list(families())
__all__ = ["FAMILIES", "Table"]
