"""Agreement of several measures on the ranking of the same examples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from memorymaps.core.arrays import Array
from memorymaps.viz.explorer.arrow_columns import ArrowColumns

_TOP_K = 100
_MAX_DISAGREEMENTS = 24  # per direction; more than the page shows at a time, because its filters remove some


def compare_rankings(columns: ArrowColumns, measures: Sequence[str]) -> dict[str, Any] | None:
    """Rank correlations, overlaps of the top 100 and disagreements; None if under three examples have all measures.

    Raises
    ------
    ValueError
        Fewer than two measures.
    KeyError
        A measure is not among the numeric columns.
    """
    if len(measures) < 2:
        raise ValueError(f"measures = {tuple(measures)}: expected at least two to compare")
    scores = np.stack([_score(columns, name) for name in measures])
    rows = np.flatnonzero(np.all(np.isfinite(scores), axis=0))
    if len(rows) < 3:
        return None
    finite = scores[:, rows]
    ranks = np.stack([rankdata(-score) for score in finite])
    top = min(_TOP_K, len(rows))
    heads = [set(np.argsort(-score, kind="stable")[:top].tolist()) for score in finite]
    return {
        "measures": list(measures),
        "spearman": _rank_correlations(ranks),
        "overlap": [[len(a & b) / top for b in heads] for a in heads],
        "top": top,
        "disagreements": _disagreements(ranks, rows),
    }


def _score(columns: ArrowColumns, name: str) -> Array:
    numeric = [meta["name"] for meta in columns.metadata if meta["kind"] == "number" and "@" not in meta["name"]]
    if name not in numeric:
        raise KeyError(f"cannot rank by {name!r}: expected some of {numeric}")
    values: pa.Array = columns.arrays[name]
    return values.to_numpy(zero_copy_only=False)


def _rank_correlations(ranks: Array) -> list[list[float | None]]:
    """Spearman's correlations, i.e. Pearson's of the ranks; None if a measure is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.corrcoef(ranks)
    return [[float(value) if np.isfinite(value) else None for value in row] for row in found]


def _disagreements(ranks: Array, rows: Array) -> list[dict[str, Any]]:
    """For each pair of measures, the examples with the largest ratio of ranks, in both directions."""
    pairs = [
        _disagreements_of_pair(ranks[[a, b]], rows) | {"pair": [a, b]} for a, b in combinations(range(len(ranks)), 2)
    ]
    return [pair for pair in pairs if pair["first"] or pair["second"]]


def _disagreements_of_pair(ranks: Array, rows: Array) -> dict[str, Any]:
    """Examples as `[row, rank, rank]`; `first`: ranked higher by the first measure, `second`: by the second.

    Ranks are compared by ratio: 3 against 300 counts as much as 30 against 3,000, so that differences in the middle
    of the ranking do not dominate those at its top.
    """
    log_ratio = np.log(ranks[1] / ranks[0])
    order = np.argsort(-log_ratio, kind="stable")
    first, second = order[:_MAX_DISAGREEMENTS], order[::-1][:_MAX_DISAGREEMENTS]

    def listed(examples: Array) -> list[list[float]]:
        return [[int(rows[k]), *ranks[:, k].tolist()] for k in examples]

    return {"first": listed(first[log_ratio[first] > 0]), "second": listed(second[log_ratio[second] < 0])}
