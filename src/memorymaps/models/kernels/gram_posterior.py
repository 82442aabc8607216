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

_NO_INFORMATION = 1e-12  # of the largest Λ: curvature that moves no digit


@dataclass(frozen=True)
class Conditioned:
    """A kernel prior that has met curvatures `Λ [N]` at its anchors; `rows` are those with `Λ > 0`."""

    rows: Array
    root: Array
    triangle: Array
    flat: Array | None

    @classmethod
    def on(cls, gram: Array, curvature: Array, intercept: bool = False) -> Conditioned:
        """Condition the prior with Gram matrix `K [N, N]` on `Λ [N]`.

        Raises
        ------
        DataError
            A kernel that is not positive semi-definite; an intercept that nothing pins down.
        """
        rows = np.flatnonzero(curvature > _NO_INFORMATION * np.max(curvature, initial=0.0))
        if intercept and not len(rows):
            raise DataError("no example has any curvature: nothing pins the intercept down")
        root = np.sqrt(curvature[rows])
        system = np.eye(len(rows)) + root[:, None] * gram[np.ix_(rows, rows)] * root
        try:
            triangle = cholesky(system, lower=True)
        except np.linalg.LinAlgError as error:
            raise DataError("the kernel is not positive semi-definite on the training data") from error
        return cls(rows, root, triangle, solve_triangular(triangle, root, lower=True) if intercept else None)

    def variance(self, cross: Array, own: Array) -> Array:
        """`V(x, x) [n]` from `k(x, X) [n, N]` and `k(x, x) [n]`."""
        half = self._half(cross)
        v = own - np.sum(half**2, axis=0)
        return np.clip(v, 0, None) if self.flat is None else np.clip(v, 0, None) + self._drift(half) ** 2

    def drift(self, cross: Array) -> Array:
        """The coordinate of the intercept, `(1 − K A 1)/√(1ᵀA1)`: `[n, 1]`; `[n, 0]` without one."""
        return np.empty((len(cross), 0)) if self.flat is None else self._drift(self._half(cross))[:, None]

    def _half(self, cross: Array) -> Array:
        return np.asarray(solve_triangular(self.triangle, (cross[:, self.rows] * self.root).T, lower=True))

    def _drift(self, half: Array) -> Array:
        flat = np.asarray(self.flat)
        return np.asarray((1 - flat @ half) / np.sqrt(flat @ flat))


@dataclass(frozen=True)
class GramOutput:
    """One output of a kernel model: kernel, training inputs (`anchors`), Gram matrix, `Λ [N]`, prior variance scale."""

    kernel: Kernel
    anchors: Any
    gram: Array
    curvature: Array
    intercept: bool = False
    scale: float = 1.0

    @cached_property
    def conditioned(self) -> Conditioned:
        """The prior of unit scale after the data."""
        return Conditioned.on(self.gram, self.scale * self.curvature, self.intercept)

    def variance(self, inputs: Any) -> Array:
        """`V [n]`."""
        own = np.diagonal(self.kernel(inputs, inputs))
        return self.scale * self.conditioned.variance(self.kernel(inputs, self.anchors), own)

    @property
    def effective(self) -> float:
        """`Σ Λ_i V_i`, effective parameters."""
        return float(self.scale * self.curvature @ self.conditioned.variance(self.gram, np.diagonal(self.gram)))

    @cached_property
    def _coordinates(self) -> Array:
        """`C [N, r]` (`gram_coordinates`), the intercept apart."""
        bend = self.scale * self.curvature
        return gram_coordinates(self.gram, lambda seen: bend[:, None] * seen)

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, r]` with `Z_i Z_jᵀ = V_ij`, exact where one of the two is a training example."""
        cross = self.kernel(inputs, self.anchors)
        return np.sqrt(self.scale) * np.hstack([cross @ self._coordinates, self.conditioned.drift(cross)])


def gram_coordinates(gram: Array, bend: Callable[[Array], Array]) -> Array:
    """`C [N, r]` with `V_ij = k(x_i, X) C Cᵀ k(X, x_j)` for a prior of Gram matrix `K [N, N]` and `bend(z) = Λz`."""
    values, vectors = eigh(gram)
    keep = values > values[-1] * len(values) * np.finfo(float).eps
    whiten = vectors[:, keep] / np.sqrt(values[keep])
    seen = gram @ whiten
    triangle = cholesky(np.eye(seen.shape[1]) + seen.T @ bend(seen), lower=True)
    return np.asarray(solve_triangular(triangle, whiten.T, lower=True).T)


@dataclass(frozen=True)
class GramPosterior:
    """`q(f)` of a kernel model whose outputs do not interact.

    `outputs(inputs) [n, c]` are the fitted model's own. Group removal is exact for Gaussian likelihoods.
    """

    likelihood: Likelihood
    description: Description
    outputs: Callable[[Any], Array]
    parts: tuple[GramOutput, ...]

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances."""
        return Capabilities(covariance_root=self.covariance_root)

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and the diagonal `V [n, c, c]`."""
        variance = np.stack([part.variance(inputs) for part in self.parts], axis=1)
        return Marginals(self.outputs(inputs), diagonal_matrix(variance))

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, r]`: coordinates of each output apart from the others'."""
        found = [part.covariance_root(inputs) for part in self.parts]
        z = np.zeros((len(found[0]), len(found), sum(part.shape[1] for part in found)))
        start = 0
        for c, part in enumerate(found):
            z[:, c, start : start + part.shape[1]] = part
            start += part.shape[1]
        return z
