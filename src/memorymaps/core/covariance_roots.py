"""Structures of a posterior covariance: how `S⁻¹` is held, and what it gives for linear outputs.

A structure answers for features `x [n, p]` of outputs `f_i = Bᵀx_i` (Jacobian `I_c ⊗ xᵀ`):

    factor(x)      Z with V_ij = Z_i Z_jᵀ            [n, c, r]
    variance(x)    V_i = Z_i Z_iᵀ                    [n, c, c]
    shift(u)       the parameters' move S^{-1/2} u   [p, c]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl

from memorymaps.core.arrays import Array

_TALL = 65_536  # rows taken in at once
_BLOCK = 8_192  # rows of one orthogonal step: small enough for the cache, large enough for BLAS
_WELL_CONDITIONED = 1e4  # a preconditioner up to here costs four of sixteen digits at most
_NEARLY_ORTHOGONAL = 1e3  # condition number of the preconditioned Gram matrix
_ALIASED = 1e-7  # R's tolerance: a column this close to the span of earlier ones is aliased
_UNSEEN = 1e-12  # relative curvature of a common move of all outputs that is none


@dataclass(frozen=True)
class Root:
    """`S⁻¹ = W Wᵀ` over all outputs together; `root W [c, p, r]`."""

    root: Array

    @property
    def rank(self) -> int:
        """Number of directions the parameters can move in."""
        return int(self.root.shape[-1])

    def factor(self, x: Array) -> Array:
        """`Z_i = (I_c ⊗ x_iᵀ) W`: `[n, c, r]`."""
        return np.moveaxis(np.matmul(x, self.root), 0, 1)

    def variance(self, x: Array) -> Array:
        """`V_i = Z_i Z_iᵀ`: `[n, c, c]`."""
        z = self.factor(x)
        if z.shape[1] == 1:
            return np.einsum("ncr,ncr->nc", z, z)[..., None]
        return np.matmul(z, np.swapaxes(z, 1, 2))

    def shift(self, u: Array) -> Array:
        """`W u`: `[..., p, c]` for coordinates `u [..., r]`."""
        return np.moveaxis(np.tensordot(u, self.root, axes=(-1, -1)), -2, -1)

    def project(self, gradient: Array) -> Array:
        """`Wᵀg [r]` of a gradient `[p, c]`; its norm is the gradient's size in posterior standard deviations."""
        return np.einsum("cpr,pc->r", self.root, gradient)

    def effective_parameters(self, penalty: Array) -> Array:
        """`r − Σ_j δ_j (S⁻¹)_jj`, the trace of the hat matrix, for `δ [p, c]`: `[1]`."""
        return np.asarray([self.rank - np.sum(penalty.T * np.sum(self.root**2, axis=-1))])

    def scaled(self, scale: Array) -> Root:
        """The covariance with each output's parameters multiplied by `scale [c]`."""
        return Root(self.root * scale[:, None, None])


@dataclass(frozen=True)
class IndependentRoots:
    """Outputs that share no parameter: one `Root` each, `V` diagonal."""

    roots: tuple[Root, ...]

    @property
    def rank(self) -> int:
        """Number of directions, all outputs together."""
        return sum(root.rank for root in self.roots)

    def factor(self, x: Array) -> Array:
        """Block-diagonal `Z_i`: `[n, c, r]`."""
        z = np.zeros((len(x), len(self.roots), self.rank))
        start = 0
        for k, root in enumerate(self.roots):
            z[:, k, start : start + root.rank] = root.factor(x)[:, 0]
            start += root.rank
        return z

    def variance(self, x: Array) -> Array:
        """`diag` of the outputs' own variances: `[n, c, c]`."""
        v = np.concatenate([root.variance(x)[..., 0] for root in self.roots], axis=1)
        return v[..., None] * np.eye(len(self.roots))

    def shift(self, u: Array) -> Array:
        """Each output's `W u`: `[..., p, c]`."""
        edges = np.cumsum([root.rank for root in self.roots])[:-1]
        parts = np.split(u, edges, axis=-1)
        return np.concatenate([root.shift(part) for root, part in zip(self.roots, parts, strict=True)], axis=-1)

    def project(self, gradient: Array) -> Array:
        """Each output's `Wᵀg`, one after the other: `[r]`."""
        return np.concatenate([root.project(gradient[:, [k]]) for k, root in enumerate(self.roots)])

    def effective_parameters(self, penalty: Array) -> Array:
        """Each output's trace of the hat matrix: `[c]`."""
        return np.concatenate([root.effective_parameters(penalty[:, [k]]) for k, root in enumerate(self.roots)])

    def scaled(self, scale: Array) -> IndependentRoots:
        """Each output's parameters multiplied by its `scale [c]`."""
        return IndependentRoots(tuple(root.scaled(scale[[k]]) for k, root in enumerate(self.roots)))


