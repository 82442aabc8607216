"""Cox's partial likelihood: its value, gradient and information, and the coefficients at its maximum.

ℓ(β) = −Σ_i δ_i x_iᵀβ + Σ_k d_k log Σ_{i ∈ R_k} exp x_iᵀβ,     ∇ℓ = Xᵀ(E − δ),     E_i = Σ_{k ∈ R_i} d_k exp(x_iᵀβ)/Σ
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg as sl
from scipy.special import logsumexp

from memorymaps.core.arrays import Array
from memorymaps.core.orthonormal_columns import unaliased_columns
from memorymaps.data.examples import DataError
from memorymaps.models.linear.infinite_estimates import Descent, endless_descent
from memorymaps.models.linear.survival.proportional_hazards import TIE_METHODS, CoxPosterior, HazardCells, Subjects
from memorymaps.posteriors.contract import Description

_SINGULAR = 1e-12  # eigenvalue of the information that is rounding, where that about the columns' means is one
_ROUNDING = 10.0  # errors of leverages in `ε` of the same: 2 measured
_CONSTANT = 4e-14  # deviation of a column, in units of its size, that is rounding
_UNDETERMINED = (
    "the data does not determine all coefficients: columns are constant or combinations of others {where}. Expected "
    "none: drop constant or collinear columns"
)
_STATIONARY = 1e-8  # posterior standard deviations at which Newton's method ends
_CONVERGED = 1e-4  # … and at which it has converged where it ends before
_HALVINGS = 30
_ROUNDING_OF_LOSS = 1e-12


@dataclass(frozen=True)
class Around:
    """Around coefficients: gradient `∇ℓ [p]`, `L [p, p]` with `LLᵀ` the inverse information, jumps, expected events."""

    gradient: Array
    root: Array  # L
    rounding: float  # of leverages, relatively
    log_jump: Array  # [K]
    means: Array  # x̄_k [K, p]

    @property
    def whitened(self) -> Array:
        """`Lᵀ∇ℓ [p]`: the gradient in posterior standard deviations."""
        return np.asarray(self.root.T @ self.gradient)

    @property
    def step(self) -> Array:
        """Newton's, `−LLᵀ∇ℓ [p]`."""
        return np.asarray(-self.root @ self.whitened)


