"""Training examples streamed from Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import checked_ids, checked_weights, wide_as_text
from memorymaps.data.examples import BATCH, DataError, Examples
from memorymaps.data.streamed.parquet_files import ParquetFiles, RowGroups

_SAMPLED_GROUPS = 16  # row groups that a sample is taken from
_MANY_GROUPS = 4  # fewer are read whole for a sample, so that it is spread over the data


@dataclass(frozen=True)
class ParquetExamples(Examples):
    """Examples streamed from Parquet files: memory of one batch, for data of any size.

    `path` is a file, a list of files, or a folder of them, also with folders named `column=value`; on this machine, on
    a `filesystem` of pyarrow or fsspec, or by a URL (`s3://bucket/data`). Files are read in the order of their names.
    `target`, `id`, `weight` and `offset` name columns; all others, or those in `features`, are inputs, as a pandas
    data frame. Without `id`, ids are row numbers.

    Raises
    ------
    DataError
        A named column is not in the file, or the file has no rows.
    """

    path: str | Path | Sequence[str | Path]
    target: str
    id: str | None = None
    weight: str | None = None
    offset: str | None = None
    features: Sequence[str] | None = None
    batch_size: int = BATCH
    filesystem: Any = None

    def __post_init__(self) -> None:
        present = set(self.files.columns)
        missing = [name for name in self._columns.needed if name not in present]
        if missing:
            raise DataError(f"{self.path} has no column {missing}; it has {sorted(present)}")
        if len(self) == 0:
            raise DataError(f"{self.path} has no rows")

    @cached_property
    def files(self) -> ParquetFiles:
        """The files, as they were when the examples were made."""
        return ParquetFiles.of(self.path, self.filesystem)

    @cached_property
    def _columns(self) -> Columns:
        special = tuple(name for name in (self.target, self.id, self.weight, self.offset) if name is not None)
        inputs = self.features or [name for name in self.files.columns if name not in special]
        return Columns(tuple(inputs), self.target, self.id, self.weight, self.offset)

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Batch]:
        for piece in self.pieces():
            yield from piece.batches()

    def pieces(self) -> Iterator[ParquetPiece]:
        """Row groups of up to `batch_size` rows together: what workers are sent are paths and numbers."""
        for groups in self.files.pieces(self.batch_size):
            yield ParquetPiece(groups, self._columns, self.files.filesystem, self.batch_size)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, in the given order.

        Of row groups that have one, and up to the last one; a batch of them is in memory at a time.
        """
        import pyarrow as pa

        rows = np.arange(len(self))[rows]
        order = np.argsort(rows, kind="stable")
        group = np.searchsorted(self.files.ends, rows[order], side="right")
        records = [
            record
            for k in (np.unique(group) if len(rows) else [0])
            for record in self._taken(self.files.row_groups[k], rows[order][group == k])
        ]
        found = pa.Table.from_batches(records)
        if np.any(order[1:] < order[:-1]):
            found = found.take(pa.array(np.argsort(order, kind="stable")))
        return self._columns.batch(found, rows)

    def _taken(self, groups: RowGroups, rows: Array) -> Iterator[Any]:
        """Record batches of the examples at these ascending positions, all of them in `groups`."""
        import pyarrow as pa

        own = rows - groups.rows.start
        end = int(own[-1]) + 1 if len(own) else 1
        start = 0
        for record in groups.read(self.files.filesystem, self._columns.needed, min(self.batch_size, end)):
            inside = own[np.searchsorted(own, start) : np.searchsorted(own, start + len(record))]
            yield record.take(pa.array(inside - start))
            start += len(record)
            if start >= end:
                return

    def sample_rows(self, size: int) -> Array:
        """The first ones of row groups that are spread over the data, of which no more is decoded."""
        groups = self.files.row_groups
        if len(self) <= size or len(groups) < _MANY_GROUPS:
            return super().sample_rows(size)
        chosen = np.unique(np.linspace(0, len(groups) - 1, min(len(groups), _SAMPLED_GROUPS)).astype(int))
        each = -(-size // len(chosen))
        spans = [groups[k].rows for k in chosen]
        return np.concatenate([np.arange(span.start, min(span.start + each, span.stop)) for span in spans])


@dataclass(frozen=True)
class Columns:
    """Which columns are inputs, target, id, weight and offset."""

    inputs: tuple[str, ...]
    target: str
    id: str | None
    weight: str | None
    offset: str | None

    @property
    def needed(self) -> tuple[str, ...]:
        """All of them, each once."""
        special = (name for name in (self.target, self.id, self.weight, self.offset) if name is not None)
        return tuple(dict.fromkeys((*self.inputs, *special)))

    def batch(self, table: Any, rows: Array) -> Batch:
        """A batch from a table or record batch of the columns, at the positions `rows`."""
        inputs = table.select(list(self.inputs)).to_pandas()
        special = [name for name in (self.target, self.id, self.weight, self.offset) if name is not None]
        named = table.select(list(dict.fromkeys(special))).to_pandas()

        def column(name: str | None) -> Array | None:
            # a copy: a view would keep the whole batch in memory
            return None if name is None else named[name].to_numpy(copy=True)

        n = len(inputs)
        ids = rows if self.id is None else checked_ids(wide_as_text(named[self.id]), None, n)
        return Batch(inputs, column(self.target), ids, checked_weights(column(self.weight), n), column(self.offset))


@dataclass(frozen=True)
class ParquetPiece:
    """Row groups of a file, read where the piece is used."""

    groups: RowGroups
    columns: Columns
    filesystem: Any
    batch_size: int

    @property
    def rows(self) -> slice:
        """Positions in the data set."""
        return self.groups.rows

    def batches(self) -> Iterator[Batch]:
        """Batches of at most `batch_size` rows."""
        start = self.rows.start
        for record in self.groups.read(self.filesystem, self.columns.needed, self.batch_size):
            yield self.columns.batch(record, np.arange(start, start + len(record)))
            start += len(record)
