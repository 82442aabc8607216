"""Hugging Face Trainer: `callbacks=[HuggingFaceCallback(likelihood="categorical", path="run", every=100)]`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch.utils.data import IterableDataset
from transformers import TrainerCallback

from memorymaps.data.examples import DataError
from memorymaps.nets.data.datasets import IDS
from memorymaps.nets.data.hugging_face import known_columns
from memorymaps.training.callbacks.recording import SafeRecorder
from memorymaps.training.tracker import Tracker

_LABELS = ("labels", "label", "label_ids")


class HuggingFaceCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not read by mypy
    """Records maps of the model in training; `options` are those of `Tracker`, steps are optimiser steps.

    `data` is the training data set (default: the Trainer's own); rows are put together by the Trainer's data collator,
    which pads them, and columns that the model does not take are left out. With LoRA the adapters are mapped, because
    they are the optimiser's parameters; the base model is fixed. Only the first process of a distributed training
    records. What cannot be recorded is reported once, by a `RecordingWarning`; the training goes on.

    Attributes
    ----------
    tracker : the `Tracker`, from the start of training on; None if it could not be created.
    """

    def __init__(self, data: Any = None, target: Any = None, **options: Any):
        self.data, self.target, self.options = data, target, options
        self._recorder = SafeRecorder()

    @property
    def tracker(self) -> Tracker | None:
        """The tracker, from the start of training on."""
        return self._recorder.tracker

    def on_train_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Create the tracker; a resumed run continues at its step."""
        if state.is_world_process_zero:
            self._recorder.start(lambda: self._created(state.global_step, objects))

    def _created(self, step: int, objects: Mapping[str, Any]) -> Tracker:
        model, loader = objects["model"], objects.get("train_dataloader")
        data = loader.dataset if self.data is None and loader is not None else self.data
        if isinstance(data, IterableDataset):
            raise DataError(
                f"a {type(data).__name__} is an IterableDataset, which has no numbered examples: pass those to be "
                "mapped, HuggingFaceCallback(list(dataset), …)"
            )
        collate = {}
        if self.target is None and loader is not None:
            collate = {"collate": _with_known_columns(loader.collate_fn, model)}
        optimizer = getattr(objects["optimizer"], "optimizer", objects["optimizer"])  # accelerate wraps it
        return Tracker(model, optimizer, data, self.target, **{"start": step} | collate | self.options)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count one optimiser step."""
        self._recorder.step()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Release the folder for other runs."""
        self._recorder.close()


def _with_known_columns(collate: Callable[[list[Any]], Any], model: Any) -> Callable[[list[Any]], Any]:
    """A collator that first drops the columns which neither the model takes nor are labels, as the Trainer does."""
    known = {*(known_columns(model) or ()), *_LABELS, *IDS}

    return lambda rows: collate([_selected(row, known) for row in rows])


def _selected(row: Any, known: Collection[str]) -> Any:
    return {name: value for name, value in row.items() if name in known} if isinstance(row, Mapping) else row