Structure = Root | IndependentRoots


class Triangle:
    """`R` with `RᵀR = Σ_i a_i a_iᵀ`, grown row block by row block by orthogonal steps.

    Never squares the condition number, needs memory for one block and `p × p` only.
    """

    def __init__(self, p: int):
        self._r = np.zeros((0, p))

    def add(self, rows: Array, scale: Array) -> None:
        """Take in rows `a_i = s_i x_i` from `x [n, p]` and `s [n]`."""
        for block in _blocks(len(rows), _TALL):
            self._r = _qr(np.concatenate([self._r, _triangle(rows[block], scale[block])]))

    def diagonal(self) -> Array:
        """Diagonal of the Gram matrix so far: `[p]`."""
        return np.asarray(np.sum(self._r**2, axis=0))

    def matrix(self, penalty: Array) -> Array:
        """Upper-triangular `R` of the rows so far plus `diag(penalty)`: `[≤ p, p]`."""
        priced = np.flatnonzero(penalty)
        rows = np.zeros((len(priced), len(penalty)))
        rows[np.arange(len(priced)), priced] = np.sqrt(penalty[priced])
        return _qr(np.concatenate([self._r, rows]))


def _qr(rows: Array) -> Array:
    """Upper-triangular factor of a QR decomposition."""
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def _triangle(x: Array, s: Array) -> Array:
    """`R` of the rows `s_i x_i`. Tall blocks by a preconditioned Cholesky step, three times as fast as Householder's.

    Every k-th row gives a first triangle `R₀`; the rows times `R₀⁻¹` are nearly orthogonal, so that their Gram matrix
    loses no digits. Where that fails (rare columns, collinearity), orthogonal steps do it.
    """
    if len(x) <= _BLOCK:
        return _orthogonal_steps(x, s)
    some = slice(None, None, len(x) // (_BLOCK // 2))
    first = _qr(s[some, None] * x[some])
    if _condition(first) > _WELL_CONDITIONED:
        return _orthogonal_steps(x, s)
    inverse = sl.solve_triangular(first, np.eye(len(first)))
    near = (s[b, None] * (x[b] @ inverse) for b in _blocks(len(x), _BLOCK))
    gram = np.sum([a.T @ a for a in near], axis=0)
    if np.linalg.cond(gram) > _NEARLY_ORTHOGONAL:
        return _orthogonal_steps(x, s)
    return np.linalg.cholesky(gram).T @ first


def _orthogonal_steps(x: Array, s: Array) -> Array:
    r = np.zeros((0, x.shape[1]))
    for b in _blocks(len(x), _BLOCK):
        r = _qr(np.concatenate([r, s[b, None] * x[b]]))
    return r


def _condition(triangle: Array) -> float:
    """Condition number after scaling columns to length one; infinite if a column is zero or rows are missing."""
    size = np.linalg.norm(triangle, axis=0)
    if triangle.shape[0] < triangle.shape[1] or not np.all(size > 0):
        return float("inf")
    return float(np.linalg.cond(triangle / size))


def free_columns(triangle: Array) -> Array:
    """Columns that are not linear combinations of earlier ones, as R's `lm` decides it.

    Goes from left to right and drops a column whose part outside the span of those kept is smaller than
    1e-7 of its length (R's LINPACK `dqrdc2`). `triangle [q, p]` is any matrix with the design's Gram matrix.
    """
    basis = np.zeros((len(triangle), 0))
    kept = []
    for j, column in enumerate(triangle.T):
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)  # twice is enough
        size = np.linalg.norm(rest)
        if size > _ALIASED * np.linalg.norm(column):
            kept.append(j)
            basis = np.column_stack([basis, rest / size])
    return np.asarray(kept, dtype=np.intp)


def root_from_triangle(triangle: Array) -> tuple[Array, Array]:
    """`W [p, r]` with `W Wᵀ` a generalised inverse of `RᵀR`, zero in aliased rows; and the kept columns `[r]`."""
    kept = free_columns(triangle)
    root = np.zeros((triangle.shape[1], len(kept)))
    r = _qr(triangle[:, kept])
    root[kept] = sl.solve_triangular(r, np.eye(len(kept)))
    return root, kept


