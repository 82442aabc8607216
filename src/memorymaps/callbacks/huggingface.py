"""Maps while a Hugging Face `Trainer` trains: `callbacks=[MemoryMaps(data, likelihood=…, path=…, every=…)]`."""

from __future__ import annotations

from typing import Any

from memorymaps._extras import require
from memorymaps.tracking import Tracker

TrainerCallback = require("transformers").TrainerCallback


class MemoryMaps(TrainerCallback):  # type: ignore[misc,valid-type]
    """`data` yields the model's `inputs` as mappings with `labels`; takes `Tracker`'s options.

    Parameters without gradient (all but LoRA's) are held fixed and listed. Steps are the optimiser's, after
    accumulation; a run resumed from a checkpoint goes on from its step.
    """

    def __init__(self, data: Any, **options: Any):
        self._data, self._options = data, options

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin, or go on from a checkpoint."""
        optimizer = getattr(given["optimizer"], "optimizer", given["optimizer"])  # accelerate wraps it
        self.tracker = Tracker(given["model"], optimizer, self._data, start=state.global_step, **self._options)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """One more step of the optimiser."""
        self.tracker.step()
