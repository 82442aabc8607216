"""Exponential-family likelihoods with a link function: Gaussian, Bernoulli, Poisson, Gamma and others."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from array_api_compat import array_namespace, device

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood, TargetError, as_numbers, raise_for_targets
from memorymaps.core.likelihoods.links import BinaryLink, Identity, Link, Log, Logit
from memorymaps.core.special_functions import gammaln, xlogy


class ExponentialFamily(Likelihood):
    """Likelihood of a generalised linear model: unit variance `v(μ)`, dispersion `φ` and a link.

    Outputs are independent given `f`; `c > 1` means several targets:
    `e = (μ − y) σ'(f) / (φ v(μ))` and `Λ = diag(σ'(f)² / (φ v(μ)))`.
    """

    support: ClassVar[str] = "finite numbers"
    canonical_links: ClassVar[tuple[type[Link], ...]] = ()  # links for which σ'(f) = v(μ)
    dispersion: float | tuple[float, ...]
    link: Link

    @property
    def is_density(self) -> bool:
        """For `φ = 1`; with another dispersion it is a quasi-likelihood."""
        return bool(np.all(np.asarray(self.dispersion) == 1))

    @abstractmethod
    def unit_variance(self, mu: Array) -> Array:
        """Unit variance function `v(μ)`, with `Var y = φ v(μ)`."""

    def unit_variance_slope(self, mu: Array) -> Array:
        """`dv/dμ`, for observed information; NaN where a family does not give it."""
        return array_namespace(mu).nan * mu

    @abstractmethod
    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        """Loss of every output, `[n, c]`."""

    def _outside_support(self, y: Array) -> Array:
        xp = array_namespace(y)
        return ~xp.isfinite(y)

    def _dispersion(self, f: Array) -> Array:
        return array_namespace(f).asarray(self.dispersion, dtype=f.dtype, device=device(f))

    def _derivative_over_variance(self, f: Array) -> Array:
        """`σ'(f) / v(μ)`; one for the canonical link."""
        if isinstance(self.link, self.canonical_links):
            return array_namespace(f).ones_like(f)
        return self.link.derivative(f) / self.unit_variance(self.mean(f))

    def encode(self, y: Array, c: int) -> Array:
        """`y` as `[n, c]`."""
        y = as_numbers(y)
        if y.ndim == 1:
            y = y[:, None]
        if y.ndim != 2 or y.shape[1] != c:
            raise TargetError(f"targets of shape {tuple(y.shape)} for a model with {c} output(s): expected (n, {c})")
        return y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` where a target lies outside the support."""
        y = self.encode(y, c)
        xp = array_namespace(y)
        raise_for_targets(xp.any(self._outside_support(y), axis=1), y, f"{self.support} for {type(self).__name__}")

    def mean(self, f: Array) -> Array:
        """`μ = σ(f)`."""
        return self.link.mean(f)

    def mean_jacobian(self, f: Array) -> Array:
        """`diag(σ'(f))`."""
        return diagonal_matrix(self.link.derivative(f))

    def nll(self, f: Array, y: Array) -> Array:
        """Loss summed over outputs, `[n]`."""
        xp = array_namespace(f)
        return xp.sum(self._nll(f, self.encode(y, f.shape[-1]), self._dispersion(f)), axis=-1)

    def error(self, f: Array, y: Array) -> Array:
        """`(μ − y) σ'(f) / (φ v(μ))`."""
        return self.residual(f, y) * self._derivative_over_variance(f) / self._dispersion(f)

    def fisher_diagonal(self, f: Array, y: Array) -> Array:
        """The diagonal of `Λ`, `σ'(f)² / (φ v(μ))`: `[n, c]`."""
        return self.link.derivative(f) * self._derivative_over_variance(f) / self._dispersion(f)

    def observed_diagonal(self, f: Array, y: Array) -> Array:
        """The diagonal of `∇²_f ℓ`, `[σ' g + (μ − y) g']/φ`, `g = σ'/v`: `[n, c]`; negative where `ℓ` is concave."""
        if isinstance(self.link, self.canonical_links):
            return self.fisher_diagonal(f, y)
        gain = self._derivative_over_variance(f)
        slope = gain * (self.link.log_derivative_slope(f) - gain * self.unit_variance_slope(self.mean(f)))
        return self.fisher_diagonal(f, y) + self.residual(f, y) * slope / self._dispersion(f)

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(σ'(f)² / (φ v(μ)))`."""
        return diagonal_matrix(self.fisher_diagonal(f, y))

    def fisher_matvec(self, f: Array, y: Array, v: Array) -> Array:
        """`Λ v`; `Λ` is diagonal."""
        return self.fisher_diagonal(f, y)[..., None] * v

    def fisher_root_matvec(self, f: Array, y: Array, v: Array) -> Array:
        """`√Λ v`; `Λ` is diagonal."""
        return array_namespace(f).sqrt(self.fisher_diagonal(f, y))[..., None] * v

    def score_preimage(self, f: Array, y: Array) -> tuple[Callable[[Array], Array], Array]:
        """`x = e/Λ`, `κ = 1`, where every output with an error has curvature; zeros elsewhere."""
        xp = array_namespace(f)
        fisher, error = self.fisher_diagonal(f, y), self.error(f, y)
        solvable = xp.all((fisher > 0) | (error == 0), axis=-1)
        x = xp.where(fisher > 0, error / xp.where(fisher > 0, fisher, xp.ones_like(fisher)), xp.zeros_like(fisher))
        kappa = xp.astype(solvable, f.dtype)
        return lambda v: xp.matmul(v, (kappa[:, None] * x)[..., None])[..., 0], kappa

    def fisher_root_gram(self, f: Array, y: Array, outputs: Array) -> Array:
        """The entries of `Λ` at these outputs."""
        return diagonal_matrix(array_namespace(f).take_along_axis(self.fisher_diagonal(f, y), outputs, axis=-1))


class DispersionFamily(ExponentialFamily):
    """A family whose dispersion is a parameter of the density: a weight is a precision, `Var y = φ v(μ)/w`.

    With `counts=True` an example of weight `w` stands for `w` equal rows of dispersion `φ` instead.
    """

    counts: bool

    @property
    def is_density(self) -> bool:
        """For every `φ`."""
        return True

    @property
    def weights_are_precisions(self) -> bool:
        """Unless they are `counts`."""
        return not self.counts

    def example_loss(self, f: Array, y: Array, weight: Array) -> Array:
        """`−log p(y ∣ f)` with the dispersion `φ/w`: `[n]`; an example without weight as one of weight 1."""
        if self.counts:
            return self.nll(f, y)
        xp = array_namespace(f)
        phi = self._dispersion(f) / xp.where(weight > 0, weight, xp.ones_like(weight))[:, None]
        return xp.sum(self._nll(f, self.encode(y, f.shape[-1]), phi), axis=-1)


def diagonal_matrix(d: Array) -> Array:
    """Diagonal matrices `[n, c, c]` from `d [n, c]`."""
    xp = array_namespace(d)
    return d[..., :, None] * xp.eye(d.shape[-1], dtype=d.dtype, device=device(d))


@dataclass(frozen=True)
class Gaussian(DispersionFamily):
    """`y ~ N(μ, φ)`; the dispersion is the noise variance σ², one for all outputs or one each.

    An example of weight `w` has the variance `φ/w`, or stands for `w` equal rows where weights are `counts`.

    Examples
    --------
    >>> import numpy as np
    >>> Gaussian(dispersion=4.0).error(np.array([[3.0]]), np.array([1.0]))
    array([[0.5]])
    """

    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Identity()
    counts: bool = False
    canonical_links = (Identity,)

    def unit_variance(self, mu: Array) -> Array:
        """One."""
        return array_namespace(mu).ones_like(mu)

    def unit_variance_slope(self, mu: Array) -> Array:
        """Zero."""
        return array_namespace(mu).zeros_like(mu)

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        return 0.5 * ((self.mean(f) - y) ** 2 / phi + array_namespace(f).log(2 * math.pi * phi))


@dataclass(frozen=True)
class Bernoulli(ExponentialFamily):
    """`y ∈ [0, 1]` with mean `μ`: 0/1 labels, or proportions whose number of trials is the weight.

    Several outputs are independent labels. The loss of a proportion is the mean of `−log p` over its trials, the same
    as with one row a trial: no binomial coefficient, which counts their orders.

    Examples
    --------
    >>> import numpy as np
    >>> Bernoulli().error(np.array([[0.0]]), np.array([1.0]))
    array([[-0.5]])
    """

    dispersion: float | tuple[float, ...] = 1.0
    link: BinaryLink = Logit()
    canonical_links = (Logit,)
    support = "values in [0, 1]"

    def _outside_support(self, y: Array) -> Array:
        return ~((y >= 0) & (y <= 1))

    def unit_variance(self, mu: Array) -> Array:
        """`μ(1 − μ)`."""
        return mu * (1 - mu)

    def unit_variance_slope(self, mu: Array) -> Array:
        """`1 − 2μ`."""
        return 1 - 2 * mu

    def _derivative_over_variance(self, f: Array) -> Array:
        if isinstance(self.link, self.canonical_links):
            return array_namespace(f).ones_like(f)
        return self.link.derivative_over_variance(f)

    def residual(self, f: Array, y: Array) -> Array:
        """`(1 − y) μ − y (1 − μ)`, without cancellation."""
        y = self.encode(y, f.shape[-1])
        return (1 - y) * self.link.mean(f) - y * self.link.complement(f)

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        return -(y * self.link.log_mean(f) + (1 - y) * self.link.log_complement(f)) / phi


@dataclass(frozen=True)
class Poisson(ExponentialFamily):
    """Counts, `Var y = φμ` (φ = 1: Poisson; otherwise a quasi-likelihood)."""

    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    canonical_links = (Log,)
    support = "values ≥ 0"

    def _outside_support(self, y: Array) -> Array:
        return ~(array_namespace(y).isfinite(y) & (y >= 0))

    def unit_variance(self, mu: Array) -> Array:
        """`μ`."""
        return mu

    def unit_variance_slope(self, mu: Array) -> Array:
        """One."""
        return array_namespace(mu).ones_like(mu)

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        mu = self.mean(f)
        return (mu - xlogy(y, mu) + gammaln(y + 1)) / phi


@dataclass(frozen=True)
class PositiveFamily(DispersionFamily):
    """A dispersion family of positive targets."""

    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    counts: bool = False
    support = "values > 0"

    def _outside_support(self, y: Array) -> Array:
        return ~(array_namespace(y).isfinite(y) & (y > 0))


@dataclass(frozen=True)
class Gamma(PositiveFamily):
    """Positive targets, `Var y = φμ²` (shape `1/φ`)."""

    def unit_variance(self, mu: Array) -> Array:
        """`μ²`."""
        return mu**2

    def unit_variance_slope(self, mu: Array) -> Array:
        """`2μ`."""
        return 2 * mu

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        xp = array_namespace(f)
        k, mu = 1 / phi, self.mean(f)
        return k * (y / mu + xp.log(mu)) - k * xp.log(k) - (k - 1) * xp.log(y) + gammaln(k)


@dataclass(frozen=True)
class InverseGaussian(PositiveFamily):
    """Positive targets, `Var y = φμ³`."""

    def unit_variance(self, mu: Array) -> Array:
        """`μ³`."""
        return mu**3

    def unit_variance_slope(self, mu: Array) -> Array:
        """`3μ²`."""
        return 3 * mu**2

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        mu = self.mean(f)
        return (y - mu) ** 2 / (2 * phi * y * mu**2) + 0.5 * array_namespace(f).log(2 * math.pi * phi * y**3)


@dataclass(frozen=True)
class NegativeBinomial(ExponentialFamily):
    """Over-dispersed counts, `Var y = φ(μ + αμ²)` (NB2) with a known `α > 0`."""

    alpha: float = 1.0
    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    support = "values ≥ 0"

    def _outside_support(self, y: Array) -> Array:
        return ~(array_namespace(y).isfinite(y) & (y >= 0))

    def unit_variance(self, mu: Array) -> Array:
        """`μ + αμ²`."""
        return mu + self.alpha * mu**2

    def unit_variance_slope(self, mu: Array) -> Array:
        """`1 + 2αμ`."""
        return 1 + 2 * self.alpha * mu

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        xp, a = array_namespace(f), self.alpha
        am = a * self.mean(f)
        r = xp.ones_like(am) / a
        constant = gammaln(y + 1) + gammaln(r) - gammaln(y + r)
        return (constant + (y + r) * xp.log1p(am) - xlogy(y, am)) / phi


@dataclass(frozen=True)
class Tweedie(ExponentialFamily):
    """`Var y = φμ^power` with `1 < power < 2` (targets ≥ 0) or `power > 2` (targets > 0).

    Its density has no closed form: the loss is half the deviance over `φ`, zero at a perfect prediction.
    Powers 0, 1, 2, 3 have likelihoods of their own: `Gaussian`, `Poisson`, `Gamma`, `InverseGaussian`.
    """

    power: float = 1.5
    dispersion: float | tuple[float, ...] = 1.0
    link: Link = Log()
    support = "values ≥ 0 (> 0 from power 2 on)"

    @property
    def is_density(self) -> bool:
        """No: the normalising term is left out."""
        return False

    def __post_init__(self) -> None:
        if not (self.power > 1 and self.power not in (2.0, 3.0)):
            raise ValueError(
                f"Tweedie power {self.power}: expected 1 < power, not 2 or 3; for 0, 1, 2, 3 use Gaussian, Poisson, "
                "Gamma, InverseGaussian"
            )

    def _outside_support(self, y: Array) -> Array:
        in_range = y > 0 if self.power > 2 else y >= 0
        return ~(array_namespace(y).isfinite(y) & in_range)

    def unit_variance(self, mu: Array) -> Array:
        """`μ^power`."""
        return mu**self.power

    def unit_variance_slope(self, mu: Array) -> Array:
        """`power · μ^(power − 1)`."""
        return self.power * mu ** (self.power - 1)

    def _nll(self, f: Array, y: Array, phi: Array) -> Array:
        p, mu = self.power, self.mean(f)
        half = y ** (2 - p) / ((1 - p) * (2 - p)) - y * mu ** (1 - p) / (1 - p) + mu ** (2 - p) / (2 - p)
        return half / phi
