"""Maps while PyTorch Lightning trains: `Trainer(callbacks=[MemoryMaps(data, likelihood=…, path=…, every=…)])`."""

from __future__ import annotations

from typing import Any

from memorymaps._extras import require
from memorymaps.tracking import Tracker

Callback = require("lightning").pytorch.Callback


class MemoryMaps(Callback):  # type: ignore[misc,valid-type]
    """Counts optimiser steps, not batches, so that accumulated gradients count once; takes `Tracker`'s options.

    The module's `forward(x)` is the network. A run resumed from a checkpoint goes on from its step.
    """

    def __init__(self, data: Any, **options: Any):
        self._data, self._options = data, options

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, or go on from a checkpoint."""
        optimizer, start = trainer.optimizers[0], trainer.global_step
        self.tracker = Tracker(pl_module, optimizer, self._data, start=start, **self._options)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """One more step, if the optimiser has taken one."""
        if trainer.global_step > self.tracker.steps:
            self.tracker.step()
