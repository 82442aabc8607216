"""`Examples`: training examples, read in batches, always in the same order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from memorymaps.core.arrays import Batch

BATCH = 65_536  # rows read at once: 50 MB of 100 float64 features


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
