"""Weights & Biases: `Tracker(…, log=WandB(wandb.init(project="mine")))`; offline runs work too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memorymaps._imports import require
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.training.callbacks.figures import finite_scalars, map_image


@dataclass(frozen=True)
class WandB:
    """Logs scalars and the map's figure of every record to a run, the training step as `memorymaps/step`."""

    run: Any

    def __call__(self, step: int, m: MemoryMap, scalars: Mapping[str, float]) -> None:
        """Log one record; the run counts its own steps, hence the separate scalar."""
        image = require("wandb").Image(map_image(m))
        self.run.log({"memorymaps/step": step, "memorymaps/map": image, **finite_scalars(scalars)})
