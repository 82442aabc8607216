"""Gaussian-process posteriors of kernel models from the Gram matrix of `N` training examples.

With the Gram matrix `K` and the curvatures `Λ` of the training examples' losses, for any likelihood:

    V = K − K (K + Λ⁻¹)⁻¹ K = K − K A K,     A = √Λ (I + √Λ K √Λ)⁻¹ √Λ

[Rasmussen & Williams 2006, ch. 3]. `Λ_i` may be zero: such examples carry no information and are skipped. An
intercept without a prior (SVMs) is the limit of a constant kernel: `V + (1 − K A 1)(1 − K A 1)ᵀ/(1ᵀA1)`.
Memory is `N²` numbers: 10,000 examples take 0.8 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.linalg.lapack import dtrtri

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import Gaussian, diagonal_matrix
from memorymaps.data.examples import DataError
from memorymaps.posteriors.capabilities import Capabilities, CrossCovariance, Refit
from memorymaps.posteriors.contract import Description, Marginals

Kernel = Callable[[Any, Any], Array]  # k(x, x') [n, n'], without noise

_SMALLEST_EIGENVALUE = 1e-11  # of the largest: functions below are left out where they are told by their values
_CANCELLED = 1e-6  # of 1: smaller differences from it are not told by a difference
_NEGLIGIBLE_CURVATURE = 1e-12  # of the largest Λ: smaller curvatures are treated as zero


@dataclass(frozen=True)
class GramConditional:
    """A Gaussian-process prior conditioned on curvatures `Λ [N]` at the training inputs `X`.

    `rows`: training examples with `Λ > 0`; `sqrt_curvature`: `√Λ`; `cholesky_factor`: `L` with `LLᵀ = I + √Λ K √Λ`;
    `whitened_ones`: `L⁻¹√Λ1` for models with an intercept.
    """

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
            A kernel that is not positive semi-definite; an intercept that is not identified.
        """
        rows = np.flatnonzero(curvature > _NEGLIGIBLE_CURVATURE * np.max(curvature, initial=0.0))
        if intercept and not len(rows):
            raise DataError(
                "all curvatures are zero: no example is at the margin, and the intercept is not identified. Fit again "
                "with other hyperparameters (a smaller epsilon), or with targets that vary"
            )
        sqrt_curvature = np.sqrt(curvature[rows])
        system = np.eye(len(rows)) + sqrt_curvature[:, None] * gram[np.ix_(rows, rows)] * sqrt_curvature
        try:
            cholesky_factor = cholesky(system, lower=True)
        except np.linalg.LinAlgError as error:
            raise DataError(
                "the kernel is not positive semi-definite on the training data: fit with one that is, such as "
                "kernel='rbf'"
            ) from error
        whitened_ones = solve_triangular(cholesky_factor, sqrt_curvature, lower=True) if intercept else None
        return cls(rows, sqrt_curvature, cholesky_factor, whitened_ones)

    def variance(self, cross: Array, prior_variance: Array) -> Array:
        """`V(x, x) [n]` from `k(x, X) [n, N]` and `k(x, x) [n]`."""
        whitened = self._whitened_cross(cross)
        v = np.clip(prior_variance - np.sum(whitened**2, axis=0), 0, None)
        return v if self.whitened_ones is None else v + self._intercept_coordinate(whitened) ** 2

    def coordinates(self, cross: Array) -> tuple[Array, Array]:
        """`L⁻¹√Λ k(X, x) [N, n]` and the intercept's `(1 − K A 1)/√(1ᵀA1) [n]` (zero without one), of `k(x, X) [n, N]`.

        `V(x, x') = k(x, x')` minus the product of the former plus that of the latter.
        """
        whitened = self._whitened_cross(cross)
        if self.whitened_ones is None:
            return whitened, np.zeros(len(cross))
        return whitened, self._intercept_coordinate(whitened)

    def training_variance(self, gram: Array, wanted: Array) -> Array:
        """`V [N]` at the training inputs, from their Gram matrix: `variance(gram, diagonal)` in a third of the time.

        `V_ii = (1 − (B⁻¹)_ii)/Λ_i`, `B = LLᵀ`, where that is not a difference of nearly equal numbers. Rows that are
        not `wanted [N]` have no curvature, and their prior variance is told.
        """
        inverse, prior_variance = dtrtri(self.cholesky_factor, lower=1)[0], np.diagonal(gram)
        reduction = 1 - np.sum(inverse**2, axis=0)
        v, told = prior_variance.copy(), reduction > _CANCELLED
        v[self.rows] = reduction / self.sqrt_curvature**2
        if self.whitened_ones is not None:
            ones = self.whitened_ones
            v[self.rows] += (ones @ inverse / self.sqrt_curvature) ** 2 / (ones @ ones)
        others = np.setdiff1d(np.flatnonzero(wanted), self.rows[told])
        v[others] = self.variance(gram[others], prior_variance[others])
        return v

    def intercept_coordinate(self, cross: Array) -> Array:
        """Column of `Z` for the intercept, `(1 − K A 1)/√(1ᵀA1)`: `[n, 1]`; `[n, 0]` without an intercept."""
        if self.whitened_ones is None:
            return np.empty((len(cross), 0))
        return self._intercept_coordinate(self._whitened_cross(cross))[:, None]

    def _whitened_cross(self, cross: Array) -> Array:
        """`L⁻¹√Λ k(X, x)`: `[N, n]`."""
        scaled = (cross[:, self.rows] * self.sqrt_curvature).T
        return np.asarray(solve_triangular(self.cholesky_factor, scaled, lower=True))

    def _intercept_coordinate(self, whitened: Array) -> Array:
        ones = np.asarray(self.whitened_ones)
        return np.asarray((1 - ones @ whitened) / np.sqrt(ones @ ones))


