"""Inverse link functions `μ = σ(f)` and their derivatives."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.special_functions import log_ndtr, ndtr, normal_density, softplus


class Link(ABC):
    """An elementwise inverse link `σ` from outputs to means (statsmodels: `link.inverse`)."""

    @abstractmethod
    def mean(self, f: Array) -> Array:
        """`μ = σ(f)`."""

    @abstractmethod
    def derivative(self, f: Array) -> Array:
        """`dμ/df`."""

    def log_derivative_slope(self, f: Array) -> Array:
        """`d log ∣σ'∣/df = σ''/σ'`, for observed information; NaN where a link does not give it."""
        return array_namespace(f).nan * f


class BinaryLink(Link):
    """A link onto (0, 1), accurate also where `μ` rounds to 0 or 1."""

    @abstractmethod
    def complement(self, f: Array) -> Array:
        """`1 − μ`, without cancellation."""

    @abstractmethod
    def log_mean(self, f: Array) -> Array:
        """`log μ`."""

    @abstractmethod
    def log_complement(self, f: Array) -> Array:
        """`log(1 − μ)`."""

    def derivative_over_variance(self, f: Array) -> Array:
        """`(dμ/df)/(μ(1 − μ))`; finite also where `μ` or `1 − μ` underflows, in links that override it."""
        return self.derivative(f) / (self.mean(f) * self.complement(f))


@dataclass(frozen=True)
class Identity(Link):
    """`μ = f`."""

    def mean(self, f: Array) -> Array:
        """`f`."""
        return f

    def derivative(self, f: Array) -> Array:
        """One."""
        return array_namespace(f).ones_like(f)

    def log_derivative_slope(self, f: Array) -> Array:
        """Zero."""
        return array_namespace(f).zeros_like(f)


@dataclass(frozen=True)
class Log(Link):
    """`log μ = f`."""

    def mean(self, f: Array) -> Array:
        """`exp f`."""
        return array_namespace(f).exp(f)

    def derivative(self, f: Array) -> Array:
        """`exp f`."""
        return array_namespace(f).exp(f)

    def log_derivative_slope(self, f: Array) -> Array:
        """One."""
        return array_namespace(f).ones_like(f)


@dataclass(frozen=True)
class Power(Link):
    """`μ^exponent = f` for `f > 0`: −1 inverse, −2 inverse squared, ½ square root."""

    exponent: float

    def mean(self, f: Array) -> Array:
        """`f^(1/exponent)`."""
        return f ** (1 / self.exponent)

    def derivative(self, f: Array) -> Array:
        """`f^(1/exponent − 1) / exponent`."""
        return f ** (1 / self.exponent - 1) / self.exponent

    def log_derivative_slope(self, f: Array) -> Array:
        """`(1/exponent − 1)/f`."""
        return (1 / self.exponent - 1) / f


@dataclass(frozen=True)
class Logit(BinaryLink):
    """`log μ/(1 − μ) = f`."""

    def mean(self, f: Array) -> Array:
        """`1/(1 + e^−f)`."""
        return array_namespace(f).exp(-softplus(-f))

    def complement(self, f: Array) -> Array:
        """`1/(1 + e^f)`."""
        return self.mean(-f)

    def derivative(self, f: Array) -> Array:
        """`μ(1 − μ)`."""
        return self.mean(f) * self.mean(-f)

    def log_derivative_slope(self, f: Array) -> Array:
        """`1 − 2μ`."""
        return self.mean(-f) - self.mean(f)

    def log_mean(self, f: Array) -> Array:
        """`−log(1 + e^−f)`."""
        return -softplus(-f)

    def log_complement(self, f: Array) -> Array:
        """`−log(1 + e^f)`."""
        return -softplus(f)


@dataclass(frozen=True)
class Probit(BinaryLink):
    """`Φ⁻¹(μ) = f`."""

    def mean(self, f: Array) -> Array:
        """`Φ(f)`."""
        return ndtr(f)

    def complement(self, f: Array) -> Array:
        """`Φ(−f)`."""
        return ndtr(-f)

    def derivative(self, f: Array) -> Array:
        """`φ(f)`."""
        return normal_density(f)

    def log_derivative_slope(self, f: Array) -> Array:
        """`−f`."""
        return -f

    def log_mean(self, f: Array) -> Array:
        """`log Φ(f)`."""
        return log_ndtr(f)

    def log_complement(self, f: Array) -> Array:
        """`log Φ(−f)`."""
        return log_ndtr(-f)

    def derivative_over_variance(self, f: Array) -> Array:
        """`φ(f)/(Φ(f)Φ(−f))`, from logarithms."""
        log_density = -(f**2) / 2 - 0.5 * math.log(2 * math.pi)
        return array_namespace(f).exp(log_density - self.log_mean(f) - self.log_complement(f))


@dataclass(frozen=True)
class ComplementaryLogLog(BinaryLink):
    """`log(−log(1 − μ)) = f`."""

    def mean(self, f: Array) -> Array:
        """`1 − exp(−e^f)`."""
        xp = array_namespace(f)
        return -xp.expm1(-xp.exp(f))

    def complement(self, f: Array) -> Array:
        """`exp(−e^f)`."""
        xp = array_namespace(f)
        return xp.exp(-xp.exp(f))

    def derivative(self, f: Array) -> Array:
        """`exp(f − e^f)`."""
        xp = array_namespace(f)
        return xp.exp(f - xp.exp(f))

    def log_derivative_slope(self, f: Array) -> Array:
        """`1 − e^f`."""
        return 1 - array_namespace(f).exp(f)

    def log_mean(self, f: Array) -> Array:
        """`log(1 − exp(−e^f))`."""
        return array_namespace(f).log(self.mean(f))

    def log_complement(self, f: Array) -> Array:
        """`−e^f`."""
        return -array_namespace(f).exp(f)

    def derivative_over_variance(self, f: Array) -> Array:
        """`e^f/μ`, one as `f → −∞`."""
        xp = array_namespace(f)
        rate, mean = xp.exp(f), self.mean(f)
        known = mean > 0
        return xp.where(known, rate / xp.where(known, mean, xp.ones_like(f)), xp.ones_like(f))
