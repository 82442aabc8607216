"""statsmodels' linear, generalised linear and discrete-choice results, which contain their training data.

The ancillary parameters of a fit (σ², dispersion, the negative binomial's α) are fixed at their estimates.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from statsmodels.base.elastic_net import RegularizedResults
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.base.wrapper import ResultsWrapper
from statsmodels.discrete import discrete_model as discrete
from statsmodels.genmod import families
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import OLS, WLS

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import (
    Bernoulli,
    DispersionFamily,
    ExponentialFamily,
    Gamma,
    Gaussian,
    InverseGaussian,
    NegativeBinomial,
    Poisson,
    Tweedie,
)
from memorymaps.core.likelihoods.links import BinaryLink, ComplementaryLogLog, Identity, Link, Log, Logit, Power, Probit
from memorymaps.data.examples import Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.models.linear.coordinates.centring import centred
from memorymaps.models.linear.glm.fit import laplace
from memorymaps.models.linear.glm.model import FittedRank, LinearModel
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.models.linear.statsmodels.formula import design_of
from memorymaps.models.linear.statsmodels.kinds import check_kind, unsupported
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data

# --- likelihoods -------------------------------------------------------------------------------------------------


_PINV = 1e-15  # relative singular value below which statsmodels' pseudo-inverse drops a direction

# by exact class: statsmodels' Cauchy and log-log links are subclasses of Logit
_LINKS: dict[type, Callable[[Any], Link]] = {
    families.links.Logit: lambda link: Logit(),
    families.links.Probit: lambda link: Probit(),
    families.links.CLogLog: lambda link: ComplementaryLogLog(),
    families.links.Log: lambda link: Log(),
    families.links.Identity: lambda link: Identity(),
    families.links.Power: lambda link: Power(float(link.power)),
    families.links.Sqrt: lambda link: Power(0.5),
    families.links.InversePower: lambda link: Power(-1.0),
    families.links.InverseSquared: lambda link: Power(-2.0),
}


def _link(link: Any) -> Link:
    if type(link) not in _LINKS:
        supported = ", ".join(kind.__name__ for kind in _LINKS)
        raise UnsupportedModelError(f"link {type(link).__name__} is not supported; supported: {supported}")
    return _LINKS[type(link)](link)


_FAMILIES: dict[type, Callable[[Any], type | Callable[..., ExponentialFamily]]] = {
    families.Gaussian: lambda family: Gaussian,
    families.Binomial: lambda family: Bernoulli,
    families.Poisson: lambda family: Poisson,
    families.Gamma: lambda family: Gamma,
    families.InverseGaussian: lambda family: InverseGaussian,
    families.NegativeBinomial: lambda family: functools.partial(NegativeBinomial, float(family.alpha)),
    families.Tweedie: lambda family: _tweedie(float(family.var_power)),
}


def _tweedie(power: float) -> Any:
    named = {0.0: Gaussian, 1.0: Poisson, 2.0: Gamma, 3.0: InverseGaussian}
    return named.get(power, functools.partial(Tweedie, power))


def _glm_likelihood(results: Any) -> Likelihood:
    family = results.model.family
    if type(family) not in _FAMILIES:
        raise unsupported(results, f"with family {type(family).__name__} has no likelihood here")
    link = _link(family.link)
    if isinstance(family, families.Binomial) and not isinstance(link, BinaryLink):
        raise unsupported(
            results,
            f"Binomial with link {type(family.link).__name__} does not keep probabilities between 0 and 1, which a "
            "map needs when it leaves examples out: use Logit, Probit or CLogLog",
        )
    return _with_counts(results.model, _FAMILIES[type(family)](family)(link=link))


_BOTH_WEIGHTS = (
    "freq_weights and var_weights together: losses and their averages take the product for a precision. Write the rows "
    "out for losses of single rows: rows = np.repeat(np.arange(len(endog)), freq_weights), then "
    "sm.GLM(endog[rows], exog[rows], var_weights=var_weights[rows], family=…).fit()"
)


def _cautions(model: Any, likelihood: Likelihood) -> tuple[str, ...]:
    """That rows have both counts and precisions, of which the loss of a density can tell one only."""
    both = np.any(np.asarray(model.freq_weights) != 1) and np.any(np.asarray(model.var_weights) != 1)
    return (_BOTH_WEIGHTS,) if both and isinstance(likelihood, DispersionFamily) else ()


def _with_counts(model: Any, likelihood: Likelihood) -> Likelihood:
    """The likelihood of a fit whose weights are `freq_weights`: numbers of equal rows, not precisions."""
    counts = np.any(np.asarray(model.freq_weights) != 1) and np.all(np.asarray(model.var_weights) == 1)
    if counts and isinstance(likelihood, DispersionFamily):
        return dataclasses.replace(likelihood, counts=True)  # type: ignore[type-var]  # an abstract base
    return likelihood


# --- translation of models -------------------------------------------------------------------------------------------


@functools.singledispatch
def _translate(model: Any, results: Any) -> LinearModel:
    raise unsupported(results, "is not supported")


def _linear(results: Any, likelihood: Likelihood, coefficients: Array, **facts: Any) -> LinearModel:
    names = tuple(map(str, results.model.exog_names))[: len(coefficients)]
    shape = coefficients.shape
    fields = {
        "free": np.ones(shape, dtype=bool),
        "dispersion": 1.0,
        "penalty": lambda weight: np.zeros(shape),
        "name": f"statsmodels {type(results.model).__name__}",
        **facts,
    }
    return LinearModel(
        likelihood=likelihood,
        coefficients=coefficients,
        design=design_of(results.model, names),
        parameters=names,
        **fields,
    )


def _column(values: Any) -> Array:
    return np.asarray(values, dtype=float)[:, None]


@_translate.register(OLS)
@_translate.register(WLS)
def _(model: Any, results: Any) -> LinearModel:
    return _linear(
        results, Gaussian(), _column(results.params), prior="none (least squares)", dispersion=float(results.scale),
        dispersion_known=False, residual_df=float(results.df_resid), closed_form=True, rank=_least_squares_rank(model),
    )  # fmt: skip


_SCALE = (
    "divide each column of exog by its length, exog / np.linalg.norm(exog, axis=0), and fit again; where columns are "
    "nearly collinear, drop one"
)


def _least_squares_rank(model: Any) -> FittedRank | None:
    """Directions that the pseudo-inverse kept, of singular values above 1e-15 of the largest."""
    rank, singular = getattr(model, "rank", None), getattr(model, "wexog_singular_values", None)
    if rank is None or singular is None:
        return None
    kept = int(np.count_nonzero(singular > _PINV * np.max(singular, initial=0.0)))
    return FittedRank(min(int(rank), kept), f"singular values below {_PINV:g} of the largest", _SCALE)


@_translate.register(GLM)
def _(model: Any, results: Any) -> LinearModel:
    fixed = isinstance(model.family, (families.Poisson, families.Binomial, families.NegativeBinomial))
    likelihood = _glm_likelihood(results)
    return _linear(
        results, likelihood, _column(results.params), dispersion=float(results.scale),
        dispersion_known=fixed and results.scale == 1, residual_df=float(results.df_resid),
        name=f"statsmodels GLM {type(model.family).__name__}", cautions=_cautions(model, likelihood),
        rank=FittedRank(int(model.df_model) + 1, "by numpy.linalg.matrix_rank(exog)", _SCALE),
    )  # fmt: skip


@_translate.register(discrete.Logit)
def _(model: Any, results: Any) -> LinearModel:
    return _linear(results, Bernoulli(), _column(results.params), residual_df=float(results.df_resid))


@_translate.register(discrete.Probit)
def _(model: Any, results: Any) -> LinearModel:
    return _linear(results, Bernoulli(link=Probit()), _column(results.params), residual_df=float(results.df_resid))


@_translate.register(discrete.Poisson)
def _(model: Any, results: Any) -> LinearModel:
    return _linear(results, Poisson(), _column(results.params), residual_df=float(results.df_resid))


@_translate.register(discrete.NegativeBinomial)
def _(model: Any, results: Any) -> LinearModel:
    if model.loglike_method != "nb2":
        raise unsupported(
            results, f"with loglike_method={model.loglike_method!r} has no likelihood here (expected 'nb2')"
        )
    params = np.asarray(results.params, dtype=float)
    note = f"The dispersion parameter alpha = {params[-1]:.4g} is fixed at its estimate."
    return _linear(
        results, NegativeBinomial(float(params[-1])), params[:-1, None], notes=(note,),
        residual_df=float(results.df_resid),
    )  # fmt: skip


@_translate.register(discrete.MNLogit)
def _(model: Any, results: Any) -> LinearModel:
    params = np.asarray(results.params, dtype=float)
    coefficients = np.concatenate([np.zeros((len(params), 1)), params], axis=1)
    free = np.ones(coefficients.shape, dtype=bool)
    free[:, 0] = False  # the reference class
    return _linear(
        results, Categorical(), coefficients, free=free, residual_df=float(results.df_resid),
        notes=("The first class is the reference: its coefficients are zero.",),
        classes=_class_labels(model),
    )  # fmt: skip


def _class_labels(model: Any) -> tuple[Any, ...]:
    """Labels in statsmodels' order: sorted values, or the levels of a formula's columns `name[level]`."""
    endog = model.data.orig_endog
    if np.ndim(endog) == 1 or np.shape(endog)[1] == 1:  # numbers, also as the one column that a formula makes of them
        return tuple(np.unique(np.asarray(endog)).tolist())
    return tuple(str(name).partition("[")[2].rstrip("]") for name in endog.columns)


# --- data ---------------------------------------------------------------------------------------------------------


def _weight(model: Any) -> Array | None:
    if isinstance(model, WLS):
        return np.broadcast_to(model.weights, len(model.endog))
    if isinstance(model, GLM):
        weight = np.asarray(model.freq_weights) * np.asarray(model.var_weights)
        return weight * np.asarray(model.n_trials) if isinstance(model.family, families.Binomial) else weight
    return None


def check_data(model: Any) -> None:
    """Raise `ValueError` if `remove_data()` has taken the training data out of a model's results."""
    if getattr(model, "endog", None) is None:
        raise ValueError(
            "these statsmodels results have lost their training data (remove_data(), or save(remove_data=True)): draw "
            "the map before, or fit again"
        )


