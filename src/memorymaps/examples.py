"""Training examples in memory or in a Parquet file, read in batches, always in the same order."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    @property
    def named(self) -> bool:
        """Whether the data say themselves what their examples are called."""
        return True

    def map(self, change: Callable[[Batch], Batch]) -> Examples:
        """The same examples with `change` applied to every batch, lazily."""
        return MappedExamples(self, change)


def as_array(values: Any) -> Array:
    """A NumPy array; a torch tensor leaves its graph and its device."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _several(inputs: Any, n: int) -> Any:
    """A mapping or a tuple of arrays with `n` rows each stays one, for models with several inputs; a list is an array.

    Raises
    ------
    DataError
        Neither these nor an array.
    """
    if isinstance(inputs, Mapping):
        return {key: value if hasattr(value, "shape") else np.asarray(value) for key, value in inputs.items()}
    if isinstance(inputs, Sequence):
        beside = (
            isinstance(inputs, tuple)
            and len(inputs) != n
            and all(getattr(value, "shape", ())[:1] == (n,) for value in inputs)
        )
        return tuple(inputs) if beside else np.asarray(inputs)
    if not hasattr(inputs, "shape") and not hasattr(inputs, "__getitem__"):
        raise DataError(
            f"inputs are a {type(inputs).__name__} and targets came beside them: expected arrays, a data frame, or a "
            "mapping or tuple of arrays. A loader holds its own targets: memory_map(net, loader, …)"
        )
    return inputs


def _count(inputs: Any) -> int:
    """Number of rows; `DataError` if several inputs differ in it."""
    if not isinstance(inputs, (Mapping, tuple)):
        return int(inputs.shape[0] if hasattr(inputs, "shape") else len(inputs))
    named = inputs if isinstance(inputs, Mapping) else dict(enumerate(inputs))
    shapes = {key: tuple(value.shape) for key, value in named.items()}
    counts = {shape[:1] for shape in shapes.values()}
    if len(counts) != 1 or () in counts:
        raise DataError(f"inputs of shapes {shapes}: expected arrays with one row an example")
    return int(counts.pop()[0])


def _rows(inputs: Any, rows: Any) -> Any:
    if isinstance(inputs, Mapping):
        return {key: _rows(value, rows) for key, value in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(_rows(value, rows) for value in inputs)
    return inputs.iloc[rows] if hasattr(inputs, "iloc") else inputs[rows]


def _column(values: Any, n: int, name: str) -> Array | None:
    if values is None:
        return None
    column = as_array(values)
    if column.shape[:1] != (n,):
        raise DataError(f"{name} has {len(column) if column.ndim else 'no'} rows, the inputs have {n}")
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
    ids = as_array(ids) if hasattr(ids, "detach") else ids
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
        if target is None:
            raise DataError("a map needs targets: memory_map(model, X, y)")
        y = as_array(target)
        inputs = _several(inputs, len(y) if y.ndim else 0)
        n = _count(inputs)
        if n == 0:
            raise DataError("the data has no rows")
        _column(y, n, "target")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        batch = Batch(inputs, y, _ids(ids, inputs, n), _weights(sample_weight, n), _column(offset, n, "offset"))
        return cls(batch, batch_size)

    @property
    def named(self) -> bool:
        """Whether ids are other than row numbers."""
        return not np.array_equal(self.whole.ids, np.arange(len(self)))

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
class AtHand(Examples):
    """Examples that were read once and stay in memory, for those who pass over them often."""

    source: Examples
    batches: tuple[Batch, ...]

    @classmethod
    def of(cls, source: Examples) -> AtHand:
        """Read them."""
        return cls(source, tuple(source))

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def take(self, rows: Any) -> Batch:
        """From where they were read."""
        return self.source.take(rows)


@dataclass(frozen=True)
class ColumnsBeside(Examples):
    """Examples of one source with ids, weights or offsets that were brought beside it, row by row."""

    source: Examples
    ids: Array | None = None
    weight: Array | None = None
    offset: Array | None = None

    @classmethod
    def of(cls, source: Examples, ids: Any = None, sample_weight: Any = None, offset: Any = None) -> ColumnsBeside:
        """Check lengths, weights and ids.

        Raises
        ------
        DataError
            Other lengths than that of the data, duplicate ids, ids although the data bring their own.
        """
        n = len(source)
        if ids is not None and source.named:
            raise DataError("ids=… were given and the data bring ids of their own: leave one of them out")
        names = None if ids is None else _ids(ids, None, n)
        return cls(source, names, _weights(sample_weight, n), _column(offset, n, "offset"))

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for batch in self.source:
            yield self._with(batch, slice(start, start + len(batch)))
            start += len(batch)

    def take(self, rows: Any) -> Batch:
        """The examples at these positions, in the order asked for."""
        return self._with(self.source.take(rows), rows)

    def _with(self, batch: Batch, rows: Any) -> Batch:
        own = {"ids": self.ids, "weight": self.weight, "offset": self.offset}
        return dataclasses.replace(batch, **{name: column[rows] for name, column in own.items() if column is not None})


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
