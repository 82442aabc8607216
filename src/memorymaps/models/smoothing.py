"""Nonsmooth losses: curvature smoothed by the posterior, and subgradients of the fitted model.

The fitted model is stationary, `Σ_i e_i J_i + δθ = 0`, for subgradients `e_i ∈ ∂ℓ_i` (dual variables), which are the
errors. The curvature of the loss is zero or infinite, which is no use for finite changes; the posterior smooths it
[MPE App. G], `Λ_i = E_q[∇²ℓ_i]`. As `q` depends on `Λ`, both are the solution of a fixed-point equation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix
from memorymaps.core.perturbation.deviation import AT_BOUND
from memorymaps.data.examples import DataError
from memorymaps.posteriors.contract import Marginals

_MAX_ITERATIONS = 400
_DAMPING = (0.5, 0.2, 0.1, 0.05)  # in each quarter of the iterations
_MAX_RATIO = 100.0  # of variances in one step: far from all kinks no curvature is left, and variances are infinite
_TOLERANCE = 1e-4  # largest relative change of a standard deviation
_OWN_ITERATIONS = 60  # each halves the error of log V, or better: `Λ ∝ 1/√V` at most
_ACCELERATED = 40  # first iterations, that are extrapolated
_LONGEST = float(np.log(_MAX_RATIO))
_MEMORY = 4  # differences of iterates from which they are


@dataclass(frozen=True)
class FittedErrors:
    """Subgradients `w e [N, c]` of the training examples, looked up by their ids."""

    position: dict[Any, int]
    values: Array

    @classmethod
    def of(cls, ids: Array, values: Array) -> FittedErrors:
        """From `values [N, c]`, row `i` for the example `ids[i]`."""
        return cls({name: row for row, name in enumerate(ids.tolist())}, values)

    def __call__(self, ids: Array) -> Array:
        """`w e [n, c]` of these examples."""
        return self.values[self.rows(ids)]

    def rows(self, ids: Array) -> list[int]:
        """Positions `[n]` of these examples among all."""
        return [self.position[name] for name in ids.tolist()]


def with_solver_tolerance(marginals: Marginals, tolerance_variance: float) -> Marginals:
    """Marginals with `tolerance_variance`, the square of the solver's tolerance of `f`, added in expectations."""
    return replace(marginals, residual_variance=tolerance_variance * diagonal_matrix(np.ones(marginals.f.shape)))


