"""Shrinkage of covariances estimated from few draws towards a target estimated from all examples.

Each example's sample covariance `V_i [c, c]` of `s` draws is noisy: relative error `√(2/(s − 1))` for one output,
singular for `c ≥ s`. Its *shape* is shrunk by OAS [Chen et al. 2010] in coordinates in which the average
covariance of all examples is the identity: equivariant under any linear change of outputs, with its size
`tr(V̄⁻¹V_i)/c` unchanged. (OAS and Ledoit–Wolf towards the identity would depend on the units of the outputs, and
have no effect for one output.) Its *size* is shrunk towards that of the other examples by the empirical-Bayes rule for
variances [Smyth 2004], whose strength is estimated from the variance of the sizes in excess of the sampling variance
of `s` draws. Both vanish as `1/s`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

from memorymaps.core.arrays import Array

_NEGLIGIBLE = 1e-10  # directions with less than this fraction of the largest average variance are constant


@dataclass(frozen=True)
class ShrinkageTarget:
    """The average covariance of many examples, and the empirical-Bayes prior of their sizes.

    `root`: `B [c, r]` with `B Bᵀ = V̄`; `inverse_root`: `B⁺ [r, c]`; the prior of the sizes is a scaled inverse χ² with
    location `prior_size` and `prior_df` degrees of freedom.
    """

    root: Array
    inverse_root: Array
    prior_size: float
    prior_df: float

    @classmethod
    def from_covariances(cls, variance: Array, draws: int) -> ShrinkageTarget:
        """Estimate the target from sample covariances `[n, c, c]`, each of `draws` draws."""
        values, vectors = np.linalg.eigh(np.mean(variance, axis=0))
        varying = values > _NEGLIGIBLE * max(values[-1], np.finfo(float).tiny)
        root = vectors[:, varying] * np.sqrt(values[varying])
        inverse_root = (vectors[:, varying] / np.sqrt(values[varying])).T
        size = _sizes(_whitened(variance, inverse_root))
        return cls(root, inverse_root, *_fit_scaled_f(size[size > 0], draws - 1, int(np.count_nonzero(varying))))

    def shrink(self, variance: Array, draws: int) -> Array:
        """Shrink sample covariances `[n, c, c]`, each of `draws` draws.

        Examples
        --------
        >>> import numpy as np
        >>> f = np.random.default_rng(0).normal(size=(4, 1000, 1))  # four draws of a variance of one
        >>> v = f.var(axis=0, ddof=1)[..., None]
        >>> target = ShrinkageTarget.from_covariances(v, 4)
        >>> float(v.std()), float(target.shrink(v, 4).std())
        (0.8..., 0.0...)
        """
        a = _whitened(variance, self.inverse_root)
        size, r = _sizes(a), a.shape[-1]
        if r > 1:
            rho = _oas(a, draws - 1)[:, None, None]
            a = (1 - rho) * a + rho * size[:, None, None] * np.eye(r)
        return self.root @ (self._shrink_size(size, draws * r - r)[:, None, None] * a) @ self.root.T

    def _shrink_size(self, size: Array, df: int) -> Array:
        """The factor `(d₀ s₀² + d s²)/((d₀ + d) s²)` on each size `s²`; `d₀, s₀²`: the prior's. Zero stays zero."""
        ratio = np.divide(self.prior_size, size, out=np.zeros_like(size), where=size > 0)
        share = 1.0 if np.isinf(self.prior_df) else self.prior_df / (self.prior_df + df)
        return share * ratio + (1 - share)


def _whitened(variance: Array, inverse_root: Array) -> Array:
    return np.asarray(inverse_root @ variance @ inverse_root.T)


def _sizes(a: Array) -> Array:
    return np.trace(a, axis1=1, axis2=2) / max(a.shape[-1], 1)


def _oas(a: Array, df: int) -> Array:
    """OAS shrinkage intensity `ρ [n]` towards the identity, for covariances `[n, r, r]` of `df` degrees of freedom."""
    r = a.shape[-1]
    square, trace2 = np.einsum("nab,nba->n", a, a), np.trace(a, axis1=1, axis2=2) ** 2
    gap = (df + 1 - 2 / r) * (square - trace2 / r)
    rho = np.divide((1 - 2 / r) * square + trace2, gap, out=np.ones_like(gap), where=gap > 0)
    return np.minimum(rho, 1.0)


def _fit_scaled_f(size: Array, df: int, r: int) -> tuple[float, float]:
    """Location and degrees of freedom of the prior, from sizes with `df · r` degrees of freedom [Smyth 2004, §6.2]."""
    d = df * r / 2
    if len(size) < 2:
        return (float(size[0]) if len(size) else 1.0), 0.0
    logs = np.log(size) - digamma(d) + np.log(d)
    excess = float(np.var(logs, ddof=1) - polygamma(1, d))
    if excess <= 0:
        return float(np.exp(np.mean(logs))), np.inf
    half = _invert_decreasing(lambda x: float(polygamma(1, x)), excess)
    return float(np.exp(np.mean(logs) + digamma(half) - np.log(half))), 2 * half


def _invert_decreasing(decreasing: Callable[[float], float], value: float) -> float:
    """`x > 0` with `decreasing(x) = value`, by bisection on the logarithm."""
    low, high = -20.0, 20.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if decreasing(float(np.exp(middle))) > value else (low, middle)
    return float(np.exp((low + high) / 2))
