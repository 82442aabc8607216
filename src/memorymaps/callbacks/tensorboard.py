"""Records to TensorBoard: `Tracker(…, loggers=[log(SummaryWriter("runs"))])`."""

from __future__ import annotations

from typing import Any

from memorymaps.tracking import Logger, Record
from memorymaps.viz.displays import MapDisplay
from memorymaps.viz.style import off_screen


def log(writer: Any, prefix: str = "memorymaps") -> Logger:
    """A logger of scalars and the map's picture to a `SummaryWriter`."""

    def write(record: Record) -> None:
        for name, value in record.scalars.items():
            writer.add_scalar(f"{prefix}/{name}", value, record.step)
        display = MapDisplay.from_map(record.map, ax=off_screen(MapDisplay.size))
        writer.add_figure(f"{prefix}/map", display.figure_, record.step, close=False)

    return write
