"""A likelihood that delegates to another one, with overrides for what differs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood


@dataclass(frozen=True)
class DelegatingLikelihood(Likelihood):
    """Delegates every method to `likelihood`; subclasses override what differs.

    `averaged_over` and `cached_at` return the same subclass around `likelihood.averaged_over(V)` and `.cached_at(f)`.
    """

    likelihood: Likelihood

    def _wrap(self, likelihood: Likelihood) -> Self:
        return dataclasses.replace(self, likelihood=likelihood)

    def averaged_over(self, variance: Array) -> Likelihood:
        """The same subclass around the likelihood averaged over `N(f, V)`."""
        return self._wrap(self.likelihood.averaged_over(variance))

    def cached_at(self, f: Array) -> Likelihood:
        """The same subclass around the likelihood with quantities at `f` precomputed."""
        return self._wrap(self.likelihood.cached_at(f))

    def nll(self, f: Array, y: Array) -> Array:
        """`ℓ [n]` of `likelihood`."""
        return self.likelihood.nll(f, y)

    def without_target(self, y: Array) -> Array | None:
        """As the likelihood inside."""
        return self.likelihood.without_target(y)

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
        """`μ [n, c]` of `likelihood`."""
        return self.likelihood.mean(f)

    def mean_jacobian(self, f: Array) -> Array:
        """`dσ/df [n, c, c]` of `likelihood`."""
        return self.likelihood.mean_jacobian(f)

    def error(self, f: Array, y: Array) -> Array:
        """`e [n, c]` of `likelihood`."""
        return self.likelihood.error(f, y)

    def curvature(self, f: Array, y: Array) -> Array:
        """`Λ [n, c, c]` of `likelihood`."""
        return self.likelihood.curvature(f, y)

    def encode(self, y: Array, c: int) -> Array:
        """Targets in the space of the mean, by `likelihood`."""
        return self.likelihood.encode(y, c)

    def predict_target(self, mean: Array) -> Array:
        """Predicted targets by `likelihood`."""
        return self.likelihood.predict_target(mean)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` where `likelihood` does."""
        self.likelihood.check_target(y, c)
