"""Hugging Face Trainer: `Trainer(…, callbacks=[HuggingFaceCallback(data, likelihood="categorical", path="run", every=100)])`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from memorymaps.training.tracker import Tracker


class HuggingFaceCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not read by mypy
    """Records maps of the model in training; `options` are those of `Tracker`, steps are optimiser steps.

    `data` gives dictionaries of `inputs` with `labels`, padded alike. With LoRA the adapters, which are what the
    optimiser holds, are mapped and the base model is held fixed.

    Attributes
    ----------
    tracker : from the start of training on.
    """

    def __init__(self, data: Any, target: Any = None, **options: Any):
        self.data, self.target, self.options = data, target, options

    def on_train_begin(self, args: Any, state: Any, control: Any, **held: Any) -> None:
        """Begin a run, or go on with one."""
        options = {"start": state.global_step} | self.options
        optimizer = getattr(held["optimizer"], "optimizer", held["optimizer"])  # accelerate wraps it
        self.tracker = Tracker(held["model"], optimizer, self.data, self.target, **options)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count one optimiser step."""
        self.tracker.step()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Let another run write to the folder."""
        self.tracker.close()
