"""Square roots `W` of a posterior covariance `S⁻¹ = W Wᵀ` for linear outputs, from streamed rows.

For features `x [n, p]` of outputs `f_i = Bᵀx_i` (Jacobian `I_c ⊗ xᵀ`) a root provides

    covariance_root(x)   Z with V_ij = Z_i Z_jᵀ          [n, c, r]
    variance(x)          V_i = Z_i Z_iᵀ                  [n, c, c]
    from_whitened(u)     change of parameters W u        [p, c]
    whiten(g)            Wᵀ g of a gradient g            [r]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg as sl
from scipy.linalg.blas import dtrmm

from memorymaps.core.arrays import Array
from memorymaps.core.orthonormal_columns import NEAR, OrthonormalColumns, UnaliasedColumns, unaliased_columns

_MAX_ROWS = 65_536  # rows processed at once
_BLOCK_ROWS = 8_192  # rows of one Householder QR: small enough for the cache, large enough for BLAS
_WELL_CONDITIONED = 1e4  # with such a preconditioner at most four of sixteen digits are lost
_NEARLY_ORTHOGONAL = 1e3  # condition number of the preconditioned Gram matrix
_SUMMED = 4.0  # `ε` by which sums of products are rounded, beside eigenvalues of about one: 0.1 to 3.2 measured
_NO_CURVATURE = 1e-12  # relative curvature below which a common change of all outputs counts as unpenalised


@dataclass(frozen=True)
class CovarianceRoot:
    """Root `W [c, p, r]` of the joint covariance `S⁻¹ = W Wᵀ` of all outputs' parameters.

    Attributes
    ----------
    rounding : estimate of what rounding changes of leverages, relatively.
    near : coordinates `[r]` of columns that nearly are combinations of earlier ones; `None`: none is known to be.
    """

    root: Array
    rounding: float = 0.0
    near: Array | None = None

    @property
    def rank(self) -> int:
        """Rank `r` of the covariance."""
        return int(self.root.shape[-1])

    @property
    def norm(self) -> float:
        """`‖W‖` (Frobenius)."""
        return float(np.linalg.norm(self.root))

    @property
    def nearly_collinear(self) -> Array:
        """Mask `[r]` of coordinates `Wᵀg` that solvers determine worse than others."""
        return np.zeros(self.rank, dtype=bool) if self.near is None else self.near

    def covariance_root(self, x: Array) -> Array:
        """`Z_i = (I_c ⊗ x_iᵀ) W`: `[n, c, r]`."""
        if self._is_upper_triangular:
            return _times_upper_triangular(x, self.root[0])[:, None]
        return np.moveaxis(np.matmul(x, self.root), 0, 1)

    @cached_property
    def _is_upper_triangular(self) -> bool:
        c, p, r = self.root.shape
        return c == 1 and p == r and not np.any(np.tril(self.root[0], -1))

    def variance(self, x: Array) -> Array:
        """`V_i = Z_i Z_iᵀ`: `[n, c, c]`."""
        z = self.covariance_root(x)
        if z.shape[1] == 1:
            return np.einsum("ncr,ncr->nc", z, z)[..., None]
        return np.matmul(z, np.swapaxes(z, 1, 2))

    def from_whitened(self, u: Array) -> Array:
        """`W u`: `[..., p, c]` for coordinates `u [..., r]`."""
        return np.moveaxis(np.tensordot(u, self.root, axes=(-1, -1)), -2, -1)

    def whiten(self, gradient: Array) -> Array:
        """`Wᵀg [r]` of a gradient `g [p, c]`; its norm is the gradient's in units of posterior standard deviations."""
        return np.einsum("cpr,pc->r", self.root, gradient)

    def effective_parameters(self, penalty: Array) -> Array:
        """Trace of the hat matrix, `r − Σ_j δ_j (S⁻¹)_jj`, for penalties `δ [p, c]`: `[1]`."""
        return np.asarray([self.rank - np.sum(penalty.T * np.sum(self.root**2, axis=-1))])

    def scale_outputs(self, scale: Array) -> CovarianceRoot:
        """The covariance with each output's parameters multiplied by `scale [c]`."""
        return dataclasses.replace(self, root=self.root * scale[:, None, None])


