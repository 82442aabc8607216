"""L-BFGS with a posterior covariance as initial inverse Hessian."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.optimize import line_search

from memorymaps.core.arrays import Array

ValueAndGradient = Callable[[Array], tuple[float, Array]]  # θ [P] → the value and its gradient
InverseHessian = Callable[[Array], Array]  # g [P] → S⁻¹g

_MAX_PAIRS = 30  # largest number of stored pairs, unless given
_MAX_PAIR_NUMBERS = 10**8  # largest number of values in all pairs: 0.8 GB
_MIN_COSINE = 1e-12  # cosine between s and y below which a pair is discarded


def preconditioned_lbfgs(
    objective: ValueAndGradient, initial_inverse_hessian: InverseHessian, start: Array, *, max_pairs: int = _MAX_PAIRS
) -> Iterator[tuple[Array, float]]:
    """Iterates `θ [P]`, from the start on, each with the preconditioned gradient norm `√(gᵀS⁻¹g)`.

    Ends where no step along the direction decreases the objective: at the minimum, or at the objective's rounding
    error. `max_pairs`: the largest number of stored pairs, at least 3; fewer where they would take 0.8 GB. Source:
    Nocedal & Wright 2006, algorithm 7.4, with strong Wolfe steps.
    """
    cached = _LastEvaluation(objective)
    theta, gradient = start, cached.gradient(start)
    preconditioned_gradient = initial_inverse_hessian(gradient)
    pairs: deque[CurvaturePair] = deque(maxlen=max(3, min(max_pairs, _MAX_PAIR_NUMBERS // (2 * len(start)))))
    while True:
        yield theta, _gradient_norm(gradient, preconditioned_gradient)
        direction = -_two_loop_recursion(gradient, pairs, initial_inverse_hessian)
        step_size = _wolfe_step(cached, theta, direction, gradient)
        if step_size is None:
            return
        step = step_size * direction
        theta, previous = theta + step, (gradient, preconditioned_gradient)
        gradient = cached.gradient(theta)
        preconditioned_gradient = initial_inverse_hessian(gradient)
        gradient_change, preconditioned_change = gradient - previous[0], preconditioned_gradient - previous[1]
        if (
            step @ gradient_change > _MIN_COSINE * np.linalg.norm(step) * np.linalg.norm(gradient_change)
            and gradient_change @ preconditioned_change > 0
        ):
            pairs.append(
                CurvaturePair(
                    step, gradient_change, float(step @ gradient_change / (gradient_change @ preconditioned_change))
                )
            )


class CurvaturePair(NamedTuple):
    """A step `s`, the gradient's change `y`, and the scale `sᵀy/(yᵀS⁻¹y)` of the initial inverse Hessian."""

    s: Array
    y: Array
    scale: float


def _gradient_norm(gradient: Array, preconditioned_gradient: Array) -> float:
    """`√(gᵀS⁻¹g)`; infinite where the gradient is not finite or rounding has made the square negative."""
    squared = float(gradient @ preconditioned_gradient)
    return squared**0.5 if squared >= 0 else np.inf


def _two_loop_recursion(gradient: Array, pairs: deque[CurvaturePair], initial_inverse_hessian: InverseHessian) -> Array:
    """L-BFGS approximation of the inverse Hessian times the gradient."""
    q, coefficients = gradient.copy(), []
    for s, y, _ in reversed(pairs):
        coefficients.append(s @ q / (s @ y))
        q -= coefficients[-1] * y
    r = initial_inverse_hessian(q)
    if pairs:
        r = r * pairs[-1].scale
    for (s, y, _), coefficient in zip(pairs, reversed(coefficients), strict=True):
        r = r + (coefficient - y @ r / (s @ y)) * s
    return r


def _wolfe_step(cached: _LastEvaluation, theta: Array, direction: Array, gradient: Array) -> float | None:
    if not gradient @ direction < 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy warns if no step is found; None is returned then
        found = line_search(cached.value, cached.gradient, theta, direction, gradient, cached.value(theta))
    return None if found[0] is None else float(found[0])


class _LastEvaluation:
    """Caches value and gradient at the last point: line searches evaluate one after the other."""

    def __init__(self, objective: ValueAndGradient):
        self._objective, self._at = objective, np.empty(0)
        self._found = (np.nan, np.empty(0))

    def _both(self, theta: Array) -> tuple[float, Array]:
        if not np.array_equal(self._at, theta):
            self._at, self._found = theta.copy(), self._objective(theta)
        return self._found

    def value(self, theta: Array) -> float:
        return self._both(theta)[0]

    def gradient(self, theta: Array) -> Array:
        return self._both(theta)[1]
