"""Posteriors of losses with kinks: what the curvature at a kink is, and which subgradient the fit has chosen.

Stationarity of the fitted model, `Σ_i e_i J_i + δθ = 0`, holds for the loss as it is, with `e_i ∈ ∂ℓ_i`: errors are the
fit's own (dual variables). Its curvature is zero or infinite, and neither says what a finite change does; the posterior
smooths it [MPE App. G], `Λ_i = E_q[∇²ℓ_i]`, and as `q` depends on `Λ`, both come from a fixed point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix
from memorymaps.posteriors.contract import Marginals

_MAX_ITERATIONS = 200
_TOLERANCE = 1e-4  # largest relative change of a standard deviation


@dataclass(frozen=True)
class FittedErrors:
    """`w e [N, c]` of the training examples by their ids."""

    position: dict[Any, int]
    values: Array

    @classmethod
    def of(cls, ids: Array, values: Array) -> FittedErrors:
        """Row `i` belongs to `ids[i]`."""
        return cls({name: row for row, name in enumerate(ids.tolist())}, values)

    def __call__(self, ids: Array) -> Array:
        """`[n, c]`."""
        return self.values[[self.position[name] for name in ids.tolist()]]


def with_solver_tolerance(made: Marginals, spread: float) -> Marginals:
    """Marginals with the solver's tolerance, that smoothing cannot look below: `spread` is its square."""
    return replace(made, spread=spread * diagonal_matrix(np.ones(made.f.shape)))


def smoothed_curvature(
    loss: Likelihood, f: Array, y: Array, weight: Array, spread: float, start: Array, variance: Callable[[Array], Array]
) -> Array:
    """`w Λ [N, c]` with `Λ = E_q[∇²ℓ]` under the `V` that it gives itself, from `variance(Λ) [N, c]`.

    `spread` is the variance of `f` that is the solver's tolerance. Iterated on `log V` with half steps, which keeps
    `Λ ∝ 1/√V` from swinging.

    Raises
    ------
    ArithmeticError
        No fixed point in 200 rounds.
    """
    v = np.maximum(start, np.finfo(float).tiny)
    for _ in range(_MAX_ITERATIONS):
        seen = loss.averaged_over(diagonal_matrix(v + spread))
        curvature = weight[:, None] * np.linalg.diagonal(seen.curvature(f, y))
        new = np.maximum(variance(curvature), np.finfo(float).tiny)
        if np.max(np.abs(np.sqrt((new + spread) / (v + spread)) - 1)) < _TOLERANCE:
            return curvature
        v = np.sqrt(v * new)
    raise ArithmeticError(f"the posterior smoothing its own losses found no fixed point in {_MAX_ITERATIONS} rounds")


def stationary_subgradients(low: Array, high: Array, x: Array, rest: Array) -> Array:
    """`e [N]` within `[low, high]` that make the fit stationary, `xᵀe + rest = 0`: least squares over the kinks.

    Where `low = high` there is nothing to choose.
    """
    e, undetermined = (low + high) / 2, np.flatnonzero(high - low > 1e-9 * np.max(np.abs(high), initial=1e-300))
    if not len(undetermined):
        return e
    e[undetermined] = 0.0
    found = lsq_linear(x[undetermined].T, -(rest + x.T @ e), bounds=(low[undetermined], high[undetermined]))
    e[undetermined] = found.x
    return e
