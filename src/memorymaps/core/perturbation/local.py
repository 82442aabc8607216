"""Statistics of a batch with full output covariances `V [n, c, c]`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.perturbation.deviation import (
    first_order,
    inflated_variance,
    leverage,
    leverage_norm,
    matvec,
    spectrum_of,
)


@dataclass(frozen=True)
class BatchStatistics:
    """What the estimators need of a batch: likelihood, outputs `f [n, c]`, targets `y`, weights `[n]`."""

    likelihood: Likelihood
    f: Array
    y: Array
    weight: Array

    @cached_property
    def error(self) -> Array:
        """`w e`: `[n, c]`."""
        return self.weight[:, None] * self.likelihood.error(self.f, self.y)


@dataclass(frozen=True)
class FullVariance(BatchStatistics):
    """Statistics with the full output covariances `V [n, c, c]`.

    `subgradient [n, c]` replaces `w ∇_f ℓ` for losses with kinks: the element of the subdifferential that the fit
    selected (dual variables). `out_of_bag [n, c]`: outputs of those members of an ensemble that were not trained on the
    example, NaN where there are none. `penalty_response s [n, c]`: how outputs move as the example takes its share of a
    penalty per unit of weight along, `w xᵀS⁻¹∇ψ`. `stated_cavity_variance [n, c, c]`: `V (I − ΛV)⁻¹` of posteriors that
    know it without the difference `I − ΛV`.
    """

    variance: Array
    subgradient: Array | None = None
    out_of_bag: Array | None = None
    penalty_response: Array | None = None
    stated_cavity_variance: Array | None = None

    @cached_property
    def error(self) -> Array:
        """`w e`: `[n, c]`."""
        return super().error if self.subgradient is None else self.subgradient

    @cached_property
    def curvature(self) -> Array:
        """`w Λ`: `[n, c, c]`."""
        return self.weight[:, None, None] * self.likelihood.curvature(self.f, self.y)

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """Eigenvalues `h [n, c]` of `ΛV` and their basis `B [n, c, c]`, see `spectrum_of`."""
        return spectrum_of(self.variance, self.curvature)

    @cached_property
    def largest_eigenvalue(self) -> Array:
        """Largest eigenvalue of `ΛV`: `[n]`."""
        return array_namespace(self.f).max(self.spectrum[0], axis=-1)

    @cached_property
    def cavity_variance(self) -> Array:
        """`V (I − ΛV)⁻¹ [n, c, c]`, the variance of `f_i` without example `i`; NaN at the bound unless stated."""
        if self.stated_cavity_variance is not None:
            return self.stated_cavity_variance
        return inflated_variance(self.variance, *self.spectrum)

    @property
    def leverage(self) -> Array:
        """`h = tr(ΛV)`: `[n]`."""
        return leverage(self.variance, self.curvature)

    @property
    def leverage_norm(self) -> Array | None:
        """`‖diag(VΛ)‖₂`: `[n]`."""
        return leverage_norm(self.variance, self.curvature)

    def first_order(self) -> Array:
        """`V e + s`: `[n, c]`."""
        return self.with_penalty_response(first_order(self.error, self.variance))

    def cavity(self) -> Array:
        """`(I − VΛ)⁻¹ (V e + s)`: `[n, c]`."""
        error = self.error
        if self.penalty_response is not None:
            error = error + matvec(self.curvature, self.penalty_response)
        return self.with_penalty_response(matvec(self.cavity_variance, error))

    def removal_error(self) -> Array:
        """`(I − ΛV)⁻¹ (e + Λ s)`: `[n, c]`, with which `V` gives the cavity deviation without `s`; NaN at the bound."""
        error = self.error
        if self.penalty_response is not None:
            error = error + matvec(self.curvature, self.penalty_response)
        return error + matvec(self.curvature, matvec(self.cavity_variance, error))

    def with_penalty_response(self, deviation: Array) -> Array:
        """A deviation plus `s`."""
        return deviation if self.penalty_response is None else deviation + self.penalty_response

    def bounded_cavity(self, exceeds_bound: Array) -> Array:
        """Cavity deviations `[n, c]`; first order where `exceeds_bound [n]`."""
        return array_namespace(self.f).where(exceeds_bound[:, None], self.first_order(), self.cavity())
