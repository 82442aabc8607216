"""Training examples seen through a selection, or with further columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import checked_ids, checked_offset, checked_weights
from memorymaps.data.examples import DataError, Examples


@dataclass(frozen=True)
class Subset(Examples):
    """Some examples of a larger set, by position, in ascending order."""

    source: Examples
    rows: Array
    batch_size: int = 1024

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.rows), self.batch_size):
            yield self.take(slice(start, start + self.batch_size))

    def take(self, rows: Any) -> Batch:
        """The examples at these positions of the selection."""
        return self.source.take(self.rows[rows])


@dataclass(frozen=True)
class WithColumns(Examples):
    """Examples of one source with ids, weights or offsets that were brought beside it, row by row."""

    source: Examples
    ids: Array | None = None
    weight: Array | None = None
    offset: Array | None = None

    @classmethod
    def of(cls, source: Examples, ids: Any = None, sample_weight: Any = None, offset: Any = None) -> WithColumns:
        """Check lengths, weights and ids.

        Raises
        ------
        DataError
            Other lengths than that of the data, duplicate ids, ids although the data bring their own.
        """
        n = len(source)
        if ids is not None and source.named:
            raise DataError("ids=… were given and the data bring ids of their own: leave one of them out")
        names = None if ids is None else checked_ids(ids, None, n)
        return cls(source, names, checked_weights(sample_weight, n), checked_offset(offset, n))

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for batch in self.source:
            yield self._with(batch, slice(start, start + len(batch)))
            start += len(batch)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, in the order asked for."""
        return self._with(self.source.take(rows), rows)

    def _with(self, batch: Batch, rows: Any) -> Batch:
        own = {"ids": self.ids, "weight": self.weight, "offset": self.offset}
        return dataclasses.replace(batch, **{name: column[rows] for name, column in own.items() if column is not None})


def with_inputs(transform: Callable[[Any], Any]) -> Callable[[Batch], Batch]:
    """A change of batches that only transforms their inputs."""
    return lambda batch: dataclasses.replace(batch, inputs=transform(batch.inputs))
