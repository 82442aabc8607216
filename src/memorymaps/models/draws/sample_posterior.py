"""Posteriors given by draws of the outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.expected import ExpectedLikelihood, GaussianExpectation
from memorymaps.core.perturbation.deviation import Warn, cavity_variance
from memorymaps.core.perturbation.local import FullVariance
from memorymaps.models.draws.covariance_shrinkage import ShrinkageTarget
from memorymaps.models.draws.importance_sampling import ImportanceSampler
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals


@dataclass(frozen=True)
class SampledPosterior:
    """Posterior with the mean and covariance of the draws of each example."""

    draws: Callable[[Any], Array]
    likelihood: Likelihood
    description: Description
    shrinkage: ShrinkageTarget

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances of the draws."""
        return Capabilities(covariance_root=self.covariance_root)

    def marginals(self, inputs: Any) -> Marginals:
        """Mean `f [n, c]` and shrunk covariance `V [n, c, c]` of the draws."""
        f = self.draws(inputs)
        return Marginals(f.mean(axis=0), self.shrinkage.shrink(covariance(f), len(f)))

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, s]`, the centred draws over `√(s − 1)`: covariances without shrinkage, use hundreds of draws."""
        f = self.draws(inputs)
        return np.moveaxis(f - f.mean(axis=0), 0, -1) / np.sqrt(len(f) - 1)


@dataclass(frozen=True)
class ImportanceWeightedPosterior(SampledPosterior):
    """A `SampledPosterior` with leave-one-out columns by importance sampling and by the Gaussian approximation."""

    importance: ImportanceSampler
    log_likelihood: Array | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances of the draws, and columns of importance sampling."""
        return Capabilities(covariance_root=self.covariance_root, extra_columns=self.extra_columns)

    def extra_columns(self, batch: Batch, at: FullVariance) -> Mapping[str, Array]:
        """`pareto_k`; `psis_loo_loss` and `gaussian_loo_loss`, `−log p(y_i ∣ y_{−i})` in nats by PSIS and by
        `N(f + Δf, V^{\\i})`; `psis_deviation`, the change of the posterior mean by PSIS.
        """
        f = self.draws(batch.inputs)
        if batch.offset is not None:
            f = f + np.reshape(batch.offset, (len(batch), -1))
        log_p = self._log_likelihood(f, batch, at)
        weights = self.importance(at.weight[:, None] * log_p)
        warning = np.where(weights.pareto_k > weights.threshold, int(Warn.PARETO_K), 0)
        return {
            "pareto_k": weights.pareto_k,
            "psis_loo_loss": weights.loo_loss(log_p),
            "gaussian_loo_loss": gaussian_loo_loss(at),
            "psis_deviation": weights.loo_mean(f) - f.mean(axis=0),
            "warning": warning,
        }

    def _log_likelihood(self, f: Array, batch: Batch, at: FullVariance) -> Array:
        if self.log_likelihood is not None:
            return self.log_likelihood[:, batch.inputs].T
        return -np.stack([without_expectation(self.likelihood).nll(draw, at.y) for draw in f], axis=1)


def without_expectation(likelihood: Likelihood) -> Likelihood:
    """The likelihood without its expectation over the posterior."""
    return likelihood.likelihood if isinstance(likelihood, ExpectedLikelihood) else likelihood


def covariance(f: Array) -> Array:
    """Sample covariance `[n, c, c]` of draws `[s, n, c]`."""
    z = np.moveaxis(f - f.mean(axis=0), 0, -1)
    return np.asarray(z @ np.swapaxes(z, 1, 2)) / (len(f) - 1)


def gaussian_loo_loss(at: FullVariance) -> Array:
    """`−log ∫ p(y ∣ f) N(f; f_i + Δf_i, V_i^{\\i}) df`: `[n]`; NaN where an eigenvalue of `ΛV` is 1."""
    averaged = GaussianExpectation(_without_average(at.likelihood), cavity_variance(at.variance, at.curvature))
    deviation = at.cavity()
    finite = np.isfinite(deviation).all(axis=1)
    loss = np.full(len(finite), np.nan)
    averaged = dataclasses.replace(averaged, variance=averaged.variance[finite])
    loss[finite] = averaged.predictive_loss((at.f + deviation)[finite], at.y[finite])
    return loss


def _without_average(likelihood: Likelihood) -> Likelihood:
    return likelihood.likelihood if isinstance(likelihood, GaussianExpectation) else likelihood
