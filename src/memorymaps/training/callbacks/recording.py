"""Recording that never ends a training: what cannot be recorded is reported once, and training goes on."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator

from memorymaps.training.tracker import Tracker


class RecordingWarning(UserWarning):
    """Something could not be recorded; the training goes on."""


class SafeRecorder:
    """A tracker whose errors become warnings, each kind of message once; nothing, in processes that do not record.

    Attributes
    ----------
    tracker : the `Tracker`; None before the start, if it could not be created, and in processes that do not record.
    """

    def __init__(self) -> None:
        self.tracker: Tracker | None = None
        self._reported: set[str] = set()

    def start(self, create: Callable[[], Tracker]) -> None:
        """Create the tracker, and check network, data and optimiser: what fails now would fail at every step."""
        with self._reporting("from the first step on"):
            tracker = create()
            try:
                tracker.check()
            except BaseException:
                tracker.close()
                raise
            self.tracker = tracker

    def step(self, until: int | None = None) -> None:
        """Count optimiser steps: one, or up to `until`; record if the schedule says so."""
        if self.tracker is None:
            return
        wanted = self.tracker.steps + 1 if until is None else until
        while self.tracker.steps < wanted:
            with self._reporting(f"at step {self.tracker.steps + 1:,}"):
                self.tracker.step()

    def close(self) -> None:
        """Release the folder for other runs."""
        if self.tracker is not None:
            self.tracker.close()

    @contextlib.contextmanager
    def _reporting(self, when: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of a model, a data set or a disk, whatever it is: the training is worth more
            kind = re.sub(r"[\d.,]+", "#", f"{type(error).__name__}: {error}")
            if kind not in self._reported:
                self._reported.add(kind)
                words = f"memorymaps could not record {when}; the training goes on. {type(error).__name__}: {error}"
                warnings.warn(words, RecordingWarning, stacklevel=3)


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of a distributed training: the one that records."""
    import torch.distributed as distributed

    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
