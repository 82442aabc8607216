"""Which statsmodels results are plain maximum-likelihood fits: told by what they are, never by their parent class."""

from __future__ import annotations

from typing import Any

import numpy as np
from statsmodels.discrete import discrete_model as discrete
from statsmodels.genmod.generalized_estimating_equations import GEE
from statsmodels.genmod.generalized_linear_model import GLM, GLMResults
from statsmodels.regression.linear_model import OLS, WLS, OLSResults, RegressionResults

from memorymaps.posteriors.registry import UnsupportedModelError

SUPPORTED = "OLS, WLS, GLM, Logit, Probit, Poisson, MNLogit, NegativeBinomial"
_MODELS = (
    OLS, WLS, GLM, discrete.Logit, discrete.Probit, discrete.Poisson, discrete.MNLogit, discrete.NegativeBinomial,
)  # fmt: skip
_RESULTS = (
    OLSResults, RegressionResults, GLMResults, discrete.BinaryResults, discrete.LogitResults, discrete.ProbitResults,
    discrete.PoissonResults, discrete.CountResults, discrete.NegativeBinomialResults, discrete.MultinomialResults,
)  # fmt: skip


def unsupported(results: Any, reason: str) -> UnsupportedModelError:
    """The error for results that no map can be drawn of."""
    return UnsupportedModelError(
        f"statsmodels {type(results.model).__name__} {reason}; supported: unpenalised fits of {SUPPORTED}"
    )


def unwrapped(results: Any) -> Any:
    """The results inside statsmodels' wrapper."""
    return getattr(results, "_results", results)


def check_kind(results: Any) -> None:
    """Raise `UnsupportedModelError` unless the results are a plain fit of a supported model.

    Classes of other packages that derive from a supported model are taken for it.
    """
    model, inner = results.model, unwrapped(results)
    if isinstance(model, GEE):
        raise unsupported(
            results,
            "solves estimating equations with a working correlation, not the GLM's likelihood: the map would be "
            "another model's. Map the GLM of the same formula, sm.GLM(endog, exog, family=…).fit()",
        )
    if not _is_plain(type(model), _MODELS):
        raise unsupported(results, "is not supported")
    if getattr(inner, "regularized", False):
        raise unsupported(
            results,
            "was fitted with fit_regularized(refit=True), which chose its columns by a penalty. Fit the chosen columns "
            "by themselves, exog[:, np.flatnonzero(results.params)], and map that",
        )
    if not _is_plain(type(inner), _RESULTS):
        raise unsupported(
            results,
            "was fitted with a penalty. Fit scikit-learn's Ridge, Lasso or ElasticNet instead, or LogisticRegression "
            "for classes",
        )
    if getattr(inner, "k_constr", 0):
        raise unsupported(results, _constrained_advice(inner))


def _constrained_advice(inner: Any) -> str:
    constraints = inner.constraints
    matrix = np.asarray(getattr(constraints, "coefs", getattr(constraints, "constraint_matrix", None)))
    return (
        f"was fitted under {inner.k_constr} linear constraint(s) R b = q, which a map does not know. Fit the free "
        f"directions: with N = scipy.linalg.null_space(R), R of shape {matrix.shape}, and the fitted params, the model "
        "of exog @ N with offset=exog @ params"
    )


def _is_plain(kind: type, known: tuple[type, ...]) -> bool:
    """Whether the class is one of those known, or derives from one outside statsmodels, with no other parent there."""
    own = [each for each in kind.__mro__ if each.__module__.partition(".")[0] == "statsmodels"]
    return (
        bool(own)
        and own[0] in known
        and set(own) == {each for each in own[0].__mro__ if each.__module__.partition(".")[0] == "statsmodels"}
    )
