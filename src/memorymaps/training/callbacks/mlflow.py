"""MLflow: `Tracker(…, log=MLflow(run_id))`, into the store of the tracking URI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memorymaps._imports import require
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.training.callbacks.figures import finite_scalars, map_image


@dataclass(frozen=True)
class MLflow:
    """Logs scalars and the map's figure of every record to a run; `client` defaults to that of the tracking URI."""

    run_id: str
    client: Any = field(default_factory=lambda: require("mlflow").MlflowClient())

    def __call__(self, step: int, m: MemoryMap, scalars: Mapping[str, float]) -> None:
        """Log one record."""
        for name, value in finite_scalars(scalars).items():
            self.client.log_metric(self.run_id, name, value, step=step)
        self.client.log_image(self.run_id, map_image(m), f"memorymaps/map-{step:09d}.png")
