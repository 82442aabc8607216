"""Metadata of the explorer's page besides its columns: titles, notes, colours, axis scales."""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.core.wording import counted
from memorymaps.maps.iso_lines import iso_score_of
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.summary import warnings_of
from memorymaps.maps.trajectory import Trajectory
from memorymaps.viz.explorer.arrow_columns import ArrowColumns, to_text
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.rank_agreement import compare_rankings

VERSION = 4
_WARNINGS = {
    Warn.BOUND: "at the bound: this example alone determines its prediction, its sizes are undefined",
    Warn.NEAR_SINGULAR: "nearly at the bound: sizes carry few digits",
    Warn.FIRST_ORDER: "at or past the bound: first-order sizes, too small",
    Warn.NOT_CONVERGED: "iteration not converged: no fixed point (sizes undefined), or too few steps",
    Warn.CROSS_FITTED: "cross-fitted: predicted by a refit without a fifth of the examples",
    Warn.LONG_STEP: "long step: one Newton step may differ from the refit; read sizes as ranks",
    Warn.PARETO_K: "Pareto-k too large: importance sampling from the full posterior is unreliable here",
}


def page_metadata(
    m: MemoryMap, options: ExplorerOptions, columns: ArrowColumns, models: list[str], steps: list[dict[str, Any]]
) -> dict[str, Any]:
    """Title, columns, models, steps, warnings, notes, rank agreement and axis scales, as a JSON object."""
    classification = bool(m.provenance.description.classes)
    return {
        "format": "memorymaps-explorer",
        "version": VERSION,
        "title": to_text(options.title or "Memory map"),
        "subtitle": to_text(f"{m.provenance.description.model} · {counted(len(m), 'training example')}"),
        "n": len(m),
        "integers": m["id"].dtype.kind in "iu",
        "columns": columns.metadata,
        "models": [to_text(name) for name in models],
        "steps": steps,
        "classification": classification,
        "iso": str(iso_score_of(m)),
        "trust": m.trust.to_dict(),
        "warnings": {str(int(flag)): words for flag, words in _WARNINGS.items()},
        "notes": [*_notes(m), *_steps_note(len(steps), options), *_losses_note(options.trajectory)],
        "agreement": compare_rankings(columns, options.measures),
        "color": _initial_color(options, columns),
        "log": [_needs_log_scale(m["leverage"]), _needs_log_scale(m["error"])],
    }


def _initial_color(options: ExplorerOptions, columns: ArrowColumns) -> str:
    names = [meta["name"] for meta in columns.metadata if meta["kind"] != "text"]
    if options.color is not None and options.color not in names:
        raise KeyError(f"cannot colour by {options.color!r}: expected one of {names}")
    return options.color or "sensitivity"


def _notes(m: MemoryMap) -> list[str]:
    d = m.provenance.description
    lines = [f"likelihood {d.likelihood}, posterior {d.posterior}", f"prior: {d.prior}", *d.coverage, *d.notes]
    return [to_text(line) for line in (*lines, *map(str, m.trust), *warnings_of(m))]


def _steps_note(count: int, options: ExplorerOptions) -> list[str]:
    recorded = len(options.trajectory or ())
    return [f"the slider has {count} of {recorded} recorded steps (max_steps)"] if 0 < count < recorded else []


def _losses_note(trajectory: Any) -> list[str]:
    """How far the left-out losses of a run's steps can be trusted, where their sizes cannot."""
    verdict = trajectory.loo_trust() if isinstance(trajectory, Trajectory) else None
    return [] if verdict is None or verdict.sizes else [f"leave-one-out losses of the steps: {verdict}"]


def _needs_log_scale(values: Array) -> bool:
    """Whether the middle 80 % span at least 1.4 decades, or the largest value is 1.2 decades above the median."""
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) < 2:
        return False
    low, median, high, largest = np.log10(np.quantile(positive, [0.1, 0.5, 0.9, 1]))
    return bool(high - low >= 1.4 or largest - median >= 1.2)
