"""Weighted means over examples and their standard errors."""

from __future__ import annotations

import numpy as np

from memorymaps.core.arrays import Array


def weighted_mean(values: Array, weight: Array) -> float:
    """`m = Σ w v/Σ w` of values `v [n]`; NaN without weight.

    Examples
    --------
    >>> weighted_mean(np.array([1.0, 4.0]), np.array([2.0, 1.0]))
    2.0
    """
    total = float(np.sum(weight))
    return float(weight @ values) / total if total > 0 else float("nan")


def standard_error(values: Array, weight: Array) -> float:
    """Standard error of the weighted mean of `n` independent examples, `√(n/(n−1) Σ w²(v − m)²)/Σ w`.

    With equal weights `s/√n`. It does not depend on the scale of the weights (the ratio estimator of survey statistics,
    `svymean` in R). Examples of weight 0 count as none; NaN for fewer than two others.

    Examples
    --------
    >>> standard_error(np.array([1.0, 2.0, 3.0]), np.ones(3))
    0.577...
    """
    n = int(np.count_nonzero(weight))
    if n < 2:
        return float("nan")
    squares = float(np.sum(np.square(weight * (values - weighted_mean(values, weight)))))
    return float(np.sqrt(n / (n - 1) * squares) / np.sum(weight))


def standard_error_of_counts(values: Array, count: Array) -> float:
    """Standard error of the mean of rows of which `count [n]` are equal, `√(Σ w(v − m)²/(W(W − 1)))`, `W = Σ w`.

    That of the rows written out, `np.repeat(values, count)`; NaN for fewer than two rows.

    Examples
    --------
    >>> standard_error_of_counts(np.array([1.0, 3.0]), np.array([2, 2]))
    0.577...
    """
    rows = float(np.sum(count))
    if rows <= 1:
        return float("nan")
    squares = float(count @ np.square(values - weighted_mean(values, count)))
    return float(np.sqrt(squares / (rows * (rows - 1))))


def are_counts(weight: Array) -> bool:
    """Whether all weights are whole numbers, as numbers of equal rows are.

    Examples
    --------
    >>> are_counts(np.array([0.0, 1.0, 3.0])), are_counts(np.array([0.5, 1.0]))
    (True, False)
    """
    return bool(np.all(weight == np.rint(weight)))


class WeightedMoments:
    """Sums from which the standard errors of several weighted means follow, accumulated batch by batch.

    `k` means at once; `add(k, values [n], weight [n])` adds to the `k`-th.
    """

    def __init__(self, means: int):
        self._sums, self._whole = np.zeros((7, means)), np.ones(means, dtype=bool)

    def add(self, k: int, values: Array, weight: Array) -> None:
        """Add examples to the `k`-th mean; those of weight 0 count as none."""
        kept = weight > 0
        v, w = values[kept], weight[kept]
        powers = (w, w**2, w * v, w**2 * v, w * v**2, w**2 * v**2)
        self._sums[:, k] += [len(v), *(np.sum(each) for each in powers)]
        self._whole[k] &= are_counts(w)

    def standard_errors(self) -> Array:
        """`[k]`: those of rows written out where all weights are whole numbers, else of weighted means."""
        n, w, w2, v, w2v, v2, w2v2 = self._sums
        with np.errstate(divide="ignore", invalid="ignore"):
            m = v / w
            rows = (v2 - w * m**2) / (w * (w - 1))
            weighted = n / (n - 1) * (w2v2 - 2 * m * w2v + m**2 * w2) / w**2
            found = np.sqrt(np.maximum(np.where(self._whole, rows, weighted), 0.0))
        return np.where(np.where(self._whole, w, n) > 1, found, np.nan)
