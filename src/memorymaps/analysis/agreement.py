"""Agreement of maps of the same examples: rank correlations, top-k overlap, slopes, left-out losses, a noise floor."""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.analysis.answers.noise_floor import Movers, NoiseFloor, both_finite, rank_correlation
from memorymaps.analysis.answers.paired_means import (
    PairedMeans,
    loss_difference,
    paired_losses,
    paired_scores,
    target_difference,
)
from memorymaps.core.arrays import Array
from memorymaps.core.settings import as_count
from memorymaps.core.wording import counted
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.ids import check_same_examples, positions
from memorymaps.maps.loo_averages import with_error
from memorymaps.maps.memory_map import MemoryMap, require_map
from memorymaps.maps.result_table import SummarisedTable
from memorymaps.maps.trust import Trust

_SCORES = ("leverage", "error", "sensitivity", "loss", "loo_loss")


@dataclass(frozen=True, repr=False)
class Comparison(SummarisedTable):
    """Scores of two maps or more, joined by id; maps are called `a`, `b`, `c`, … in their order.

    Attributes
    ----------
    table : one row per common id; every score with the suffixes `_a`, `_b`, ….
    only : number of examples of each map that are not in all of them.
    effective_parameters : Σ leverage of each map.
    trust : the verdicts on each map's figures.
    loss, score : left-out losses, and accuracies or root mean squared errors, of the common examples, with standard
        errors of them and of their paired differences; None where they are not comparable, which `incomparable` says.
    floor : what the scores differ by between repeats of map a; None if none were given.
    """

    only: tuple[int, ...]
    effective_parameters: tuple[float, ...]
    trust: tuple[Trust, ...]
    loss: PairedMeans | None
    score: PairedMeans | None
    incomparable: str
    floor: NoiseFloor | None

    @property
    def maps(self) -> str:
        """The maps' letters, `"ab"` for two."""
        return string.ascii_lowercase[: len(self.only)]

    @property
    def only_a(self) -> int:
        """Number of examples of map a that are not in all maps."""
        return self.only[0]

    @property
    def only_b(self) -> int:
        """Number of examples of map b that are not in all maps."""
        return self.only[1]

    def pair(self, score: str, maps: str = "ab") -> tuple[Array, Array]:
        """A score in two maps, for examples where both are finite: two arrays `[≤ n]`."""
        a, b = self._two(score, maps)
        return both_finite(a, b)

    def _two(self, score: str, maps: str) -> tuple[Array, Array]:
        if len(maps) != 2 or not set(maps) <= set(self.maps):
            raise ValueError(f"maps = {maps!r}: expected two of the letters {self.maps}, as {self.maps[:2]!r}")
        return self[f"{score}_{maps[0]}"], self[f"{score}_{maps[1]}"]

    def spearman(self, score: str = "sensitivity", maps: str = "ab") -> float:
        """Rank correlation of a score; NaN if one map's score is constant."""
        return rank_correlation(*self.pair(score, maps))

    def overlap(
        self, score: str = "sensitivity", part: float = 0.01, *, k: int | None = None, maps: str = "ab"
    ) -> float:
        """Share of the top fraction `part` (default 1 %, as in the papers), or of the top `k`, that both have."""
        a, b = self.pair(score, maps)
        count = max(1, round(part * len(a))) if k is None else min(as_count("k", k), len(a))
        return len(set(np.argsort(-a, kind="stable")[:count]) & set(np.argsort(-b, kind="stable")[:count])) / count

    def slope(self, score: str = "sensitivity", maps: str = "ab") -> float:
        """Slope of the regression of the second map on the first through the origin; 1 if sizes agree, not only ranks.

        By default of map b on map a.
        """
        a, b = self.pair(score, maps)
        return float(a @ b / (a @ a)) if np.any(a) else float("nan")

    def movers(self, score: str = "sensitivity", maps: str = "ab") -> Movers:
        """Examples whose score changes by more than 95 % of the changes between repeats of map a.

        Raises
        ------
        ValueError
            No repeats were given.
        """
        if self.floor is None:
            raise ValueError(
                "no repeats to tell changes from noise: compare(a, b, floor=[…]) takes maps of a's model with other "
                "seeds, or fitted to resamples"
            )
        (a, b), noise = self._two(score, maps), self.floor.noise(score)
        ratio = np.divide(np.abs(b - a), noise, out=np.full(len(a), np.inf), where=noise > 0)
        rows = np.flatnonzero(np.abs(b - a) > noise)
        rows = rows[np.argsort(-ratio[rows], kind="stable")]
        columns = {"id": self["id"], "a": a, "b": b, "change": b - a, "noise": noise}
        batch = to_record_batch({name: values[rows] for name, values in columns.items()})
        return Movers(pa.Table.from_batches([batch]))

    def _text(self) -> str:
        return "\n".join([*self._head(), *map(self._agreement, _SCORES), *self._averages(), *self._noise()])

    def _each(self, values: Iterable[Any]) -> Iterable[tuple[str, Any]]:
        return zip(self.maps, values, strict=True)

    def _head(self) -> tuple[str, str]:
        effective = ", ".join(f"{name} {total:.2f}" for name, total in self._each(self.effective_parameters))
        only = ", ".join(f"{count:,} only in {name}" for name, count in self._each(self.only))
        head = f"{counted(len(self), 'example')} in both maps, {only}"
        if len(self.only) > 2:
            others = ", ".join(f"{count:,} of {name}" for name, count in self._each(self.only))
            head = f"{counted(len(self), 'example')} in all {len(self.only)} maps; not in all: {others}"
        return head, f"effective parameters: {effective}"

    def _agreement(self, score: str) -> str:
        if len(self.only) == 2:
            return (
                f"  {score:<12} rank correlation {self.spearman(score):6.3f}   top 1 % in common "
                f"{self.overlap(score):5.0%}   slope b on a {self.slope(score):8.4g}{self._caveat(score)}"
            )
        pairs = ["".join(pair) for pair in combinations(self.maps, 2)]
        found = "   ".join(f"{pair[0]}–{pair[1]} {self.spearman(score, pair):.3f}" for pair in pairs)
        return f"  {score:<12} rank correlation {found}{self._caveat(score)}"

    def _caveat(self, score: str) -> str:
        """Which of the maps has a score whose sizes are not to be compared."""
        found = [
            f"{side}: {trust[score].level}"
            for side, trust in self._each(self.trust)
            if score in trust and not trust[score].sizes
        ]
        return f"   ({', '.join(found)})" if found else ""

    def _averages(self) -> list[str]:
        lines = [self._average(means) for means in (self.loss, self.score) if means is not None]
        return [*lines, f"not compared: {self.incomparable}"] if self.incomparable else lines

    def _average(self, means: PairedMeans) -> str:
        each = zip(self.maps, means.values, means.errors, strict=True)
        values = ", ".join(f"{name} {with_error(value, error)}" for name, value, error in each)
        differences = [
            f"{name} − a {with_error(*means.difference(k, 0))}" for k, name in enumerate(self.maps[1:], start=1)
        ]
        return f"left-out {means.name}: {values}; {', '.join(differences)} (paired)"

    def _noise(self) -> list[str]:
        if self.floor is None:
            return []
        rows = [f"noise of {self.floor.repeats} repeat{'s' * (self.floor.repeats > 1)} of a:"]
        for score in _SCORES:
            found = self.floor.spearman(score)
            movers = [f"{len(self.movers(score, f'a{name}')):,} to {name}" for name in self.maps[1:]]
            rows.append(
                f"  {score:<12} rank correlation {np.min(found):.3f} to {np.max(found):.3f}   move beyond it: "
                f"{', '.join(movers)} ({0.05 * len(self):,.0f} by chance)"
            )
        return rows


