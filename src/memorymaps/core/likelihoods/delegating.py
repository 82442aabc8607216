"""A likelihood that changes some answers of another one and passes all other questions on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood


@dataclass(frozen=True)
class DelegatingLikelihood(Likelihood):
    """The likelihood inside, method by method; subclasses override what differs.

    Averages over `N(f, V)` and cached quantities are those of the likelihood inside, under the same change.
    """

    likelihood: Likelihood

    def _around(self, likelihood: Likelihood) -> Self:
        return dataclasses.replace(self, likelihood=likelihood)

    def averaged_over(self, variance: Array) -> Likelihood:
        """The same change of the likelihood averaged over `N(f, V)`."""
        return self._around(self.likelihood.averaged_over(variance))

    def cached_at(self, f: Array) -> Likelihood:
        """The same change of the likelihood with its quantities at `f` precomputed."""
        return self._around(self.likelihood.cached_at(f))

    def nll(self, f: Array, y: Array) -> Array:
        """`ℓ [n]` of the likelihood inside."""
        return self.likelihood.nll(f, y)

    @property
    def is_density(self) -> bool:
        """As the likelihood inside."""
        return self.likelihood.is_density

    @property
    def weights_are_precisions(self) -> bool:
        """As the likelihood inside."""
        return self.likelihood.weights_are_precisions

    def example_loss(self, f: Array, y: Array, weight: Array) -> Array:
        """Loss of one example of weight `w [n]`, by the likelihood inside."""
        return self.likelihood.example_loss(f, y, weight)

    def mean(self, f: Array) -> Array:
        """`μ [n, c]` of the likelihood inside."""
        return self.likelihood.mean(f)

    def mean_jacobian(self, f: Array) -> Array:
        """`dσ/df [n, c, c]` of the likelihood inside."""
        return self.likelihood.mean_jacobian(f)

    def error(self, f: Array, y: Array) -> Array:
        """`e [n, c]` of the likelihood inside."""
        return self.likelihood.error(f, y)

    def curvature(self, f: Array, y: Array) -> Array:
        """`Λ [n, c, c]` of the likelihood inside."""
        return self.likelihood.curvature(f, y)

    def encode(self, y: Array, c: int) -> Array:
        """Targets in the space of the mean, by the likelihood inside."""
        return self.likelihood.encode(y, c)

    def predict_target(self, mean: Array) -> Array:
        """Predicted targets by the likelihood inside."""
        return self.likelihood.predict_target(mean)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` where the likelihood inside does."""
        self.likelihood.check_target(y, c)