@dataclass(frozen=True)
class PartialLikelihood:
    """`ℓ` of the coefficients for some subjects (the columns of `Subjects.of`), `infinite_estimates.Loss`."""

    inputs: Array
    ties: str

    @cached_property
    def subjects(self) -> Subjects:
        """By their columns."""
        return Subjects.of(self.inputs)

    @cached_property
    def cells(self) -> HazardCells:
        """Those of the tie method."""
        return TIE_METHODS[self.ties](self.subjects)

    @cached_property
    def _risk(self) -> Array:
        return self.cells.at_risk(self.subjects)

    def _log_risk(self, beta: Array) -> Array:
        return np.asarray(self.subjects.x @ beta + self.subjects.offset)

    def around(self, beta: Array) -> Around:
        """Gradient and information at coefficients.

        Raises
        ------
        DataError
            Coefficients that the data does not determine.
        """
        s, log_risk = self.subjects, self._log_risk(beta)
        shift = 0.5 * float(np.min(log_risk) + np.max(log_risk))  # which the jumps take: no overflow far from zero
        relative = self._risk * np.exp(log_risk - shift)[:, None]
        total = relative.sum(axis=0)
        hazard = relative * (self.cells.events / total)
        means = (hazard.T @ s.x) / self.cells.events[:, None]
        root, rounding = _inverse_root(s.x, hazard, self.cells.events)
        gradient = s.x.T @ (hazard.sum(axis=1) - s.event)
        return Around(gradient, root, rounding, np.log(self.cells.events / total) - shift, means)

    def newton_step(self, parameters: Array) -> Array:
        """Newton's step `[p]`; NaN where the data no longer determines the coefficients, to rounding."""
        try:
            return self.around(parameters).step
        except DataError:
            return np.full(len(parameters), np.nan)

    def largest_change(self, step: Array) -> float:
        """The largest difference of two subjects' changes: what all have in common cancels."""
        return float(np.ptp(self.subjects.x @ step))

    def value(self, parameters: Array) -> float:
        """`ℓ`, up to a constant."""
        log_risk = self._log_risk(parameters)
        log_risk = log_risk - np.max(log_risk)  # which cancels: as many events are in cells as subjects have
        total = logsumexp(log_risk[:, None], b=self._risk, axis=0)
        found = float(self.cells.events @ total - self.subjects.event @ log_risk)
        return found if np.isfinite(found) else np.inf

    def endless_descent(self, beta: Array, around: Around) -> Descent | None:
        """Where `ℓ` falls for ever, as where a group has no event; none where it has a minimum."""
        return endless_descent(self, beta, around.step)

    def minimised(self, beta: Array, steps: int) -> tuple[Array, Around, float]:
        """Coefficients at the minimum of `ℓ` by damped Newton steps, what is around them, and 0 there, else 1.

        Raises
        ------
        DataError
            Coefficients that the data does not determine.
        """
        here, value = self.around(beta), self.value(beta)
        for _ in range(steps):
            if np.linalg.norm(here.whitened) <= _STATIONARY:
                break
            found = self._line_search(beta, value, here.step)
            if found is None:
                break
            try:
                here, (beta, value) = self.around(found[0]), found
            except DataError:  # so far along an endless descent that no curvature is left
                break
        return beta, here, float(np.linalg.norm(here.whitened) > _CONVERGED)

    def _line_search(self, beta: Array, value: float, step: Array) -> tuple[Array, float] | None:
        """The first of the halved steps that does not raise `ℓ`, and `ℓ` there."""
        for halving in range(_HALVINGS):
            tried = beta + step / 2**halving
            found = self.value(tried)
            if found <= value + _ROUNDING_OF_LOSS * abs(value):
                return tried, found
        return None

    def posterior(self, beta: Array, around: Around, description: Description) -> CoxPosterior:
        """At coefficients, for what is around them."""
        return CoxPosterior(beta, self.cells, around.log_jump, around.means, around.root, description, around.rounding)


def _inverse_root(x: Array, hazard: Array, events: Array) -> tuple[Array, float]:
    """`L⁻ᵀ [p, p]` of the information `LLᵀ = Σ E_i x_i x_iᵀ − Σ d_k x̄_k x̄_kᵀ`, for the `hazard [n, K]` of `E` and `x̄`.

    In coordinates in which `Σ E_i x_i x_iᵀ` about the columns' means is the identity, so that its condition number is
    not squared. Then what rounding changes of leverages, relatively.

    Raises
    ------
    DataError
        A column is a combination of others or a constant, to rounding, in all subjects or in each risk set.
    """
    expected = hazard.sum(axis=1)
    largest = np.max(np.abs(x), axis=0)
    x = x - np.average(x, axis=0, weights=expected)
    rows = np.sqrt(expected)[:, None] * x
    size = np.linalg.norm(rows, axis=0)
    triangle = np.linalg.qr(rows, mode="r")
    found = unaliased_columns(triangle)
    if len(found.places) < len(size) or not np.all(size > _CONSTANT * np.sqrt(expected.sum()) * largest):
        raise DataError(_UNDETERMINED.format(where="to rounding"))
    coordinates = sl.solve_triangular(triangle / size, np.eye(len(size))) / size[:, None]
    means = (hazard.T @ (x @ coordinates)) / events[:, None]
    information = np.eye(len(size)) - (means.T * events) @ means
    if np.linalg.eigvalsh(information)[0] <= _SINGULAR:
        raise DataError(_UNDETERMINED.format(where="among the subjects at risk at each event"))
    far = np.finfo(float).eps * float(np.max(largest * np.sqrt(expected.sum()) / size))
    root = coordinates @ np.linalg.inv(np.linalg.cholesky(information)).T
    return np.asarray(root), max(found.rounding, _ROUNDING * far)