def refuse_other_data(model: Any, examples: Examples | None) -> None:
    """Raise `ValueError` if results have lost their training data, or others are given."""
    check_data(model)
    if examples is not None:
        raise ValueError(
            "statsmodels results carry their training data: call memory_map(results), or memory_map(results, ids=…), "
            "without X and y"
        )


def row_ids(model: Any) -> Any:
    """The data frame's index, or row numbers."""
    labels = model.data.row_labels
    return np.arange(len(model.endog)) if labels is None else labels


def _offset(model: Any) -> Array | None:
    """Offset plus log exposure, as in the linear predictor; `None` if zero."""
    parts = [getattr(model, name, None) for name in ("offset", "exposure")]
    total = sum((np.asarray(part, dtype=float) for part in parts if part is not None), np.zeros(len(model.endog)))
    return total if np.any(total) else None


@training_data.register(ResultsWrapper)
@training_data.register(LikelihoodModelResults)
@training_data.register(RegularizedResults)
def _data(results: Any, examples: Examples | None) -> Examples:
    check_kind(results)
    model = results.model
    refuse_other_data(model, examples)
    _translate(model, results)  # raises for unsupported models before the data is read
    ids = row_ids(model)
    return ArrayExamples.carried(model.exog, model.endog, ids, _weight(model), _offset(model))


@posterior.register(ResultsWrapper)
@posterior.register(LikelihoodModelResults)
def _posterior(results: Any, examples: Examples) -> LinearPosterior:
    check_kind(results)
    model = results.model
    return laplace(centred(_without_zero_weights(model, _translate(model, results)), examples), examples)


def _without_zero_weights(model: Any, translated: LinearModel) -> LinearModel:
    """The model with degrees of freedom that rows of weight zero do not count in, as if they were dropped.

    statsmodels counts rows of zero `weights` (WLS) or `var_weights` (GLM); R and scikit-learn do not.
    """
    weights = getattr(model, "weights", getattr(model, "var_weights", None))
    counts = getattr(model, "freq_weights", None)
    if weights is None or translated.dispersion_known or not np.any(np.asarray(weights) == 0):
        return translated
    rows = np.ones(len(model.endog)) if counts is None else np.asarray(counts, dtype=float)
    zeros = float(np.sum(rows[np.broadcast_to(np.asarray(weights) == 0, len(rows))]))
    before = float(translated.residual_df or 0.0)
    left = before - zeros
    dispersion = float(np.asarray(translated.dispersion)) * before / left if left > 0 else np.inf
    return dataclasses.replace(translated, dispersion=dispersion, residual_df=left)
