"""The same examples ranked by several measures: how far the rankings agree, and on which examples they do not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from memorymaps.core.arrays import Array

if TYPE_CHECKING:
    from memorymaps.viz.explorer.arrow_columns import ArrowColumns

MEASURES = ("sensitivity", "leverage", "error", "loo_loss")
_TOP_K = 100
_MAX_DISAGREEMENTS = 24  # disagreements a side: filters of the page leave some of them


def compare_rankings(columns: ArrowColumns, measures: Sequence[str]) -> dict[str, Any] | None:
    """Rank correlations, overlaps of the tops and disagreements; None where fewer than three examples have them all.

    Raises
    ------
    ValueError
        Fewer than two measures.
    KeyError
        A measure is not among the columns of numbers.
    """
    if len(measures) < 2:
        raise ValueError(f"measures = {tuple(measures)}: expected at least two to compare")
    scores = np.stack([_score(columns, name) for name in measures])
    rows = np.flatnonzero(np.all(np.isfinite(scores), axis=0))
    if len(rows) < 3:
        return None
    kept = scores[:, rows]
    ranks = np.stack([rankdata(-score) for score in kept])
    top = min(_TOP_K, len(rows))
    heads = [set(np.argsort(-score, kind="stable")[:top].tolist()) for score in kept]
    return {
        "measures": list(measures),
        "spearman": _rank_correlations(ranks),
        "overlap": [[len(a & b) / top for b in heads] for a in heads],
        "top": top,
        "disagreements": _disagreements(ranks, rows),
    }


def _score(columns: ArrowColumns, name: str) -> Array:
    there = [meta["name"] for meta in columns.metadata if meta["kind"] == "number" and "@" not in meta["name"]]
    if name not in there:
        raise KeyError(f"cannot rank by {name!r}: expected some of {there}")
    values: pa.Array = columns.arrays[name]
    return values.to_numpy(zero_copy_only=False)


def _rank_correlations(ranks: Array) -> list[list[float | None]]:
    """Spearman's, which is Pearson's of the ranks; None where a measure is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.corrcoef(ranks)
    return [[float(value) if np.isfinite(value) else None for value in row] for row in found]


def _disagreements(ranks: Array, rows: Array) -> list[dict[str, Any]]:
    """Of every two measures, the examples whose ranks differ by the largest factor, either way."""
    pairs = [
        _disagreements_of_pair(ranks[[a, b]], rows) | {"pair": [a, b]} for a, b in combinations(range(len(ranks)), 2)
    ]
    return [pair for pair in pairs if pair["first"] or pair["second"]]


def _disagreements_of_pair(ranks: Array, rows: Array) -> dict[str, Any]:
    """`first`: ranked higher by the first measure. A factor, so that the third against the 300th counts as much as
    the 30th against the 3,000th, and the middle of the ranking does not hide its top."""
    factor = np.log(ranks[1] / ranks[0])
    order = np.argsort(-factor, kind="stable")
    first, second = order[:_MAX_DISAGREEMENTS], order[::-1][:_MAX_DISAGREEMENTS]

    def listed(some: Array) -> list[list[float]]:
        return [[int(rows[k]), *ranks[:, k].tolist()] for k in some]

    return {"first": listed(first[factor[first] > 0]), "second": listed(second[factor[second] < 0])}
