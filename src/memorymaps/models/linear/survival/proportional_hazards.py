"""Proportional hazards: the joint posterior of coefficients and baseline jumps for Cox's partial likelihood.

With a jump `exp g_k` of the baseline hazard at each event time (Breslow), a subject at risk in the cells `R_i` has

    H_i = Σ_{k ∈ R_i} exp(g_k + x_iᵀβ)         ℓ_i = H_i − δ_i (g_{k(i)} + x_iᵀβ)

Maximising over `g` gives the partial likelihood of `β`; the joint Hessian's Schur complement is its information.
A subject's loss is a function of two outputs, `f_i = (log H_i, log hazard at its own event)`. The mean is `H_i`, its
expected number of events: residual `H_i − δ_i`, the negative martingale residual. Where the jump at a
subject's event is most of its `H_i` (the last events), the estimated change of `H_i` is inaccurate: without the
subject that jump vanishes.

Ties by Efron's method: `d` events at one time get `d` cells with one event each; in cell `j = 0 … d − 1` those who have
the event are at risk with weight `1 − j/d`, and each event counts `1/d` in every cell. Maximising over `g` gives
Efron's partial likelihood. Leaving a tied subject out removes its terms and leaves the weights of the others in the tie
unchanged (the limit of a case weight going to zero), where a refit would divide the tie among `d − 1`.
Source: Breslow 1974; Efron 1977; Cain & Lange 1984 for the first-order change of `β` (score residuals).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood, TargetError
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix
from memorymaps.core.perturbation.local import FullVariance
from memorymaps.data.examples import DataError
from memorymaps.models.linear.design_matrix import Design
from memorymaps.posteriors.capabilities import Capabilities, CoefficientRefit, Refit
from memorymaps.posteriors.contract import Description, Marginals

_MIN_HAZARD = 1e-300  # the cumulative hazard of a subject that is at risk at no event


@dataclass(frozen=True)
class CountingProcess(Likelihood):
    """`δ ∈ {0, 1}` events at cumulative hazard `H`: outputs `f = (log H, log hazard at the event)`, mean `H`."""

    @property
    def is_density(self) -> bool:
        """No: a part of the partial likelihood."""
        return False

    def nll(self, f: Array, y: Array) -> Array:
        """`H − δ log hazard`."""
        return np.exp(f[:, 0]) - y * f[:, 1]

    def mean(self, f: Array) -> Array:
        """`H`: `[n, 1]`, expected events."""
        return np.exp(f[:, :1])

    def mean_jacobian(self, f: Array) -> Array:
        """`(H, 0)`: `[n, 1, 2]`."""
        return np.stack([np.exp(f[:, :1]), np.zeros_like(f[:, :1])], axis=-1)

    def error(self, f: Array, y: Array) -> Array:
        """`(H, −δ)`."""
        return np.stack([np.exp(f[:, 0]), -np.asarray(y, dtype=float)], axis=-1)

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(H, 0)`."""
        return np.asarray(diagonal_matrix(np.stack([np.exp(f[:, 0]), np.zeros(len(f))], axis=-1)))

    def encode(self, y: Array, c: int) -> Array:
        """`[n, 1]`."""
        return np.reshape(y, (-1, 1))

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless every target is 0 (censored) or 1 (event)."""
        if np.ndim(y) != 1 or not np.all((np.asarray(y) == 0) | (np.asarray(y) == 1)):
            raise TargetError("survival targets must be 0 (censored) or 1 (event), one a subject")


@dataclass(frozen=True)
class Subjects:
    """Subjects with covariates `x [n, p]`, and times, entry times, strata, offsets and events (0 or 1), each `[n]`."""

    x: Array
    time: Array
    entry: Array
    stratum: Array
    offset: Array
    event: Array

    @classmethod
    def of(cls, inputs: Array) -> Subjects:
        """From the columns of `inputs [n, p + 5]`, in the order of the attributes."""
        return cls(inputs[:, :-5], *inputs[:, -5:].T)

    @staticmethod
    def design(covariates: tuple[str, ...]) -> Design:
        """The checks of such inputs; columns of a data frame are found by name, unless a covariate has one of these."""
        others = ("time", "entry", "stratum", "offset", "event")
        return Design((*covariates, *others), intercept=False, named=not set(covariates) & set(others))


@dataclass(frozen=True)
class HazardCells:
    """Cells of the baseline hazard: `time [K]`, `stratum [K]`, number of events `[K]`.

    `tied [K]`: number of cells at the same time; `risk_reduction [K]`: reduction `j/d` of the risk weight of subjects
    with an event at that time (Efron).
    """

    time: Array
    stratum: Array
    events: Array
    tied: Array
    risk_reduction: Array

    @classmethod
    def breslow(cls, s: Subjects) -> HazardCells:
        """One cell for each distinct event time of each stratum."""
        stratum, time, events = _event_times(s)
        return cls(time, stratum, events.astype(float), np.ones(len(time)), np.zeros(len(time)))

    @classmethod
    def efron(cls, s: Subjects) -> HazardCells:
        """One cell for each event."""
        stratum, time, events = _event_times(s)
        position = np.concatenate([np.arange(d) for d in events])
        tied = np.repeat(events, events).astype(float)
        return cls(np.repeat(time, events), np.repeat(stratum, events), np.ones(len(tied)), tied, position / tied)

    def at_risk(self, s: Subjects) -> Array:
        """Weight with which each subject is at risk in each cell: `[n, K]`."""
        under_observation = (s.entry[:, None] <= self.time) & (self.time <= s.time[:, None])
        return (
            under_observation
            * (s.stratum[:, None] == self.stratum)
            * (1 - self.risk_reduction * self._at_event_time(s) * s.event[:, None])
        )

    def event_share(self, s: Subjects) -> Array:
        """Share of each cell in the event at the subject's time: `[n, K]`, zero where no cell has that time."""
        return self._at_event_time(s) / self.tied

    def _at_event_time(self, s: Subjects) -> Array:
        return (s.time[:, None] == self.time) & (s.stratum[:, None] == self.stratum)


