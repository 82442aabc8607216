"""Pieces of training data: consecutive batches that another process can read, or that are sent to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from memorymaps.core.arrays import Array, Batch


class Piece(Protocol):
    """Consecutive batches of training data, at the positions `rows`."""

    @property
    def rows(self) -> slice:
        """Positions in the training data."""

    def batches(self) -> Iterator[Batch]:
        """The batches, the same as in a pass over all data."""


@dataclass(frozen=True)
class LoadedPiece:
    """A batch in memory."""

    rows: slice
    batch: Batch

    def batches(self) -> Iterator[Batch]:
        """The batch."""
        yield self.batch


@dataclass(frozen=True)
class MappedPiece:
    """A piece with a function applied to its batches."""

    source: Piece
    change: Callable[[Batch], Batch]

    @property
    def rows(self) -> slice:
        """Those of the source."""
        return self.source.rows

    def batches(self) -> Iterator[Batch]:
        """The changed batches."""
        return map(self.change, self.source.batches())


@dataclass(frozen=True)
class PieceWithRows:
    """A piece with a function of each batch and of its positions `[n]` applied."""

    source: Piece
    change: Callable[[Batch, Array], Batch]

    @property
    def rows(self) -> slice:
        """Those of the source."""
        return self.source.rows

    def batches(self) -> Iterator[Batch]:
        """The changed batches."""
        start = self.rows.start
        for batch in self.source.batches():
            yield self.change(batch, np.arange(start, start + len(batch)))
            start += len(batch)
