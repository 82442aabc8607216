"""Conjugate families for real numbers and vectors; each is a prior, and `.given(y)` returns its posterior.

Parametrisations: Bernardo & Smith 1994, App. A.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import digamma, multigammaln

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.core.likelihoods.mean_parameter import MultivariateGaussian
from memorymaps.models.conjugate.family import ConjugateFamily, ImproperError, as_positive_definite, check_positive


@dataclass(frozen=True)
class NormalMean(ConjugateFamily):
    """`y ~ N(θ, noise)` with known noise, `θ ~ N(mean, variance)`; numbers, or `[d]` and `[d, d]` for vectors."""

    mean: Any = 0.0
    variance: Any = 1.0
    noise: Any = 1.0

    def __post_init__(self) -> None:
        d = np.size(self.mean)
        as_positive_definite("variance", self.variance, d)
        as_positive_definite("noise", self.noise, d)

    @property
    def _noise(self) -> Array:
        return as_positive_definite("noise", self.noise, np.size(self.mean))

    def about(self, centre: Array) -> NormalMean:
        """The family of `y − centre`: its mean moves by as much."""
        return dataclasses.replace(self, mean=np.ravel(np.asarray(self.mean, dtype=float)) - centre)

    def natural(self) -> Array:
        """`(Pm, P)` with the precision `P`: `[d, d + 1]`."""
        precision = np.linalg.inv(as_positive_definite("variance", self.variance, np.size(self.mean)))
        return np.column_stack([precision @ np.ravel(self.mean), precision])

    def sites(self, y: Array) -> Array:
        """`(Σ⁻¹y, Σ⁻¹)`."""
        precision = np.linalg.inv(self._noise)
        precision_times_y = y.reshape(len(y), -1) @ precision
        return np.concatenate([precision_times_y[..., None], np.tile(precision, (len(y), 1, 1))], axis=-1)

    def log_partition(self, natural: Array) -> Array:
        """`½ hᵀP⁻¹h − ½ log det P`."""
        h, precision = natural[..., 0], natural[..., 1:]
        mean = np.linalg.solve(precision, h[..., None])[..., 0]
        return np.asarray(0.5 * np.sum(h * mean, axis=-1) - 0.5 * np.linalg.slogdet(precision)[1])

    def expected_statistics(self, natural: Array) -> Array:
        """`E[θ], −½E[θθᵀ]`."""
        covariance = np.linalg.inv(natural[..., 1:])
        mean = (covariance @ natural[..., :1])[..., 0]
        return np.concatenate([mean[..., None], -0.5 * (covariance + mean[..., :, None] * mean[..., None, :])], axis=-1)

    def log_base_measure(self, y: Array, weight: Array) -> Array:
        """`w log N(y; 0, Σ)`."""
        return -weight * MultivariateGaussian(self._noise).nll(np.zeros((len(y), np.size(self.mean))), y)

    def mean_parameter_marginal(self, natural: Array) -> tuple[Array, Array, Likelihood]:
        """Posterior mean and covariance, and the Gaussian likelihood with the known noise."""
        covariance = np.linalg.inv(natural[:, 1:])
        one = len(covariance) == 1
        likelihood = Gaussian(float(self._noise[0, 0]), counts=True) if one else MultivariateGaussian(self._noise)
        return covariance @ natural[:, 0], covariance, likelihood


@dataclass(frozen=True)
class NormalWishart(ConjugateFamily):
    """`y ~ N(μ, T⁻¹)`, `μ ∣ T ~ N(mean, (κT)⁻¹)`, `T ~ Wishart(ν, (inverse_scale)⁻¹)`: both unknown, any dimension.

    For one variable: precision `τ ~ Gamma(ν/2, rate = inverse_scale/2)`.
    """

    mean: Any = 0.0
    kappa: float = 1.0
    nu: float = 1.0
    inverse_scale: Any = 1.0

    def __post_init__(self) -> None:
        check_positive(kappa=self.kappa)
        if not (np.isfinite(self.nu) and self.nu > self._d - 1):
            raise ImproperError(f"nu = {self.nu}: expected more than d − 1 = {self._d - 1} degrees of freedom")
        as_positive_definite("inverse_scale", self.inverse_scale, self._d)

    @property
    def _d(self) -> int:
        return int(np.size(self.mean))

    def about(self, centre: Array) -> NormalWishart:
        """The family of `y − centre`: its mean moves by as much."""
        return dataclasses.replace(self, mean=np.ravel(np.asarray(self.mean, dtype=float)) - centre)

    def natural(self) -> Array:
        """`(κm, κ, inverse_scale + κmmᵀ, ν)`, flattened and concatenated: `[d² + d + 2]`."""
        m = np.ravel(np.asarray(self.mean, dtype=float))
        inverse_scale = as_positive_definite("inverse_scale", self.inverse_scale, self._d)
        return np.r_[self.kappa * m, self.kappa, np.ravel(inverse_scale + self.kappa * np.outer(m, m)), self.nu]

    def sites(self, y: Array) -> Array:
        """`(y, 1, yyᵀ, 1)`."""
        y = y.reshape(len(y), -1)
        ones = np.ones((len(y), 1))
        return np.concatenate([y, ones, (y[:, :, None] * y[:, None, :]).reshape(len(y), -1), ones], axis=1)

    def standard_parameters(self, natural: Array) -> tuple[Array, Array, Array, Array]:
        """`m [..., d]`, `κ`, `inverse_scale [..., d, d]`, `ν`."""
        d = self._d
        kappa, nu = natural[..., d], natural[..., -1]
        m = natural[..., :d] / kappa[..., None]
        outer = kappa[..., None, None] * m[..., :, None] * m[..., None, :]
        return m, kappa, natural[..., d + 1 : -1].reshape(*natural.shape[:-1], d, d) - outer, nu

    def log_partition(self, natural: Array) -> Array:
        """`½νd log 2 − ½ν log det(inverse_scale) + log Γ_d(ν/2) − ½d log κ + ½d log 2π`."""
        _, kappa, inverse_scale, nu = self.standard_parameters(natural)
        wishart = 0.5 * nu * (self._d * np.log(2) - np.linalg.slogdet(inverse_scale)[1]) + multigammaln(nu / 2, self._d)
        return np.asarray(wishart + 0.5 * self._d * np.log(2 * np.pi / kappa))

    def expected_statistics(self, natural: Array) -> Array:
        """`E[Tμ], −½E[μᵀTμ], −½E[T], ½E[log det T]`."""
        m, kappa, inverse_scale, nu = self.standard_parameters(natural)
        precision = nu[..., None, None] * np.linalg.inv(inverse_scale)
        precision_times_mean = (precision @ m[..., None])[..., 0]
        half = nu[..., None] / 2 - np.arange(self._d) / 2
        log_det = digamma(half).sum(-1) + self._d * np.log(2) - np.linalg.slogdet(inverse_scale)[1]
        square = -0.5 * (np.sum(m * precision_times_mean, axis=-1) + self._d / kappa)
        half_precision = -0.5 * precision.reshape(*natural.shape[:-1], -1)
        return np.concatenate(
            [precision_times_mean, square[..., None], half_precision, 0.5 * log_det[..., None]], axis=-1
        )

    def log_base_measure(self, y: Array, weight: Array) -> Array:
        """`−½wd log 2π`."""
        return np.asarray(-0.5 * weight * self._d * np.log(2 * np.pi))

    def mean_parameter_marginal(self, natural: Array) -> tuple[Array, Array, Likelihood]:
        """`f = m`, `V = E[T]⁻¹/κ`; the noise is fixed at `E[T]⁻¹`, while `kl` includes its change."""
        m, kappa, inverse_scale, nu = self.standard_parameters(natural)
        noise = inverse_scale / nu
        one = self._d == 1
        return m, noise / kappa, Gaussian(float(noise[0, 0]), counts=True) if one else MultivariateGaussian(noise)
