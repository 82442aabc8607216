"""Leave-one-out by importance sampling: the draws of the posterior, reweighted by `1/p(y_i ∣ f_i)`.

Pareto-smoothed importance sampling (PSIS) by ArviZ, with its diagnostic `k`, the shape of the tail of the weights. For
`k` above `min(1 − 1/log₁₀ s, 0.7)` the weights are unreliable [Vehtari et al. 2024].
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from memorymaps._imports import require
from memorymaps.core.arrays import Array
from memorymaps.core.special_functions import logsumexp


@dataclass(frozen=True)
class ImportanceWeights:
    """Importance weights of leave-one-out: normalised `log_weight [n, s]` and tail shapes `pareto_k [n]`."""

    log_weight: Array
    pareto_k: Array

    @property
    def threshold(self) -> float:
        """The largest reliable `k` for `s` draws, `min(1 − 1/log₁₀ s, 0.7)`."""
        return min(1 - 1 / float(np.log10(self.log_weight.shape[-1])), 0.7)

    def loo_loss(self, log_likelihood: Array) -> Array:
        """`−log p(y_i ∣ y_{−i})`: `[n]`, in nats, from `log p(y_i ∣ f_i) [n, s]`."""
        return -logsumexp(self.log_weight + log_likelihood)

    def loo_mean(self, draws: Array) -> Array:
        """Leave-one-out posterior mean `[n, c]` of `draws [s, n, c]`."""
        return np.einsum("ns,snc->nc", np.exp(self.log_weight), draws)


ImportanceSampler = Callable[[Array], ImportanceWeights]


def psis(log_likelihood: Array, reff: float = 1.0) -> ImportanceWeights:
    """PSIS weights of leave-one-out from `log p(y_i ∣ f_i) [n, s]`, by ArviZ's `psislw`.

    `reff` is the relative efficiency of the draws, effective number / number (1 for independent ones).

    Raises
    ------
    ImportError
        ArviZ is not installed.
    ValueError
        Fewer than 25 draws: there is no tail to fit.
    """
    s = log_likelihood.shape[-1]
    if s < 25:
        raise ValueError(
            f"{s} draws: importance sampling fits the tail of the weights and needs at least 25. Pass more, "
            "better 1,000"
        )
    weights, k = _psislw(log_likelihood, reff)
    constant = np.ptp(log_likelihood, axis=-1) == 0  # weight zero: all importance weights are equal
    return ImportanceWeights(weights, np.where(constant, 0.0, k))


def _psislw(log_likelihood: Array, reff: float) -> tuple[Array, Array]:
    """ArviZ's `psislw`, which takes log weights before ArviZ 1.0 and log likelihoods from 1.0 on."""
    arviz = require("arviz")
    if hasattr(arviz, "psislw"):
        weights, k = arviz.psislw(-log_likelihood, reff=reff)
    else:
        weights, k = require("arviz_stats.base").array_stats.psislw(log_likelihood, r_eff=reff)
    return np.asarray(weights), np.asarray(k)


def psis_with_efficiency(reff: float) -> ImportanceSampler:
    """`psis` for draws of relative efficiency `reff`."""
    return functools.partial(psis, reff=reff)
