"""Fixed points `r(x) = 0` of many problems at once, by damped steps `x + β r` with Anderson acceleration.

From the last steps `ΔX, ΔR [D, m]` of each problem:

    x ← x + β r − (ΔX + β ΔR) γ,    γ = argmin ‖r − ΔR γ‖

A problem whose residual grows starts again from its best point, with half the damping. Source: Anderson 1965.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array

_MEMORY = 12  # steps
_GROWTH = 3.0  # of the smallest residual, from which a problem starts again from there
_HALVINGS = 30  # of a step, until it is feasible
_RIDGE = 1e-13  # of the trace of `ΔRᵀΔR`


@dataclass(frozen=True)
class Iteration:
    """Residuals `r(x) [b, D]` of the problems `rows [b]` at `x [b, D]`, and at which of these `x` they exist."""

    residual: Callable[[Array, Array], Array]
    feasible: Callable[[Array], Array]


def solve_fixed_points(
    problem: Iteration, start: Array, scale: Array, steps: int, tolerance: float
) -> tuple[Array, Array]:
    """`x [B, D]` of the smallest residuals, from `start [B, D]`, and these residuals' norms relative to `scale [B]`.

    Ends where all of these are at most `tolerance`, or after so many steps.
    """
    every = np.arange(len(start))
    best, norm, active = start.copy(), np.full(len(start), np.inf), every
    state = _State.at(problem, start, every)
    for _ in range(steps):
        size = np.linalg.norm(state.r, axis=1)
        better = size < norm[active]
        best[active[better]], norm[active[better]] = state.x[better], size[better]
        going = norm[active] > tolerance * scale[active]
        if not going.any():
            break
        failed = ~(size <= _GROWTH * norm[active])
        state.restart(problem, best[active], failed, active)
        state, active = state.take(going), active[going]
        state.advance(problem, active)
    return best, np.divide(norm, scale, out=np.zeros(len(norm)), where=norm > 0)


@dataclass
class _State:
    """Points and residuals `[b, D]`, the differences of the last ones `[b, D, m]`, and damping `[b]`."""

    x: Array
    r: Array
    dx: Array
    dr: Array
    damping: Array

    @classmethod
    def at(cls, problem: Iteration, x: Array, rows: Array) -> _State:
        empty = np.zeros((*x.shape, 0))
        return cls(x, problem.residual(x, rows), empty, empty, np.ones(len(x)))

    def take(self, rows: Array) -> _State:
        return _State(self.x[rows], self.r[rows], self.dx[rows], self.dr[rows], self.damping[rows])

    def restart(self, problem: Iteration, best: Array, failed: Array, rows: Array) -> None:
        """Problems that failed are at their best point again, without a past."""
        if not failed.any():
            return
        self.x[failed] = best[failed]
        self.r[failed] = problem.residual(best[failed], rows[failed])
        self.dx[failed], self.dr[failed] = 0.0, 0.0
        self.damping[failed] /= 2

    def advance(self, problem: Iteration, rows: Array) -> None:
        """One accelerated step of each problem."""
        x = self.x + _feasible(problem, self.x, self._step())
        r = problem.residual(x, rows)
        self.dx = np.concatenate([self.dx, (x - self.x)[..., None]], axis=2)[..., -_MEMORY:]
        self.dr = np.concatenate([self.dr, (r - self.r)[..., None]], axis=2)[..., -_MEMORY:]
        self.x, self.r = x, r

    def _step(self) -> Array:
        damped = self.damping[:, None] * self.r
        m = self.dr.shape[2]
        if not m:
            return damped
        transposed = np.swapaxes(self.dr, 1, 2)
        gram = transposed @ self.dr
        ridge = _RIDGE * np.trace(gram, axis1=1, axis2=2) + np.finfo(float).tiny
        weights = np.linalg.solve(gram + ridge[:, None, None] * np.eye(m), transposed @ self.r[..., None])
        return np.asarray(damped - ((self.dx + self.damping[:, None, None] * self.dr) @ weights)[..., 0])


def _feasible(problem: Iteration, x: Array, step: Array) -> Array:
    """The steps, halved until feasible; zero where none is."""
    for _ in range(_HALVINGS):
        feasible = problem.feasible(x + step)
        if feasible.all():
            return step
        step = np.where(feasible[:, None], step, step / 2)
    return np.where(problem.feasible(x + step)[:, None], step, 0.0)
