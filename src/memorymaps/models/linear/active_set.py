"""Does the active set of an L1 penalty or a sign constraint change when an example is left out?

The map fixes coefficients that are zero at zero. To first order beyond that, without example `i`

    Δθ = S⁻¹x_i e'_i,   e'_i = e_i + Λ_iΔf_i,   Δg_j = G_jΔθ − x_ij e'_i

an active coefficient that changes its sign stops at zero, and an inactive one whose gradient exceeds `λ_j` becomes
active; what this adds to `Δf_i` is compared with `Δf_i`. Homotopy of the lasso: Osborne, Presnell & Turlach 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.covariance_roots import CovarianceRoot
from memorymaps.core.perturbation.deviation import Warn

_MATERIAL = 0.15  # share of a deviation from which a change of the active set is warned of
_CANDIDATES = 64  # inactive coefficients closest to becoming active that are examined


@dataclass(frozen=True)
class L1ActiveSet:
    """One output's coefficients at the optimum, at unit dispersion.

    Attributes
    ----------
    theta, penalty : `[p]`, coefficients and L1 penalties `λ`.
    gradient : `[p]`, of the smooth part of the objective.
    factor : `R [q, p]` with `RᵀR = G`, curvature and ridge of all coefficients.
    root : `W [p, r]` with `WWᵀ = S⁻¹` of the active coefficients.
    shrinkable : `[p]`, those that may be zero; `positive`: whether these are constrained to be ≥ 0.
    """

    theta: Array
    penalty: Array
    gradient: Array
    factor: Array
    root: Array
    shrinkable: Array
    positive: bool
    rate: Array  # gradient of the penalties for each unit of weight, zero where they do not depend on it [p]
    l1_rate: Array  # what λ loses with a unit of weight [p]

    def correction(self, x: Array, residual: Array, weight: Array) -> Array:
        """What changes of the active set add to `Δf [n]`, for features `x [n, p]`, `e' [n]` and weights `[n]`."""
        z = x @ self.root
        change = (z * residual[:, None] + weight[:, None] * (self.rate @ self.root)) @ self.root.T
        return self._of_zeroed(z, change) + self._of_activated(x, z, change, residual, weight)

    def _of_zeroed(self, z: Array, change: Array) -> Array:
        """Active coefficients that would change their sign: the largest effect of one of them."""
        active = np.flatnonzero(self.shrinkable & (self.theta != 0))
        after = self.theta[active] + change[:, active]
        beyond = np.where(after * self.theta[active] < 0, -after, 0.0)
        variance = np.sum(self.root[active] ** 2, axis=1)
        effect = beyond * (z @ self.root[active].T) / np.where(variance > 0, variance, np.inf)
        return _largest(effect)

    def _of_activated(self, x: Array, z: Array, change: Array, residual: Array, weight: Array) -> Array:
        """Inactive coefficients whose gradient would exceed `λ`: the largest effect of one of them."""
        chosen = self._closest()
        columns = self.factor[:, chosen]
        after = self.gradient[chosen] + (change @ self.factor.T) @ columns - x[:, chosen] * residual[:, None]
        limit = self.penalty[chosen] - weight[:, None] * self.l1_rate[chosen]
        beyond = np.minimum(after + limit, 0.0) if self.positive else np.sign(after) * np.maximum(abs(after) - limit, 0)
        shared = (columns.T @ self.factor) @ self.root  # [k, r]
        stiffness = np.sum(columns**2, axis=0) - np.sum(shared**2, axis=1)
        own = x[:, chosen] - z @ shared.T
        return _largest(-beyond * own / np.where(stiffness > 0, stiffness, np.inf))

    def _closest(self) -> Array:
        inactive = np.flatnonzero(self.shrinkable & (self.theta == 0))
        gradient = self.gradient[inactive]
        slack = self.penalty[inactive] + (gradient if self.positive else -np.abs(gradient))
        size = np.linalg.norm(self.factor[:, inactive], axis=0)
        return inactive[np.argsort(slack / np.where(size > 0, size, np.inf), kind="stable")[:_CANDIDATES]]


def _largest(effect: Array) -> Array:
    if effect.shape[1] == 0:
        return np.zeros(len(effect))
    return np.asarray(np.take_along_axis(effect, np.argmax(np.abs(effect), axis=1)[:, None], axis=1)[:, 0])


@dataclass(frozen=True)
class L1ActiveSetWarnings:
    """Warnings of the examples of a batch, a posterior's `extra_columns`; `scale = √φ` of each output."""

    design: Callable[[Any], Array]
    outputs: tuple[L1ActiveSet, ...]
    scale: Array

    def __call__(self, batch: Batch, stats: Any) -> dict[str, Array]:
        """`warning [n]`: `Warn.ACTIVE_SET` where the deviation of an output would be another by 15 % or more."""
        x, deviation = self.design(batch.inputs), stats.cavity()
        curvature = np.linalg.diagonal(stats.curvature)
        residual = (stats.error + curvature * np.nan_to_num(deviation)) * self.scale**2
        flagged = np.zeros(len(x), dtype=bool)
        for k, output in enumerate(self.outputs):
            correction = output.correction(x, residual[:, k], stats.weight)
            flagged |= np.abs(correction) > _MATERIAL * np.abs(deviation[:, k])
        return {"warning": np.where(flagged, int(Warn.ACTIVE_SET), 0)}


def roots_of(structure: Any) -> tuple[Array, ...]:
    """`W [p, r]` of each output of independent outputs."""
    parts = (structure,) if isinstance(structure, CovarianceRoot) else structure.roots
    return tuple(part.root[0] for part in parts)
