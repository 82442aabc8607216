"""`Examples`: training examples, read in batches, always in the same order."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.streamed.pieces import LoadedPiece, MappedPiece, Piece

BATCH = 32_768  # rows read at once: 25 MB of 100 float64 features; glibc reuses memory of blocks up to 32 MB


Total = TypeVar("Total")


class DataError(ValueError):
    """Invalid training data."""


class Examples(ABC):
    """Training examples that can be read more than once, always in the same order."""

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, rows: Any) -> Batch:
        """The examples at these positions (a slice or an integer array), in the given order."""

    def sample(self, size: int) -> Batch:
        """About `size` examples spread over the data, the same in every call; all of fewer."""
        return self.take(self.sample_rows(size))

    def sample_rows(self, size: int) -> Array:
        """Positions of the examples of a `sample`: those that cost little to read."""
        n = len(self)
        return np.unique(np.linspace(0, n - 1, min(n, size)).astype(np.int64))

    def pieces(self) -> Iterator[Piece]:
        """All examples in pieces that can be sent to other processes: here batches, read as they are taken."""
        start = 0
        for batch in self:
            yield LoadedPiece(slice(start, start + len(batch)), batch)
            start += len(batch)

    def fold(
        self, start: Callable[[], Total], add: Callable[[Total, Batch], None], merge: Callable[[Total, Total], Total]
    ) -> Total:
        """A sum over all batches: `add` changes a total that `start` made, `merge` adds two of them.

        Here one after the other; by the workers of an executor where the data have some, totals in pairs.
        """
        total = start()
        for batch in self:
            add(total, batch)
        return total

    @property
    def has_ids(self) -> bool:
        """Whether the examples have ids of their own, other than row numbers."""
        return True

    @property
    def share(self) -> slice:
        """Positions that a pass reads: all, unless several processes share the examples."""
        return slice(0, len(self))

    def map(self, change: Callable[[Batch], Batch]) -> Examples:
        """The same examples with `change` applied to every batch, lazily."""
        return MappedExamples(self, change)


@dataclass(frozen=True)
class MappedExamples(Examples):
    """Examples with a function applied to every batch, as by `map`."""

    source: Examples
    change: Callable[[Batch], Batch]

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.change, self.source)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions."""
        return self.change(self.source.take(rows))

    def sample_rows(self, size: int) -> Array:
        """Those of the source."""
        return self.source.sample_rows(size)

    def pieces(self) -> Iterator[Piece]:
        """The source's, changed where they are read."""
        return (MappedPiece(piece, self.change) for piece in self.source.pieces())

    def fold(
        self, start: Callable[[], Total], add: Callable[[Total, Batch], None], merge: Callable[[Total, Total], Total]
    ) -> Total:
        """The source's, of changed batches."""
        return self.source.fold(start, functools.partial(_add_changed, self.change, add), merge)


def _add_changed(
    change: Callable[[Batch], Batch], add: Callable[[Total, Batch], None], total: Total, batch: Batch
) -> None:
    add(total, change(batch))
