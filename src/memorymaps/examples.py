"""Training examples in memory or in a Parquet file, read in batches, always in the same order."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps._types import Array, Batch

BATCH = 65_536  # rows read at once: 50 MB of 100 float64 features


class DataError(ValueError):
    """Training data that no map can be drawn from."""


class Examples(ABC):
    """Training examples that can be read more than once, always in the same order."""

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, rows: Any) -> Batch:
        """The examples at these positions (a slice or an integer array), in the order asked for."""

    def map(self, change: Callable[[Batch], Batch]) -> Examples:
        """The same examples with `change` applied to every batch, lazily."""
        return MappedExamples(self, change)


def _rows(inputs: Any, rows: Any) -> Any:
    return inputs.iloc[rows] if hasattr(inputs, "iloc") else inputs[rows]


def _column(values: Any, n: int, name: str) -> Array | None:
    if values is None:
        return None
    column = np.asarray(values)
    if len(column) != n:
        raise DataError(f"{name} has {len(column)} rows, the inputs have {n}")
    return column


def _weights(values: Any, n: int) -> Array | None:
    weight = _column(values, n, "sample_weight")
    if weight is None:
        return None
    weight = weight.astype(float)
    if weight.ndim != 1 or not np.all(np.isfinite(weight)) or np.any(weight < 0):
        raise DataError("sample_weight must be a vector of finite numbers ≥ 0")
    return weight


def check_unique(ids: Array) -> None:
    """Raise `DataError` if an id occurs twice: ids join everything."""
    values, counts = np.unique(np.asarray(ids), return_counts=True)
    if len(values) < len(ids):
        worst = int(np.argmax(counts))
        raise DataError(
            f"ids must be unique: {values[worst]!r} occurs {counts[worst]} times. Pass ids=…, for instance ids=range(n)"
        )


def _ids(ids: Any, inputs: Any, n: int) -> Array:
    if ids is None:
        index = getattr(inputs, "index", None)
        ids = np.arange(n) if index is None or callable(index) else index
    if len(ids) != n:
        raise DataError(f"ids has {len(ids)} rows, the inputs have {n}")
    column = _names(ids)
    check_unique(column)
    return column


def _names(ids: Any) -> Array:
    """Integers stay integers, everything else becomes text."""
    kind = getattr(getattr(ids, "dtype", None), "kind", "")
    if kind in ("i", "u") or all(isinstance(value, (int, np.integer)) for value in ids):
        return np.asarray(ids, dtype=np.int64)
    return np.asarray([str(value) for value in ids])


def _sliced(values: Array | None, rows: Any) -> Array | None:
    return None if values is None else values[rows]


@dataclass(frozen=True)
class ArrayExamples(Examples):
    """Examples held in memory: arrays, data frames, sparse matrices.

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
        """Check lengths, weights and ids, and take ids from a data frame's index where none are given.

        Raises
        ------
        DataError
            No rows, unequal lengths, duplicate ids, negative or non-finite weights.
        """
        if isinstance(inputs, (list, tuple)):
            inputs = np.asarray(inputs)
        n = inputs.shape[0] if hasattr(inputs, "shape") else len(inputs)
        if n == 0:
            raise DataError("the data has no rows")
        y = _column(target, n, "target")
        if y is None:
            raise DataError("a map needs targets: memory_map(model, X, y)")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        batch = Batch(inputs, y, _ids(ids, inputs, n), _weights(sample_weight, n), _column(offset, n, "offset"))
        return cls(batch, batch_size)

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self), self.batch_size):
            yield self.take(slice(start, start + self.batch_size))

    def take(self, rows: Any) -> Batch:
        """The examples at these positions."""
        b = self.whole
        rows = rows if isinstance(rows, slice) else np.array(rows)  # a copy: torch wants indices it could write to
        return Batch(
            _rows(b.inputs, rows), b.target[rows], b.ids[rows], _sliced(b.weight, rows), _sliced(b.offset, rows)
        )


@dataclass(frozen=True)
class SomeExamples(Examples):
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
        """The examples at these positions of the selection."""
        return self.source.take(self.rows[rows])


@dataclass(frozen=True)
class ParquetExamples(Examples):
    """Examples in a Parquet file, streamed: memory for one batch, whatever the file's size.

    `target`, `id`, `weight` and `offset` name columns; all others, or those in `features`, are inputs and
    arrive as a pandas data frame. Without `id`, ids are row numbers.

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

        return pq.ParquetFile(self.path, pre_buffer=False)  # a pre-buffered file is a file in memory

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
            # a copy: a view would keep the whole batch alive in the map
            return None if name is None else named[name].to_numpy(copy=True)

        n = len(inputs)
        ids = rows if self.id is None else _ids(named[self.id], None, n)
        return Batch(inputs, column(self.target), ids, _weights(column(self.weight), n), column(self.offset))

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for record in self._file().iter_batches(self.batch_size, columns=self._columns()):
            yield self._batch(record, np.arange(start, start + len(record)))
            start += len(record)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, in the order asked for."""
        import pyarrow.dataset as ds

        rows = np.arange(len(self))[rows]
        return self._batch(ds.dataset(self.path).take(rows, columns=self._columns()), rows)


@dataclass(frozen=True)
class MappedExamples(Examples):
    """Examples seen through a function of batches."""

    source: Examples
    change: Callable[[Batch], Batch]

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.change, self.source)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions."""
        return self.change(self.source.take(rows))


def with_inputs(transform: Callable[[Any], Any]) -> Callable[[Batch], Batch]:
    """A change of batches that only transforms their inputs."""
    return lambda batch: dataclasses.replace(batch, inputs=transform(batch.inputs))
