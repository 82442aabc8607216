"""The training objective around the fit, in the coordinates where its curvature is `I`: refits of it take milliseconds.

    L(u) = Σ_i w_i ℓ_i(f_i + Z_iu) + ρ (gᵀu + ½ uᵀPu)        g = −Σ Z_iᵀe_i,   P = I − Σ Z_iᵀΛ_iZ_i

`V_ij = Z_iZ_jᵀ`; `g` and `P` are the gradient and curvature of the penalty; `ρ` is the share of the total weight that
is left where the objective averages losses, as a penalty of the mean loss is one per unit of weight, else 1. Exact for
linear predictors with quadratic penalties; for networks the outputs are linear in `u`, and coefficients that an L1
penalty holds at zero stay there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.origin import Origin

_OWN_CURVATURE = (
    Approximation.EXACT, Approximation.ONE_STEP, Approximation.ACTIVE_SET, Approximation.EXACT_CURVATURE,
)  # fmt: skip

_STEPS = 50
_STATIONARY = 1e-9  # Newton decrement, in posterior standard deviations of the full fit, at which the iteration ends
_HALVINGS = 30
_ROUNDING = 1e-12  # of the loss: differences below are not decreases
_CHUNK = 4_000_000  # numbers of Z that are multiplied at once
_MAX_ROOT = 200_000_000  # numbers of Z [n, c, r] that are kept in memory: 1.6 GB
_DETERMINED = 1e-10  # smallest eigenvalue of the curvature at which the other examples determine the parameters


@dataclass(frozen=True)
class LocalObjective:
    """`L(u)` of all training examples; `root [n, c, r]`, `f [n, c]`, targets `y`, weights `[n]`.

    `penalises_mean`: whether the penalty is one per unit of weight.
    """

    likelihood: Likelihood
    root: Array
    f: Array
    y: Array
    weight: Array
    gradient: Array
    curvature: Array
    penalises_mean: bool = False

    @classmethod
    def of(cls, m: MemoryMap) -> LocalObjective:
        """The objective of a map's model.

        Raises
        ------
        TypeError
            The posterior is not one whose curvature is that of its objective: no cross-covariances, an approximate
            curvature, a nonsmooth loss.
        ValueError
            The map was read from disk; the cross-covariances do not fit in memory.
        """
        origin = require_origin(m)
        origin.check_unchanged()
        root_of = _root_of(origin)
        data = origin.examples.take(np.arange(len(origin.examples)))
        rank = np.shape(root_of(origin.examples.take([0]).inputs))[-1]
        size = m.provenance.n * m.provenance.outputs * rank
        if size > _MAX_ROOT:
            raise ValueError(
                f"{size:,} numbers of cross-covariances: expected at most {_MAX_ROOT:,}. Fit on fewer rows or columns, "
                "or remove chosen groups: m.leave_out(groups)"
            )
        stats: Any = origin.batch_statistics(data)
        root = np.asarray(root_of(data.inputs))
        grows = capabilities_of(origin.posterior).penalty is not None
        none = np.zeros(rank), np.zeros((rank, rank))
        losses = cls(stats.likelihood, root, stats.f, stats.y, stats.weight, *none, grows)
        gradient, curvature = losses.derivatives(np.zeros(rank), np.ones(len(root), dtype=bool))
        return dataclasses.replace(losses, gradient=-gradient, curvature=np.eye(rank) - curvature)

    @cached_property
    def full_fit(self) -> LocalFit:
        """The fit itself."""
        rank = self.root.shape[-1]
        return LocalFit(self, np.ones(len(self.f), dtype=bool), np.zeros(rank), np.eye(rank))

    @property
    def counts(self) -> Array:
        """For how many examples each row counts, `[n]`: its weight, or 1 where weights are precisions."""
        return (self.weight > 0) * 1.0 if self.likelihood.weights_are_precisions else self.weight

    def penalty_share(self, kept: Array) -> float:
        """`ρ`, the share of the penalty that the kept examples have."""
        return float(np.sum(self.weight[kept]) / np.sum(self.weight)) if self.penalises_mean else 1.0

    def shares_of_penalty(self, rows: Array) -> Array:
        """What of the penalty each of some rows takes along when it is removed, `[k]`."""
        return self.weight[rows] / np.sum(self.weight) if self.penalises_mean else np.zeros(len(rows))

    def penalty_gradient(self, u: Array) -> Array:
        """`g + Pu [r]`, of the penalty with all examples."""
        return self.gradient + self.curvature @ u

    def outputs(self, u: Array) -> Array:
        """`f + Zu [n, c]`."""
        return self.f + self.root @ u

    def value(self, u: Array, kept: Array) -> float:
        """`L` without the examples that are not `kept [n]`; infinite where it is not finite."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss = self.likelihood.nll(self.outputs(u)[kept], self.y[kept])
            penalty = self.gradient @ u + 0.5 * u @ self.curvature @ u
            total = self.weight[kept] @ loss + self.penalty_share(kept) * penalty
        return float(total) if np.isfinite(total) else np.inf

    def derivatives(self, u: Array, kept: Array) -> tuple[Array, Array]:
        """`∇L [r]` and `∇²L [r, r]`."""
        gradient, curvature = self._sums(self.outputs(u), kept)
        share = self.penalty_share(kept)
        return gradient + share * self.penalty_gradient(u), curvature + share * self.curvature

    def _sums(self, f: Array, kept: Array) -> tuple[Array, Array]:
        """`Σ Zᵀe [r]` and `Σ ZᵀΛZ [r, r]` over the kept examples at outputs `f`."""
        rows, (_, c, r) = np.flatnonzero(kept & (self.weight > 0)), self.root.shape
        gradient, curvature = np.zeros(r), np.zeros((r, r))
        for part in np.array_split(rows, max(1, len(rows) * c * r // _CHUNK)):
            z, error, product = self.root[part], *self.local_terms(f, part)
            gradient += z.reshape(-1, r).T @ error.reshape(-1)
            curvature += z.reshape(-1, r).T @ (product @ z).reshape(-1, r)
        return gradient, curvature

    def local_terms(self, f: Array, rows: Array) -> tuple[Array, Array]:
        """`w e [k, c]` and `w Λ [k, c, c]` of some rows at outputs `f [n, c]`."""
        weight, y = self.weight[rows], self.y[rows]
        error = weight[:, None] * self.likelihood.error(f[rows], y)
        return error, weight[:, None, None] * self.likelihood.curvature(f[rows], y)

    def minimum(self, kept: Array, start: Array) -> LocalFit | None:
        """The minimum without the other examples, by damped Newton steps; None where it is not determined."""
        u = start if self.value(start, kept) < np.inf else np.zeros_like(start)
        for _ in range(_STEPS):
            gradient, curvature = self.derivatives(u, kept)
            if np.linalg.eigvalsh(curvature)[0] < _DETERMINED:
                return None
            direction = -np.linalg.solve(curvature, gradient)
            if np.sqrt(max(-gradient @ direction, 0.0)) <= _STATIONARY:
                return LocalFit(self, kept, u + direction, curvature)
            u = self._step(u, direction, gradient @ direction, kept)
        return None

    def _step(self, u: Array, direction: Array, slope: float, kept: Array) -> Array:
        """The first of the halved steps that lowers the objective."""
        value = self.value(u, kept)
        for halving in range(_HALVINGS):
            tried = u + direction / 2**halving
            if self.value(tried, kept) <= value + 1e-4 * slope / 2**halving + _ROUNDING * abs(value):
                return np.asarray(tried)
        return u


def _root_of(origin: Origin) -> Callable[[Any], Array]:
    able, kind = capabilities_of(origin.posterior), origin.posterior.description.approximation
    model = origin.posterior.description.model
    if able.covariance_root is None or kind not in _OWN_CURVATURE:
        raise TypeError(
            f"{model} (approximation: {kind or 'not stated'}) has no curvature of its own objective to remove many "
            "examples from: expected a linear model, a GLM, a Gaussian process, kernel ridge, or a small network with "
            "Laplace('full'). For chosen examples: m.leave_out({'chosen': ids})"
        )
    return able.covariance_root


@dataclass(frozen=True)
class Removals:
    """`Z H⁻¹ [k, c, r]`, the changes `Δu [k, r]` when rows are left out one by one, and `I − ΛV [k, c, c]`.

    `Δu_i = H⁻¹Z_iᵀ(I − Λ_iV_i)⁻¹(e_i + Λ_iZ_is_i) + s_i`, where `s_i = H⁻¹(g + Pu) w_i/Σw` for a penalty of the mean
    loss, of which the example takes its share along, else 0.
    """

    solved: Array
    change: Array
    system: Array


@dataclass(frozen=True)
class LocalFit:
    """The optimum `u [r]` without the examples that are not `kept`, and the curvature there."""

    objective: LocalObjective
    kept: Array
    u: Array
    curvature: Array

    @property
    def f(self) -> Array:
        """Outputs `[n, c]` of all examples."""
        return self.objective.outputs(self.u)

    def variances(self, rows: Array) -> tuple[Array, Array]:
        """`Z H⁻¹ [k, c, r]` and `V = Z H⁻¹Zᵀ [k, c, c]` of some rows."""
        z = self.objective.root[rows]
        solved = np.linalg.solve(self.curvature, z.reshape(-1, z.shape[-1]).T).T.reshape(z.shape)
        return solved, solved @ z.mT

    def removals(self, rows: Array) -> Removals:
        """Each kept row left out alone, by one Newton step; NaN at the bound."""
        solved, variance = self.variances(rows)
        error, curvature = self.objective.local_terms(self.f, rows)
        system = np.eye(error.shape[1]) - curvature @ variance
        bound = np.linalg.svd(system, compute_uv=False)[:, -1] < _DETERMINED
        system[bound] = np.nan
        shares = self.objective.shares_of_penalty(rows)
        own = shares[:, None] * np.linalg.solve(self.curvature, self.objective.penalty_gradient(self.u))
        right = error + np.einsum("kab,kbr,kr->ka", curvature, self.objective.root[rows], own)
        scaled = np.linalg.solve(system, right[..., None])[..., 0]
        return Removals(solved, np.einsum("kcr,kc->kr", solved, scaled) + own, system)

    def room(self, rows: Array) -> tuple[Array, Array]:
        """`1 − ΛV [k]` and `w Λ [k]` of kept rows, for one output; NaN at the bound."""
        _, variance = self.variances(rows)
        curvature = self.objective.local_terms(self.f, rows)[1][:, 0, 0]
        found = 1 - curvature * variance[:, 0, 0]
        return np.where(found < _DETERMINED, np.nan, found), curvature

    def pearson_squares(self) -> Array:
        """`w e²/Λ [n]`, squared Pearson residuals in units of the dispersion of the full fit, for one output."""
        likelihood, y = self.objective.likelihood, self.objective.y
        fisher = likelihood.fisher_diagonal(self.f, y)[:, 0]
        square = self.objective.weight * likelihood.error(self.f, y)[:, 0] ** 2
        return np.divide(square, fisher, out=np.zeros_like(fisher), where=fisher > 0)
