"""statsmodels' `PHReg`: Cox regression with strata, late entry and offsets, ties by Breslow's or Efron's method."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from statsmodels.duration.hazard_regression import PHReg, PHRegResults

from memorymaps.core.arrays import Array
from memorymaps.core.wording import counted
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.models.linear.glm.rounding import with_rounding
from memorymaps.models.linear.statsmodels.glm import refuse_other_data, row_ids
from memorymaps.models.linear.survival.cox_refit import CoxRefit
from memorymaps.models.linear.survival.partial_likelihood import PartialLikelihood
from memorymaps.models.linear.survival.proportional_hazards import CoxPosterior
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import posterior, training_data


def _check(results: Any) -> PHReg:
    model = results.model
    if not np.all(np.isfinite(np.asarray(results.params, dtype=float))):
        raise DataError(
            "the fit has coefficients that are not finite: it has not converged. Scale the columns, and fit again"
        )
    return model


def _inputs(model: PHReg) -> Array:
    """Columns for `Subjects.of`, `[n, p + 5]`: covariates, time, entry, stratum, offset, event."""
    n = len(model.endog)
    strata = np.zeros(n) if model.strata is None else np.unique(np.asarray(model.strata), return_inverse=True)[1]
    entry = np.zeros(n) if model.entry is None else np.asarray(model.entry, dtype=float)
    offset = np.zeros(n) if model.offset is None else np.asarray(model.offset, dtype=float)
    return np.column_stack([model.exog, model.endog, entry, strata, offset, model.status])


@posterior.register(PHRegResults)
def _posterior(results: Any, examples: Examples) -> CoxPosterior:
    model = _check(results)
    beta = np.asarray(results.params, dtype=float)
    parts = list(examples)
    inputs = np.concatenate([part.inputs for part in parts])
    status = np.concatenate([part.target for part in parts])
    p = len(beta)
    description = Description(
        model=f"statsmodels PHReg, {p} coefficient(s), {int(status.sum())} events, ties by {model.ties}",
        approximation=Approximation.ONE_STEP,
        posterior="Laplace, coefficients and baseline jumps",
        likelihood="CountingProcess",
        algorithm="Newton's method (the fitted optimum)",
        coverage=(f"{counted(p, 'coefficient')} and the baseline hazard: full covariance",),
        parameters=tuple(map(str, model.exog_names)),
        methods=("nickl2023memory", "tailor2023maps", "cain1984approximate"),
        notes=("Error: expected events − observed events, the negative martingale residual.",),
    )
    likelihood = PartialLikelihood(inputs, model.ties)
    around = likelihood.around(beta)
    descent = likelihood.endless_descent(beta, around)
    description = dataclasses.replace(
        description,
        distance=float(np.linalg.norm(around.whitened) / np.sqrt(p)),
        infinite_estimates=() if descent is None else descent.names(description.parameters),
    )
    fitted = likelihood.posterior(beta, around, with_rounding(description, around.rounding))
    refits = CoxRefit(fitted, inputs, model.ties)
    return dataclasses.replace(fitted, refits=refits, coefficient_refit=refits.refit_with_coefficients)


@training_data.register(PHRegResults)
def _data(results: Any, examples: Examples | None) -> Examples:
    refuse_other_data(results.model, examples)
    model = _check(results)
    return ArrayExamples.carried(_inputs(model), np.asarray(model.status, dtype=float), row_ids(model))