@dataclass(frozen=True)
class KernelOutput:
    """One output of a kernel model.

    `kernel`: `k(x, x')`; `gram`: `K [N, N]` at the training inputs; `curvature`: `Λ [N]`; `scale`: the prior covariance
    is `scale · k`.
    """

    kernel: Kernel
    training_inputs: Any
    gram: Array
    curvature: Array
    intercept: bool = False
    scale: float = 1.0

    @cached_property
    def conditional(self) -> GramConditional:
        """The prior `k` of scale 1, conditioned on the training data."""
        return GramConditional.from_gram(self.gram, self.scale * self.curvature, self.intercept)

    def prior_at(self, inputs: Any) -> tuple[Array, Array]:
        """`k(x, X) [n, N]` and `k(x, x) [n]`."""
        return self.kernel(inputs, self.training_inputs), np.diagonal(self.kernel(inputs, inputs))

    def variance(self, prior: tuple[Array, Array]) -> Array:
        """`V [n]` from `prior_at` the inputs."""
        return self.scale * self.conditional.variance(*prior)

    def covariance(self, prior: Array, crosses: tuple[Array, Array]) -> Array:
        """`V(x, x') [n, k]` from `k(x, x') [n, k]` and the two `k(·, X)`."""
        (left, of_left), (right, of_right) = (self.conditional.coordinates(cross) for cross in crosses)
        return np.asarray(self.scale * (prior - left.T @ right + np.outer(of_left, of_right)))

    @property
    def effective_parameters(self) -> float:
        """`Σ Λ_i V_i`, the effective number of parameters."""
        return float(self.scale * self.curvature @ self.conditional.variance(self.gram, np.diagonal(self.gram)))

    @cached_property
    def _coordinates(self) -> Array:
        """`C [N, r]` of `gram_coordinates`, without the intercept."""
        curvature = self.scale * self.curvature
        return gram_coordinates(self.gram, lambda z: curvature[:, None] * z)

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, r]` with `Z_i Z_jᵀ = V_ij`, exact if `i` or `j` is a training example."""
        cross = self.kernel(inputs, self.training_inputs)
        intercept = self.conditional.intercept_coordinate(cross)
        return np.sqrt(self.scale) * np.hstack([cross @ self._coordinates, intercept])


@dataclass(frozen=True)
class FunctionSpace:
    """The functions `k(x, X) a + b` of a kernel at its training inputs, in orthonormal coordinates: `basis [N, r]`.

    `whiten [N, r]`: `basis = K whiten`; `constant [N]`: `b = constant · f`, zero without an intercept.
    """

    whiten: Array
    basis: Array
    constant: Array

    @classmethod
    def of(cls, gram: Array, intercept: bool) -> FunctionSpace:
        """Of `K [N, N]`; rounding of `f` is enlarged by one over the root of the smallest eigenvalue kept."""
        values, vectors = eigh(gram)
        smallest = max(values[-1] * _SMALLEST_EIGENVALUE, np.finfo(float).tiny)
        keep = values > smallest
        precision = vectors * (smallest / np.maximum(values, smallest)) @ np.sum(vectors, axis=0)
        constant = precision / np.sum(precision) if intercept else 0 * precision
        return cls(vectors[:, keep] / values[keep], vectors[:, keep], constant)

    def interpolate(self, cross: Array, change: Array) -> tuple[Array, Array]:
        """`[n, g]` at inputs with `k(x, X) [n, N]` for `change [N, g]`, and squares of what no function has `[g]`.

        Of the functions with these values, that of smallest norm `aᵀKa`: `b = 1ᵀK⁻¹f/1ᵀK⁻¹1`, as `1ᵀa = 0` of a fit
        with a free intercept.
        """
        constant = self.constant @ change
        inside = self.basis.T @ (change - constant)
        outside = change - constant - self.basis @ inside
        return np.asarray(cross @ (self.whiten @ inside) + constant), np.sum(outside**2, axis=0)


def gram_coordinates(gram: Array, apply_curvature: Callable[[Array], Array]) -> Array:
    """`C [N, r]` with `V_ij = k(x_i, X) C Cᵀ k(X, x_j)`, for Gram matrix `K [N, N]` and `apply_curvature(z) = Λz`."""
    values, vectors = eigh(gram)
    keep = values > values[-1] * len(values) * np.finfo(float).eps
    whiten = vectors[:, keep] / np.sqrt(values[keep])
    z = gram @ whiten  # [N, r], a root of K
    cholesky_factor = cholesky(np.eye(z.shape[1]) + z.T @ apply_curvature(z), lower=True)
    return np.asarray(solve_triangular(cholesky_factor, whiten.T, lower=True).T)


@dataclass(frozen=True)
class GramPosterior:
    """`q(f)` of a kernel model with independent outputs.

    `outputs`: inputs → `f [n, c]` of the fitted model. Group removal is exact for Gaussian likelihoods.
    """

    likelihood: Likelihood
    description: Description
    outputs: Callable[[Any], Array]
    kernel_outputs: tuple[KernelOutput, ...]
    refits: Refit | None = field(default=None, kw_only=True)

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, and refits."""
        exact = isinstance(self.likelihood, Gaussian)
        numbers = len(self.kernel_outputs) * len(self.kernel_outputs[0].gram)
        return Capabilities(
            covariance_root=self.covariance_root, cross_covariance=CrossCovariance(self.cross_covariance, numbers),
            refit=self.refits, group_refit=None if exact else self.refits, interpolate=self.interpolate,
        )  # fmt: skip

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and the diagonal `V [n, c, c]`."""
        priors: dict[tuple[int, int], tuple[Array, Array]] = {}  # one for the outputs that share a kernel
        columns = []
        for part in self.kernel_outputs:
            key = (id(part.kernel), id(part.training_inputs))
            priors[key] = priors[key] if key in priors else part.prior_at(inputs)
            columns.append(part.variance(priors[key]))
        variance = np.stack(columns, axis=1)
        return Marginals(self.outputs(inputs), diagonal_matrix(variance))

    def cross_covariance(self, queries: Any) -> Callable[[Any], Array]:
        """Function from inputs to the covariances with the outputs of `k` queries, `[n, c, k, c]`."""

        def covariance(inputs: Any) -> Array:
            priors: dict[tuple[int, int], tuple[Array, Array, Array]] = {}  # one for the outputs that share a kernel
            columns = []
            for part in self.kernel_outputs:
                key, x = (id(part.kernel), id(part.training_inputs)), part.training_inputs
                if key not in priors:
                    priors[key] = part.kernel(inputs, queries), part.kernel(inputs, x), part.kernel(queries, x)
                columns.append(part.covariance(priors[key][0], priors[key][1:]))
            return np.asarray(diagonal_matrix(np.stack(columns, axis=2)).transpose(0, 2, 1, 3))

        return covariance

    def interpolate(self, inputs: Any, change: Array) -> tuple[Array, Array]:
        """`Δf_* [k, c, g]` at inputs for `Δf [N, c, g]` at all training inputs, and its relative residual `[g]`."""
        found, rest, known = [], np.zeros(change.shape[2]), {}
        for c, part in enumerate(self.kernel_outputs):
            key = (id(part.kernel), id(part.training_inputs), part.intercept)
            if key not in known:
                known[key] = FunctionSpace.of(part.gram, part.intercept), part.kernel(inputs, part.training_inputs)
            space, cross = known[key]
            at_inputs, missed = space.interpolate(cross, change[:, c])
            found.append(at_inputs)
            rest = rest + missed
        size = np.sum(change**2, axis=(0, 1))
        return np.stack(found, axis=1), np.sqrt(np.divide(rest, size, out=np.zeros_like(size), where=size > 0))

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, r]`, with separate columns for each output."""
        roots = [part.covariance_root(inputs) for part in self.kernel_outputs]
        z = np.zeros((len(roots[0]), len(roots), sum(part.shape[1] for part in roots)))
        start = 0
        for c, part in enumerate(roots):
            z[:, c, start : start + part.shape[1]] = part
            start += part.shape[1]
        return z
