"""How much scores differ between repeats of one model, and which examples move by more than that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from memorymaps.core.arrays import Array
from memorymaps.maps.ids import find
from memorymaps.maps.result_table import ResultTable

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_LEVEL = 0.95  # share of the noise below the limit from which an example counts as moved
_BIN, _MAX_BINS = 100, 50  # examples of similar score whose noise is pooled, at least; number of such groups, at most


@dataclass(frozen=True)
class NoiseFloor:
    """Scores of repeats of one model: other seeds, or fits to resamples of the data.

    Attributes
    ----------
    values : score → `[r, n]`, of the repeats (the first is map a) for the examples of the comparison, NaN where a
        repeat does not have the example.
    """

    values: Mapping[str, Array]

    @classmethod
    def of(cls, a: MemoryMap, repeats: Sequence[MemoryMap], ids: Array, names: Sequence[str]) -> NoiseFloor:
        """Of map a and its repeats, for these ids.

        Raises
        ------
        ValueError
            A repeat that has no example in common with the comparison.
        """
        rows = [find(m, ids.tolist()) for m in (a, *repeats)]
        for k, found in enumerate(rows[1:]):
            if np.all(found < 0):
                raise ValueError(
                    f"floor[{k}] has no id in common with the compared maps: pass memory_map(…, ids=…) the same names, "
                    "for a resample those of its rows"
                )
        pairs = list(zip((a, *repeats), rows, strict=True))
        return cls({name: np.stack([_column(m, found, name) for m, found in pairs]) for name in names})

    @property
    def repeats(self) -> int:
        """Number of repeats, without map a."""
        return len(next(iter(self.values.values()))) - 1

    def spearman(self, score: str = "sensitivity") -> Array:
        """Rank correlations of all pairs of repeats, `[r(r − 1)/2]`."""
        return np.array([rank_correlation(*both_finite(x, y)) for x, y in combinations(self.values[score], 2)])

    def noise(self, score: str = "sensitivity") -> Array:
        """Change of each example's score that 95 % of the changes between repeats do not exceed, `[n]`.

        The quantile over all pairs of repeats and over examples of similar score (100 or more), between these groups
        interpolated; of relative changes, `|x − y|/mean score`, where no score is negative.
        """
        values = self.values[score]
        known = np.isfinite(values)
        level = np.sum(np.where(known, values, 0.0), axis=0) / np.maximum(known.sum(axis=0), 1)
        scale = np.ones(len(level)) if np.any(values[known] < 0) else np.where(level > 0, level, 1.0)
        change = np.stack([np.abs(x - y) for x, y in combinations(values, 2)]) / scale
        order = np.argsort(level, kind="stable")
        groups = np.array_split(order, max(1, min(_MAX_BINS, len(order) // _BIN)))
        ends = np.cumsum([len(rows) for rows in groups])
        middle = ends - [len(rows) / 2 for rows in groups]
        found = np.empty(len(order))
        limits = [_quantile(change[:, rows]) for rows in groups]
        found[order] = np.interp(np.arange(len(order)) + 0.5, middle, limits)
        return found * scale


class Movers(ResultTable):
    """Examples whose score changes from one map to another by more than the noise, by the ratio of both, largest first.

    Columns: `id`, the scores `a` and `b`, `change` (b − a), `noise` (see `NoiseFloor.noise`). Of repeats of one model
    5 % of the examples would be listed.
    """


def _column(m: MemoryMap, rows: Array, name: str) -> Array:
    values = np.asarray(m[name], dtype=float)
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)


def rank_correlation(x: Array, y: Array) -> float:
    """Spearman's; NaN of fewer than two values, or if one is constant."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(spearmanr(x, y).statistic)


def both_finite(x: Array, y: Array) -> tuple[Array, Array]:
    """Values where both are finite."""
    kept = np.isfinite(x) & np.isfinite(y)
    return x[kept], y[kept]


def _quantile(change: Array) -> float:
    finite = change[np.isfinite(change)]
    return float(np.quantile(finite, _LEVEL)) if len(finite) else float("nan")
