"""Recorded steps of training as the page reads them: where every example was, and the losses beside the slider."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.maps.ids import check_same_examples
from memorymaps.maps.loo_averages import weighted_mean
from memorymaps.maps.trajectory import Trajectory
from memorymaps.viz.explorer.arrow_columns import MISSING, Columns, finite, joined, text

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_AXES = ("leverage", "error")


@dataclass(frozen=True)
class _Step:
    """One recorded step: scores in the order of the explored map, mean losses in nats."""

    name: str
    scores: dict[str, Array]
    losses: dict[str, float | None]


def add_steps(
    columns: Columns, m: MemoryMap, trajectory: Trajectory | Mapping[str, MemoryMap], most: int
) -> list[dict[str, Any]]:
    """Add positions at no more than `most` steps; returns what the page must know of these steps."""
    if len(trajectory) == 1 and isinstance(trajectory, Trajectory):
        return []  # a run that has only begun is a map without a slider
    if len(trajectory) == 1:
        raise ValueError("a trajectory of one map: expected at least two, {step: map}")
    steps = list(_recorded(m, trajectory, most))
    if not steps:
        return []
    ends = [_add_axis(columns, axis, steps) for axis in _AXES]
    lows, highs = ([end[side] for end in ends] for side in (0, 1))
    return [{"name": text(step.name), **step.losses, "low": lows, "high": highs} for step in steps]


def _thinned(steps: Iterable[Any], most: int) -> list[Any]:
    """The first, the last, and evenly spaced ones between them."""
    if most < 2:
        raise ValueError(f"max_steps is {most}: expected at least 2, the first step and the last")
    every = list(steps)
    places = np.linspace(0, len(every) - 1, min(most, len(every)))
    return [every[round(place)] for place in places.tolist()]


def _recorded(m: MemoryMap, trajectory: Trajectory | Mapping[str, MemoryMap], most: int) -> Iterator[_Step]:
    """One map in memory at a time."""
    if isinstance(trajectory, Trajectory):
        losses = trajectory.losses()
        for step in _thinned(trajectory.steps, most):
            row = losses.loc[step]
            known = {name: finite(row[name]) for name in ("loss", "loo_loss", "test_loss", "effective")}
            yield _step(m, trajectory.at(step), f"step {step:,}", known)
        return
    for name in _thinned(trajectory, most):
        other = trajectory[name]
        known = {name: finite(weighted_mean(other, other[name])) for name in ("loss", "loo_loss")} | {"test_loss": None}
        effective = float(np.nansum(other["leverage"])) if np.all(np.isfinite(other["leverage"])) else None
        yield _step(m, other, name, known | {"effective": effective})


def _step(m: MemoryMap, other: MemoryMap, name: str, losses: dict[str, float | None]) -> _Step:
    rows = joined(m, other)
    if np.any(rows < 0):
        raise ValueError(f"step {name!r} lacks {np.count_nonzero(rows < 0):,} of the map's {len(m):,} ids")
    check_same_examples(m, other, (np.arange(len(m)), rows))
    return _Step(name, {axis: other[axis][rows] for axis in _AXES}, losses)


def _add_axis(columns: Columns, axis: str, steps: list[_Step]) -> tuple[float, float]:
    values = [step.scores[axis] for step in steps]
    low, high = _log_range(values)
    codes = [_log_codes(value, low, high) for value in values]
    for t, code in enumerate(codes):  # unsigned differences wrap round, and so do the page's sums
        columns.raw(f"{axis}#{t}", code - codes[t - 1] if t else code)
    return low, high


def _log_range(columns: list[Array]) -> tuple[float, float]:
    values = np.concatenate([v[np.isfinite(v) & (v > 0)] for v in columns])
    if not len(values):
        return -1.0, 0.0
    low, high = float(np.log10(values.min())), float(np.log10(values.max()))
    return low, max(high, low + 1e-6)


def _log_codes(values: Array, low: float, high: float) -> Array:
    """16 bits of log10: 0 zero, 65535 undefined, else a relative error below 1e-4 for eight decades."""
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (np.log10(values) - low) / (high - low)
    codes = np.where(np.isfinite(part), 1 + np.rint(65533 * np.clip(np.nan_to_num(part), 0, 1)), MISSING)
    return np.where(values == 0, 0, codes).astype(np.uint16)
