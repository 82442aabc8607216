"""Inputs together with their row numbers, for posteriors that are defined at training examples only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.examples import Examples
from memorymaps.data.streamed.pieces import Piece, PieceWithRows


@dataclass(frozen=True)
class InputsWithRows:
    """Inputs of a batch and their positions `rows [n]` in the training data."""

    inputs: Any
    rows: Array

    def __len__(self) -> int:
        return len(self.rows)


def with_rows(batch: Batch, rows: Array) -> Batch:
    """The batch with `InputsWithRows`."""
    return dataclasses.replace(batch, inputs=InputsWithRows(batch.inputs, rows))


def row_indices(batch: Batch, rows: Array) -> Batch:
    """The batch with its row numbers as inputs, for posteriors that store a value for each row."""
    return dataclasses.replace(batch, inputs=rows)


@dataclass(frozen=True)
class ExamplesWithRows(Examples):
    """Examples whose batches are changed by their row numbers: by `with_rows`, or another function of both.

    Examples
    --------
    >>> from memorymaps.data.in_memory import ArrayExamples
    >>> ExamplesWithRows(ArrayExamples.of([[1.0], [2.0]], [0, 1])).take([1]).inputs.rows
    array([1])
    """

    source: Examples
    change: Callable[[Batch, Array], Batch] = with_rows

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for batch in self.source:
            yield self.change(batch, np.arange(start, start + len(batch)))
            start += len(batch)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions."""
        return self.change(self.source.take(rows), np.arange(len(self))[rows])

    def pieces(self) -> Iterator[Piece]:
        """The source's, with row numbers added where they are read."""
        return (PieceWithRows(piece, self.change) for piece in self.source.pieces())


def preserving_rows(transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The transformation, applied to the inputs inside `InputsWithRows` with the row numbers unchanged."""

    def apply(inputs: Any) -> Any:
        if isinstance(inputs, InputsWithRows):
            return InputsWithRows(transform(inputs.inputs), inputs.rows)
        return transform(inputs)

    return apply
