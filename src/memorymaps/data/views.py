"""Views of training examples: subsets, and replaced ids, weights or offsets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

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
        """The examples at these positions of the subset."""
        return self.source.take(self.rows[rows])


@dataclass(frozen=True)
class WithColumns(Examples):
    """Examples of a source with ids, weights or offsets given separately, in the same order."""

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
            Lengths that differ from the data's, duplicate ids, or ids for data that have their own.
        """
        n = len(source)
        if ids is not None and source.has_ids:
            raise DataError("ids=… were given and the data have ids of their own: pass only one of them")
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
        """The examples at these positions, in the given order."""
        return self._with(self.source.take(rows), rows)

    def _with(self, batch: Batch, rows: Any) -> Batch:
        columns = {"ids": self.ids, "weight": self.weight, "offset": self.offset}
        given = {name: column[rows] for name, column in columns.items() if column is not None}
        return dataclasses.replace(batch, **given)


def without_weight(which: Callable[[Any], Array | None]) -> Callable[[Batch], Batch]:
    """A function of batches that gives weight 0 to the examples `which(target) [n]`, for `Examples.map`."""

    def change(batch: Batch) -> Batch:
        found = which(batch.target)
        if found is None or not np.any(found):
            return batch
        weight = np.ones(len(batch)) if batch.weight is None else np.asarray(batch.weight, dtype=float)
        return dataclasses.replace(batch, weight=np.where(found, 0.0, weight))

    return change


def with_inputs(transform: Callable[[Any], Any]) -> Callable[[Batch], Batch]:
    """A function of batches that transforms their inputs only, for `Examples.map`."""
    return lambda batch: dataclasses.replace(batch, inputs=transform(batch.inputs))
