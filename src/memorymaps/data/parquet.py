"""Training examples streamed from a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import checked_ids, checked_weights, wide_as_text
from memorymaps.data.examples import BATCH, DataError, Examples


@dataclass(frozen=True)
class ParquetExamples(Examples):
    """Examples streamed from a Parquet file: memory of one batch, for files of any size.

    `target`, `id`, `weight` and `offset` name columns; all others, or those in `features`, are inputs, as
    a pandas data frame. Without `id`, ids are row numbers.

    Raises
    ------
    DataError
        A named column is not in the file, or the file has no rows.
    """

    path: str | Path
    target: str
    id: str | None = None
    weight: str | None = None
    offset: str | None = None
    features: Sequence[str] | None = None
    batch_size: int = BATCH

    def __post_init__(self) -> None:
        present = set(self._schema())
        missing = [name for name in self._columns() if name not in present]
        if missing:
            raise DataError(f"{self.path} has no column {missing}; it has {sorted(present)}")
        if len(self) == 0:
            raise DataError(f"{self.path} has no rows")

    def _file(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path, pre_buffer=False)  # pre-buffering would read the whole file into memory

    def _schema(self) -> list[str]:
        return list(self._file().schema_arrow.names)

    def _special(self) -> list[str]:
        return [name for name in (self.target, self.id, self.weight, self.offset) if name is not None]

    def _inputs(self) -> list[str]:
        special = set(self._special())
        return list(self.features) if self.features else [c for c in self._schema() if c not in special]

    def _columns(self) -> list[str]:
        return [*self._inputs(), *self._special()]

    def __len__(self) -> int:
        return int(self._file().metadata.num_rows)

    def _batch(self, table: Any, rows: Array) -> Batch:
        inputs = table.select(self._inputs()).to_pandas()
        named = table.select(list(dict.fromkeys(self._special()))).to_pandas()

        def column(name: str | None) -> Array | None:
            # a copy: a view would keep the whole batch in memory
            return None if name is None else named[name].to_numpy(copy=True)

        n = len(inputs)
        ids = rows if self.id is None else checked_ids(wide_as_text(named[self.id]), None, n)
        return Batch(inputs, column(self.target), ids, checked_weights(column(self.weight), n), column(self.offset))

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for record in self._file().iter_batches(self.batch_size, columns=self._columns()):
            yield self._batch(record, np.arange(start, start + len(record)))
            start += len(record)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, in the given order."""
        import pyarrow.dataset as ds

        rows = np.arange(len(self))[rows]
        return self._batch(ds.dataset(self.path).take(rows, columns=self._columns()), rows)
