"""statsmodels' `PHReg`: Cox regression with strata, late entry and offsets, ties by Breslow's or Efron's method."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from statsmodels.duration.hazard_regression import PHReg, PHRegResults

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.models.linear.glm.rounding import with_rounding
from memorymaps.models.linear.infinite_estimates import endless_descent
from memorymaps.models.linear.proportional_hazards import CoxPosterior, PartialLikelihood, Subjects, cox_posterior
from memorymaps.models.linear.statsmodels.glm import refuse_other_data, row_ids
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import RefitOnRequest
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import posterior, training_data

_CONVERGED = 1e-4  # posterior standard deviations from the optimum at which a refit has converged


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
        coverage=(f"{p} coefficients and the baseline hazard: full covariance",),
        parameters=tuple(map(str, model.exog_names)),
        methods=("nickl2023memory", "tailor2023maps", "cain1984approximate"),
        notes=("Error: expected events − observed events, the negative martingale residual.",),
    )
    fitted, gradient = cox_posterior(beta, inputs, model.ties, description)
    distance = float(np.linalg.norm(fitted.root.T @ gradient) / np.sqrt(p))
    descent = endless_descent(PartialLikelihood(inputs, model.ties), beta, fitted.newton_step(gradient))
    infinite = () if descent is None else descent.names(description.parameters)
    description = dataclasses.replace(description, distance=distance, infinite_estimates=infinite)
    description = with_rounding(description, fitted.rounding)
    fitted = dataclasses.replace(fitted, description=description)
    refits = PHRegRefit(fitted, inputs, model.ties)
    return dataclasses.replace(fitted, refits=refits, coefficient_refit=refits.refit_with_coefficients)


@dataclass(frozen=True)
class PHRegRefit(RefitOnRequest):
    """Refits by statsmodels' `PHReg` without some subjects, `posteriors.capabilities.Refit`.

    The baseline hazard is that of the others. A jump at an event time of the subject alone is held: no other subject
    determines it.
    """

    fitted: CoxPosterior
    inputs: Array
    ties: str

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, 2]` of the rows `wanted`, and 0 where Newton's method has converged, else 1."""
        return self.refit_with_coefficients(removed, wanted, steps)[:2]

    def refit_with_coefficients(
        self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05
    ) -> tuple[Array, float, Array]:
        """`refit`, and `β̂ [p, 1]`: `posteriors.capabilities.CoefficientRefit`."""
        rows = self.inputs[wanted]
        if not len(removed):
            return self.fitted.outputs(rows), 0.0, self.fitted.beta[:, None]
        kept = np.delete(self.inputs, removed, axis=0)
        results = _fit(kept, self.ties, self.fitted.beta, steps)
        beta = np.asarray(results.params, dtype=float)
        rest, gradient = cox_posterior(beta, kept, self.ties, self.fitted.description)
        f, alone = rest.outputs(rows), ~rest.has_event_cell(rows)
        f[alone, 1] += self.fitted.jumps(rows)[alone]
        return f, float(np.linalg.norm(rest.root.T @ gradient) > _CONVERGED), beta[:, None]


def _fit(inputs: Array, ties: str, start: Array, steps: int) -> Any:
    s = Subjects.of(inputs)
    model = PHReg(s.time, s.x, status=s.event, entry=s.entry, strata=s.stratum, offset=s.offset, ties=ties)
    return model.fit(start_params=start, maxiter=steps, disp=0)


@training_data.register(PHRegResults)
def _data(results: Any, examples: Examples | None) -> Examples:
    refuse_other_data(results.model, examples)
    model = _check(results)
    return ArrayExamples.carried(_inputs(model), np.asarray(model.status, dtype=float), row_ids(model))
