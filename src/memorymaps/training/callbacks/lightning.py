"""PyTorch Lightning: `callbacks=[LightningCallback(data, likelihood="categorical", path="run", every=100)]`."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from memorymaps.training.callbacks.recording import SafeRecorder
from memorymaps.training.tracker import Tracker


class LightningCallback(Callback):  # type: ignore[misc]  # lightning is not read by mypy
    """Records maps of the module in training; `options` are those of `Tracker`, steps are optimiser steps.

    `data` defaults to the training loader. Only the first process of a distributed training records. What cannot be
    recorded is reported once, by a `RecordingWarning`; the training goes on.

    Attributes
    ----------
    tracker : the `Tracker`, from the start of training on; a run resumed from a checkpoint starts at its step. None if
        it could not be created.
    """

    def __init__(self, data: Any = None, target: Any = None, **options: Any):
        self.data, self.target, self.options = data, target, options
        self._recorder = SafeRecorder()

    @property
    def tracker(self) -> Tracker | None:
        """The tracker, from the start of training on."""
        return self._recorder.tracker

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Create the tracker; a resumed run continues at its step."""
        if trainer.is_global_zero:
            self._recorder.start(lambda: self._created(trainer, pl_module))

    def _created(self, trainer: Any, module: Any) -> Tracker:
        if len(trainer.optimizers) != 1 and self.options.get("posterior") is None:
            raise ValueError(
                f"{len(trainer.optimizers)} optimisers: expected one, whose state is the posterior. "
                "Pass LightningCallback(…, posterior=Laplace(prior=δ)), which needs none"
            )
        data = trainer.train_dataloader if self.data is None else self.data
        options = {"start": trainer.global_step} | self.options
        return Tracker(module, next(iter(trainer.optimizers), None), data, self.target, **options)

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Count optimiser steps; with gradient accumulation there are fewer of them than batches."""
        self._recorder.step(until=trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Release the folder for other runs."""
        self._recorder.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Release the folder."""
        self._recorder.close()
