"""Models with a linear predictor `f = Bᵀx + offset`: exact or Laplace posterior from one pass over the data.

`S = Σ_i w_i Λ_i ⊗ x_i x_iᵀ + diag(δ)` is accumulated as a triangular QR factor if outputs are independent, which does
not square the condition number, and as a Gram matrix for softmax, of orthonormal columns where those of the data are
nearly collinear. For the Gaussian likelihood this is the exact
posterior, for the others Laplace's approximation at the fitted parameters.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.covariance_roots import IndependentCurvature
from memorymaps.data.examples import Examples
from memorymaps.models.linear.active_set import L1ActiveSet, L1ActiveSetWarnings, roots_of
from memorymaps.models.linear.glm.description import describe
from memorymaps.models.linear.glm.dispersion import fitted_dispersion, with_dispersion
from memorymaps.models.linear.glm.infinite_coefficients import names_of_infinite
from memorymaps.models.linear.glm.model import LinearModel, check_coefficients, is_quadratic
from memorymaps.models.linear.glm.penalty import penalty_per_weight, penalty_rate
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.models.linear.glm.quadratic import LocalQuadratic
from memorymaps.models.linear.glm.rank import check_rank, missing_directions
from memorymaps.models.linear.newton_refit import LinearRefit, TrainingRows
from memorymaps.models.linear.stationarity import (
    change_of_errors,
    check_curved,
    check_stationary,
    distance_in_deviations,
)


def laplace(model: LinearModel, examples: Examples, observed: bool = True) -> LinearPosterior:
    """Posterior of a fitted linear predictor from one pass over its training data.

    `observed`: with the Hessian of the loss itself where it is positive definite, else with the expected one.

    Raises
    ------
    DataError
        Non-finite features or targets outside the support; more free parameters than examples where the
        noise has to be estimated.
    """
    check_coefficients(model)
    return laplace_of(model, LocalQuadratic.of(model, examples, observed), examples)


def laplace_of(model: LinearModel, quadratic: LocalQuadratic, examples: Examples) -> LinearPosterior:
    """The posterior from the objective around the coefficients; raises as `laplace`."""
    structure, penalty, sums = quadratic.structure, quadratic.penalty, quadratic.sums
    check_curved(model, structure)
    check_rank(model, structure)
    effective = structure.effective_parameters(penalty)
    phi, df = fitted_dispersion(model, sums, effective)
    scale = np.sqrt(np.broadcast_to(np.asarray(phi, dtype=float), (model.coefficients.shape[1],)))
    count, unit = float(np.sum(effective)), quadratic.likelihood
    distance = distance_in_deviations(quadratic.gradient, structure, quadratic.diagonal, scale, count)
    if np.all(scale > 0) and not missing_directions(model, structure):  # a dispersion of zero is refused as such
        check_stationary(model, quadratic.gradient, structure, quadratic.diagonal, distance, examples)
    description = describe(model, unit, structure, quadratic.estimated, count, phi, df, distance)
    if not is_quadratic(unit):
        step = quadratic.newton_step()
        change = change_of_errors(model, unit, step, examples)
        infinite = names_of_infinite(model, step, distance, examples)
        description = dataclasses.replace(description, error_change=change, infinite_estimates=infinite)
    load = functools.partial(_training_rows, model, examples)
    scaled = structure.scale_outputs(scale)
    refits = LinearRefit(unit, model.coefficients, model.penalty, structure, load, sums.n)
    return LinearPosterior(
        with_dispersion(unit, phi), description, model.coefficients, model.design, scaled,
        model=model, refits=None if model.is_sparse else refits,  # Newton's method needs a smooth penalty
        penalty=penalty_per_weight(model.design, scaled, penalty_rate(model, sums.weight) / scale**2),
        with_expected_information=functools.partial(laplace, model, examples, observed=False),
        active_set=_active_set(model, quadratic, scale),
        to_original=model.to_original, prior_variance=model.prior_variance,
        newton_step=None if model.shrinkable is not None else quadratic.newton_step(),
    )  # fmt: skip


def _active_set(model: LinearModel, quadratic: LocalQuadratic, scale: Array) -> L1ActiveSetWarnings | None:
    """The check of changes of the active set, for independent outputs with an L1 penalty or a sign constraint."""
    curvature, gradient = quadratic.sums.curvature, quadratic.gradient
    if model.shrinkable is None or not isinstance(curvature, IndependentCurvature):
        return None
    pieces = zip(curvature.factors(quadratic.penalty), roots_of(quadratic.structure), strict=True)
    smooth, weight = gradient.smooth(), quadratic.sums.weight
    rate = penalty_rate(model, weight)
    l1_rate = gradient.l1 - (0.0 if model.l1 is None else model.l1(weight - 1.0))
    outputs = tuple(
        L1ActiveSet(
            model.coefficients[:, k], gradient.l1[:, k], smooth[:, k], factor, root, gradient.shrinkable[:, k],
            model.positive, rate[:, k], l1_rate[:, k],
        )
        for k, (factor, root) in enumerate(pieces)
    )  # fmt: skip
    return L1ActiveSetWarnings(model.design, outputs, scale)


def _training_rows(model: LinearModel, examples: Examples) -> TrainingRows:
    whole = examples.take(np.arange(len(examples)))
    return TrainingRows.of(model.design, [whole], model.coefficients.shape[1])
