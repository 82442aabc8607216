"""Variational Gaussian processes whose `q(u)` is at the optimum of the ELBO for any weights of the examples.

In coordinates `z` of independent processes `k`, `q = N(μ_k, P_k⁻¹)`, with outputs `f = C g`, `g_ik = z_ikᵀμ_k`:

    P_k = P₀_k + Σ_i w_i z_ik (CᵀΛ_iC)_kk z_ikᵀ        0 = g₀_k + P₀_k μ_k + Σ_i w_i z_ik (Cᵀe_i)_k

with `e_i = E_q[∇ℓ_i]`, `Λ_i = E_q[∇²ℓ_i]` under `N(f_i, C diag(z_ikᵀP_k⁻¹z_ik) Cᵀ + r_i)`. A step takes the precision
on the right of the first equation, and Newton's step in it of the mean: natural gradients of rate one. Source: [BLR].
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.fixed_point_iteration import Iteration, solve_fixed_points
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.expected import expected_derivatives

_NUMBERS = 10_000_000  # numbers held at once by the fixed points that are computed together
_PAST = 26  # numbers of an iteration for each unknown
_SMALLEST = 1e-4  # residual, in posterior standard deviations, to which others are relative


@dataclass(frozen=True)
class VariationalLosses:
    """Training examples as functions of `q`: features `z [N, l, M]`, `f [N, c]` where the means are zero.

    `residual_variance r [N, c, c]`; `mixing C [c, l]`; `target [N, …]`; the likelihood, to be averaged over `q`.
    """

    likelihood: Likelihood
    features: Array
    output: Array
    residual_variance: Array
    mixing: Array
    target: Array

    def derivatives(self, mean: Array, precision: Array) -> tuple[Array, Array]:
        """`Cᵀe [b, N, l]` and `(CᵀΛC)_kk [b, N, l]` for `μ [b, l, M]` and `P [b, l, M, M]`."""
        b, (n, c) = len(mean), self.output.shape
        variance = np.sum((self.features.transpose(1, 0, 2) @ _root(precision)) ** 2, axis=3)  # [b, l, N]
        v = (self.mixing * np.swapaxes(variance, 1, 2)[:, :, None]) @ self.mixing.T + self.residual_variance
        f = self.outputs(mean).reshape(b * n, c)
        averaged = self.likelihood.averaged_over(v.reshape(b * n, c, c)).cached_at(f)
        y = np.concatenate([self.target] * b)
        error, curvature = expected_derivatives(averaged, f, y)
        curvature = np.einsum("ck,ncd,dk->nk", self.mixing, curvature, self.mixing)
        return error.reshape(b, n, c) @ self.mixing, curvature.reshape(b, n, -1)

    def at(self, rows: Array, mean: Array, precision: Array) -> tuple[Array, Array]:
        """`f [b, c]` and variances `[b, c, c]` of one of the `rows [b]` for each `q`."""
        z = self.features[rows]
        variance = np.sum((_root(precision).swapaxes(2, 3) @ z[..., None])[..., 0] ** 2, axis=2)  # [b, l]
        f = self.output[rows] + np.sum(z * mean, axis=2) @ self.mixing.T
        return f, (self.mixing * variance[:, None]) @ self.mixing.T + self.residual_variance[rows]

    def outputs(self, mean: Array) -> Array:
        """`f [b, N, c]` for `μ [b, l, M]`."""
        return self.output + np.einsum("nlm,blm->bnl", self.features, mean) @ self.mixing.T


@dataclass(frozen=True)
class VariationalObjective:
    """The ELBO of all training examples: losses, weights `[N]`, and of the prior `P₀ [l, M, M]` and `g₀ [l, M]`."""

    losses: VariationalLosses
    weight: Array
    prior_precision: Array
    prior_gradient: Array

    def residual(self, mean: Array, precision: Array, weight: Array) -> tuple[Array, Array]:
        """The steps of `μ [b, l, M]` and `P [b, l, M, M]` for weights `[b, N]`; zero at a fixed point.

        NaN where the precision on the right is singular, as of a `q` with a singular covariance.
        """
        gradient, new = self._equations(*self._sums(mean, precision, weight), mean)
        try:
            return -np.linalg.solve(new, gradient[..., None])[..., 0], new - precision
        except np.linalg.LinAlgError:
            return np.full_like(gradient, np.nan), new - precision

    def _equations(self, error: Array, curvature: Array, mean: Array) -> tuple[Array, Array]:
        prior = self.prior_gradient + np.einsum("lij,blj->bli", self.prior_precision, mean)
        return prior + error, self.prior_precision + curvature

    def _sums(self, mean: Array, precision: Array, weight: Array) -> tuple[Array, Array]:
        """`Σ w z e [b, l, M]` and `Σ w z Λ zᵀ [b, l, M, M]`."""
        error, curvature = (np.swapaxes(weight[..., None] * d, 1, 2) for d in self.losses.derivatives(mean, precision))
        z = self.losses.features.transpose(1, 0, 2)
        return (error[:, :, None] @ z)[:, :, 0], np.swapaxes(z, 1, 2) @ (curvature[..., None] * z)

    @cached_property
    def distance(self) -> float:
        """Norm of the step from `N(0, I)`, in posterior standard deviations per effective parameter `Σ h`.

        Infinite where there is no step.
        """
        mean, precision = self._start(1)
        with np.errstate(all="ignore"):
            residual = self._pack(*self.residual(mean, precision, self.weight[None]))
            curvature = self._sums(mean, precision, self.weight[None])[1]
        effective = float(np.trace(curvature, axis1=2, axis2=3).sum())
        found = float(np.linalg.norm(residual) / np.sqrt(max(1.0, effective)))
        return found if np.isfinite(found) else float("inf")

    def fixed_points(self, weight: Array, steps: int, tolerance: float) -> FixedPoints:
        """Fixed points for weights `[b, N]` of the examples, as many at once as fit in memory."""
        unknowns = self.prior_gradient.size + self.prior_precision.size
        each = _PAST * unknowns + self.losses.features.size + 8 * self.losses.residual_variance.size
        size = max(1, _NUMBERS // each)
        parts = [weight[start : start + size] for start in range(0, len(weight), size)]
        found = [self._together(part, steps, tolerance) for part in parts]
        return FixedPoints(*(np.concatenate(each) for each in zip(*found, strict=True)))

    def _together(self, weight: Array, steps: int, tolerance: float) -> tuple[Array, ...]:
        def residual(x: Array, rows: Array) -> Array:
            return self._pack(*self.residual(*self._unpack(x), weight[rows]))

        with np.errstate(all="ignore"):
            start = self._pack(*self._start(len(weight)))
            scale = np.linalg.norm(residual(start, np.arange(len(weight))), axis=1)
            problem = Iteration(residual, lambda x: _positive_definite(self._unpack(x)[1]))
            x, relative = solve_fixed_points(problem, start, np.maximum(scale, _SMALLEST), steps, tolerance)
        return *self._unpack(x), relative, relative * np.maximum(scale, _SMALLEST)

    def _start(self, b: int) -> tuple[Array, Array]:
        l, m = self.prior_gradient.shape
        return np.zeros((b, l, m)), np.tile(np.eye(m), (b, l, 1, 1))

    def _pack(self, mean: Array, precision: Array) -> Array:
        """Unknowns `[b, l·M·(1 + M)]` whose norm is that of the posterior's metric at `N(0, I)`."""
        b = len(mean)
        return np.concatenate([mean.reshape(b, -1), precision.reshape(b, -1) / np.sqrt(2)], axis=1)

    def _unpack(self, x: Array) -> tuple[Array, Array]:
        b, (l, m) = len(x), self.prior_gradient.shape
        return x[:, : l * m].reshape(b, l, m), np.sqrt(2) * x[:, l * m :].reshape(b, l, m, m)

    def at_optimum(self, mean: Array, precision: Array) -> VariationalObjective:
        """In coordinates in which a fixed point `μ [l, M]`, `P [l, M, M]` for all weights is `N(0, I)` to rounding."""
        root = _root(precision)
        losses = dataclasses.replace(
            self.losses,
            features=np.einsum("nlm,lmk->nlk", self.losses.features, root),
            output=self.losses.outputs(mean[None])[0],
        )
        changed = dataclasses.replace(self, losses=losses)
        error, curvature = changed._sums(*self._start(1), self.weight[None])
        eye = np.eye(mean.shape[1])
        return dataclasses.replace(changed, prior_precision=eye - curvature[0], prior_gradient=-error[0])


@dataclass(frozen=True)
class FixedPoints:
    """`μ [b, l, M]`, `P [b, l, M, M]`, and norms `[b]` of what remains of the equations.

    `residual`: relative to that at the start; `remaining`: in posterior standard deviations.
    """

    mean: Array
    precision: Array
    residual: Array
    remaining: Array

    @property
    def root(self) -> Array:
        """`T [b, l, M, M]` with covariances `P⁻¹ = T Tᵀ`."""
        return _root(self.precision)


def _root(precision: Array) -> Array:
    """`T` with `P⁻¹ = T Tᵀ`."""
    return np.asarray(np.swapaxes(np.linalg.inv(np.linalg.cholesky(precision)), -1, -2))


def _positive_definite(matrices: Array) -> Array:
    """Which of `[b, l, M, M]` are positive definite, `[b]`."""
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.zeros(1, dtype=bool)
        return np.concatenate([_positive_definite(each[None]) for each in matrices])
    return np.isfinite(matrices).all(axis=(1, 2, 3))
