"""Likelihoods whose output is the mean parameter: probabilities, the simplex, multivariate Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood, TargetError
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.links import BinaryLink


@dataclass(frozen=True)
class SimplexCategorical(Categorical):
    """One of `c` classes; the outputs `f [n, c]` are the probabilities: `ℓ = −log f_y`, `Λ = diag(1/f)`."""

    def nll(self, f: Array, y: Array) -> Array:
        """`−log f_y`."""
        return -np.log(f[np.arange(len(f)), y.astype(int)])

    def mean(self, f: Array) -> Array:
        """`f`."""
        return f

    def mean_jacobian(self, f: Array) -> Array:
        """The identity."""
        return np.tile(np.eye(f.shape[1]), (len(f), 1, 1))

    def error(self, f: Array, y: Array) -> Array:
        """`−onehot(y)/f`."""
        return -self.encode(y, f.shape[1]) / f

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(1/f)`."""
        return np.eye(f.shape[1]) / f[:, :, None]

    # Categorical's closed forms hold for logits only
    fisher_diagonal, fisher_matvec, fisher_root_matvec, fisher_root = (
        Likelihood.fisher_diagonal,
        Likelihood.fisher_matvec,
        Likelihood.fisher_root_matvec,
        Likelihood.fisher_root,
    )
    score_preimage, fisher_root_gram = Likelihood.score_preimage, Likelihood.fisher_root_gram


@dataclass(frozen=True)
class MultivariateGaussian(Likelihood):
    """`y ~ N(f, Σ)` with a known covariance `Σ [c, c]`."""

    covariance: Array

    def nll(self, f: Array, y: Array) -> Array:
        """`½ (f − y)ᵀ Σ⁻¹ (f − y) + ½ log det 2πΣ`."""
        quadratic = np.sum(self.residual(f, y) * self.error(f, y), axis=1)
        return 0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * np.asarray(self.covariance))[1])

    def mean(self, f: Array) -> Array:
        """`f`."""
        return f

    def mean_jacobian(self, f: Array) -> Array:
        """The identity."""
        return np.tile(np.eye(f.shape[1]), (len(f), 1, 1))

    def error(self, f: Array, y: Array) -> Array:
        """`Σ⁻¹ (f − y)`."""
        return np.linalg.solve(self.covariance, self.residual(f, y).T).T

    def curvature(self, f: Array, y: Array) -> Array:
        """`Σ⁻¹`."""
        return np.tile(np.linalg.inv(self.covariance), (len(f), 1, 1))

    def encode(self, y: Array, c: int) -> Array:
        """`[n, c]`."""
        return y[:, None] if y.ndim == 1 else y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless targets are finite `[n, c]`."""
        found = self.encode(y, c)
        if found.shape[1] != c or not np.all(np.isfinite(found)):
            raise TargetError(
                f"targets {tuple(y.shape)}, finite: {np.all(np.isfinite(found))}; expected finite (n, {c})"
            )


@dataclass(frozen=True)
class Probability(BinaryLink):
    """Identity link for probabilities, `μ = f`."""

    def mean(self, f: Array) -> Array:
        """`f`."""
        return f

    def derivative(self, f: Array) -> Array:
        """One."""
        return np.ones_like(f)

    def complement(self, f: Array) -> Array:
        """`1 − f`."""
        return 1 - f

    def log_mean(self, f: Array) -> Array:
        """`log f`."""
        return np.log(f)

    def log_complement(self, f: Array) -> Array:
        """`log(1 − f)`."""
        return np.log1p(-f)
