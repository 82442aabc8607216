"""Is a fitted linear predictor at the optimum of its objective on these data, and if not: what is not that of its fit?

The gradient `g = ∇L(B̂)`, subgradients of an L1 penalty or a sign constraint included, in posterior standard deviations:
`‖Wᵀg‖` over coefficients that are free, `|g_j|/√S_jj` over those that are held at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.covariance_roots import AnyCovarianceRoot
from memorymaps.data.examples import DataError, Examples
from memorymaps.posteriors.fit_evidence import shows_other_targets

CLOSED_FORM_LIMIT = 1e-2  # posterior standard deviations per effective parameter that no direct solver leaves
_FAR = 1.0  # from which unrelated targets are looked for, whatever the solver
_UNRELATED, _REVERSED = 2.0, -4.0  # associations of outputs and targets below which they are not those of a fit
_EXPLAINED = 0.05  # share of the gradient that is left where a hypothesis explains it
_TOLERATED = 1e-6  # of the outputs: moves that solvers leave
_SAMPLE = 65_536  # examples from which the change of errors is told: to a hundredth of it
_FEWEST = 3  # penalised coefficients from which one factor for all of them is evidence


@dataclass(frozen=True)
class Gradient:
    """Gradient of a linear model's objective at its coefficients, all `[p, c]`, at unit dispersion.

    Attributes
    ----------
    data : of `Σ w ℓ`; `unweighted`: of `Σ ℓ`, where weights were given.
    ridge, l1 : penalties `δ` and `λ` of each coefficient.
    free : coefficients that are not held at zero or fixed.
    shrinkable : coefficients that a nonsmooth penalty or constraint may hold at zero.
    """

    data: Array
    unweighted: Array | None
    coefficients: Array
    ridge: Array
    l1: Array
    free: Array
    shrinkable: Array
    positive: bool

    def smooth(self) -> Array:
        """`Σ w e xᵀ + δB`."""
        return self.data + self.ridge * self.coefficients

    def residual(self) -> Array:
        """The smallest subgradient: zero at the optimum, and for coefficients that are fixed."""
        smooth = self.smooth()
        at_zero = np.sign(smooth) * np.maximum(np.abs(smooth) - self.l1, 0.0)
        if self.positive:
            at_zero = np.minimum(smooth + self.l1, 0.0)
        free = smooth + self.l1 * np.sign(self.coefficients)
        held = self.shrinkable & (~self.free | (self.coefficients == 0))
        return np.where(held, at_zero, np.where(self.free, free, 0.0))


def distance_in_deviations(
    gradient: Gradient, structure: AnyCovarianceRoot, diagonal: Array, scale: Array, effective: float
) -> float:
    """Distance from the optimum in posterior standard deviations per effective parameter; `scale = √φ [c]`."""
    residual = gradient.residual() / scale
    held = np.where(gradient.free | (diagonal <= 0), 0.0, residual / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)))
    inside = structure.whiten(np.where(gradient.free, residual, 0.0))
    return float(np.sqrt(np.sum(inside**2) + np.sum(held**2)) / np.sqrt(max(1.0, effective)))


def change_of_errors(model: Any, likelihood: Any, step: Array, examples: Examples) -> float:
    """`relative_change` of errors by a step `Δ [p, c]` of the coefficients, over at most 65,536 examples."""
    batch = sample_of(examples)
    x = model.design(batch.inputs)
    return relative_change(likelihood, batch, x @ model.coefficients, x @ step)


def sample_of(examples: Examples) -> Batch:
    """At most 65,536 examples, spread over the data."""
    return examples.sample(_SAMPLE)


def relative_change(likelihood: Any, batch: Batch, f: Array, tangent: Array) -> float:
    """`‖w(e(f + Δf) − e(f))‖/‖w e(f)‖`, the relative change of errors where outputs `f [n, c]` change by `Δf`.

    Where the noise scale is estimated from residuals that are far too large, and where classes are separated and all
    errors vanish, the distance in posterior standard deviations is small at any parameters; this is not. 0 for moves
    that a solver's tolerance leaves: where the fit is exact, they are all that errors consist of.
    """
    f = f if batch.offset is None else f + np.reshape(batch.offset, (len(f), -1))
    weight = np.ones((len(f), 1)) if batch.weight is None else np.reshape(batch.weight, (-1, 1))
    if np.max(np.abs(tangent), initial=0.0) <= _TOLERATED * (1 + np.max(np.abs(f), initial=0.0)):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        before = weight * likelihood.error(f, batch.target)
        scale = np.max(np.abs(before), initial=0.0) or 1.0  # errors of 1e-170 have no square
        change = float(np.sum(((weight * likelihood.error(f + tangent, batch.target) - before) / scale) ** 2))
        size = float(np.sum((before / scale) ** 2))
    return float(np.sqrt(change / size)) if size > 0 and np.isfinite(change) else (0.0 if size == 0 else 1.0)


def check_curved(model: Any, structure: AnyCovarianceRoot) -> None:
    """Raise `DataError` where the loss has no curvature in any free coefficient: outputs at infinity."""
    if structure.rank == 0 and np.any(model.free) and np.any(model.coefficients):
        size = float(np.max(np.abs(model.coefficients)))
        raise DataError(
            f"{model.name}: the loss has no curvature at these coefficients (up to {size:.2g}): the fit has run away, "
            "and every example would have leverage 0. Fit again with a penalty, without columns that are combinations "
            "of others, or with scaled features"
        )


def check_stationary(
    model: Any, gradient: Gradient, structure: AnyCovarianceRoot, diagonal: Array, distance: float, examples: Examples
) -> None:
    """Raise `DataError` where it can be told that targets, weights, penalty or rows are not those of the fit.

    An iterative solver may have stopped early, a direct one may have lost digits to ill-conditioned columns: that alone
    is no reason to refuse. `diagonal`: `S_jj [p, c]`.
    """
    limit = CLOSED_FORM_LIMIT if model.closed_form else _FAR
    if distance < limit or _distance_of_others(gradient, structure, distance) < limit:
        return
    gradient_size = float(np.linalg.norm(structure.whiten(np.where(gradient.free, gradient.residual(), 0.0))))
    if model.closed_form and gradient_size <= _rounding_of_solvers(gradient, structure, diagonal):
        return
    reason = _changed_penalty(model, gradient, structure) or _other_weights(gradient, structure)
    if not reason and shows_other_targets(model, examples, _REVERSED if model.stochastic else _UNRELATED):
        reason = (
            "targets: the model's outputs have nothing to do with them. Expected the targets of the fit, row by row in "
            "the order of the inputs"
        )
    if not reason and model.closed_form:
        reason = "targets, weights or rows: pass X, y and sample_weight exactly as to fit, or fit again"
    if reason:
        raise DataError(
            f"{model.name}: the parameters are {distance:.2g} posterior standard deviations (each) from the optimum on "
            f"these data. Not those of the fit: {reason}"
        )


def _distance_of_others(gradient: Gradient, structure: AnyCovarianceRoot, distance: float) -> float:
    """The distance that nearly collinear columns have no part in, along which solvers stop early or lose digits."""
    inside = structure.whiten(np.where(gradient.free, gradient.residual(), 0.0))
    whole = float(np.sum(inside**2))
    if not whole > 0:
        return distance
    return distance * float(np.sqrt(np.sum(inside[~structure.nearly_collinear] ** 2) / whole))


def _rounding_of_solvers(gradient: Gradient, structure: AnyCovarianceRoot, diagonal: Array) -> float:
    """`ε κ(X) Σ_j ‖x_j‖ |B_j|`, which direct solvers may leave of whitened gradients; `κ` of unscaled columns.

    `diagonal`: `S_jj [p, c]`.
    """
    size = np.sqrt(np.where(gradient.free, diagonal, 0.0))
    condition = np.max(size, initial=0.0) * structure.norm
    return float(np.finfo(float).eps * condition * np.sum(size * np.abs(gradient.coefficients)))


def _changed_penalty(model: Any, gradient: Gradient, structure: AnyCovarianceRoot) -> str:
    """Whether another factor on the penalty explains the gradient."""
    shrinkage_gradient = np.where(gradient.free, gradient.ridge * gradient.coefficients, 0.0)
    shrinkage_gradient = shrinkage_gradient + np.where(gradient.free, gradient.l1 * np.sign(gradient.coefficients), 0.0)
    if np.count_nonzero(shrinkage_gradient) < _FEWEST:
        return ""
    data, penalty = structure.whiten(np.where(gradient.free, gradient.data, 0.0)), structure.whiten(shrinkage_gradient)
    factor = float(-data @ penalty / (penalty @ penalty))
    left = np.linalg.norm(data + factor * penalty)
    least = min(np.linalg.norm(data), np.linalg.norm(data + penalty))  # without a gradient a factor near 0 explains all
    if not (factor > 0 and left < _EXPLAINED * least):
        return ""
    return (
        f"penalty: the coefficients are those of a penalty {factor:.4g} times as strong as the one that the model "
        "states now. Set the hyperparameters back, or fit again"
    )


def _other_weights(gradient: Gradient, structure: AnyCovarianceRoot) -> str:
    if gradient.unweighted is None:
        return ""
    shrinkage_gradient = gradient.ridge * gradient.coefficients + gradient.l1 * np.sign(gradient.coefficients)
    left = structure.whiten(np.where(gradient.free, gradient.unweighted + shrinkage_gradient, 0.0))
    if not np.linalg.norm(left) < _EXPLAINED * np.linalg.norm(structure.whiten(gradient.residual())):
        return ""
    return "weights: the model was fitted without any. Leave sample_weight out, or fit with it"
