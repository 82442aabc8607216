"""Leverage and the deviation of one left-out example, `Δf`, from `(f, V, Λ, e)` (method.md §3)."""

from __future__ import annotations

import enum
from collections.abc import Callable

from array_api_compat import array_namespace, device

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood

AT_BOUND = 1e-10  # 1 − h below this: the model cannot be refitted without the example


NEARLY_SINGULAR = 1e-6  # 1 − h below this: Δf has lost about ten of sixteen digits


_ITERATIONS = 50


_TOLERANCE = 1e-10


class Warn(enum.IntFlag):
    """Warnings of one example, as bit flags that can be combined; 0 means none."""

    NONE = 0
    BOUND = 1
    """An eigenvalue of `ΛV` reaches its bound 1: the posterior without the example is undefined."""
    NEAR_SINGULAR = 2
    """`I − ΛV` is nearly singular: deviations have few significant digits."""
    NOT_CONVERGED = 4
    """An iteration did not converge (the implicit estimator found no fixed point; refine or refit ran out of steps)."""
    FIRST_ORDER = 8
    """An eigenvalue of `ΛV` reaches or exceeds its bound; the deviation is first-order, finite but too small."""
    PARETO_K = 16
    """The Pareto k of importance sampling exceeds its limit: too few draws, or too influential an example."""
    LONG_STEP = 32
    """One Newton step may be too long here, and the example was not refitted: read sizes as ranks."""
    ACTIVE_SET = 64
    """Other coefficients are zero without the example (L1 penalty, sign constraint); deviations fix the zeros."""
    UNDEFINED = 128
    """The left-out prediction is at the end of the family's range or outside: left-out loss infinite or NaN."""
    CROSS_FITTED = 256
    """Predicted by a refit without a whole fold of the examples, not without this one alone."""

    @property
    def labels(self) -> str:
        """Names of the flags, comma separated."""
        return ", ".join(str(flag.name).lower().replace("_", " ") for flag in Warn if flag and flag in self)


def leverage(variance: Array, curvature: Array) -> Array:
    """Bayesian leverage `h = tr(Λ V)`: `[n]`, in effective parameters.

    Examples
    --------
    >>> import numpy as np
    >>> leverage(np.eye(2)[None] / 4, np.eye(2)[None])
    array([0.5])
    """
    xp = array_namespace(variance)
    return xp.sum(curvature * xp.matrix_transpose(variance), axis=(-2, -1))


def leverage_norm(variance: Array, curvature: Array) -> Array:
    """`‖diag(V Λ)‖₂`: `[n]`, the summary of the 2023 reference code."""
    xp = array_namespace(variance)
    diagonal = xp.sum(variance * xp.matrix_transpose(curvature), axis=-1)
    return xp.sqrt(xp.sum(diagonal**2, axis=-1))


def first_order(error: Array, variance: Array) -> Array:
    """`Δf = V e`: `[n, c]` [MPE Eq. 12]."""
    return matvec(variance, error)


def cavity(error: Array, variance: Array, curvature: Array) -> Array:
    """`Δf = V (I − ΛV)⁻¹ e`: `[n, c]`; exact for linear regression [CW]. NaN where an eigenvalue of `ΛV` is 1.

    Examples
    --------
    >>> import numpy as np
    >>> cavity(np.array([[1.0]]), np.array([[[0.5]]]), np.array([[[1.0]]]))
    array([[1.]])
    """
    return matvec(cavity_variance(variance, curvature), error)


def cavity_variance(variance: Array, curvature: Array) -> Array:
    """`V^{\\i} = V (I − ΛV)⁻¹`: `[n, c, c]`, the variance of `f_i` with example `i` left out."""
    return inflated_variance(variance, *spectrum_of(variance, curvature))


def inflated_variance(variance: Array, h: Array, basis: Array) -> Array:
    """`V + B diag(h/(1 − h)) Bᵀ`: the cavity variance, symmetric and without cancellation."""
    xp = array_namespace(variance)
    one_minus_h = xp.where(1 - h < AT_BOUND, xp.nan * h, 1 - h)
    return variance + xp.matmul(basis * (h / one_minus_h)[..., None, :], xp.matrix_transpose(basis))


