"""A table in several Parquet files, read column by column and part by part, with the methods of `pyarrow.Table`."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from memorymaps.core.arrays import Array


@dataclass(frozen=True)
class DiskTable:
    """The rows of several files, one after the other.

    `column` and `select` read these columns only, `take` only the files that have one of the rows, `filter` file by
    file. Any other method of `pyarrow.Table` is that of the whole table in memory.

    Attributes
    ----------
    files : in the order of their rows.
    rows : number of rows of each.
    footers : checksum of the footer of each, with the extremes of its columns: another map's file has another one.
    schema : of all files.
    changed : columns `[n]` in memory that take the place of those in the files.
    """

    files: tuple[Path, ...]
    rows: tuple[int, ...]
    footers: tuple[int, ...]
    schema: pa.Schema
    changed: dict[str, pa.Array] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Sequence[Path]) -> DiskTable:
        """The table of these files, from their footers."""
        rows, footers, schemas = [], [], []
        for file in files:
            with pa.OSFile(str(file)) as opened, pq.ParquetFile(opened) as source:
                footers.append(_footer(opened))
                rows.append(int(source.metadata.num_rows))
                schemas.append(source.schema_arrow.remove_metadata())
        if not schemas or any(schema != schemas[0] for schema in schemas):
            raise ValueError(f"{len(files)} files of rows: expected one at least, all with the same columns")
        return cls(tuple(files), tuple(rows), tuple(footers), schemas[0])

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return sum(self.rows)

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return list(self.schema.names)

    @cached_property
    def ends(self) -> Array:
        """Position after the last row of each file."""
        return np.cumsum(self.rows)

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Each file's first row, and its columns."""
        for k in range(len(self.files)):
            yield int(self.ends[k]) - self.rows[k], self._read(k, self.column_names if columns is None else columns)

    def _read(self, k: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of the file `k`."""
        stored, start = [name for name in columns if name not in self.changed], int(self.ends[k]) - self.rows[k]
        with self._opened(k) as file, pq.ParquetFile(file, page_checksum_verification=True) as source:
            found = source.read(columns=stored).replace_schema_metadata(None)
        if not stored:
            found = pa.table({}) if not columns else pa.table({columns[0]: self.changed[columns[0]].slice(start, 0)})
        arrays = {
            name: self.changed[name].slice(start, self.rows[k]) if name in self.changed else found.column(name)
            for name in columns
        }
        return pa.table(arrays)

    @contextmanager
    def _opened(self, k: int) -> Iterator[pa.NativeFile]:
        """The file `k`, if it is the one that the table was made of.

        It is Arrow's own: threads of Arrow may release what was read after this process has begun to end, and where
        Python's own files had read it, that aborts the process (apache/arrow#34314).
        """
        path = self.files[k]
        if not path.exists():
            raise ValueError(_REPLACED.format(path=path, folder=str(path.parent)))
        with pa.OSFile(str(path)) as file:
            if _footer(file) != self.footers[k]:
                raise ValueError(_REPLACED.format(path=path, folder=str(path.parent)))
            yield file

    def column(self, name: str) -> pa.ChunkedArray:
        """One column."""
        return self.select([name]).column(0)

    def select(self, columns: Sequence[str]) -> pa.Table:
        """Some columns, in memory."""
        return pa.concat_tables([part for _, part in self.parts(columns)])

    def take(self, rows: Any, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows at these positions, in the given order, in memory; files without any of them are not read."""
        names = self.column_names if columns is None else list(columns)
        where = np.asarray(rows, dtype=np.int64)
        file = np.searchsorted(self.ends, where, side="right")
        order = np.argsort(file, kind="stable")
        parts = [self.schema.empty_table().select(names)]
        for k in np.unique(file):
            own = where[order][file[order] == k] - (int(self.ends[k]) - self.rows[k])
            parts.append(self._read(int(k), names).take(pa.array(own)))
        return pa.concat_tables(parts).take(pa.array(np.argsort(order, kind="stable")))

    def filter(self, mask: Any) -> pa.Table:
        """The rows where a mask `[n]`, or an expression on columns, is true, in memory."""
        parts = [self.schema.empty_table()]
        for start, part in self.parts():
            own = mask.slice(start, len(part)) if isinstance(mask, pa.Array) else mask
            parts.append(part.filter(own))
        return pa.concat_tables(parts).combine_chunks()

    def set_column(self, place: int, name: str, values: pa.Array) -> DiskTable:
        """The table with another column `[n]` in place of the one that is there."""
        if self.column_names[place] != name or self.schema.field(name).type != values.type:
            return self.read().set_column(place, name, values)  # type: ignore[no-any-return]
        return replace(self, changed={**self.changed, name: values})

    def read(self) -> pa.Table:
        """The whole table, in memory."""
        return pa.concat_tables([part for _, part in self.parts()]).combine_chunks()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(pa.Table, name):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}: expected one of pyarrow.Table")
        return getattr(self.read(), name)


_REPLACED = "{path} is not the file that this map was opened with: open the map of today, load({folder!r})"


def _footer(file: pa.NativeFile) -> int:
    """Checksum of a Parquet file's footer."""
    file.seek(-8, os.SEEK_END)
    size = int.from_bytes(file.read(4), "little")
    file.seek(-8 - min(size, file.tell() - 4), os.SEEK_END)
    found = zlib.crc32(file.read())
    file.seek(0)
    return found
