"""TensorBoard: `Tracker(…, log=TensorBoard(SummaryWriter("logs")))`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memorymaps.maps.memory_map import MemoryMap
from memorymaps.training.callbacks.figures import finite_scalars, map_image


@dataclass(frozen=True)
class TensorBoard:
    """Logs scalars and the map's figure of every record to a `torch.utils.tensorboard.SummaryWriter`."""

    writer: Any

    def __call__(self, step: int, m: MemoryMap, scalars: Mapping[str, float]) -> None:
        """Log one record."""
        for name, value in finite_scalars(scalars).items():
            self.writer.add_scalar(name, value, step)
        self.writer.add_image("memorymaps/map", map_image(m), step, dataformats="HWC")