def root_from_gram(gram: Array) -> Array:
    """`W [P, r]` with `W Wᵀ` the pseudo-inverse of a PSD `gram [P, P]` after scaling its diagonal to one."""
    scale = np.sqrt(np.diagonal(gram))
    scale = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
    values, vectors = np.linalg.eigh(gram * scale[:, None] * scale)
    free = values > len(gram) * np.finfo(float).eps * max(values.max(initial=0), 0)
    return scale[:, None] * vectors[:, free] / np.sqrt(values[free])


class IndependentCurvature:
    """Curvature `Σ_i Λ_i ⊗ x_i x_iᵀ` where every `Λ_i` is diagonal: one triangle for each output."""

    def __init__(self, p: int, c: int):
        self._triangles = [Triangle(p) for _ in range(c)]

    def add(self, x: Array, curvature: Array) -> None:
        """Take in features `x [n, p]` with output curvatures `Λ [n, c, c]`."""
        for k, triangle in enumerate(self._triangles):
            triangle.add(x, np.sqrt(curvature[:, k, k]))

    def diagonal(self) -> Array:
        """Diagonal of the curvature of each output: `[p, c]`."""
        return np.stack([triangle.diagonal() for triangle in self._triangles], axis=1)

    def structure(self, penalty: Array, free: Array) -> tuple[Structure, Array]:
        """Covariance for `S = Σ + diag(penalty [p, c])` among the `free [p, c]` parameters; and who can move."""
        roots = [_restricted_root(t.matrix(penalty[:, k]), free[:, k]) for k, t in enumerate(self._triangles)]
        moving = np.stack([kept for _, kept in roots], axis=1)
        parts = tuple(Root(root[None]) for root, _ in roots)
        return (parts[0] if len(parts) == 1 else IndependentRoots(parts)), moving


class CoupledCurvature:
    """The same for any PSD `Λ_i`, as one Gram matrix over all outputs."""

    def __init__(self, p: int, c: int):
        self._gram = np.zeros((c, p, c, p))

    def add(self, x: Array, curvature: Array) -> None:
        """Take in features `x [n, p]` with output curvatures `Λ [n, c, c]`."""
        for a in range(curvature.shape[1]):
            for b in range(a + 1):
                block = (x * curvature[:, a, b, None]).T @ x
                self._gram[a, :, b] += block
                if a != b:
                    self._gram[b, :, a] += block

    def diagonal(self) -> Array:
        """Diagonal of the curvature of each output: `[p, c]`."""
        return np.einsum("ajaj->ja", self._gram)

    def structure(self, penalty: Array, free: Array) -> tuple[Structure, Array]:
        """Covariance for `S = Σ + diag(penalty [p, c])` among the `free [p, c]` parameters; and who can move."""
        c, p = self._gram.shape[:2]
        chosen = np.flatnonzero(free.T)
        gram = self._gram.reshape(c * p, c * p) + np.diag(penalty.T.reshape(-1))
        inner = root_from_gram(gram[np.ix_(chosen, chosen)])
        root = np.zeros((c * p, inner.shape[1]))
        root[chosen] = inner
        return Root(_centred(root.reshape(c, p, -1), gram.reshape(c, p, c, p), np.all(free, axis=1))), free


def _centred(root: Array, gram: Array, free: Array) -> Array:
    """`W [c, p, r]` with its mean over outputs taken away where `S` does not see it: `1ᵀS_jj1 = 0`, all `free [p]`.

    A softmax does not change when all its outputs move together. Without a penalty nothing decides how far they do, and
    a fit that starts at zero leaves them where they are.
    """
    together, apart = np.einsum("ajbj->j", gram), np.einsum("ajaj->j", gram)
    unseen = free & (together <= _UNSEEN * apart)
    return root - unseen[None, :, None] * np.mean(root, axis=0, keepdims=True)


def _restricted_root(triangle: Array, free: Array) -> tuple[Array, Array]:
    chosen = np.flatnonzero(free)
    inner, kept = root_from_triangle(triangle[:, chosen])
    root = np.zeros((len(free), inner.shape[1]))
    root[chosen] = inner
    moving = np.zeros(len(free), dtype=bool)
    moving[chosen[kept]] = True
    return root, moving
