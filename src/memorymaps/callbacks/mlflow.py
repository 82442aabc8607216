"""Records to MLflow: `Tracker(…, loggers=[log(MlflowClient(), run.info.run_id)])`."""

from __future__ import annotations

from typing import Any

from memorymaps.tracking import Logger, Record
from memorymaps.viz.displays import MapDisplay
from memorymaps.viz.style import off_screen


def log(client: Any, run_id: str, prefix: str = "memorymaps") -> Logger:
    """A logger of scalars and the map's picture to a run of an `MlflowClient`."""

    def write(record: Record) -> None:
        for name, value in record.scalars.items():
            client.log_metric(run_id, f"{prefix}/{name}", value, step=record.step)
        display = MapDisplay.from_map(record.map, ax=off_screen(MapDisplay.size))
        client.log_figure(run_id, display.figure_, f"{prefix}/map_{record.step:09d}.png")

    return write
