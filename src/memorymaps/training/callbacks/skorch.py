"""skorch: `callbacks=[("maps", SkorchCallback(likelihood="categorical", path="run", every=100))]`."""

from __future__ import annotations

from typing import Any

from skorch.callbacks import Callback

from memorymaps.training.callbacks.recording import SafeRecorder, is_first_process
from memorymaps.training.tracker import Tracker


class SkorchCallback(Callback):  # type: ignore[misc]  # skorch is not read by mypy
    """Records maps of the data given to `fit`; `options` are those of `Tracker`.

    The module returns logits (`criterion=nn.CrossEntropyLoss`). With skorch's own train split, pass `data` and
    `target`: the arguments of `fit` contain the validation data too. Only the first process of a distributed training
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

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Create the tracker; a resumed run continues at its step."""
        data, target = (X, y) if self.data is None else (self.data, self.target)
        if is_first_process():
            self._recorder.start(lambda: Tracker(net.module_, net.optimizer_, data, target, **self.options))

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        """Count one optimiser step."""
        if training:
            self._recorder.step()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        """Release the folder for other runs."""
        self._recorder.close()
