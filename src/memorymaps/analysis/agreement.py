"""Agreement of two maps of the same examples: rank correlations, top-k overlap, regression slopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr

from memorymaps.core.arrays import Array
from memorymaps.maps.ids import check_same_examples, positions
from memorymaps.maps.result_table import SummarisedTable
from memorymaps.maps.trust import Trust

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_SCORES = ("leverage", "error", "sensitivity", "loss", "loo_loss")


@dataclass(frozen=True, repr=False)
class Comparison(SummarisedTable):
    """Scores of two maps, joined by id.

    Attributes
    ----------
    table : one row per common id; every score with the suffixes `_a` and `_b`.
    only_a, only_b : number of examples in one map only.
    effective_parameters : Σ leverage of each map.
    trust : the verdicts on each map's figures.
    """

    only_a: int
    only_b: int
    effective_parameters: tuple[float, float]
    trust: tuple[Trust, Trust]

    def pair(self, score: str) -> tuple[Array, Array]:
        """A score in both maps, for examples where both are finite: two arrays `[≤ n]`."""
        a, b = (self[f"{score}_{side}"] for side in "ab")
        finite = np.isfinite(a) & np.isfinite(b)
        return a[finite], b[finite]

    def spearman(self, score: str = "sensitivity") -> float:
        """Rank correlation of a score; NaN if one map's score is constant."""
        a, b = self.pair(score)
        if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
            return float("nan")
        return float(spearmanr(a, b).statistic)

    def overlap(self, score: str = "sensitivity", part: float = 0.01) -> float:
        """Share of the top fraction `part` (default 1 %, as in the papers) that both maps have in common."""
        a, b = self.pair(score)
        k = max(1, round(part * len(a)))
        return len(set(np.argsort(-a, kind="stable")[:k]) & set(np.argsort(-b, kind="stable")[:k])) / k

    def slope(self, score: str = "sensitivity") -> float:
        """Slope of the regression of map b on map a through the origin; 1 if sizes agree, not only ranks."""
        a, b = self.pair(score)
        return float(a @ b / (a @ a)) if np.any(a) else float("nan")

    def __str__(self) -> str:
        rows = [
            f"  {score:<12} rank correlation {self.spearman(score):6.3f}   top 1 % in common "
            f"{self.overlap(score):5.0%}   slope b on a {self.slope(score):8.4g}{self._caveat(score)}"
            for score in _SCORES
        ]
        a, b = self.effective_parameters
        head = f"{len(self):,} examples in both maps, {self.only_a:,} only in a, {self.only_b:,} only in b"
        return "\n".join([head, f"effective parameters: a {a:.2f}, b {b:.2f}", *rows])

    def _caveat(self, score: str) -> str:
        """Which of the maps has a score whose sizes are not to be compared."""
        found = [
            f"{side}: {trust[score].level}"
            for side, trust in zip("ab", self.trust, strict=True)
            if score in trust and not trust[score].sizes
        ]
        return f"   ({', '.join(found)})" if found else ""


def compare(a: MemoryMap, b: MemoryMap, *, targets_changed: bool = False) -> Comparison:
    """Join two maps by id and compare their scores.

    Maps joined by row numbers, which they have where no ids were given, must have the same targets, unless these
    `targets_changed` between the maps (corrected labels).

    Raises
    ------
    ValueError
        No id in common, ids of different kinds, or joined by row numbers and the targets differ.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from memorymaps import memory_map
    >>> X, y = load_diabetes(return_X_y=True)
    >>> a, b = (memory_map(Ridge(alpha=alpha).fit(X, y), X, y) for alpha in (0.01, 1.0))
    >>> round(compare(a, b).spearman("sensitivity"), 2)
    0.77
    """
    kinds = [m.table.schema.field("id").type for m in (a, b)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"ids of different kinds, {kinds[0]} and {kinds[1]}: pass memory_map(…, ids=…) the same names in both maps"
        )
    joined = _scores(a, "a").join(_scores(b, "b"), keys="id", join_type="inner").sort_by("id")
    if joined.num_rows == 0:
        raise ValueError(
            f"the two maps have no id in common: {a['id'][:2].tolist()} … and {b['id'][:2].tolist()} …. Pass "
            "memory_map(…, ids=…) the same names in both"
        )
    if not targets_changed:
        shared = np.asarray(joined.column("id").combine_chunks())
        words = ". If the targets were corrected between the maps: compare(a, b, targets_changed=True)"
        check_same_examples(a, b, (positions(a, shared), positions(b, shared)), words)
    totals = (float(np.sum(a["leverage"])), float(np.sum(b["leverage"])))
    return Comparison(joined, len(a) - joined.num_rows, len(b) - joined.num_rows, totals, (a.trust, b.trust))


def _scores(m: MemoryMap, side: str) -> pa.Table:
    return m.table.select(["id", *_SCORES]).rename_columns(["id", *(f"{score}_{side}" for score in _SCORES)])
