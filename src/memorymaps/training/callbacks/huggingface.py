"""Hugging Face Trainer: `callbacks=[HuggingFaceCallback(data, likelihood="categorical", path="run", every=100)]`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from memorymaps.training.tracker import Tracker


class HuggingFaceCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not read by mypy
    """Records maps of the model in training; `options` are those of `Tracker`, steps are optimiser steps.

    `data` consists of dictionaries of `inputs` with `labels`, padded to the same length. With LoRA the adapters are
    mapped, because they are the optimiser's parameters; the base model is fixed.

    Attributes
    ----------
    tracker : the `Tracker`, from the start of training on.
    """

    def __init__(self, data: Any, target: Any = None, **options: Any):
        self.data, self.target, self.options = data, target, options

    def on_train_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Create the tracker; a resumed run continues at its step."""
        options = {"start": state.global_step} | self.options
        optimizer = getattr(objects["optimizer"], "optimizer", objects["optimizer"])  # accelerate wraps it
        self.tracker = Tracker(objects["model"], optimizer, self.data, self.target, **options)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count one optimiser step."""
        self.tracker.step()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Release the folder for other runs."""
        self.tracker.close()
