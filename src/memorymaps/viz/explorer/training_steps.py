"""Recorded training steps for the page: every example's leverage and error, and the mean losses of each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.maps.ids import check_same_examples
from memorymaps.maps.loo_averages import weighted_mean
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.trajectory import LOO_TRUST, Trajectory
from memorymaps.maps.trust import Level
from memorymaps.viz.explorer.arrow_columns import MISSING, ArrowColumns, finite_or_none, rows_by_id, to_text

_AXES = ("leverage", "error")


@dataclass(frozen=True)
class _Step:
    """One recorded step: scores in the row order of the explored map, mean losses in nats, and how far the left-out one
    can be trusted (`None` in runs of earlier versions).
    """

    name: str
    scores: dict[str, Array]
    losses: dict[str, float | None]
    loo_trust: str | None


def add_steps(
    columns: ArrowColumns, m: MemoryMap, trajectory: Trajectory | Mapping[str, MemoryMap], max_steps: int
) -> list[dict[str, Any]]:
    """Add leverage and error at no more than `max_steps` steps; returns names, losses and value ranges of the steps.

    Columns `leverage#t` and `error#t` are uint16 codes of log10: those of step 0, then differences modulo 2¹⁶.

    Raises
    ------
    ValueError
        A mapping with one map, a map that lacks ids, or `max_steps` below 2.
    """
    if len(trajectory) == 1 and isinstance(trajectory, Trajectory):
        return []  # a run with one record is a map without a slider
    if len(trajectory) == 1:
        raise ValueError("a trajectory of one map: expected at least two, {step: map}")
    steps = list(_recorded_steps(m, trajectory, max_steps))
    if not steps:
        return []
    ends = [_add_axis(columns, axis, steps) for axis in _AXES]
    lows, highs = ([end[side] for end in ends] for side in (0, 1))
    return [
        {"name": to_text(step.name), **step.losses, "loo_trust": step.loo_trust, "low": lows, "high": highs}
        for step in steps
    ]


def _evenly_spaced(steps: Iterable[Any], max_steps: int) -> list[Any]:
    """At most `max_steps` steps: the first, the last, and evenly spaced ones between them."""
    if max_steps < 2:
        raise ValueError(f"max_steps is {max_steps}: expected at least 2, the first step and the last")
    every = list(steps)
    positions = np.linspace(0, len(every) - 1, min(max_steps, len(every)))
    return [every[round(position)] for position in positions.tolist()]


def _recorded_steps(m: MemoryMap, trajectory: Trajectory | Mapping[str, MemoryMap], max_steps: int) -> Iterator[_Step]:
    """The steps one by one, with one map in memory at a time."""
    if isinstance(trajectory, Trajectory):
        losses = trajectory.losses()
        for step in _evenly_spaced(trajectory.steps, max_steps):
            row = losses.loc[step]
            known = {name: finite_or_none(row[name]) for name in ("loss", "loo_loss", "test_loss", "effective")}
            yield _step_of(m, trajectory.at(step), f"step {step:,}", known, _level(row.get(LOO_TRUST)))
        return
    for name in _evenly_spaced(trajectory, max_steps):
        other = trajectory[name]
        losses = {name: finite_or_none(weighted_mean(other, other[name])) for name in ("loss", "loo_loss")}
        known = losses | {"test_loss": None}
        effective = float(np.nansum(other["leverage"])) if np.all(np.isfinite(other["leverage"])) else None
        yield _step_of(m, other, name, known | {"effective": effective}, str(other.trust["loo_loss"].level))


def _level(recorded: Any) -> str | None:
    """The recorded verdict on a step's left-out loss; `None` where there is none or it is unknown."""
    return str(recorded) if str(recorded) in list(Level) else None


def _step_of(
    m: MemoryMap, other: MemoryMap, name: str, losses: dict[str, float | None], loo_trust: str | None
) -> _Step:
    rows = rows_by_id(m, other)
    if np.any(rows < 0):
        raise ValueError(
            f"step {name!r} lacks {np.count_nonzero(rows < 0):,} of the map's {len(m):,} ids: pass maps of the same "
            "examples"
        )
    check_same_examples(m, other, (np.arange(len(m)), rows))
    return _Step(name, {axis: other[axis][rows] for axis in _AXES}, losses, loo_trust)


def _add_axis(columns: ArrowColumns, axis: str, steps: list[_Step]) -> tuple[float, float]:
    values = [step.scores[axis] for step in steps]
    low, high = _log_range(values)
    codes = [_log_codes(value, low, high) for value in values]
    for t, code in enumerate(codes):  # unsigned differences modulo 2¹⁶; the page adds them modulo 2¹⁶
        columns.add_unlisted(f"{axis}#{t}", code - codes[t - 1] if t else code)
    return low, high


def _log_range(columns: list[Array]) -> tuple[float, float]:
    values = np.concatenate([v[np.isfinite(v) & (v > 0)] for v in columns])
    if not len(values):
        return -1.0, 0.0
    low, high = float(np.log10(values.min())), float(np.log10(values.max()))
    return low, max(high, low + 1e-6)


def _log_codes(values: Array, low: float, high: float) -> Array:
    """log10 of values in [10^low, 10^high] as 16-bit codes: 0 for zero, 65535 for undefined values.

    The relative error is below 1e-4 for a range of eight decades.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = (np.log10(values) - low) / (high - low)
    codes = np.where(np.isfinite(scaled), 1 + np.rint(65533 * np.clip(np.nan_to_num(scaled), 0, 1)), MISSING)
    return np.where(values == 0, 0, codes).astype(np.uint16)
