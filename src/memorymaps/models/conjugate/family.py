"""Conjugate exponential families: posteriors whose natural parameter is a sum over examples.

    q(θ) = exp(⟨λ, T(θ)⟩ − A(λ)),    λ = λ₀ + Σ_j w_j λ̃_j,    λ^{\\M} = λ − Σ_{j∈M} w_j λ̃_j   [MPE Thm. 1–2]

Leaving examples out is a subtraction: exact, for one or many. The Kullback–Leibler divergence (column `kl` of the map)
and the predictive log density follow from `A`:

    KL(q_a ‖ q_b) = ⟨λ_a − λ_b, ∇A(λ_a)⟩ − A(λ_a) + A(λ_b)
    log p(y ∣ λ)  = A(λ + λ̃_y) − A(λ) + log h(y)

There is no input `x`. The output of the map, for every example, is the posterior mean of the mean parameter, `E_q[μ]`:

    error      ‖f − y‖
    leverage   h_i = tr(ΛV) = w_i r / (N₀ + Σw),   Λ = 1/v(f),   V = v(f)/(N₀ + Σw)

`N₀` is the prior sample size and `r` the number of free means: the leverage is the credibility of one observation, its
weight in the posterior mean [Diaconis & Ylvisaker 1979]. With this `V` the cavity form gives the exact posterior mean
without the example, so that the map's `loo_prediction` is exact.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.perturbation.local import FullVariance
from memorymaps.data.examples import Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.indexed import ExamplesWithRows, row_indices
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals
from memorymaps.posteriors.registry import posterior, training_data


class ImproperError(ValueError):
    """Parameters for which the distribution does not exist."""


def check_positive(**values: Any) -> None:
    """Raise `ImproperError` unless all values are finite and positive."""
    for name, value in values.items():
        if not np.all(np.isfinite(value)) or not np.all(np.asarray(value) > 0):
            raise ImproperError(f"{name} = {value}: expected finite numbers > 0 (a proper prior)")


def as_positive_definite(name: str, matrix: Any, d: int) -> Array:
    """Convert a number, a diagonal `[d]` or a matrix to a symmetric positive definite matrix `[d, d]`.

    Raises
    ------
    ImproperError
        Another shape, or not symmetric positive definite.
    """
    array = np.asarray(matrix, dtype=float)
    array = array * np.eye(d) if array.ndim < 2 else array
    if array.shape != (d, d) or not np.allclose(array, array.T) or not np.all(np.linalg.eigvalsh(array) > 0):
        raise ImproperError(f"{name} of shape {array.shape}: expected a symmetric positive definite ({d}, {d}) matrix")
    return array


class ConjugateFamily(ABC):
    """A likelihood with its conjugate prior; natural parameters `λ` are arrays `[..., *shape]`."""

    @abstractmethod
    def natural(self) -> Array:
        """Natural parameter `λ₀` of the prior: `[*shape]`."""

    @abstractmethod
    def sites(self, y: Array) -> Array:
        """Site parameter `λ̃_i` of each example: `[n, *shape]`."""

    @abstractmethod
    def log_partition(self, natural: Array) -> Array:
        """Log partition function `A(λ)`: `[...]`."""

    @abstractmethod
    def expected_statistics(self, natural: Array) -> Array:
        """Expected sufficient statistics `∇A(λ) = E_q[T(θ)]`: `[..., *shape]`."""

    @abstractmethod
    def log_base_measure(self, y: Array, weight: Array) -> Array:
        """Log base measure `w log h(y)`: `[n]`."""

    @abstractmethod
    def mean_parameter_marginal(self, natural: Array) -> tuple[Array, Array, Likelihood]:
        """`f = E_q[μ] [c]`, `V = v(f)/(N₀ + Σw) [c, c]`, and the likelihood as a function of the mean parameter `μ`."""

    def as_targets(self, y: Any) -> Array:
        """Targets as an array of the family's type: `[n]` or `[n, c]`."""
        return np.asarray(y, dtype=float)

    def about(self, centre: Array) -> ConjugateFamily | None:
        """The family of `y − centre`, for `centre [d]`; `None` where the likelihood is not one of locations."""
        return None

    def kl(self, a: Array, b: Array) -> Array:
        """`KL(q_a ‖ q_b)` in nats: `[...]`."""
        dims = tuple(range(-self.natural().ndim, 0))
        gap = np.sum((a - b) * self.expected_statistics(a), axis=dims)
        return np.asarray(gap - self.log_partition(a) + self.log_partition(b))

    def given(self, y: Any, *, ids: Any = None, sample_weight: Any = None) -> ConjugateUpdate:
        """The posterior given data `y`.

        Raises
        ------
        TargetError
            Targets outside the support.
        DataError
            No rows, unequal lengths, weights that are negative or not finite.
        """
        target = self.as_targets(y)
        return ConjugateUpdate(self, ArrayExamples.of(np.arange(len(target)), target, ids, sample_weight))


class CentredUpdate(NamedTuple):
    """A family and its updated `natural` parameter `λ [*shape]`, for targets `y − centre [d]`."""

    family: ConjugateFamily
    natural: Array
    centre: Array

    def mean_parameter_marginal(self) -> tuple[Array, Array, Likelihood]:
        """That of the targets themselves, as `ConjugateFamily.mean_parameter_marginal`."""
        mean, variance, likelihood = self.family.mean_parameter_marginal(self.natural)
        return mean + self.centre, variance, likelihood


