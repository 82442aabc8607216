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


@dataclass(frozen=True)
class ExamplesWithRows(Examples):
    """Examples whose inputs are `InputsWithRows`.

    Examples
    --------
    >>> from memorymaps.data.in_memory import ArrayExamples
    >>> ExamplesWithRows(ArrayExamples.of([[1.0], [2.0]], [0, 1])).take([1]).inputs.rows
    array([1])
    """

    source: Examples

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for batch in self.source:
            yield _with_rows(batch, np.arange(start, start + len(batch)))
            start += len(batch)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions."""
        return _with_rows(self.source.take(rows), np.arange(len(self))[rows])

    def pieces(self) -> Iterator[Piece]:
        """The source's, with row numbers added where they are read."""
        return (PieceWithRows(piece, _with_rows) for piece in self.source.pieces())


def _with_rows(batch: Batch, rows: Array) -> Batch:
    return dataclasses.replace(batch, inputs=InputsWithRows(batch.inputs, rows))


def preserving_rows(transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The transformation, applied to the inputs inside `InputsWithRows` with the row numbers unchanged."""

    def apply(inputs: Any) -> Any:
        if isinstance(inputs, InputsWithRows):
            return InputsWithRows(transform(inputs.inputs), inputs.rows)
        return transform(inputs)

    return apply
