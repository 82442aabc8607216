"""Checks and conversions of what users pass as inputs, targets, weights and ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from scipy import sparse

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError


def as_array(values: Any) -> Array:
    """A NumPy array; torch tensors are detached and copied to the CPU."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _rectangular(values: Any, name: str) -> Array:
    """Nested lists as an array.

    Raises
    ------
    DataError
        Rows of different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"the rows of {name!r} have different lengths: expected equal ones. Pad them, for a tokenizer with "
            "tokenizer(texts, padding=True), or pass examples one by one with collate=, a function that pads (networks)"
        ) from error


def as_inputs(inputs: Any, n: int) -> Any:
    """Model inputs: arrays, data frames, and mappings or tuples of arrays with `n` rows; lists become arrays.

    Raises
    ------
    DataError
        Any other type.
    """
    if isinstance(inputs, (str, PurePath)):
        raise DataError(
            f"inputs {str(inputs)!r} are text: expected the examples. A file's: memory_map(model, "
            "ParquetExamples(path, target='y'))"
        )
    if sparse.issparse(inputs):
        return _as_sliceable(inputs)
    if isinstance(inputs, Mapping):
        return {key: value if hasattr(value, "shape") else _rectangular(value, key) for key, value in inputs.items()}
    if isinstance(inputs, Sequence):
        several = (
            isinstance(inputs, tuple)
            and len(inputs) != n
            and all(getattr(value, "shape", ())[:1] == (n,) for value in inputs)
        )
        return tuple(inputs) if several else _rectangular(inputs, "inputs")
    if not hasattr(inputs, "shape") and not hasattr(inputs, "__getitem__"):
        raise DataError(
            f"inputs are a {type(inputs).__name__} and targets were given: expected arrays, a data frame, or a "
            "mapping or tuple of arrays. A loader holds its own targets: memory_map(net, loader, …)"
        )
    return inputs


def count_rows(inputs: Any) -> int:
    """Number of rows of inputs; `DataError` if several inputs have different numbers."""
    if not isinstance(inputs, (Mapping, tuple)):
        return int(inputs.shape[0] if hasattr(inputs, "shape") else len(inputs))
    named = inputs if isinstance(inputs, Mapping) else dict(enumerate(inputs))
    shapes = {key: tuple(value.shape) for key, value in named.items()}
    counts = {shape[:1] for shape in shapes.values()}
    if len(counts) != 1 or () in counts:
        raise DataError(f"inputs of shapes {shapes}: expected arrays with one row an example")
    return int(counts.pop()[0])


def take_rows(inputs: Any, rows: Any) -> Any:
    """Selected rows of inputs: arrays, data frames, mappings and tuples of arrays."""
    if isinstance(inputs, Mapping):
        return {key: take_rows(value, rows) for key, value in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(take_rows(value, rows) for value in inputs)
    return inputs.iloc[rows] if hasattr(inputs, "iloc") else inputs[rows]


def checked_column(values: Any, n: int, name: str) -> Array | None:
    """A column `[n, …]` as an array, or `None`; `DataError` for another length than `n`."""
    if values is None:
        return None
    column = as_array(values)
    if column.shape[:1] != (n,):
        raise DataError(
            f"{name} has {len(column) if column.ndim else 'no'} rows, the inputs have {n}: pass one {name} an example"
        )
    return column


def checked_offset(values: Any, n: int) -> Array | None:
    """Offsets `[n]` or `[n, c]`, or `None`; `DataError` unless they are finite numbers."""
    offset = checked_column(values, n, "offset")
    if offset is None:
        return None
    if offset.dtype.kind not in "biuf" or not np.all(np.isfinite(offset)):
        bad = ~np.isfinite(offset.astype(float)).reshape(n, -1).all(axis=1) if offset.dtype.kind in "biuf" else [True]
        raise DataError(
            f"offset of {np.count_nonzero(bad)} row(s) is not a finite number, first of row {int(np.argmax(bad))}: "
            "expected finite numbers, 0 where there is no offset"
        )
    return offset


def checked_weights(values: Any, n: int) -> Array | None:
    """Weights `[n]` as floats, or `None`; `DataError` unless finite and not negative."""
    weight = checked_column(values, n, "sample_weight")
    if weight is None:
        return None
    weight = weight.astype(float)
    if weight.ndim != 1 or not np.all(np.isfinite(weight)) or np.any(weight < 0):
        raise DataError(_weights_message(weight))
    return weight


def _weights_message(weight: Array) -> str:
    if weight.ndim != 1:
        return f"sample_weight of shape {weight.shape}: expected one number an example, ({len(weight)},)"
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    return (
        f"sample_weight of {len(bad)} example(s), first of row {bad[0]}, is {weight[bad[0]]}: expected "
        "finite numbers ≥ 0, the weights passed to fit; 0 leaves an example out"
    )


def check_unique(ids: Array) -> None:
    """Raise `DataError` if an id occurs twice."""
    column = np.asarray(ids)
    if column.dtype.kind in "iu" and np.all(column[1:] > column[:-1]):  # row numbers: nothing to sort
        return
    values, counts = np.unique(column, return_counts=True)
    if len(values) < len(ids):
        most = int(np.argmax(counts))
        raise DataError(
            f"ids must be unique: {values[most : most + 1].tolist()[0]!r} occurs {counts[most]} times. Pass "
            f"memory_map(…, ids=…) other names, for instance row numbers, ids=range({len(ids)})"
        )


def checked_ids(ids: Any, inputs: Any, n: int) -> Array:
    """Unique ids `[n]`: the given ones, else a data frame's index, else row numbers."""
    if ids is None:
        index = getattr(inputs, "index", None)
        ids = np.arange(n) if index is None or callable(index) else index
    if getattr(ids, "ndim", 1) != 1:
        raise DataError(f"ids of shape {tuple(ids.shape)}: expected one name an example, ({n},)")
    if not hasattr(ids, "__len__"):
        raise DataError(f"ids = {ids!r}: expected one name an example, ({n},)")
    if len(ids) != n:
        raise DataError(f"ids has {len(ids)} rows, the inputs have {n}: pass one id an example")
    column = as_ids(ids)
    check_unique(column)
    return column


