"""Kernel models in their Gram form: what `N` training examples leave of a Gaussian-process prior.

With the Gram matrix `K` and the curvatures `Λ` of the training examples' losses, for any likelihood:

    V = K − K (K + Λ⁻¹)⁻¹ K = K − K A K,     A = √Λ (I + √Λ K √Λ)⁻¹ √Λ

[Rasmussen & Williams 2006, ch. 3]. `Λ` may have zeros: such examples carry no information and cost nothing. An
intercept without a prior (SVMs) is the limit of a constant kernel: `V + (1 − K A 1)(1 − K A 1)ᵀ/(1ᵀA1)`.
Memory is `N²` numbers: 10,000 examples take 0.8 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix
from memorymaps.data.examples import DataError
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals

Kernel = Callable[[Any, Any], Array]  # k(x, x') [n, n'], without noise

_NEGLIGIBLE_CURVATURE = 1e-12  # of the largest Λ: curvature that moves no digit


@dataclass(frozen=True)
class GramConditional:
    """A kernel prior that has met curvatures `Λ [N]` at its anchors; `rows` are those with `Λ > 0`."""

    rows: Array
    sqrt_curvature: Array
    cholesky_factor: Array
    whitened_ones: Array | None

    @classmethod
    def from_gram(cls, gram: Array, curvature: Array, intercept: bool = False) -> GramConditional:
        """Condition the prior with Gram matrix `K [N, N]` on `Λ [N]`.

        Raises
        ------
        DataError
            A kernel that is not positive semi-definite; an intercept that nothing pins down.
        """
        rows = np.flatnonzero(curvature > _NEGLIGIBLE_CURVATURE * np.max(curvature, initial=0.0))
        if intercept and not len(rows):
            raise DataError("no example has any curvature: nothing pins the intercept down")
        sqrt_curvature = np.sqrt(curvature[rows])
        system = np.eye(len(rows)) + sqrt_curvature[:, None] * gram[np.ix_(rows, rows)] * sqrt_curvature
        try:
            cholesky_factor = cholesky(system, lower=True)
        except np.linalg.LinAlgError as error:
            raise DataError("the kernel is not positive semi-definite on the training data") from error
        return cls(
            rows,
            sqrt_curvature,
            cholesky_factor,
            solve_triangular(cholesky_factor, sqrt_curvature, lower=True) if intercept else None,
        )

    def variance(self, cross: Array, own: Array) -> Array:
        """`V(x, x) [n]` from `k(x, X) [n, N]` and `k(x, x) [n]`."""
        whitened = self._whitened_cross(cross)
        v = own - np.sum(whitened**2, axis=0)
        return (
            np.clip(v, 0, None)
            if self.whitened_ones is None
            else np.clip(v, 0, None) + self._intercept_coordinate(whitened) ** 2
        )

    def intercept_coordinate(self, cross: Array) -> Array:
        """The coordinate of the intercept, `(1 − K A 1)/√(1ᵀA1)`: `[n, 1]`; `[n, 0]` without one."""
        return (
            np.empty((len(cross), 0))
            if self.whitened_ones is None
            else self._intercept_coordinate(self._whitened_cross(cross))[:, None]
        )

    def _whitened_cross(self, cross: Array) -> Array:
        return np.asarray(
            solve_triangular(self.cholesky_factor, (cross[:, self.rows] * self.sqrt_curvature).T, lower=True)
        )

    def _intercept_coordinate(self, whitened: Array) -> Array:
        whitened_ones = np.asarray(self.whitened_ones)
        return np.asarray((1 - whitened_ones @ whitened) / np.sqrt(whitened_ones @ whitened_ones))


@dataclass(frozen=True)
class KernelOutput:
    """One output of a kernel model: kernel, training inputs (`training_inputs`), Gram matrix, `Λ [N]`, prior variance scale."""

    kernel: Kernel
    training_inputs: Any
    gram: Array
    curvature: Array
    intercept: bool = False
    scale: float = 1.0

    @cached_property
    def conditional(self) -> GramConditional:
        """The prior of unit scale after the data."""
        return GramConditional.from_gram(self.gram, self.scale * self.curvature, self.intercept)

    def variance(self, inputs: Any) -> Array:
        """`V [n]`."""
        own = np.diagonal(self.kernel(inputs, inputs))
        return self.scale * self.conditional.variance(self.kernel(inputs, self.training_inputs), own)

    @property
    def effective_parameters(self) -> float:
        """`Σ Λ_i V_i`, effective parameters."""
        return float(self.scale * self.curvature @ self.conditional.variance(self.gram, np.diagonal(self.gram)))

    @cached_property
    def _coordinates(self) -> Array:
        """`C [N, r]` (`gram_coordinates`), the intercept apart."""
        apply_curvature = self.scale * self.curvature
        return gram_coordinates(self.gram, lambda seen: apply_curvature[:, None] * seen)

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, r]` with `Z_i Z_jᵀ = V_ij`, exact where one of the two is a training example."""
        cross = self.kernel(inputs, self.training_inputs)
        return np.sqrt(self.scale) * np.hstack(
            [cross @ self._coordinates, self.conditional.intercept_coordinate(cross)]
        )


def gram_coordinates(gram: Array, apply_curvature: Callable[[Array], Array]) -> Array:
    """`C [N, r]` with `V_ij = k(x_i, X) C Cᵀ k(X, x_j)` for a prior of Gram matrix `K [N, N]` and `apply_curvature(z) = Λz`."""
    values, vectors = eigh(gram)
    keep = values > values[-1] * len(values) * np.finfo(float).eps
    whiten = vectors[:, keep] / np.sqrt(values[keep])
    seen = gram @ whiten
    cholesky_factor = cholesky(np.eye(seen.shape[1]) + seen.T @ apply_curvature(seen), lower=True)
    return np.asarray(solve_triangular(cholesky_factor, whiten.T, lower=True).T)


@dataclass(frozen=True)
class GramPosterior:
    """`q(f)` of a kernel model whose outputs do not interact.

    `outputs(inputs) [n, c]` are the fitted model's own. Group removal is exact for Gaussian likelihoods.
    """

    likelihood: Likelihood
    description: Description
    outputs: Callable[[Any], Array]
    kernel_outputs: tuple[KernelOutput, ...]

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances."""
        return Capabilities(covariance_root=self.covariance_root)

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and the diagonal `V [n, c, c]`."""
        variance = np.stack([part.variance(inputs) for part in self.kernel_outputs], axis=1)
        return Marginals(self.outputs(inputs), diagonal_matrix(variance))

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, r]`: coordinates of each output apart from the others'."""
        found = [part.covariance_root(inputs) for part in self.kernel_outputs]
        z = np.zeros((len(found[0]), len(found), sum(part.shape[1] for part in found)))
        start = 0
        for c, part in enumerate(found):
            z[:, c, start : start + part.shape[1]] = part
            start += part.shape[1]
        return z