def spectrum_of(variance: Array, curvature: Array) -> tuple[Array, Array]:
    """Eigenvalues `h [n, c]` of `ΛV` and `B = V L Q h^{-1/2}` (zero where `h` is), with `Λ = L Lᵀ`."""
    xp = array_namespace(variance)
    values, vectors = batched_eigh(curvature)
    root = vectors * xp.sqrt(xp.clip(values, min=0))[..., None, :]
    product = xp.matmul(variance, root)
    h, rotation = batched_eigh(xp.matmul(xp.matrix_transpose(root), product))
    h = xp.clip(h, min=0)
    scale = xp.where(h > 0, 1 / xp.sqrt(xp.where(h > 0, h, xp.ones_like(h))), xp.zeros_like(h))
    return h, xp.matmul(product, rotation) * scale[..., None, :]


def batched_eigh(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues `[n, c]` and eigenvectors `[n, c, c]` of symmetric matrices `[n, c, c]`."""
    xp = array_namespace(matrix)
    if matrix.shape[-1] == 1:  # scalars: no LAPACK call for each example
        return matrix[..., 0], xp.ones_like(matrix)
    return tuple(xp.linalg.eigh((matrix + xp.matrix_transpose(matrix)) / 2))


def bound_warnings(variance: Array, curvature: Array) -> Array:
    """`Warn` codes `[n]` from the largest eigenvalue of `ΛV`, which is below 1 in an exact posterior."""
    return bound_codes(array_namespace(variance).max(spectrum_of(variance, curvature)[0], axis=-1))


def bound_codes(largest_eigenvalue: Array) -> Array:
    """`Warn` codes `[n]` from the largest eigenvalues of `ΛV`, `[n]`."""
    xp = array_namespace(largest_eigenvalue)
    one_minus_h = 1 - largest_eigenvalue
    bound, near = one_minus_h < AT_BOUND, one_minus_h < NEARLY_SINGULAR
    return xp.where(bound, int(Warn.BOUND), xp.where(near, int(Warn.NEAR_SINGULAR), 0))


def implicit(likelihood: Likelihood, f: Array, y: Array, weight: Array, variance: Array) -> tuple[Array, Array]:
    """`Δf` with `Δf = V w e(f + Δf)`, by damped Newton steps of size `c × c`: `([n, c], converged [n])`.

    The removed loss is exact, the remaining ones quadratic; equal to `cavity` for Gaussian likelihoods. `Δf` is NaN
    for examples that have not converged.
    """
    xp = array_namespace(f)
    eye = xp.eye(f.shape[-1], dtype=f.dtype, device=device(f))

    def residual(delta: Array) -> Array:
        return delta - matvec(variance, weight[:, None] * likelihood.error(f + delta, y))

    delta, rest = xp.zeros_like(f), residual(xp.zeros_like(f))
    for _ in range(_ITERATIONS):
        jacobian = eye - xp.matmul(variance, weight[:, None, None] * likelihood.curvature(f + delta, y))
        delta, rest = _damped_step(residual, delta, rest, xp.linalg.solve(jacobian, rest[..., None])[..., 0])
    size = xp.linalg.vector_norm(delta, axis=-1)
    converged = xp.linalg.vector_norm(rest, axis=-1) <= _TOLERANCE * (1 + size)
    return xp.where(converged[:, None], delta, xp.nan * delta), converged


def _damped_step(residual: Callable[[Array], Array], delta: Array, rest: Array, step: Array) -> tuple[Array, Array]:
    """Each example's step, halved until its residual decreases (no step after 12 halvings), and the new residual."""
    xp = array_namespace(delta)
    size = xp.linalg.vector_norm(rest, axis=-1)
    scale = xp.ones_like(size)
    for _ in range(12):
        tried = residual(delta - scale[:, None] * step)
        better = xp.linalg.vector_norm(tried, axis=-1) < size
        if xp.all(better):
            break
        scale = xp.where(better, scale, scale / 2)
    new = xp.where(better[:, None], delta - scale[:, None] * step, delta)
    return new, residual(new)


def matvec(matrix: Array, vector: Array) -> Array:
    """`A v [n, c]` for matrices `A [n, c, k]` and vectors `v [n, k]`."""
    return array_namespace(vector).matmul(matrix, vector[..., None])[..., 0]
