"""Weights & Biases: `Tracker(…, log=WandB(wandb.init(project="mine")))`; offline runs too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memorymaps._imports import require
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.training.callbacks.figures import finite_scalars, map_image


@dataclass(frozen=True)
class WandB:
    """Scalars and the map's picture of every record, to a run; the step is logged as `memorymaps/step`."""

    run: Any

    def __call__(self, step: int, m: MemoryMap, scalars: Mapping[str, float]) -> None:
        """Log one record: steps of the run's own count may differ, hence a column for ours."""
        picture = require("wandb").Image(map_image(m))
        self.run.log({"memorymaps/step": step, "memorymaps/map": picture, **finite_scalars(scalars)})