@dataclass(frozen=True, eq=False)
class ConjugateUpdate:
    """A conjugate prior updated with examples: `memory_map(BetaBernoulli(1, 1).given(y))`; `natural`: `λ [*shape]`."""

    family: ConjugateFamily
    examples: ArrayExamples
    natural: Array = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        batch = self.examples.whole
        mean, _, likelihood = self.family.mean_parameter_marginal(self.family.natural())
        likelihood.check_target(batch.target, len(mean))
        total = self.family.natural() + np.sum(self._sites(), axis=0)
        object.__setattr__(self, "natural", total)

    @cached_property
    def centred(self) -> CentredUpdate:
        """The same update of `y` minus their mean, where that exists: far from zero it loses no digits."""
        y = self.examples.whole.target
        centre = np.mean(y, axis=0)
        family = self.family.about(np.ravel(centre))
        if family is None:
            return CentredUpdate(self.family, self.natural, np.zeros_like(centre, dtype=int))
        return CentredUpdate(family, family.natural() + np.sum(self._sites(family, y - centre), axis=0), centre)

    def _sites(self, family: ConjugateFamily | None = None, y: Array | None = None) -> Array:
        """`w_i λ̃_i`: `[n, *shape]`; of another family with its targets, if given."""
        batch = self.examples.whole
        sites = self.family.sites(batch.target) if family is None or y is None else family.sites(y)
        weight = np.ones(len(batch)) if batch.weight is None else batch.weight
        return weight.reshape(-1, *[1] * (sites.ndim - 1)) * sites

    def without(self, rows: Sequence[int] | Array) -> Array:
        """`λ^{\\M} = λ − Σ_{j∈M} w_j λ̃_j` for a group of rows: `[*shape]`."""
        return np.asarray(self.natural - np.sum(self._sites()[np.unique(np.asarray(rows))], axis=0))

    def divergence(self, rows: Sequence[int] | Array) -> float:
        """`KL(q^{\\M} ‖ q)` in nats, for a group `M` of rows."""
        at, y = self.centred, self.examples.whole.target
        removed = np.sum(self._sites(at.family, y - at.centre)[np.unique(np.asarray(rows))], axis=0)
        return float(at.family.kl(at.natural - removed, at.natural))


@dataclass(frozen=True)
class ConjugatePosterior:
    """`f = E_q[μ]` for every example, with the variance `V` for which the cavity form is exact."""

    model: ConjugateUpdate
    likelihood: Likelihood
    description: Description

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, and exact divergences as columns."""
        return Capabilities(covariance_root=self.covariance_root, extra_columns=self.extra_columns)

    def marginals(self, inputs: Any) -> Marginals:
        """`f = E_q[μ]` and `V = v(f)/(N₀ + Σw)`, the same for all examples."""
        mean, variance, _ = self.model.centred.mean_parameter_marginal()
        return Marginals(np.tile(mean, (len(inputs), 1)), np.tile(variance, (len(inputs), 1, 1)))

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, c]` with `V = ZZᵀ`, for group removal."""
        variance = self.marginals(inputs[:1]).variance[0]
        values, vectors = np.linalg.eigh(variance)
        return np.tile(vectors * np.sqrt(np.clip(values, 0, None)), (len(inputs), 1, 1))

    def extra_columns(self, batch: Batch, at: FullVariance) -> Mapping[str, Array]:
        """`kl`, `KL(q^{\\i} ‖ q)`; `loo_predictive_loss`, `−log p(y_i ∣ y_{−i})` under the posterior predictive.

        Both in nats and exact; an example of weight `w` counts as `p^w`.
        """
        family, natural, centre = self.model.centred
        target = batch.target if not np.any(centre) else batch.target - centre
        sites = family.sites(target)
        without = natural - at.weight.reshape(-1, *[1] * (sites.ndim - 1)) * sites
        log_evidence = family.log_partition(natural) - family.log_partition(without)
        return {
            "kl": np.maximum(family.kl(without, natural), 0.0),
            "loo_predictive_loss": -log_evidence - family.log_base_measure(target, at.weight),
        }


@training_data.register(ConjugateUpdate)
def _data(model: ConjugateUpdate, examples: Examples | None) -> Examples:
    if examples is not None:
        raise ValueError("a conjugate posterior carries its data: call memory_map(family.given(y)), without X and y")
    return ExamplesWithRows(model.examples, row_indices)


@posterior.register(ConjugateUpdate)
def _posterior(model: ConjugateUpdate, examples: Examples) -> ConjugatePosterior:
    mean, variance, likelihood = model.centred.mean_parameter_marginal()
    description = Description(
        model=f"{type(model.family).__name__} posterior",
        approximation=Approximation.EXACT,
        posterior="exact, conjugate",
        likelihood=type(likelihood).__name__,
        prior=f"{model.family}",
        algorithm="conjugate updating",
        coverage=(f"{len(mean)} mean(s): exact",),
        classes=tuple(range(len(mean))) if isinstance(likelihood, Categorical) else (),
        rank=int(np.linalg.matrix_rank(variance)),
        methods=("nickl2023memory", "tailor2023maps", "diaconis1979conjugate"),
        notes=("No inputs: every example has the same output f = E_q[μ], and its leverage is its weight in f.",),
    )
    return ConjugatePosterior(model, likelihood, description)


@training_data.register(ConjugateFamily)
@posterior.register(ConjugateFamily)
def _refuse_prior(model: ConjugateFamily, examples: Examples | None) -> Any:
    raise ValueError(f"{type(model).__name__} is a prior without data: call memory_map(prior.given(y))")
