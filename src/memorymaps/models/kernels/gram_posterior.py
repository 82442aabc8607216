"""Gaussian-process posteriors of kernel models from the Gram matrix of `N` training examples.

With the Gram matrix `K` and the curvatures `Λ` of the training examples' losses, for any likelihood:

    V = K − K (K + Λ⁻¹)⁻¹ K = K − K A K,     A = √Λ (I + √Λ K √Λ)⁻¹ √Λ

[Rasmussen & Williams 2006, ch. 3]. `Λ_i` may be zero: such examples carry no information and are skipped. An
intercept without a prior (SVMs) is the limit of a constant kernel: `V + (1 − K A 1)(1 − K A 1)ᵀ/(1ᵀA1)`.
Memory is `N²` numbers: 10,000 examples take 0.8 GB.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.linalg.lapack import dtrtri

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import Gaussian, diagonal_matrix
from memorymaps.data.examples import DataError
from memorymaps.models.kernels.latent_refits import LatentRefit
from memorymaps.models.smoothing import FittedErrors
from memorymaps.posteriors.capabilities import Capabilities, CrossCovariance, GroupRemoval, Refit
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
                "kernel='rbf', or with a larger alpha where only rounding makes it so"
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

    @cached_property
    def inverse_root(self) -> Array:
        """`G [m, m]` of the `rows`: `I − √Λ V √Λ = GᵀG`, so that `1 − h_i = Σ_k G_ki²` is not a difference.

        `G = L⁻¹`, as `(I + √Λ K √Λ)⁻¹ = I − √Λ V √Λ`; with an intercept it is projected off `L⁻¹√Λ1`.
        """
        inverse = np.asarray(dtrtri(self.cholesky_factor, lower=1)[0])
        if self.whitened_ones is None:
            return inverse
        ones = self.whitened_ones / np.linalg.norm(self.whitened_ones)
        return inverse - ones[:, None] * (ones @ inverse)

    @cached_property
    def remaining(self) -> Array:
        """`1 − h [m]` of the `rows`, positive however small."""
        return np.asarray(np.sum(self.inverse_root**2, axis=0))

    def training_variance(self, gram: Array, wanted: Array) -> Array:
        """`V [N]` at the training inputs, from their Gram matrix: `variance(gram, diagonal)` in a third of the time.

        `V_ii = h_i/Λ_i`, but the difference `variance` takes where `h` is small and `1/Λ` larger than `k(x, x)`, as
        that has the smaller rounding error there. Rows that are not `wanted [N]` have no curvature, and their prior
        variance is told.
        """
        v, h, noise = np.array(np.diagonal(gram)), 1 - self.remaining, 1 / self.sqrt_curvature**2
        told = (h > _CANCELLED) | (noise <= v[self.rows])
        others = np.setdiff1d(np.flatnonzero(wanted), self.rows[told])
        prior_variance = v[others]
        v[self.rows] = np.clip(h, 0, None) * noise
        v[others] = self.variance(gram[others], prior_variance)
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
    is `scale · k`; `error`: gradients `w e [N]` of the losses from the dual coefficients, of models that state them.
    """

    kernel: Kernel
    training_inputs: Any
    gram: Array
    curvature: Array
    intercept: bool = False
    scale: float = 1.0
    error: Array | None = None

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

    @cached_property
    def training_variance(self) -> Array:
        """`V [N]` at the training inputs."""
        everyone = np.ones(len(self.gram), dtype=bool)
        return self.scale * self.conditional.training_variance(self.gram, everyone)

    @property
    def cavity_variance(self) -> Array:
        """`V/(1 − h) [N]`: the variance of each training example's output without it."""
        v = self.training_variance.copy()
        v[self.conditional.rows] /= self.conditional.remaining
        return v

    @property
    def effective_parameters(self) -> float:
        """`Σ Λ_i V_i`, the effective number of parameters."""
        return float(self.curvature @ self.training_variance)

    def training_covariance(self, cross: Array) -> Callable[[Array], Array]:
        """Function from training rows to `V(x_i, x) [n, k]`, of `k(x, X) [k, N]`.

        `Λ⁻¹A k(X, x)`, which is no difference from `k`; the difference for rows without curvature.
        """
        conditional = self.conditional
        found, whitened = self.scale * cross.T, conditional.coordinates(cross)[0]
        others = np.setdiff1d(np.arange(len(found)), conditional.rows)
        found[others] -= self.scale * conditional.coordinates(self.gram[others])[0].T @ whitened
        solved = solve_triangular(conditional.cholesky_factor, whitened, lower=True, trans="T")
        found[conditional.rows] = self.scale * solved / conditional.sqrt_curvature[:, None]
        return lambda rows: found[rows]

    def group_removal(self, members: Array) -> GroupRemoval:
        """The removal of training rows together, `deviation [N]` and `error [m]`, without cancellation.

        With `P = (I + √Λ K √Λ)⁻¹` and `g = P_MM⁻¹ Λ^{-1/2} e_M`: the error is `√Λ g`, and `Δf` is `(√Λ g − e)/Λ` of the
        members, `−Λ^{-1/2} P_{·M} g` of the others, `K √Λ P_{·M} g` of rows without curvature.
        """
        rows, root, g = self.conditional.rows, self.conditional.sqrt_curvature, self.conditional.inverse_root
        known = np.isin(members, rows)
        place = np.searchsorted(rows, members[known])
        error = np.array(np.asarray(self.error)[members])
        of_members = g.T @ g[:, place]  # P_{·M}
        factor = np.linalg.qr(g[:, place], mode="r")  # RᵀR = P_MM
        solved = solve_triangular(factor, solve_triangular(factor, error[known] / root[place], trans="T"))
        change = root[place] * solved
        moved = -of_members @ solved / root
        moved[place] = (change - error[known]) / root[place] ** 2
        deviation = self.gram[:, rows] @ (root * (of_members @ solved))
        deviation[rows] = moved
        deviation = self.scale * deviation
        integral = np.sum(np.log(np.abs(np.diagonal(factor)))) - 0.5 * error @ deviation[members]
        error[known] = change
        return GroupRemoval(deviation, error, float(integral))

    @property
    def residual_df(self) -> float:
        """`Σ (1 − h)` over the examples with curvature, positive however small."""
        return float(np.sum(self.conditional.remaining))

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

    `outputs`: inputs → `f [n, c]` of the fitted model. Group removal is exact for Gaussian likelihoods. `fitted`: the
    gradients of the losses from the dual coefficients, of models that state them: their training examples' `1 − h`,
    left out alone or together, is then computed without cancellation, however small the noise.
    """

    likelihood: Likelihood
    description: Description
    outputs: Callable[[Any], Array]
    kernel_outputs: tuple[KernelOutput, ...]
    refits: Refit | None = field(default=None, kw_only=True)
    fitted: FittedErrors | None = field(default=None, kw_only=True)

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, refits, and what dual coefficients tell."""
        exact = isinstance(self.likelihood, Gaussian)
        numbers = len(self.kernel_outputs) * len(self.kernel_outputs[0].gram)
        found = Capabilities(
            covariance_root=self.covariance_root, cross_covariance=CrossCovariance(self.cross_covariance, numbers),
            refit=self.refits, group_refit=None if exact else self.refits, interpolate=self.interpolate,
        )  # fmt: skip
        if isinstance(self.refits, LatentRefit):
            found = dataclasses.replace(
                found, newton=self.refits, own_refits=self.refits.capability, example_refits=self.refits.at_queries
            )
        if self.fitted is None:
            return found
        return dataclasses.replace(
            found, cross_covariance=CrossCovariance(self.cross_covariance, numbers, self.training_covariance),
            subgradient=self.fitted, training_marginals=self.training_marginals,
            group_removal=self.group_removal,
        )  # fmt: skip

    def training_marginals(self, batch: Batch) -> Marginals:
        """`f`, `V` and the variances without each example, for training examples, which are told by their ids."""
        assert self.fitted is not None
        rows = self.fitted.rows(batch.ids)
        v, cavity = (
            diagonal_matrix(np.stack([column[rows] for column in columns], axis=1))
            for columns in (
                [part.training_variance for part in self.kernel_outputs],
                [part.cavity_variance for part in self.kernel_outputs],
            )
        )
        return Marginals(self.outputs(batch.inputs), v, cavity_variance=cavity)

    def group_removal(self, rows: Array) -> GroupRemoval:
        """The removal of some training rows together."""
        found = [part.group_removal(rows) for part in self.kernel_outputs]
        return GroupRemoval(
            np.stack([one.deviation for one in found], axis=1),
            np.stack([one.error for one in found], axis=1),
            sum(one.log_integral for one in found),
        )

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

    def training_covariance(self, queries: Any) -> Callable[[Batch], Array]:
        """As `cross_covariance`, of training examples, which are told by their ids."""
        assert self.fitted is not None
        fitted, found = self.fitted, []
        for part in self.kernel_outputs:
            found.append(part.training_covariance(part.kernel(queries, part.training_inputs)))

        def covariance(batch: Batch) -> Array:
            columns = np.stack([of(np.asarray(fitted.rows(batch.ids))) for of in found], axis=2)
            return np.asarray(diagonal_matrix(columns).transpose(0, 2, 1, 3))

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