@dataclass(frozen=True)
class IndependentCovarianceRoots:
    """One `CovarianceRoot` per output, for outputs that share no parameter; `V` is diagonal."""

    roots: tuple[CovarianceRoot, ...]

    @property
    def rank(self) -> int:
        """Sum of the outputs' ranks."""
        return sum(root.rank for root in self.roots)

    @property
    def rounding(self) -> float:
        """The largest of the outputs'."""
        return max(root.rounding for root in self.roots)

    @property
    def norm(self) -> float:
        """The largest `‖W‖` of the outputs (Frobenius)."""
        return max(root.norm for root in self.roots)

    @property
    def nearly_collinear(self) -> Array:
        """Masks of the outputs, one after the other `[r]`."""
        return np.concatenate([root.nearly_collinear for root in self.roots])

    def covariance_root(self, x: Array) -> Array:
        """Block-diagonal `Z_i`: `[n, c, r]`."""
        z = np.zeros((len(x), len(self.roots), self.rank))
        start = 0
        for k, root in enumerate(self.roots):
            z[:, k, start : start + root.rank] = root.covariance_root(x)[:, 0]
            start += root.rank
        return z

    def variance(self, x: Array) -> Array:
        """Diagonal matrices of the outputs' variances: `[n, c, c]`."""
        v = np.concatenate([root.variance(x)[..., 0] for root in self.roots], axis=1)
        diagonal = np.zeros((*v.shape, len(self.roots)))
        diagonal[:, np.arange(len(self.roots)), np.arange(len(self.roots))] = v  # which may be infinite
        return diagonal

    def from_whitened(self, u: Array) -> Array:
        """Each output's `W u`: `[..., p, c]`."""
        edges = np.cumsum([root.rank for root in self.roots])[:-1]
        parts = np.split(u, edges, axis=-1)
        return np.concatenate([root.from_whitened(part) for root, part in zip(self.roots, parts, strict=True)], axis=-1)

    def whiten(self, gradient: Array) -> Array:
        """Concatenation of the outputs' `Wᵀg`: `[r]`."""
        return np.concatenate([root.whiten(gradient[:, [k]]) for k, root in enumerate(self.roots)])

    def effective_parameters(self, penalty: Array) -> Array:
        """Each output's trace of the hat matrix: `[c]`."""
        return np.concatenate([root.effective_parameters(penalty[:, [k]]) for k, root in enumerate(self.roots)])

    def scale_outputs(self, scale: Array) -> IndependentCovarianceRoots:
        """The covariance with each output's parameters multiplied by `scale [c]`."""
        return IndependentCovarianceRoots(tuple(root.scale_outputs(scale[[k]]) for k, root in enumerate(self.roots)))


def _times_upper_triangular(x: Array, triangle: Array) -> Array:
    """`x R [n, p]` at half the multiplications of a product with a full matrix."""
    return np.asarray(dtrmm(1.0, triangle, x, side=1))


AnyCovarianceRoot = CovarianceRoot | IndependentCovarianceRoots


class TriangularFactor:
    """Upper-triangular `R` with `RᵀR = Σ_i a_i a_iᵀ`, updated by QR decompositions of row blocks (TSQR).

    The condition number is not squared; memory is that of one block and `p × p`.
    """

    def __init__(self, p: int):
        self._r = np.zeros((0, p))

    def add(self, rows: Array, scale: Array) -> None:
        """Add the rows `a_i = s_i x_i` for `x [n, p]` and `s [n]`."""
        for block in _blocks(len(rows), _MAX_ROWS):
            self._r = _qr(np.concatenate([self._r, _block_factor(rows[block], scale[block], self._r)]))

    def merge(self, other: TriangularFactor) -> None:
        """Add the rows of another factor."""
        self._r = _qr(np.concatenate([self._r, other._r]))

    @property
    def triangle(self) -> Array:
        """`R [≤ p, p]`."""
        return self._r

    def diagonal(self) -> Array:
        """Diagonal of `Σ_i a_i a_iᵀ`: `[p]`."""
        return np.asarray(np.sum(self._r**2, axis=0))

    def with_penalty(self, penalty: Array) -> Array:
        """`R [≤ p, p]` with `RᵀR = Σ_i a_i a_iᵀ + diag(penalty)`."""
        penalised = np.flatnonzero(penalty)
        rows = np.zeros((len(penalised), len(penalty)))
        rows[np.arange(len(penalised)), penalised] = np.sqrt(penalty[penalised])
        return _qr(np.concatenate([self._r, rows]))


