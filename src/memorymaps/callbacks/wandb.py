"""Records to Weights & Biases: `Tracker(…, loggers=[log(wandb.init(…))])`."""

from __future__ import annotations

from typing import Any

from memorymaps._extras import require
from memorymaps.tracking import Logger, Record
from memorymaps.viz.displays import MapDisplay
from memorymaps.viz.style import off_screen


def log(run: Any, prefix: str = "memorymaps") -> Logger:
    """A logger of scalars and the map's picture to a run; `memorymaps/step` is the optimiser's step."""
    image = require("wandb").Image

    def write(record: Record) -> None:
        display = MapDisplay.from_map(record.map, ax=off_screen(MapDisplay.size))
        shown = {"step": record.step, "map": image(display.figure_), **record.scalars}
        run.log({f"{prefix}/{name}": value for name, value in shown.items()})

    return write