def as_ids(ids: Any) -> Array:
    """Ids as integers if all are integers of at most 64 bits, else as text.

    Raises
    ------
    DataError
        A missing id, or a list in place of one.
    """
    ids = as_array(ids) if hasattr(ids, "detach") else ids
    short = isinstance(ids, range) and all(-(2**63) <= end < 2**63 for end in (ids.start, ids.stop))
    if short or (isinstance(ids, np.ndarray) and ids.dtype.kind == "i"):
        return np.asarray(ids, dtype=np.int64)
    values = list(ids)
    _check_ids(values)
    whole = all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in values)
    if whole and all(-(2**63) <= value < 2**63 for value in values):
        return np.asarray(values, dtype=np.int64)
    return np.asarray([str(value) for value in values])


def take_optional(values: Array | None, rows: Any) -> Array | None:
    """Rows of an optional column; `None` if it is `None`."""
    return None if values is None else values[rows]


def wide_as_text(names: Any) -> Any:
    """Unsigned 64-bit integers as text (so that all batches have the same type); others unchanged."""
    return names.astype(str) if names.dtype == np.uint64 else names


def _as_sliceable(inputs: Any) -> Any:
    """A sparse matrix in a row-indexable format: COO, BSR, DIA and DOK are converted to CSR with 32-bit indices."""
    if inputs.ndim != 2:
        raise DataError(f"sparse inputs of shape {inputs.shape}: expected a matrix with one row an example")
    if inputs.format in ("csr", "csc", "lil"):
        return inputs
    rows = inputs.tocsr()
    index = sparse.get_index_dtype(maxval=max(*rows.shape, rows.nnz))
    parts = (rows.data, rows.indices.astype(index), rows.indptr.astype(index))
    return type(rows)(parts, shape=rows.shape)


def _check_ids(values: list[Any]) -> None:
    row = first_missing(values)
    if row is not None:
        raise DataError(
            f"the id of row {row} is missing ({values[row]}): every example needs a name of its own. Pass others, for "
            f"instance row numbers, ids=range({len(values)})"
        )
    for row, value in enumerate(values):
        if isinstance(value, (list, dict, set, np.ndarray)):
            raise DataError(f"the id of row {row} is a {type(value).__name__}: expected a text or an integer")
        if isinstance(value, str):
            check_utf8(f"the id of row {row}", value)


def check_utf8(name: str, text: str) -> None:
    """Raise `DataError` for lone surrogates, as file names that are not UTF-8 have them: no file could hold them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} is {text!r}, which UTF-8 cannot encode: use text.encode('utf-8', 'backslashreplace').decode()"
        ) from error


def first_missing(values: Any) -> int | None:
    """Position of the first missing value (None, NaN, NaT, pandas' NA), if there is one."""
    array = np.asarray(values) if isinstance(values, np.ndarray) else None
    if array is not None and array.dtype.kind not in "fOmM":
        return None
    return next((row for row, value in enumerate(values) if _is_missing(value)), None)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating, np.datetime64)) and bool(value != value)
