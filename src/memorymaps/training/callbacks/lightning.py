"""PyTorch Lightning: `callbacks=[LightningCallback(data, likelihood="categorical", path="run", every=100)]`."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from memorymaps.training.tracker import Tracker


class LightningCallback(Callback):  # type: ignore[misc]  # lightning is not read by mypy
    """Records maps of the module in training; `options` are those of `Tracker`, steps are optimiser steps.

    Attributes
    ----------
    tracker : the `Tracker`, from the start of training on; a run resumed from a checkpoint starts at its step.
    """

    def __init__(self, data: Any, target: Any = None, **options: Any):
        self.data, self.target, self.options = data, target, options

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Create the tracker; a resumed run continues at its step."""
        options = {"start": trainer.global_step} | self.options
        self.tracker = Tracker(pl_module, trainer.optimizers[0], self.data, self.target, **options)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Count optimiser steps; with gradient accumulation there are fewer of them than batches."""
        while self.tracker.steps < trainer.global_step:
            self.tracker.step()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Release the folder for other runs."""
        self.tracker.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Release the folder, if training has begun."""
        if hasattr(self, "tracker"):
            self.tracker.close()
