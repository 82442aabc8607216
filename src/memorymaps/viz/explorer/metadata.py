"""What the page says about a map beside its columns: names, notes, colours, scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.maps.summary import warnings_of
from memorymaps.viz.explorer.arrow_columns import Columns, text
from memorymaps.viz.explorer.rank_agreement import rankings_of

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap
    from memorymaps.viz.explorer.options import ExplorerOptions

VERSION = 3
_LIGHTS = {
    Warn.BOUND: "at the bound: the model hangs on this example alone, its sizes are undefined",
    Warn.NEAR_SINGULAR: "nearly at the bound: sizes carry few digits",
    Warn.FIRST_ORDER: "at or past the bound: first-order sizes, too small",
    Warn.NOT_CONVERGED: "iteration not converged: no fixed point (sizes undefined), or too few steps",
    Warn.LONG_STEP: "long step: one Newton step may miss the refit; read sizes as ranks",
    Warn.PARETO_K: "Pareto-k too large: importance sampling from the full posterior cannot be trusted here",
}


def describe(
    m: MemoryMap, options: ExplorerOptions, columns: Columns, models: list[str], steps: list[dict[str, Any]]
) -> dict[str, Any]:
    """Title, columns, models, steps, notes: everything about the map but its columns and examples."""
    classification = bool(m.provenance.description.classes)
    return {
        "format": "memorymaps-explorer",
        "version": VERSION,
        "title": text(options.title or "Memory map"),
        "subtitle": text(f"{m.provenance.description.model} · {len(m):,} training examples"),
        "n": len(m),
        "integers": m["id"].dtype.kind in "iu",
        "columns": columns.metas,
        "models": [text(name) for name in models],
        "steps": steps,
        "classification": classification,
        "warnings": {str(int(flag)): words for flag, words in _LIGHTS.items()},
        "notes": _notes(m),
        "agreement": rankings_of(columns, options.measures),
        "color": _color(options, columns),
        "log": [_spans(m["leverage"]), _spans(m["error"])],
    }


def _color(options: ExplorerOptions, columns: Columns) -> str:
    names = [meta["name"] for meta in columns.metas if meta["kind"] != "text"]
    if options.color is not None and options.color not in names:
        raise KeyError(f"cannot colour by {options.color!r}: expected one of {names}")
    return options.color or "sensitivity"


def _notes(m: MemoryMap) -> list[str]:
    d = m.provenance.description
    lines = [f"likelihood {d.likelihood}, posterior {d.posterior}", f"prior: {d.prior}", *d.coverage, *d.notes]
    return [text(line) for line in (*lines, *warnings_of(m))]


def _spans(values: Array) -> bool:
    """Whether the middle of the data spans decades, or the farthest example leaves the middle far behind."""
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) < 2:
        return False
    low, middle, high, far = np.log10(np.quantile(positive, [0.1, 0.5, 0.9, 1]))
    return bool(high - low >= 1.4 or far - middle >= 1.2)