def _qr(rows: Array) -> Array:
    """Upper-triangular factor of a QR decomposition."""
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def _block_factor(x: Array, s: Array, earlier: Array) -> Array:
    """`R` of the rows `s_i x_i`; tall blocks by preconditioned Cholesky QR, three times as fast as Householder QR.

    The preconditioner `R₀` is the factor of `earlier` rows, or that of every k-th row; the rows times `R₀⁻¹` are nearly
    orthogonal, so that their Gram matrix loses no digits. Otherwise (rare columns, collinearity) Householder QR by
    blocks.
    """
    if len(x) <= _BLOCK_ROWS:
        return _qr_by_blocks(x, s)
    for preconditioner in _preconditioners(x, s, earlier):
        condition = _condition(preconditioner)
        if condition**2 <= _NEARLY_ORTHOGONAL:
            found = _cholesky_factor(x, s, np.diag(np.linalg.norm(preconditioner, axis=0)))
        elif condition <= _WELL_CONDITIONED:
            found = _cholesky_factor(x, s, preconditioner)
        else:
            continue
        if found is not None:
            return found
    return _qr_by_blocks(x, s)


def _preconditioners(x: Array, s: Array, earlier: Array) -> Iterator[Array]:
    yield earlier
    sample = slice(None, None, len(x) // (_BLOCK_ROWS // 2))
    yield _qr(s[sample, None] * x[sample])


def _cholesky_factor(x: Array, s: Array, preconditioner: Array) -> Array | None:
    """`R` of the rows `s_i x_i` from the Gram matrix of `s_i x_iᵀR₀⁻¹`; `None` where these are not nearly orthogonal.

    A diagonal `R₀` scales the Gram matrix, which is the same with fewer multiplications.
    """
    blocks = (s[b, None] * x[b] for b in _blocks(len(x), _BLOCK_ROWS))
    if _is_diagonal(preconditioner):
        size = np.diagonal(preconditioner)
        gram = np.sum([a.T @ a for a in blocks], axis=0) / size / size[:, None]
    else:
        inverse = sl.solve_triangular(preconditioner, np.eye(len(preconditioner)))
        gram = np.sum([a.T @ a for a in (_times_upper_triangular(b, inverse) for b in blocks)], axis=0)
    if np.linalg.cond(gram) > _NEARLY_ORTHOGONAL:
        return None
    return np.linalg.cholesky(gram).T @ preconditioner


def _is_diagonal(matrix: Array) -> bool:
    return not np.any(matrix - np.diag(np.diagonal(matrix)))


def _qr_by_blocks(x: Array, s: Array) -> Array:
    r = np.zeros((0, x.shape[1]))
    for b in _blocks(len(x), _BLOCK_ROWS):
        r = _qr(np.concatenate([r, s[b, None] * x[b]]))
    return r


def _condition(triangle: Array) -> float:
    """Condition number after scaling columns to length one; infinite if a column is zero or rows are missing."""
    size = np.linalg.norm(triangle, axis=0)
    if triangle.shape[0] < triangle.shape[1] or not np.all(size > 0):
        return float("inf")
    return float(np.linalg.cond(triangle / size))


def root_from_triangular(triangle: Array, rank: int | None = None) -> tuple[Array, UnaliasedColumns]:
    """`W [p, r]` with `W Wᵀ` a generalised inverse of `RᵀR`, zero in aliased rows; and the unaliased columns.

    `rank`: that of the fit, as in `unaliased_columns`.
    """
    unaliased = unaliased_columns(triangle, rank)
    places = unaliased.places
    root = np.zeros((triangle.shape[1], len(places)))
    root[places] = sl.solve_triangular(_qr(triangle[:, places]), np.eye(len(places)))
    return root, unaliased


def root_from_gram(gram: Array) -> Array:
    """`W [P, r]` with `W Wᵀ` the pseudo-inverse of a PSD `gram [P, P]` after scaling its diagonal to one."""
    return _root_and_eigenvalues(gram)[0]


def _root_and_eigenvalues(gram: Array) -> tuple[Array, Array]:
    """`root_from_gram`, and the eigenvalues `[r]` of the scaled matrix that it keeps."""
    scale = np.sqrt(np.diagonal(gram))
    scale = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
    values, vectors = np.linalg.eigh(gram * scale[:, None] * scale)
    free = values > len(gram) * np.finfo(float).eps * max(values.max(initial=0), 0)
    return scale[:, None] * vectors[:, free] / np.sqrt(values[free]), values[free]


class IndependentCurvature:
    """Curvature `Σ_i Λ_i ⊗ x_i x_iᵀ` with diagonal `Λ_i`: one triangular factor per output."""

    def __init__(self, p: int, c: int):
        self._factors = [TriangularFactor(p) for _ in range(c)]

    def add(self, x: Array, curvature: Array) -> None:
        """Add examples with features `x [n, p]` and output curvatures `Λ [n, c, c]`."""
        for k, triangle in enumerate(self._factors):
            triangle.add(x, np.sqrt(curvature[:, k, k]))

    def merge(self, other: IndependentCurvature) -> None:
        """Add the curvature of other examples."""
        for own, factor in zip(self._factors, other._factors, strict=True):
            own.merge(factor)

    def diagonal(self) -> Array:
        """Diagonal of the curvature for each output: `[p, c]`."""
        return np.stack([factor.diagonal() for factor in self._factors], axis=1)

    def factors(self, penalty: Array) -> tuple[Array, ...]:
        """`R [≤ p, p]` of each output, with `RᵀR = Σ_i Λ_i x_i x_iᵀ + diag(penalty [p, c])`."""
        return tuple(factor.with_penalty(penalty[:, k]) for k, factor in enumerate(self._factors))

    def posterior_root(self, penalty: Array, free: Array, rank: int | None = None) -> tuple[AnyCovarianceRoot, Array]:
        """Root for `S = Σ_i Λ_i ⊗ x_i x_iᵀ + diag(penalty [p, c])` of the `free` parameters; which are estimable.

        The second result is the mask `[p, c]` of the free parameters that are not aliased: those that the data and the
        penalty determine. Rows of the root outside it are zero. `rank`: that of the fit, as in `unaliased_columns`.
        """
        factors = (factor.with_penalty(penalty[:, k]) for k, factor in enumerate(self._factors))
        found = [_restricted_root(factor, free[:, k], rank) for k, factor in enumerate(factors)]
        estimable = np.stack([unaliased for _, unaliased in found], axis=1)
        parts = tuple(root for root, _ in found)
        return (parts[0] if len(parts) == 1 else IndependentCovarianceRoots(parts)), estimable


class CoupledCurvature:
    """Curvature `Σ_i Λ_i ⊗ x_i x_iᵀ` for any PSD `Λ_i`, as one Gram matrix over all outputs.

    `columns`: coordinates in which it is summed, so that nearly collinear columns do not square its condition number;
    `nearly_collinear`: it is summed without them although there are such columns, which may be cut as combinations.
    """

    def __init__(self, p: int, c: int, columns: OrthonormalColumns | None = None, nearly_collinear: bool = False):
        r = p if columns is None else columns.rank
        self._gram = np.zeros((c, r, c, r))
        self._columns, self._nearly_collinear = columns, nearly_collinear

    def add(self, x: Array, curvature: Array) -> None:
        """Add examples with features `x [n, p]` and output curvatures `Λ [n, c, c]`."""
        x = x if self._columns is None else self._columns.features(x)
        for a in range(curvature.shape[1]):
            for b in range(a + 1):
                block = (x * curvature[:, a, b, None]).T @ x
                self._gram[a, :, b] += block
                if a != b:
                    self._gram[b, :, a] += block

    def merge(self, other: CoupledCurvature) -> None:
        """Add the curvature of other examples."""
        self._gram += other._gram

    def diagonal(self) -> Array:
        """Diagonal of the curvature for each output: `[p, c]`."""
        if self._columns is None:
            return np.einsum("ajaj->ja", self._gram)
        back = self._columns.triangle
        return np.stack([np.sum(back * (self._gram[a, :, a] @ back), axis=0) for a in range(len(self._gram))], axis=1)

    def posterior_root(self, penalty: Array, free: Array, rank: int | None = None) -> tuple[AnyCovarianceRoot, Array]:
        """Root for `S = Σ_i Λ_i ⊗ x_i x_iᵀ + diag(penalty [p, c])` of the `free` parameters; which are estimable.

        The second result is `free [p, c]` itself: the root is that of a pseudo-inverse, which gives directions that the
        data do not determine no variance and names no parameter as aliased. With `columns`, all parameters of an output
        are free or none.
        """
        if self._columns is None:
            gram = self._gram + _block_diagonal(penalty.T[:, :, None] * np.eye(len(penalty)))
            root, rounding, cut = _coupled_root(gram, free)
            return CovarianceRoot(root, max(rounding, cut if self._nearly_collinear else 0.0)), free
        basis, rank = self._columns.basis, self._columns.rank
        gram = _block_diagonal(np.stack([basis.T @ (delta[:, None] * basis) for delta in penalty.T]))
        gram[:, :rank, :, :rank] += self._gram
        root, rounding, _ = _coupled_root(gram, np.tile(np.any(free, axis=0), (len(basis), 1)))
        return CovarianceRoot(basis @ root, rounding + self._columns.rounding), free


def _coupled_root(gram: Array, free: Array) -> tuple[Array, float, float]:
    """`W [c, p, r]` of the pseudo-inverse of `gram [c, p, c, p]`, zero but for `free [p, c]`.

    Then its relative rounding, and the number of directions that are cut relative to that of others.
    """
    c, p = gram.shape[:2]
    common = _undetermined_in_common(gram, np.all(free, axis=1))
    chosen = np.flatnonzero(free.T & ~(common & _references(np.einsum("ajaj->ja", gram))))
    inner, values = _root_and_eigenvalues(gram.reshape(c * p, c * p)[np.ix_(chosen, chosen)])
    root = np.zeros((c * p, inner.shape[1]))
    root[chosen] = inner
    root = root.reshape(c, p, -1)
    root = root - common[None, :, None] * np.mean(root, axis=0, keepdims=True)
    if not len(values):
        return root, 0.0, 0.0
    rounding = _SUMMED * np.finfo(float).eps * float(np.mean(1 / values))
    return root, rounding, (len(chosen) - len(values)) / len(values)


def _block_diagonal(blocks: Array) -> Array:
    """`[c, r, c, r]` of blocks `[c, r, r]`."""
    return np.asarray(np.eye(len(blocks))[:, None, :, None] * blocks[:, :, None])


def _undetermined_in_common(gram: Array, free: Array) -> Array:
    """Mask `[p]` of the parameters `j` with `1ᵀS_jj1 = 0` that are free in all outputs.

    A softmax is invariant to a common change of all outputs: without a penalty the data do not determine it, and a fit
    started at zero leaves it at zero. The root is that without one output's parameter, minus its mean over outputs:
    the pseudo-inverse, whose rank does not depend on how the zero is rounded.
    """
    common, separate = np.einsum("ajbj->j", gram), np.einsum("ajaj->j", gram)
    return free & (common <= _NO_CURVATURE * separate)


def _references(diagonal: Array) -> Array:
    """Mask `[c, p]` of one output for each parameter, that with the largest curvature."""
    return np.arange(diagonal.shape[1])[:, None] == np.argmax(diagonal, axis=1)


def _restricted_root(triangle: Array, free: Array, rank: int | None) -> tuple[CovarianceRoot, Array]:
    chosen = np.flatnonzero(free)
    inner, unaliased = root_from_triangular(triangle[:, chosen], rank)
    root = np.zeros((len(free), inner.shape[1]))
    root[chosen] = inner
    estimable = np.zeros(len(free), dtype=bool)
    estimable[chosen[unaliased.places]] = True
    return CovarianceRoot(root[None], unaliased.rounding, unaliased.distances < NEAR), estimable