def smoothed_curvature(
    loss: Likelihood,
    f: Array,
    y: Array,
    weight: Array,
    tolerance_variance: float,
    start: Array,
    variance: Callable[[Array], Array],
) -> Array:
    """`w Λ [N, c]` at the fixed point of `Λ = E_q[∇²ℓ]`, `q(f) = N(f, V)`, `V = variance(wΛ) [N, c]`.

    `tolerance_variance` is added to `V`: the square of the solver's tolerance of `f`. Iterates on `log V`, damped by
    1/2 because `Λ ∝ 1/√V` would oscillate, by less after each quarter of the iterations. Extrapolated at
    first [Anderson 1965], as long as their residuals decrease.

    Raises
    ------
    DataError
        No convergence in 400 iterations.
    """

    def averaged(v: Array, rows: Array | slice = slice(None)) -> Array:
        smoothed = loss.averaged_over(diagonal_matrix(v + tolerance_variance))
        return np.asarray(weight[rows, None] * np.linalg.diagonal(smoothed.curvature(f[rows], y[rows])))

    v, extrapolation = np.maximum(start, np.finfo(float).tiny), Extrapolation()
    for iteration in range(_MAX_ITERATIONS):
        curvature = averaged(v)
        new = np.clip(np.maximum(variance(curvature), np.finfo(float).tiny), v / _MAX_RATIO, v * _MAX_RATIO)
        if np.max(np.abs(np.sqrt((new + tolerance_variance) / (v + tolerance_variance)) - 1)) < _TOLERANCE:
            return _with_own_curvature(curvature, new, averaged)
        damping = _DAMPING[4 * iteration // _MAX_ITERATIONS]
        if iteration < _ACCELERATED:
            v = np.exp(extrapolation.following(np.log(v), np.log(new / v), damping))
        else:
            v = v ** (1 - damping) * new**damping
    raise DataError(
        f"the curvature smoothed by the posterior did not converge in {_MAX_ITERATIONS} iterations: the noise scale is "
        "nearly zero, or weights differ by orders of magnitude. Fit again with weights of like size, fewer features or "
        "a stronger penalty"
    )


def _with_own_curvature(curvature: Array, variance: Array, averaged: Callable[[Array, Array], Array]) -> Array:
    """`wΛ [N, c]`, of examples that alone determine a coefficient to rounding, so that their `wΛV` is 1.

    `V = 1/(wΛ)` there, whatever the others are: one equation for each, `v = 1/averaged(v, rows)`. The curvature as it
    was where that is not solved.
    """
    alone = 1 - curvature * variance < AT_BOUND
    rows = np.flatnonzero(alone.any(axis=1))
    if not len(rows):
        return curvature
    v, alone, found = variance[rows], alone[rows], curvature.copy()
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # of what is not taken then
        for _ in range(_OWN_ITERATIONS):
            v = np.where(alone, 1 / averaged(v, rows), v)
        own = averaged(v, rows)
        solved = alone & (np.abs(1 - own * v) < AT_BOUND)
    found[rows] = np.where(solved, own, found[rows])
    return found


@dataclass
class Extrapolation:
    """Fixed-point iteration `x ← x + βr` by Anderson's extrapolation, each column of `x [N, c]` on its own.

    `x + βr − (ΔX + βΔR)γ`, where `γ` minimises `‖r − ΔRγ‖²` over the last differences of iterates and residuals;
    without them where a column's residual has grown.
    """

    points: list[Array] = field(default_factory=list)
    residuals: list[Array] = field(default_factory=list)

    def following(self, x: Array, r: Array, damping: float) -> Array:
        """The next point, from `x` and its residual `r`."""
        self.points, self.residuals = [*self.points, x][-_MEMORY - 1 :], [*self.residuals, r][-_MEMORY - 1 :]
        columns = [self._column(k, damping) for k in range(x.shape[1])]
        return np.stack(columns, axis=1)

    def _column(self, k: int, damping: float) -> Array:
        points, residuals = (np.stack([v[:, k] for v in values], axis=1) for values in (self.points, self.residuals))
        x, r = points[:, -1], residuals[:, -1]
        plain = x + damping * r
        norms = np.linalg.norm(residuals, axis=0)
        if len(norms) < 2 or norms[-1] > norms[-2]:
            return np.asarray(plain)
        change_x, change_r = np.diff(points, axis=1), np.diff(residuals, axis=1)
        share = np.linalg.lstsq(change_r, r, rcond=1e-8)[0]
        step = np.clip(damping * r - (change_x + damping * change_r) @ share, -_LONGEST, _LONGEST)
        return np.asarray(x + step)


def stationary_subgradients(low: Array, high: Array, x: Array, penalty_gradient: Array) -> Array:
    """Subgradients `e [N]` in `[low, high]` that minimise `‖xᵀe + penalty_gradient‖²`, zero at a stationary fit.

    Where `low = high` the loss is differentiable and `e` is determined; the others solve a bounded least squares.
    """
    e, undetermined = (low + high) / 2, np.flatnonzero(high - low > 1e-9 * np.max(np.abs(high), initial=1e-300))
    if not len(undetermined):
        return e
    e[undetermined] = 0.0
    solution = lsq_linear(
        x[undetermined].T, -(penalty_gradient + x.T @ e), bounds=(low[undetermined], high[undetermined])
    )
    e[undetermined] = solution.x
    return e
