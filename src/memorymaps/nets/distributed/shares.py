"""Training examples of which every process reads its own part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples, CachedExamples
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.data.views import Subset, WithColumns
from memorymaps.nets.autograd.pytree import take_rows
from memorymaps.nets.data.datasets import DatasetExamples
from memorymaps.posteriors.processes.ranks import Ranks

_ONE = Ranks()
_BATCH = 1024  # examples read at once where the source does not say


@dataclass(frozen=True)
class SharedExamples(Examples):
    """Examples of which a pass yields the contiguous part of this process; length and `take` are those of all.

    Arrays and data sets are read at this process' positions only; anything else (a stream of batches) is read from
    beginning to end, and other processes' examples are left out.
    """

    source: Examples
    ranks: Ranks

    def __len__(self) -> int:
        return len(self.source)

    @property
    def share(self) -> slice:
        """Positions that a pass yields."""
        return self.ranks.part(len(self))

    def __iter__(self) -> Iterator[Batch]:
        if self.ranks.size == 1:
            return iter(self.source)
        innermost = _innermost(self.source)
        if not isinstance(innermost, (ArrayExamples, DatasetExamples)):
            return _overlap(self.source, self.share)
        return _read(self.source, self.share, min(innermost.batch_size, _BATCH))

    def take(self, rows: Any) -> Batch:
        """The examples at these positions of all."""
        return self.source.take(rows)


def _innermost(examples: Examples) -> Examples:
    """The examples that views and functions of batches are applied to."""
    inside = getattr(examples, "source", None)
    return _innermost(inside) if isinstance(inside, Examples) else examples


def _read(source: Examples, share: slice, size: int) -> Iterator[Batch]:
    for start in range(share.start, share.stop, size):
        yield source.take(slice(start, min(start + size, share.stop)))


def _overlap(source: Examples, share: slice) -> Iterator[Batch]:
    start = 0
    for batch in source:
        rows = slice(max(share.start - start, 0), max(min(share.stop - start, len(batch)), 0))
        start += len(batch)
        if rows.start < rows.stop:
            yield batch.take_slice(rows, take_rows(batch.inputs, rows))


def _shared(examples: Examples) -> SharedExamples | None:
    """The shared examples that are read here, through caches and checks of repeated passes."""
    while isinstance(examples, (RepeatedExamples, CachedExamples)):
        examples = examples.source
    return examples if isinstance(examples, SharedExamples) else None


def ranks_in(examples: Examples) -> Ranks:
    """The processes that share these examples: one, if they are not shared."""
    found = _shared(examples)
    return _ONE if found is None else found.ranks


def unshared(examples: Examples) -> Examples:
    """All examples, in this process."""
    found = _shared(examples)
    return examples if found is None else found.source


def first_batch(examples: Examples) -> Batch | None:
    """The first batch of all, the same in every process; `None` without examples."""
    return next(iter(unshared(examples)), None)


def require_first(examples: Examples) -> Batch:
    """The first batch of all, the same in every process.

    Raises
    ------
    DataError
        There are no examples.
    """
    found = first_batch(examples)
    if found is None:
        raise DataError("the data has no rows")
    return found


def shared_subset(examples: Examples, rows: Array, weight: Tensor) -> Examples:
    """Some examples with other weights, shared by the processes that share all of them."""
    found = _shared(examples)
    chosen = WithColumns(Subset(unshared(examples), rows), weight=np.asarray(weight))
    return chosen if found is None else SharedExamples(chosen, found.ranks)
