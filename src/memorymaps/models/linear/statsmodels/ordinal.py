"""statsmodels' `OrderedModel`: ordered logit and probit, thresholds included."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy import stats
from statsmodels.miscmodels.ordinal_model import OrderedModel, OrderedResults, OrderedResultsWrapper

from memorymaps.core.likelihoods.links import BinaryLink, Logit, Probit
from memorymaps.core.likelihoods.ordinal import Ordinal
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.models.linear.glm.rounding import with_rounding
from memorymaps.models.linear.ordinal import OrdinalModel, OrdinalPosterior, ordinal_fit
from memorymaps.models.linear.ordinal_refit import OrdinalRefit
from memorymaps.models.linear.statsmodels.formula import design_of
from memorymaps.models.linear.statsmodels.glm import refuse_other_data, row_ids
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import UnsupportedModelError, posterior, training_data

# keyed by scipy's distribution objects, which OrderedModel stores as `distr`
_LINKS: tuple[tuple[Any, BinaryLink], ...] = ((stats.logistic, Logit()), (stats.norm, Probit()))


def _link(model: OrderedModel) -> BinaryLink:
    links = [link for distribution, link in _LINKS if model.distr is distribution]
    if not links:
        raise UnsupportedModelError(f"OrderedModel with distr={model.distr.name}: expected 'logit' or 'probit'")
    return links[0]


def _translate(results: Any) -> OrdinalModel:
    model, params = results.model, np.asarray(results.params, dtype=float)
    likelihood = Ordinal(_link(model))
    if not np.all(np.isfinite(params)):
        raise DataError(
            "the fit has parameters that are not finite: it has not converged. Scale the columns, and fit again"
        )
    return OrdinalModel(model.transform_threshold_params(params)[1:-1], params[: model.k_vars], likelihood)


@posterior.register(OrderedResults)
@posterior.register(OrderedResultsWrapper)
def _posterior(results: Any, examples: Examples) -> OrdinalPosterior:
    model, fitted = results.model, _translate(results)
    try:
        around = ordinal_fit(fitted, examples)
    except np.linalg.LinAlgError as error:
        raise DataError(
            "the data does not determine all thresholds and slopes: columns are combinations of others, to rounding, "
            "or separate the classes. Expected none: drop collinear columns, or those that separate the classes, whose "
            "slopes have run away"
        ) from error
    names = tuple(map(str, model.exog_names))
    ordered = names[model.k_vars :] + names[: model.k_vars]  # thresholds first
    description = Description(
        model=f"statsmodels OrderedModel, {type(fitted.likelihood.link).__name__.lower()}, {model.k_levels} classes",
        approximation=Approximation.ONE_STEP,
        posterior="Laplace, full Fisher information",
        likelihood="Ordinal",
        algorithm="Newton's method (the fitted optimum)",
        coverage=(f"{len(fitted.thresholds)} thresholds and {len(fitted.slopes)} slopes: full covariance",),
        parameters=ordered,
        classes=tuple(np.asarray(model.labels).tolist()),
        rank=len(around.root),
        effective_parameters=float(len(around.root)),
        distance=around.distance,
        error_change=around.error_change,
        infinite_estimates=() if around.descent is None else around.descent.names(ordered),
    )
    description = with_rounding(description, around.rounding)
    load = functools.partial(examples.take, np.arange(len(examples)))
    design = design_of(model, names[: model.k_vars])
    return OrdinalPosterior(fitted, fitted.likelihood, description, around.root, design, OrdinalRefit(fitted, load))


@training_data.register(OrderedResults)
@training_data.register(OrderedResultsWrapper)
def _data(results: Any, examples: Examples | None) -> Examples:
    model = results.model
    refuse_other_data(model, examples)
    _link(model)
    x = np.zeros((len(model.endog), 0)) if model.exog is None else model.exog
    offset = None if model.offset is None else -np.asarray(model.offset, dtype=float)
    return ArrayExamples.carried(x, np.asarray(model.endog), row_ids(model), offset=offset)
