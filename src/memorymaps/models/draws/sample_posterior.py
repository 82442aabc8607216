"""Posteriors that are known by draws of their outputs alone."""

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
from memorymaps.core.perturbation.local import Local
from memorymaps.models.draws.covariance_shrinkage import ShrinkageTarget
from memorymaps.models.draws.importance_sampling import ImportanceSampler
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals


@dataclass(frozen=True)
class SampledPosterior:
    """Mean and covariance of draws, example by example."""

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
        """`Z [n, c, s]`, the centred draws over `√(s − 1)`: sample covariances as they are, so have hundreds."""
        f = self.draws(inputs)
        return np.moveaxis(f - f.mean(axis=0), 0, -1) / np.sqrt(len(f) - 1)


@dataclass(frozen=True)
class ImportanceWeightedPosterior(SampledPosterior):
    """The same with leave-one-out by importance sampling beside the Gaussian form."""

    importance: ImportanceSampler
    log_likelihood: Array | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances of the draws, and columns of importance sampling."""
        return Capabilities(covariance_root=self.covariance_root, extra_columns=self.extra_columns)

    def extra_columns(self, batch: Batch, at: Local) -> Mapping[str, Array]:
        """`pareto_k`; `psis_loo_loss` and `gaussian_loo_loss`, `−log p(y_i ∣ y_{−i})` in nats by the weights and by
        `N(f + Δf, V^{\\i})`; `psis_deviation`, the move of the posterior mean by the weights.
        """
        f = self.draws(batch.inputs)
        if batch.offset is not None:
            f = f + np.reshape(batch.offset, (len(batch), -1))
        logs = self._log_likelihood(f, batch, at)
        found = self.importance(at.weight[:, None] * logs)
        warning = np.where(found.pareto_k > found.threshold, int(Warn.PARETO_K), 0)
        return {
            "pareto_k": found.pareto_k, "psis_loo_loss": found.loo_loss(logs), "gaussian_loo_loss": gaussian_loo_loss(at),
            "psis_deviation": found.loo_mean(f) - f.mean(axis=0), "warning": warning,
        }  # fmt: skip

    def _log_likelihood(self, f: Array, batch: Batch, at: Local) -> Array:
        if self.log_likelihood is not None:
            return self.log_likelihood[:, batch.inputs].T
        return -np.stack([without_expectation(self.likelihood).nll(draw, at.y) for draw in f], axis=1)


def without_expectation(likelihood: Likelihood) -> Likelihood:
    """The likelihood itself, where it is met in expectation."""
    return likelihood.likelihood if isinstance(likelihood, ExpectedLikelihood) else likelihood


def covariance(f: Array) -> Array:
    """Sample covariance `[n, c, c]` of draws `[s, n, c]`."""
    z = np.moveaxis(f - f.mean(axis=0), 0, -1)
    return np.asarray(z @ np.swapaxes(z, 1, 2)) / (len(f) - 1)


def gaussian_loo_loss(at: Local) -> Array:
    """`−log ∫ p(y ∣ f) N(f; f_i + Δf_i, V_i^{\\i}) df`: `[n]`; NaN where `ΛV` reaches its bound."""
    around = GaussianExpectation(_without_average(at.likelihood), cavity_variance(at.variance, at.curvature))
    deviation = at.cavity()
    good = np.isfinite(deviation).all(axis=1)
    loss = np.full(len(good), np.nan)
    kept = dataclasses.replace(around, variance=around.variance[good])
    loss[good] = kept.predictive_loss((at.f + deviation)[good], at.y[good])
    return loss


def _without_average(likelihood: Likelihood) -> Likelihood:
    return likelihood.likelihood if isinstance(likelihood, GaussianExpectation) else likelihood