def _event_times(s: Subjects) -> tuple[Array, Array, Array]:
    """Distinct event times: stratum, time and number of events of each."""
    pairs = np.column_stack([s.stratum, s.time])[s.event == 1]
    if not len(pairs):
        raise DataError("no subject has an event: the baseline hazard cannot be estimated")
    distinct, events = np.unique(pairs, axis=0, return_counts=True)
    return distinct[:, 0], distinct[:, 1], events


TIE_METHODS: dict[str, Callable[[Subjects], HazardCells]] = {"breslow": HazardCells.breslow, "efron": HazardCells.efron}


@dataclass(frozen=True)
class CoxPosterior:
    """`q(g, β) = N(·, S⁻¹)` at the estimates."""

    beta: Array
    cells: HazardCells
    log_jump: Array
    means: Array  # x̄_k [K, p]: risk-weighted covariates in each cell
    root: Array  # L [p, p] with L Lᵀ = inverse partial information
    description: Description
    rounding: float = 0.0  # of leverages, relatively
    likelihood: Likelihood = CountingProcess()
    refits: Refit | None = None
    coefficient_refit: CoefficientRefit | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, the change of the coefficients as a column, and refits, of groups, too."""
        return Capabilities(
            covariance_root=self.covariance_root, extra_columns=self.extra_columns, refit=self.refits,
            check=self.refits, group_refit=self.refits, coefficient_refit=self.coefficient_refit,
            from_whitened=self.from_whitened,
            coefficients=lambda: self.beta[:, None], parameter_variance=self.parameter_variance,
        )  # fmt: skip

    def from_whitened(self, u: Array) -> Array:
        """Changes of the coefficients `[..., p, 1]` for `u [..., K + p]` of `covariance_root`."""
        return (u[..., -len(self.beta) :] @ self.root.T)[..., None]

    def parameter_variance(self) -> Array:
        """`diag LLᵀ [p, 1]`, the squared standard errors of the coefficients."""
        return np.sum(self.root**2, axis=1, keepdims=True)

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, 2]` and `V [n, 2, 2]`."""
        z = self.covariance_root(inputs)
        return Marginals(self.outputs(inputs), z @ z.mT)

    def outputs(self, inputs: Any) -> Array:
        """`f [n, 2]`: `log H` and the log hazard at the subject's own event, whose jump is 1 where there is no cell."""
        s = self._subjects(inputs)
        total = np.maximum(self._hazards(s).sum(axis=1), _MIN_HAZARD)
        log_hazard = self.cells.event_share(s) @ self.log_jump + s.x @ self.beta + s.offset
        return np.stack([np.log(total), log_hazard], axis=1)

    def _subjects(self, inputs: Any) -> Subjects:
        return Subjects.of(Subjects.design(self.description.parameters)(inputs))

    def has_event_cell(self, inputs: Any) -> Array:
        """Whether an event of others is at the subject's time, `[n]`."""
        return np.any(self.cells.event_share(Subjects.of(inputs)) > 0, axis=1)

    def _hazards(self, s: Subjects) -> Array:
        """`exp(g_k + x_iᵀβ)` in the cells each subject is at risk in, zero elsewhere: `[n, K]`."""
        relative = np.exp(self.log_jump + (s.x @ self.beta + s.offset)[:, None])
        return np.asarray(self.cells.at_risk(s) * relative)

    def covariance_root(self, inputs: Any) -> Array:
        """`Z_i = (J_g D^{-1/2}, (J_β − J_g x̄) L) [n, 2, K + p]`, `D` the events in each cell."""
        s = self._subjects(inputs)
        hazard = self._hazards(s)
        total = hazard.sum(axis=1, keepdims=True)
        share = np.divide(hazard, total, out=np.zeros_like(hazard), where=total > 0)
        weights = np.stack([share, self.cells.event_share(s)], axis=1)
        nonzero = np.any(weights, axis=2, keepdims=True)
        slopes = (np.where(nonzero, s.x[:, None], 0) - weights @ self.means) @ self.root
        return np.concatenate([weights / np.sqrt(self.cells.events), slopes], axis=2)

    def extra_columns(self, batch: Batch, at: FullVariance) -> Mapping[str, Array]:
        """`coefficient_shift`, `β` without the subject − `β` with it: `[n, p]`."""
        scaled_error = np.linalg.solve(np.eye(2) - at.curvature @ at.variance, at.error[..., None])
        slopes = self.covariance_root(batch.inputs)[:, :, -len(self.beta) :]
        return {"coefficient_shift": (slopes.mT @ scaled_error)[..., 0] @ self.root.T}