def compare(
    a: MemoryMap, b: MemoryMap, *others: MemoryMap, targets_changed: bool = False, floor: Sequence[MemoryMap] = ()
) -> Comparison:
    """Join two maps or more by id and compare their scores, left-out losses and accuracies.

    Maps joined by row numbers, which they have where no ids were given, must have the same targets, unless these
    `targets_changed` between the maps (corrected labels). Differences of left-out losses and scores are paired: their
    standard error is that of the differences of the same examples.

    Parameters
    ----------
    a, b, others : the maps, called a, b, c, … in the result.
    targets_changed : whether targets may differ between the maps.
    floor : repeats of map a: the same model with other seeds, or fitted to resamples of the data (with the ids of their
        rows). They say which changes of scores and ranks are noise: `Comparison.movers`.

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
    >>> difference, error = compare(a, b).loss.difference(1, 0)
    >>> round(difference, 3), round(error, 3)
    (0.052, 0.016)
    """
    maps = (a, b, *others)
    for m in (*maps, *floor):
        require_map(m)
    _check_ids([*maps, *floor])
    joined = functools.reduce(lambda left, right: left.join(right, keys="id", join_type="inner"), _scores(maps))
    joined = joined.sort_by("id")
    if joined.num_rows == 0:
        some = " and ".join(f"{m['id'][:2].tolist()} …" for m in maps)
        which, each = ("two maps", "both") if len(maps) == 2 else ("maps", "all")
        raise ValueError(
            f"the {which} have no id in common: {some}. Pass memory_map(…, ids=…) the same names in {each}"
        )
    shared = np.asarray(joined.column("id").combine_chunks())
    rows = [positions(m, shared) for m in maps]
    if not targets_changed:
        words = ". If the targets were corrected between the maps: compare(a, b, targets_changed=True)"
        for m, found in zip(maps[1:], rows[1:], strict=True):
            check_same_examples(a, m, (rows[0], found), words)
    return Comparison(
        joined, tuple(len(m) - joined.num_rows for m in maps), tuple(float(np.sum(m["leverage"])) for m in maps),
        tuple(m.trust for m in maps), *_left_out([m.select(shared.tolist()) for m in maps]),
        NoiseFloor.of(a, floor, shared, _SCORES) if floor else None,
    )  # fmt: skip


def _check_ids(maps: Sequence[MemoryMap]) -> None:
    kinds = [m.table.schema.field("id").type for m in maps]
    for kind in kinds[1:]:
        if kind != kinds[0]:
            raise ValueError(
                f"ids of different kinds, {kinds[0]} and {kind}: pass memory_map(…, ids=…) the same names in both maps"
            )


def _scores(maps: Sequence[MemoryMap]) -> list[pa.Table]:
    if len(maps) > len(string.ascii_lowercase):
        raise ValueError(f"{len(maps)} maps: expected at most {len(string.ascii_lowercase)}; select_model ranks more")
    return [
        m.table.select(["id", *_SCORES]).rename_columns(["id", *(f"{score}_{side}" for score in _SCORES)])
        for side, m in zip(string.ascii_lowercase, maps, strict=False)
    ]


def _left_out(maps: Sequence[MemoryMap]) -> tuple[PairedMeans | None, PairedMeans | None, str]:
    """Left-out losses and scores where they are comparable, and why not where they are not."""
    targets = target_difference(maps)
    if targets:
        return None, None, targets
    losses = loss_difference(maps)
    return (None if losses else paired_losses(maps)), paired_scores(maps), losses
