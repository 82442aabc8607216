"""Maps while a skorch net trains: `callbacks=[MemoryMaps(X, y, likelihood=…, path=…, every=…)]`."""

from __future__ import annotations

from typing import Any

from memorymaps._extras import require
from memorymaps.tracking import Tracker

Callback = require("skorch").callbacks.Callback


class MemoryMaps(Callback):  # type: ignore[misc,valid-type]
    """Takes `Tracker`'s options. The module must give logits: criterion `CrossEntropyLoss`, not `NLLLoss`."""

    def __init__(self, data: Any, target: Any = None, **options: Any):
        self.data, self.target, self.options = data, target, options

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments, for scikit-learn's `clone`."""
        return {"data": self.data, "target": self.target, **self.options}

    def on_train_begin(self, net: Any, *_: Any, **__: Any) -> None:
        """Begin."""
        self.tracker_ = Tracker(net.module_, net.optimizer_, self.data, self.target, **self.options)

    def on_batch_end(self, net: Any, *_: Any, training: bool = False, **__: Any) -> None:
        """One more step, after a batch of training."""
        if training:
            self.tracker_.step()
