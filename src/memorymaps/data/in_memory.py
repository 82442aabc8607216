"""Training examples in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Batch
from memorymaps.data.coercion import (
    as_array,
    as_ids,
    as_inputs,
    checked_column,
    checked_ids,
    checked_offset,
    checked_weights,
    count_rows,
    take_optional,
    take_rows,
)
from memorymaps.data.examples import BATCH, DataError, Examples


@dataclass(frozen=True)
class ArrayExamples(Examples):
    """Examples in memory: arrays, data frames, sparse matrices.

    Examples
    --------
    >>> data = ArrayExamples.of([[1.0], [2.0]], [0, 1], ids=["a", "b"])
    >>> [batch.ids.tolist() for batch in data]
    [['a', 'b']]
    """

    whole: Batch
    batch_size: int = BATCH

    @classmethod
    def of(
        cls,
        inputs: Any,
        target: Any,
        ids: Any = None,
        sample_weight: Any = None,
        offset: Any = None,
        batch_size: int = BATCH,
    ) -> ArrayExamples:
        """Examples from checked arguments; ids default to a data frame's index, else row numbers.

        Raises
        ------
        DataError
            No rows, unequal lengths, duplicate ids, negative or non-finite weights.
        """
        if target is None:
            raise DataError("a map needs targets: memory_map(model, X, y)")
        y = as_array(target)
        inputs = as_inputs(inputs, len(y) if y.ndim else 0)
        n = count_rows(inputs)
        if n == 0:
            raise DataError("the data has no rows")
        checked_column(y, n, "target")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        batch = Batch(
            inputs,
            y,
            checked_ids(ids, inputs, n),
            checked_weights(sample_weight, n),
            checked_offset(offset, n),
        )
        return cls(batch, batch_size)

    @classmethod
    def carried(
        cls, inputs: Any, target: Any, ids: Any, sample_weight: Any = None, offset: Any = None
    ) -> ArrayExamples:
        """Examples that a fitted model carries with it.

        Its names may occur twice: `memory_map` may be given others, and checks those that it uses.
        """
        n, y = len(inputs), as_array(target)
        checked_column(y, n, "target")
        return cls(
            Batch(inputs, y, as_ids(ids), checked_weights(sample_weight, n), checked_column(offset, n, "offset"))
        )

    @property
    def has_ids(self) -> bool:
        """Whether ids are other than row numbers."""
        return not np.array_equal(self.whole.ids, np.arange(len(self)))

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self), self.batch_size):
            yield self.take(slice(start, start + self.batch_size))

    def take(self, rows: Any) -> Batch:
        """The examples at these positions."""
        b = self.whole
        rows = rows if isinstance(rows, slice) else np.array(rows)  # a copy: torch needs writable indices
        return Batch(
            take_rows(b.inputs, rows),
            b.target[rows],
            b.ids[rows],
            take_optional(b.weight, rows),
            take_optional(b.offset, rows),
        )


@dataclass(frozen=True)
class CachedExamples(Examples):
    """Examples whose batches are read once and cached in memory, for repeated passes."""

    source: Examples
    batches: tuple[Batch, ...]

    @classmethod
    def of(cls, source: Examples) -> CachedExamples:
        """Read and cache all batches of `source`."""
        return cls(source, tuple(source))

    def __len__(self) -> int:
        return len(self.source)

    @property
    def share(self) -> slice:
        """Positions that a pass reads."""
        return self.source.share

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, from the source."""
        return self.source.take(rows)
