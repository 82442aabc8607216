"""Conjugate families for labels and counts; each is a prior, and `.given(y)` returns its posterior.

Parametrisations: Bernardo & Smith 1994, App. A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import digamma, gammaln

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Poisson
from memorymaps.core.likelihoods.links import Identity
from memorymaps.core.likelihoods.mean_parameter import Probability, SimplexCategorical
from memorymaps.models.conjugate.family import ConjugateFamily, ImproperError, check_positive


@dataclass(frozen=True)
class BetaBernoulli(ConjugateFamily):
    """`y ~ Bernoulli(θ)`, `θ ~ Beta(α, β)`; vectors `α, β [c]` for `c` independent binary variables [MPE App. D].

    Examples
    --------
    >>> import memorymaps as mm
    >>> m = mm.memory_map(BetaBernoulli(1, 1).given([1, 1, 1, 0]))
    >>> m["loo_prediction"]  # posterior mean 4/6; 3/5 without a one, 4/5 without the zero
    array([0.6, 0.6, 0.6, 0.8])
    """

    alpha: Any = 1.0
    beta: Any = 1.0

    def __post_init__(self) -> None:
        check_positive(alpha=self.alpha, beta=self.beta)

    def natural(self) -> Array:
        """`(α, β)`: `[c, 2]`."""
        return np.stack(np.broadcast_arrays(*np.atleast_1d(self.alpha, self.beta)), axis=-1).astype(float)

    def sites(self, y: Array) -> Array:
        """`(y, 1 − y)`."""
        y = y.reshape(len(y), -1)
        return np.stack([y, 1 - y], axis=-1)

    def log_partition(self, natural: Array) -> Array:
        """`Σ_c log B(α, β)`."""
        return np.asarray(np.sum(gammaln(natural).sum(-1) - gammaln(natural.sum(-1)), axis=-1))

    def expected_statistics(self, natural: Array) -> Array:
        """`E[log θ], E[log(1 − θ)]`."""
        return np.asarray(digamma(natural) - digamma(natural.sum(-1, keepdims=True)))

    def log_base_measure(self, y: Array, weight: Array) -> Array:
        """Zero, `h(y) = 1`."""
        return np.zeros(len(y))

    def mean_parameter_marginal(self, natural: Array) -> tuple[Array, Array, Likelihood]:
        """`f = α/(α + β)`, `V = f(1 − f)/(α + β)`."""
        total = natural.sum(-1)
        mean = natural[:, 0] / total
        return mean, np.diag(mean * (1 - mean) / total), Bernoulli(link=Probability())


@dataclass(frozen=True)
class DirichletCategorical(ConjugateFamily):
    """`y ∈ {0 … c − 1}`, `p ~ Dirichlet(α)`, `α [c]`."""

    concentration: Any

    def __post_init__(self) -> None:
        check_positive(concentration=self.concentration)
        if np.ndim(self.concentration) != 1 or np.size(self.concentration) < 2:
            raise ImproperError(f"concentration {self.concentration}: expected one number for each of c ≥ 2 classes")

    def natural(self) -> Array:
        """`α`: `[c]`."""
        return np.asarray(self.concentration, dtype=float)

    def as_targets(self, y: Any) -> Array:
        """Class indices `[n]`."""
        return np.asarray(y)

    def sites(self, y: Array) -> Array:
        """One-hot rows."""
        return np.asarray(y[:, None] == np.arange(np.size(self.concentration)), dtype=float)

    def log_partition(self, natural: Array) -> Array:
        """`log B(α)`."""
        return np.asarray(gammaln(natural).sum(-1) - gammaln(natural.sum(-1)))

    def expected_statistics(self, natural: Array) -> Array:
        """`E[log p]`."""
        return np.asarray(digamma(natural) - digamma(natural.sum(-1, keepdims=True)))

    def log_base_measure(self, y: Array, weight: Array) -> Array:
        """Zero, `h(y) = 1`."""
        return np.zeros(len(y))

    def mean_parameter_marginal(self, natural: Array) -> tuple[Array, Array, Likelihood]:
        """`f = α/Σα`, `V = (diag f − ffᵀ)/Σα`."""
        total = natural.sum()
        p = natural / total
        return p, (np.diag(p) - np.outer(p, p)) / total, SimplexCategorical()


@dataclass(frozen=True)
class GammaPoisson(ConjugateFamily):
    """`y ~ Poisson(θ)`, `θ ~ Gamma(shape, rate)`; weights are exposures, and `y` then counts per unit exposure.

    Examples
    --------
    >>> GammaPoisson(shape=2.0, rate=1.0).given([3, 0, 4]).without([2]).tolist()
    [5.0, 3.0]
    """

    shape: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        check_positive(shape=self.shape, rate=self.rate)

    def natural(self) -> Array:
        """`(shape, rate)`."""
        return np.asarray([self.shape, self.rate], dtype=float)

    def sites(self, y: Array) -> Array:
        """`(y, 1)`."""
        return np.stack([y, np.ones_like(y)], axis=-1)

    def log_partition(self, natural: Array) -> Array:
        """`log Γ(a) − a log b`."""
        return np.asarray(gammaln(natural[..., 0]) - natural[..., 0] * np.log(natural[..., 1]))

    def expected_statistics(self, natural: Array) -> Array:
        """`E[log θ], −E[θ]`."""
        a, b = natural[..., 0], natural[..., 1]
        return np.stack([digamma(a) - np.log(b), -a / b], axis=-1)

    def log_base_measure(self, y: Array, weight: Array) -> Array:
        """Of the count `wy` in exposure `w`: `wy log w − log (wy)!`."""
        return np.asarray(weight * y * np.log(np.where(weight > 0, weight, 1.0)) - gammaln(weight * y + 1))

    def mean_parameter_marginal(self, natural: Array) -> tuple[Array, Array, Likelihood]:
        """`f = a/b`, `V = f/b`."""
        a, b = natural
        return np.asarray([a / b]), np.asarray([[a / b**2]]), Poisson(link=Identity())
