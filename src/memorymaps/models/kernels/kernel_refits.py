"""Refits of Gaussian processes with hyperparameters fixed: closed form, or Newton's method for classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky

from memorymaps.core.arrays import Array
from memorymaps.data.examples import Examples
from memorymaps.posteriors.capabilities import RefitOnRequest

_CONVERGED = 1e-10  # largest change of a dual variable in a Newton step at which it ends


@dataclass(frozen=True)
class GaussianRefit(RefitOnRequest):
    """Refits of a model with Gaussian noise, `Δf = V_{·M}(I − Λ_M V_MM)⁻¹e_M`; `posteriors.capabilities.Refit`."""

    posterior: Any
    examples: Examples

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted` without the rows `removed`."""
        f = self.posterior.marginals(self.examples.take(wanted).inputs).f
        return (f + self.posterior.group_removal(np.sort(removed)).deviation[wanted] if len(removed) else f), 0.0


@dataclass(frozen=True)
class LatentProblem:
    """A binary Gaussian process classifier on its `rows [m]` of all training examples.

    `gram [m, m]`, targets 0 or 1 `[m]`, dual variables `y − π [m]` of the fit; `cross`: positions of rows among all →
    `k(x, X) [n, m]`; `sign` of the map's output.
    """

    rows: Array
    gram: Array
    target: Array
    duals: Array
    cross: Callable[[Array], Array]
    sign: float

    def without(self, removed: Array, steps: int) -> tuple[Array, bool]:
        """Dual variables `[m]` at the mode without some rows, zero there, and whether Newton's method has converged.

        Source: Rasmussen & Williams 2006, algorithm 3.1.
        """
        kept = np.flatnonzero(~np.isin(self.rows, removed))
        gram, y, duals = self.gram[np.ix_(kept, kept)], self.target[kept], self.duals[kept]
        converged = False
        for _ in range(steps):
            f = gram @ duals
            mean = 1 / (1 + np.exp(-f))
            root = np.sqrt(mean * (1 - mean))
            b = root**2 * f + y - mean
            factor = cholesky(np.eye(len(kept)) + root[:, None] * gram * root, lower=True)
            new = b - root * cho_solve((factor, True), root * (gram @ b))
            new = _halved(duals, new, gram, y)
            converged = bool(np.max(np.abs(new - duals), initial=0.0) <= _CONVERGED)
            duals = new
            if converged:
                break
        found = np.zeros(len(self.rows))
        found[kept] = duals
        return found, converged


def _halved(old: Array, new: Array, gram: Array, y: Array) -> Array:
    """The step from `old` to `new` dual variables, halved until the log posterior of `f = K a` does not decrease."""
    reached = _log_posterior(old, gram, y)
    for _ in range(30):
        if _log_posterior(new, gram, y) >= reached - 1e-12 * abs(reached):
            return new
        new = (old + new) / 2
    return old


def _log_posterior(duals: Array, gram: Array, y: Array) -> float:
    """`Σ y f − log(1 + eᶠ) − aᵀ K a / 2` at `f = K a`."""
    f = gram @ duals
    return float(np.sum(y * f - np.logaddexp(0, f)) - duals @ f / 2)


@dataclass(frozen=True)
class LatentRefit(RefitOnRequest):
    """Refits of binary Gaussian process classifiers, one an output; `posteriors.capabilities.Refit`."""

    problems: Sequence[LatentProblem]

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted` at the mode without the rows `removed`."""
        found = [problem.without(np.asarray(removed, dtype=np.intp), steps) for problem in self.problems]
        columns = [
            problem.sign * (problem.cross(wanted) @ duals)
            for problem, (duals, _) in zip(self.problems, found, strict=True)
        ]
        return np.stack(columns, axis=1), float(not all(converged for _, converged in found))
