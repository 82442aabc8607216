"""Support vector machines without an example, by the path on which its dual variable goes to zero.

    f = Kβ + b,   1ᵀβ = 0,   β_i ∈ −∂ℓ_i(f_i)

A piecewise linear loss has breakpoints; between them `β` is constant, at one it has a range. Along the path `f` stays
at its breakpoint for the examples `M` that are at one (the margin), so that a bordered linear system gives the
direction:

    K_MM dβ_M + db = dκ_M − K_MR dβ_R,   1ᵀdβ_M = −1ᵀdβ_R

It is followed to the next example that leaves its breakpoint or meets one [Cauwenberghs & Poggio 2001]. The library's
solution satisfies its conditions to a tolerance only: the breakpoints of the examples that violate them are first moved
from where `f` is to where they belong, by the same path.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array

_RIDGE = 1e-6  # of the mean diagonal of the kernel, added to it: examples that are equal stay separate
_MAX_EVENTS = 20  # for each example, in a path
_EQUAL = 1e-12  # of the largest level: the library's duals at a level are exact …
_LEVEL = 1e-7  # … those at the end of a path are not


@dataclass(frozen=True)
class PiecewiseLinear:
    """Losses: `breakpoints [n, k]` in `f`, increasing, and `levels [n, k + 1]` of `β` between them, decreasing."""

    breakpoints: Array
    levels: Array

    def is_between(self, beta: Array, tolerance: float = _EQUAL) -> Array:
        """Whether `β [n]` is none of the levels: the example is at a breakpoint."""
        size = np.maximum(np.abs(self.levels).max(axis=1), np.finfo(float).tiny)[:, None]
        return ~np.any(np.abs(self.levels - beta[:, None]) <= tolerance * size, axis=1)

    @classmethod
    def hinge(cls, side: Array, bound: Array) -> PiecewiseLinear:
        """Of classes `side [n]`, ±1, with the bounds `C w [n]`, above zero."""
        high, low = np.where(side > 0, bound, 0.0), np.where(side < 0, -bound, 0.0)
        return cls(side[:, None], np.stack([high, low], axis=1))

    @classmethod
    def tube(cls, y: Array, epsilon: float, bound: Array) -> PiecewiseLinear:
        """Of numbers `y [n]`, epsilon-insensitive."""
        breakpoints = np.stack([y - epsilon, y + epsilon], axis=1)
        return cls(breakpoints, np.stack([bound, 0 * bound, -bound], axis=1))


@dataclass
class DualPath:
    """A solution: `f`, `β [n]`, `b`, and of each example `place [n]`: `2j` before breakpoint `j`, `2j + 1` at it.

    `inverse [m + 1, m + 1]` of the bordered system of the examples `margin [m]`, which are in this order; `near`: rows
    of `K` that are side by side in memory, of the examples at a breakpoint in the solution from which a path starts.
    """

    gram: Array
    loss: PiecewiseLinear
    beta: Array
    intercept: float
    f: Array
    place: Array
    margin: list[int]
    inverse: Array
    near: _Rows | None = None

    @classmethod
    def of(cls, gram: Array, loss: PiecewiseLinear, beta: Array, intercept: float) -> DualPath | None:
        """The exact solution next to one that a library found; None if the path to it did not end."""
        n = len(gram)
        gram = gram + _RIDGE * np.mean(np.diagonal(gram)) * np.eye(n)
        f = gram @ beta + intercept
        place = _places(loss, beta, f)
        breakpoints = loss.breakpoints.copy()
        rows = np.flatnonzero(place % 2)
        breakpoints[rows] += (f[rows] - breakpoints[rows, place[rows] // 2])[:, None]
        moved = dataclasses.replace(loss, breakpoints=breakpoints)
        inverse = np.linalg.inv(_bordered(gram, rows)) if len(rows) else np.zeros((1, 1))
        found = cls(gram, moved, beta.copy(), float(intercept), f, place, rows.tolist(), inverse)
        if not found._follow(np.zeros(n), loss.breakpoints - moved.breakpoints, np.zeros(n, dtype=bool)):
            return None
        return dataclasses.replace(found, loss=loss, near=_Rows.of(gram, np.asarray(found.margin, dtype=np.intp)))

    def without(self, rows: Array) -> tuple[Array, float] | None:
        """Changes of `β [n]` and `b` when these rows are removed; None if the path did not end, or a class is lost."""
        copy = dataclasses.replace(
            self, beta=self.beta.copy(), f=self.f.copy(), place=self.place.copy(), margin=list(self.margin)
        )
        removed = np.zeros(len(self.beta), dtype=bool)
        removed[rows] = True
        levels = self.loss.levels[~removed]
        if not (np.any(levels[:, 0] > 0) and np.any(levels[:, -1] < 0)):
            return None
        for row in np.flatnonzero(removed).tolist():
            if copy.place[row] % 2:
                copy._leave(row, copy.place[row] - 1)
        change = np.where(removed, -self.beta, 0.0)
        if not copy._follow(change, np.zeros_like(self.loss.breakpoints), removed):
            return None
        copy._centre(~removed)
        return copy.beta - self.beta, copy.intercept - self.intercept

    def _centre(self, kept: Array) -> None:
        """Where no `β` is between its levels the intercept is not determined: the middle of its range, as in libsvm."""
        if np.any(self.loss.is_between(self.beta, _LEVEL)[kept]):
            return
        segment = np.argmin(np.abs(self.loss.levels - self.beta[:, None]), axis=1)
        edge = np.full((len(segment), 1), np.inf)
        ends = np.hstack([-edge, self.loss.breakpoints, edge]) - self.f[:, None]
        rows = np.flatnonzero(kept)
        low, high = np.max(ends[rows, segment[rows]]), np.min(ends[rows, segment[rows] + 1])
        if np.isfinite(low + high):
            self.f, self.intercept = self.f + (low + high) / 2, self.intercept + (low + high) / 2

    def _follow(self, change: Array, breakpoint_change: Array, removed: Array) -> bool:
        """Change `β` of the removed rows and the breakpoints by so much, all other examples staying optimal."""
        left, total = 1.0, float(np.sum(change))
        moves = bool(np.any(change) or np.any(breakpoint_change))
        self.loss = dataclasses.replace(self.loss, breakpoints=self.loss.breakpoints.copy())
        for _ in range(_MAX_EVENTS * len(self.beta)):
            if not moves or left <= 0:
                return True
            if not self.margin and abs(total) > 0 and not self._shift(total, removed):
                return False
            d_beta, d_intercept = self._direction(change, breakpoint_change)
            d_f = self._product(d_beta) + d_intercept
            step, row, place = self._next_event(d_beta, d_f, breakpoint_change, removed, left)
            self.beta += step * d_beta
            self.f += step * d_f
            self.intercept += step * d_intercept
            self.loss.breakpoints[:] += step * breakpoint_change
            left -= step
            if row is None:
                return True
            if self.place[row] % 2:
                self._leave(row, place)
            else:
                self.place[row] = place
                self._enter(row)
        return False

    def _product(self, d_beta: Array) -> Array:
        """`K dβ [n]`."""
        return np.asarray(self.gram @ d_beta if self.near is None else self.near.product(self.gram, d_beta))

    def _direction(self, change: Array, breakpoint_change: Array) -> tuple[Array, float]:
        rows = np.asarray(self.margin, dtype=np.intp)
        d_beta = change.copy()
        if not len(rows):
            return d_beta, 0.0
        moving = np.flatnonzero(change)
        right = breakpoint_change[rows, self.place[rows] // 2] - self.gram[np.ix_(rows, moving)] @ change[moving]
        solved = self.inverse @ np.append(right, -np.sum(change))
        d_beta[rows] += solved[:-1]
        return d_beta, float(solved[-1])

    def _next_event(
        self, d_beta: Array, d_f: Array, breakpoint_change: Array, removed: Array, left: float
    ) -> tuple[float, int | None, int]:
        """The step to the next example that leaves its breakpoint or meets one, that example, and its new place."""
        levels, breakpoints, place = self.loss.levels, self.loss.breakpoints, self.place
        rows, segment = np.arange(len(place)), place // 2
        margin = (place % 2 == 1) & ~removed
        high = levels[rows, segment]
        low = levels[rows, np.minimum(segment + 1, levels.shape[1] - 1)]
        up, down = _ratio(high - self.beta, d_beta, margin), _ratio(low - self.beta, d_beta, margin, -1)
        free = ~margin & ~removed
        before, after = free & (segment > 0), free & (segment < breakpoints.shape[1])
        lower, upper = np.maximum(segment - 1, 0), np.minimum(segment, breakpoints.shape[1] - 1)
        to_lower = _ratio(breakpoints[rows, lower] - self.f, d_f - breakpoint_change[rows, lower], before, -1)
        to_upper = _ratio(breakpoints[rows, upper] - self.f, d_f - breakpoint_change[rows, upper], after)
        steps = np.stack([up, down, to_lower, to_upper])
        kind, row = np.unravel_index(np.argmin(steps), steps.shape)
        step = float(steps[kind, row])
        if not step < left:
            return left, None, 0
        return step, int(row), int(place[row] + (-1, 1, -1, 1)[int(kind)])

    def _shift(self, total: float, removed: Array) -> bool:
        """With no example at a breakpoint the intercept is free: move it until one is that makes up for the `total`.

        `β` of the others has to rise by `−total`: it rises at a breakpoint below `f`, and falls at one above.
        """
        segment, rows, breakpoints = self.place // 2, np.arange(len(self.place)), self.loss.breakpoints
        fall = total < 0
        able = ~removed & ((segment > 0) if fall else (segment < breakpoints.shape[1]))
        near = np.clip(segment - 1 if fall else segment, 0, breakpoints.shape[1] - 1)
        able &= self.loss.levels[rows, near] > self.loss.levels[rows, near + 1]
        gap = np.where(able, np.abs(breakpoints[rows, near] - self.f), np.inf)
        row = int(np.argmin(gap))
        if not np.isfinite(gap[row]):
            return False
        shift = float(breakpoints[row, near[row]] - self.f[row])
        self.f, self.intercept = self.f + shift, self.intercept + shift
        self.place[row] = 2 * near[row] + 1
        self._enter(row)
        return True

    def _enter(self, row: int) -> None:
        """Add a row to the bordered system; its inverse by that of the Schur complement."""
        m = len(self.margin)
        if m == 0:
            self.margin, self.inverse = [row], np.array([[0.0, 1.0], [1.0, -self.gram[row, row]]])
            return
        column = np.append(self.gram[row, self.margin], 1.0)
        solved = self.inverse @ column
        scale = 1 / (self.gram[row, row] - column @ solved)
        order = [*range(m), m + 1, m]
        new = np.zeros((m + 2, m + 2))
        new[: m + 1, : m + 1] = self.inverse + scale * np.outer(solved, solved)
        new[m + 1, : m + 1] = new[: m + 1, m + 1] = -scale * solved
        new[m + 1, m + 1] = scale
        self.margin, self.inverse = [*self.margin, row], new[np.ix_(order, order)]

    def _leave(self, row: int, place: int) -> None:
        """Take a row out of the bordered system, to its new place."""
        position = self.margin.index(row)
        self.place[row] = place
        self.margin = self.margin[:position] + self.margin[position + 1 :]
        if not self.margin:
            self.inverse = np.zeros((1, 1))
            return
        rest = np.delete(np.arange(len(self.inverse)), position)
        column, pivot = self.inverse[rest, position], self.inverse[position, position]
        self.inverse = self.inverse[np.ix_(rest, rest)] - np.outer(column, column) / pivot


def _bordered(gram: Array, rows: Array) -> Array:
    """`[[K, 1], [1ᵀ, 0]]` of some rows."""
    ones = np.ones((len(rows), 1))
    return np.block([[gram[np.ix_(rows, rows)], ones], [ones.T, np.zeros((1, 1))]])


@dataclass(frozen=True)
class _Rows:
    """Some rows of `K`, `rows [m]`, together: `values [m, n]`."""

    rows: Array
    values: Array

    @classmethod
    def of(cls, gram: Array, rows: Array) -> _Rows:
        return cls(rows, gram[rows])

    def product(self, gram: Array, v: Array) -> Array:
        """`K v [n]`: by these rows, and the few others at which `v` is not zero."""
        rest = v.copy()
        rest[self.rows] = 0.0
        others = np.flatnonzero(rest)
        return np.asarray(v[self.rows] @ self.values + rest[others] @ gram[others])


def _places(loss: PiecewiseLinear, beta: Array, f: Array) -> Array:
    """The place of each example: at a breakpoint where `f` is on the wrong side of it or `β` between its levels."""
    levels, between = loss.levels, loss.is_between(beta)
    nearest = np.argmin(np.abs(levels - beta[:, None]), axis=1)
    segment = np.where(between, -1, nearest)
    place = np.where(between, 2 * np.sum(levels > beta[:, None], axis=1) - 1, 2 * segment)
    rows, k = np.arange(len(f)), loss.breakpoints.shape[1]
    lower, upper = np.clip(segment - 1, 0, k - 1), np.clip(segment, 0, k - 1)
    below = (segment > 0) & (f < loss.breakpoints[rows, lower])
    above = (segment >= 0) & (segment < k) & (f > loss.breakpoints[rows, upper])
    return np.asarray(np.where(below, 2 * lower + 1, np.where(above, 2 * upper + 1, place)))


def _ratio(distance: Array, speed: Array, able: Array, sign: int = 1) -> Array:
    """`distance/speed [n]` where something able moves in the direction of the sign, else infinite."""
    moves = able & (sign * speed > 0)
    return np.where(moves, np.maximum(distance / np.where(moves, speed, 1.0), 0.0), np.inf)
