"""How a data set is read into batches: the options `collate=` and `batch_size=` of `memory_map` and `Tracker`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Loading:
    """How a data set is read into batches; None: its loader's way, or the default.

    Attributes
    ----------
    collate : makes a batch from a list of examples, as `DataLoader(collate_fn=…)`: pads ragged rows, for instance.
    batch_size : number of examples in a batch that is read.

    Raises
    ------
    ValueError
        A batch size below 1.

    Examples
    --------
    >>> Loading().given, Loading(batch_size=32).given
    (False, True)
    """

    collate: Callable[[list[Any]], Any] | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size = {self.batch_size}: expected at least 1")

    @property
    def given(self) -> bool:
        """Whether anything was asked for."""
        return self != Loading()

    @property
    def options(self) -> dict[str, Any]:
        """What was asked for, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}
