"""Training examples in memory or in a Parquet file, read in batches, always in the same order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from memorymaps.core.arrays import Batch

BATCH = 65_536  # rows read at once: 50 MB of 100 float64 features


class DataError(ValueError):
    """Training data that no map can be drawn from."""


class Examples(ABC):
    """Training examples that can be read more than once, always in the same order."""

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, rows: Any) -> Batch:
        """The examples at these positions (a slice or an integer array), in the order asked for."""

    @property
    def named(self) -> bool:
        """Whether the data say themselves what their examples are called."""
        return True

    def map(self, change: Callable[[Batch], Batch]) -> Examples:
        """The same examples with `change` applied to every batch, lazily."""
        return MappedExamples(self, change)


@dataclass(frozen=True)
class MappedExamples(Examples):
    """Examples seen through a function of batches."""

    source: Examples
    change: Callable[[Batch], Batch]

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.change, self.source)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions."""
        return self.change(self.source.take(rows))
