"""The files of a Parquet data set: one, several, a folder, folders named `column=value`, here or on a file system."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps._imports import require
from memorymaps.core.arrays import Array

_BUFFER = 2**18  # bytes of a column that are read at once


@dataclass(frozen=True)
class ParquetFile:
    """One file: where it is, how many rows each of its row groups has, and the values of its folders' columns."""

    path: str
    groups: tuple[int, ...]
    folders: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class RowGroups:
    """Consecutive row groups `first … last − 1` of a file, at the positions `rows` of the data set."""

    file: ParquetFile
    first: int
    last: int
    rows: slice

    def read(self, filesystem: Any, columns: Sequence[str], batch_size: int) -> Iterator[Any]:
        """Record batches of at most `batch_size` rows; only these columns are decoded."""
        import pyarrow as pa
        import pyarrow.parquet as pq
        from pyarrow.fs import PyFileSystem

        constants = dict(self.file.folders)
        stored = [name for name in columns if name not in constants]
        # pre-buffering would read all row groups into memory, an unbuffered stream each column of a row group
        with pq.ParquetFile(self.file.path, filesystem=filesystem, pre_buffer=False, buffer_size=_BUFFER) as source:
            # a pool of one thread, as of a worker with one core, costs and gains nothing; and threads must not release
            # what a file system in Python has read when this process is about to end (apache/arrow#34314)
            threads = pa.cpu_count() > 1 and not isinstance(filesystem, PyFileSystem)
            groups = range(self.first, self.last)
            for record in source.iter_batches(batch_size, row_groups=groups, columns=stored, use_threads=threads):
                for name in columns:
                    if name in constants:
                        record = record.append_column(name, pa.array([constants[name]] * len(record)))
                yield record.select(list(columns))


@dataclass(frozen=True)
class ParquetFiles:
    """The files of a data set in the order of their names, on one file system.

    Attributes
    ----------
    filesystem : pyarrow's or fsspec's.
    columns : names, those of folders `column=value` last.
    """

    filesystem: Any
    columns: tuple[str, ...]
    files: tuple[ParquetFile, ...]

    @classmethod
    def of(cls, path: str | Path | Sequence[str | Path], filesystem: Any = None) -> ParquetFiles:
        """Find the files and read their footers; a URL (`s3://…`, `memory://…`) names its file system.

        Raises
        ------
        FileNotFoundError
            No such file or folder.
        """
        import pyarrow.dataset as ds
        from pyarrow.fs import FileType

        several = not isinstance(path, (str, Path))
        names = [str(each) for each in path] if several else [str(path)]  # type: ignore[union-attr]
        found = [_located(name, filesystem) for name in names]
        where = found[0][0]
        places = [place for _, place in found]
        folders = "hive" if not several and where.get_file_info(places[0]).type == FileType.Directory else None
        files = places if several else places[0]
        source = ds.dataset(files, format="parquet", filesystem=where, partitioning=folders)
        fragments = list(source.get_fragments())
        if not several:
            fragments.sort(key=lambda fragment: str(fragment.path))
        return cls(where, tuple(source.schema.names), tuple(_file(fragment) for fragment in fragments))

    @cached_property
    def row_groups(self) -> tuple[RowGroups, ...]:
        """Every row group by itself, in order."""
        found, start = [], 0
        for file in self.files:
            for k, size in enumerate(file.groups):
                found.append(RowGroups(file, k, k + 1, slice(start, start + size)))
                start += size
        return tuple(found)

    @cached_property
    def ends(self) -> Array:
        """Position after the last row of each row group."""
        return np.asarray([each.rows.stop for each in self.row_groups], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def pieces(self, size: int) -> Iterator[RowGroups]:
        """Row groups of one file together, up to `size` rows; a larger one by itself."""
        held: RowGroups | None = None
        for each in self.row_groups:
            if held is not None and held.file is each.file and each.rows.stop - held.rows.start <= size:
                held = RowGroups(each.file, held.first, each.last, slice(held.rows.start, each.rows.stop))
            else:
                if held is not None:
                    yield held
                held = each
        if held is not None:
            yield held


def _located(name: str, filesystem: Any) -> tuple[Any, str]:
    """The file system, and the path on it; local paths are absolute, as workers may run in other folders."""
    from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem

    if filesystem is not None:
        own = isinstance(filesystem, FileSystem)
        return filesystem if own else PyFileSystem(FSSpecHandler(filesystem)), name
    if "://" not in name:
        path = Path(name).absolute()
        if not path.exists():
            raise FileNotFoundError(f"no file {name}")
        return LocalFileSystem(), str(path)
    found, path = require("fsspec.core").url_to_fs(name)
    return PyFileSystem(FSSpecHandler(found)), path


def _file(fragment: Any) -> ParquetFile:
    import pyarrow.dataset as ds

    groups = tuple(int(group.num_rows) for group in fragment.row_groups)
    folders = tuple(sorted(ds.get_partition_keys(fragment.partition_expression).items()))
    return ParquetFile(str(fragment.path), groups, folders)
