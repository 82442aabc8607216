"""Columns of a design that are not combinations of others, and coordinates in which these are orthonormal.

With `R`, the triangular factor of the rows, `x R⁻¹` has orthonormal columns: sums over rows of products of two of them
do not square the condition number of the design, as those of `x` do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl

from memorymaps.core.arrays import Array

_EPSILON = float(np.finfo(float).eps)
_LOST = 200.0  # `ε` of the columns that a combination is made of; QR leaves some 40 of them of millions of rows
_NEAR = 1e-3  # length of a column beside earlier ones from which on at most three digits are lost
_ROUNDING = 10.0  # errors of leverages in the same `ε`, at most (measured)
_WELL_CONDITIONED = 1e-4  # singular value, of columns of length one, whose square leaves eight of sixteen digits
_DETERMINED = 1e-13  # singular value below which columns are combinations of others, to rounding


@dataclass(frozen=True)
class IndependentColumns:
    """The columns of a design that are not combinations of earlier ones.

    Attributes
    ----------
    places : positions of the columns, `[r]`.
    null : for each other column a vector with `x v = 0`, of this column and earlier ones, `[p, p − r]`.
    rounding : estimate of what rounding changes of leverages, relatively.
    """

    places: Array
    null: Array
    rounding: float


def independent_columns(triangle: Array) -> IndependentColumns:
    """Columns of `triangle [q, p]`, from left to right, that are farther from the span of earlier ones than rounding.

    Of lengths one, `x_j = Σ_k c_k x_k + rest` is dropped where `‖rest‖ ≤ 200 ε (1 + Σ_k |c_k|)`.
    """
    size = np.linalg.norm(triangle, axis=0)
    scaled = triangle / np.where(size > 0, size, 1.0)
    basis, rounding = np.zeros((len(triangle), 0)), 0.0
    places: list[int] = []
    null: list[Array] = []
    for j, column in enumerate(scaled.T):
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)  # second Gram–Schmidt pass: orthogonal to rounding
        length, c = float(np.linalg.norm(rest)), np.zeros(len(places))
        if length <= _NEAR and places:
            c = sl.solve_triangular(np.triu(basis.T @ scaled[:, places]), basis.T @ column)
        rounded = _EPSILON * (1 + float(np.sum(np.abs(c))))
        if length <= _LOST * rounded:
            null.append(np.bincount([j, *places], [1.0, *(-c * size[j] / size[places])], minlength=len(size)))
            continue
        places.append(j)
        rounding = max(rounding, _ROUNDING * rounded / length)
        basis = np.column_stack([basis, rest / length])
    return IndependentColumns(np.asarray(places, dtype=np.intp), np.reshape(null, (-1, len(size))).T, rounding)


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
        found = independent_columns(triangle[:, order])
        places = order[found.places]
        size, r = np.linalg.norm(triangle[:, places], axis=0), len(places)
        q, own = np.linalg.qr(triangle[:, places] / size)
        basis = np.zeros((len(order), len(order)))
        basis[places, :r] = sl.solve_triangular(own, np.eye(r)) / size[:, None]
        basis[order, r:] = found.null
        return cls(basis, r, q.T @ triangle, found.rounding)

    def features(self, x: Array) -> Array:
        """`(x T)_{1…r} [n, r]`."""
        return np.asarray(x @ self.basis[:, : self.rank])
