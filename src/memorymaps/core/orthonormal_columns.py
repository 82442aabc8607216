"""Columns of a design that are not combinations of others, and coordinates in which these are orthonormal.

With `R`, the triangular factor of the rows, `x R⁻¹` has orthonormal columns: sums over rows of products of two of them
do not square the condition number of the design, as those of `x` do.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl

from memorymaps.core.arrays import Array

_EPSILON = float(np.finfo(float).eps)
_LOST = 200.0  # `ε` of the columns that a combination is made of; QR leaves 36 `ε` of two million rows (measured)
_COMBINATION = 1e-7  # of its length: a column that is farther from the span of others is not a combination of them
NEAR = 1e-3  # of its length: a column that is farther loses three of sixteen digits at most
_ROUNDING = 10.0  # errors of leverages in `ε` of the same: the largest measured, 0.1 to 2 as a rule
_SAME_SPAN = 0.01  # relative change of leverages up to which columns that a fit has dropped may be left out
_WELL_CONDITIONED = 1e-4  # singular value, of columns of length one, whose square leaves eight of sixteen digits
_DETERMINED = 1e-13  # singular value below which columns are combinations of others, to rounding


@dataclass(frozen=True)
class UnaliasedColumns:
    """The columns of a design that are not combinations of earlier ones, and what rounding changes of their span.

    Attributes
    ----------
    places : positions of the columns `[r]`.
    distances : length of each one's component orthogonal to earlier ones, relative to its own `[r]`.
    rounding : estimate of the relative error of leverages.
    """

    places: Array
    distances: Array
    rounding: float


def unaliased_columns(triangle: Array, rank: int | None = None) -> UnaliasedColumns:
    """The columns that are not linear combinations of earlier ones, to rounding, or as many as a fit's rank.

    From left to right, a column `x_j = Σ_k c_k x_k + rest` is dropped where `‖rest‖ ≤ 200 ε (‖x_j‖ + Σ_k |c_k| ‖x_k‖)`.
    `triangle [q, p]` is any matrix with the design's Gram matrix. Where the fit states a smaller `rank`, nearer columns
    are dropped as well, if that changes the span by less than a hundredth: else all are returned.
    """
    every = found = _farther_columns(triangle, 0.0)
    dropped = 0.0
    while rank is not None and len(found.places) > rank and dropped <= _SAME_SPAN:
        dropped = float(np.sort(found.distances)[len(found.places) - rank - 1])
        found = _farther_columns(triangle, dropped)
    moved = dropped / min(found.distances, default=1.0)
    return dataclasses.replace(found, rounding=max(found.rounding, moved)) if moved <= _SAME_SPAN else every


def _farther_columns(triangle: Array, least: float) -> UnaliasedColumns:
    """The columns farther from the span of earlier ones than rounding, and than `least` of their length."""
    sizes, vectors = np.linalg.norm(triangle, axis=0), np.zeros(triangle.shape, order="F")
    upper = np.zeros((triangle.shape[1],) * 2, order="F")  # kept columns in the basis that they make
    places: list[int] = []
    distances, rounding = [], 0.0
    for j, column in enumerate(triangle.T):
        k = len(places)
        basis = vectors[:, :k]
        inside = basis.T @ column
        rest = column - basis @ inside
        rest = rest - basis @ (basis.T @ rest)  # second Gram–Schmidt pass: orthogonal to rounding
        size = float(np.linalg.norm(rest))
        if size == 0 or not size / sizes[j] > least or k == len(triangle):  # nor is a column known that is no number
            continue
        near = size <= NEAR * sizes[j]
        combined = _combined_size(upper[:k, :k], inside, sizes[places]) if near else sizes[j]
        rounded = _EPSILON * float(sizes[j] + combined)
        if size <= _COMBINATION * sizes[j] and size <= _LOST * rounded:
            continue
        upper[:k, k], upper[k, k], vectors[:, k] = inside, size, rest / size
        places.append(j)
        distances.append(size / sizes[j])
        rounding = max(rounding, _ROUNDING * rounded / size)
    return UnaliasedColumns(np.asarray(places, dtype=np.intp), np.asarray(distances), rounding)


def _combined_size(upper: Array, inside: Array, sizes: Array) -> float:
    """`Σ_k |c_k| ‖x_k‖` of the combination of kept columns nearest to one that is `inside [k]` their span."""
    return float(np.abs(sl.solve_triangular(upper, inside)) @ sizes)


def nearly_collinear(rows: Array) -> bool:
    """Whether sums of products of columns of `rows [n, p]` lose half of the digits, or more, but not all of them."""
    size = np.linalg.norm(rows, axis=0)
    if np.count_nonzero(size) < 2 or not np.all(np.isfinite(size)):
        return False
    rows = rows[:, size > 0] / size[size > 0]
    values = np.linalg.svd(np.linalg.qr(rows, mode="r"), compute_uv=False)
    return bool(np.any((values < _WELL_CONDITIONED) & (values > _DETERMINED)))


@dataclass(frozen=True)
class OrthonormalColumns:
    """Coordinates in which a design has `r` orthonormal columns and, where some are combinations, `p − r` of zeros.

    Attributes
    ----------
    basis : `T [p, p]`, parameters `T θ'` for parameters `θ'` in these coordinates.
    rank : `r`.
    triangle : `R [r, p]` with `x = (x T)_{1…r} R`.
    rounding : estimate of what rounding changes of leverages, relatively.
    """

    basis: Array
    rank: int
    triangle: Array
    rounding: float

    @classmethod
    def of(cls, triangle: Array, penalised: Array) -> OrthonormalColumns:
        """Of a design's triangular factor `[q, p]`; columns without a penalty are combined with each other only."""
        order = np.argsort(penalised, kind="stable")
        found = unaliased_columns(triangle[:, order])
        places, r = order[found.places], len(found.places)
        others = np.setdiff1d(np.arange(len(order)), found.places)
        size = np.linalg.norm(triangle[:, places], axis=0)
        q, own = np.linalg.qr(triangle[:, places] / size)
        combined = sl.solve_triangular(own, q.T @ triangle[:, order[others]]) / size[:, None]
        basis = np.zeros((len(order), len(order)))
        basis[places, :r] = sl.solve_triangular(own, np.eye(r)) / size[:, None]
        basis[places, r:] = np.where(found.places[:, None] < others, -combined, 0.0)
        basis[order[others], np.arange(r, len(order))] = 1.0
        return cls(basis, r, q.T @ triangle, found.rounding)

    def features(self, x: Array) -> Array:
        """`(x T)_{1…r} [n, r]`."""
        return np.asarray(x @ self.basis[:, : self.rank])
