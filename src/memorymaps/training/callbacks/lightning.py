"""PyTorch Lightning: `Trainer(callbacks=[LightningCallback(data, likelihood="categorical", path="run", every=100)])`."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from memorymaps.training.tracker import Tracker


class LightningCallback(Callback):  # type: ignore[misc]  # lightning is not read by mypy
    """Records maps of the module in training; `options` are those of `Tracker`, steps are optimiser steps.

    Attributes
    ----------
    tracker : from the start of training on; a run resumed from a checkpoint starts at its step.
    """

    def __init__(self, data: Any, target: Any = None, **options: Any):
        self.data, self.target, self.options = data, target, options

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a run, or go on with one."""
        options = {"start": trainer.global_step} | self.options
        self.tracker = Tracker(pl_module, trainer.optimizers[0], self.data, self.target, **options)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Count optimiser steps: with accumulated gradients not every batch is one."""
        while self.tracker.steps < trainer.global_step:
            self.tracker.step()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Let another run write to the folder."""
        self.tracker.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The same, if training has begun."""
        if hasattr(self, "tracker"):
            self.tracker.close()
