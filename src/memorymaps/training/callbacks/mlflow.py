"""MLflow: `Tracker(…, log=MLflow(run_id))`, to whatever store the tracking URI names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memorymaps._imports import require
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.training.callbacks.figures import finite_scalars, map_image


@dataclass(frozen=True)
class MLflow:
    """Scalars and the map's picture of every record, to a run; `client` default: the tracking URI's own."""

    run_id: str
    client: Any = field(default_factory=lambda: require("mlflow").MlflowClient())

    def __call__(self, step: int, m: MemoryMap, scalars: Mapping[str, float]) -> None:
        """Log one record."""
        for name, value in finite_scalars(scalars).items():
            self.client.log_metric(self.run_id, name, value, step=step)
        self.client.log_image(self.run_id, map_image(m), f"memorymaps/map-{step:09d}.png")
