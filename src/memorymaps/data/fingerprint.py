"""Fingerprints of data and parameters, at memory bandwidth: sums of the bits of rows and columns, then a hash of these.

Wrapping sums of unsigned integers are exact: the same however the data are cut into batches, and on every machine.
A changed cell, two rows or two columns in another order change them; the sums themselves are not cryptographic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import as_array
from memorymaps.data.indexed import InputsWithRows

BlockSums = tuple[str, Array, Array]

_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class ContentHash:
    """A hash of rows that come in batches, `update` by `update`.

    Examples
    --------
    >>> x = np.arange(6.0).reshape(3, 2)
    >>> whole, parts = ContentHash(), ContentHash()
    >>> whole.update(x); parts.update(x[:1]); parts.update(x[1:])
    >>> whole.hexdigest() == parts.hexdigest()
    True
    """

    def __init__(self) -> None:
        self._rows: dict[str, Any] = {}
        self._columns: dict[str, Array] = {}

    def update(self, rows: Any) -> None:
        """Take in a batch: an array, data frame, sparse matrix or tensor, or a mapping, tuple or list of such."""
        self.add(block_sums(rows))

    def add(self, sums: Iterable[BlockSums]) -> None:
        """Take in a batch by its `block_sums`."""
        for name, of_rows, of_columns in sums:
            self._rows.setdefault(name, hashlib.blake2b(digest_size=8)).update(of_rows.tobytes())
            self._columns[name] = _added(self._columns.get(name), of_columns)

    def hexdigest(self) -> str:
        """16 hexadecimal digits of everything so far."""
        total = hashlib.blake2b(digest_size=8)
        for name in sorted(self._rows):
            total.update(name.encode() + self._rows[name].digest() + self._columns[name].tobytes())
        return total.hexdigest()


def block_sums(rows: Any) -> Iterator[BlockSums]:
    """What a `ContentHash` takes of a batch: name of each block, sums over its columns `[n]` and over its rows."""
    for name, block in _blocks(rows, ""):
        yield name, *_sums(block)


def digest_of(values: Any) -> str:
    """The `ContentHash` of values that are there at once."""
    found = ContentHash()
    found.update(values)
    return found.hexdigest()


def digest_of_batch(batch: Batch) -> str:
    """Of everything in a batch."""
    parts = {"inputs": batch.inputs, "target": batch.target, "ids": batch.ids}
    optional = {"weight": batch.weight, "offset": batch.offset}
    return digest_of(parts | {name: values for name, values in optional.items() if values is not None})


def _blocks(rows: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Numeric blocks `[n, …]` of rows of any kind, each with a name."""
    if isinstance(rows, InputsWithRows):
        yield from _blocks(rows.inputs, name)
    elif isinstance(rows, Mapping):
        for key in rows:
            yield from _blocks(rows[key], f"{name}.{key}")
    elif isinstance(rows, tuple):
        for k, part in enumerate(rows):
            yield from _blocks(part, f"{name}.{k}")
    elif sparse.issparse(rows):
        yield name, _sparse_row_sums(rows.tocsr())
    elif hasattr(rows, "iloc"):
        yield from _frame_blocks(rows, name)
    elif hasattr(rows, "hash_rows"):
        yield name, rows.hash_rows().to_numpy()
    else:
        yield name, _numeric(rows)


def _frame_blocks(frame: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A pandas frame or series: numeric columns of one type together, each of the others by pandas' own hash."""
    import pandas as pd

    if frame.ndim == 1:
        frame = frame.to_frame()
    kinds = np.asarray(
        [str(kind) if isinstance(kind, np.dtype) and kind.kind in "biuf" else "" for kind in frame.dtypes]
    )
    for kind in sorted(set(kinds) - {""}):
        yield f"{name}.{kind}", frame.iloc[:, np.flatnonzero(kinds == kind)].to_numpy()
    for k in np.flatnonzero(kinds == ""):
        yield f"{name}.{k}", pd.util.hash_pandas_object(frame.iloc[:, k], index=False).to_numpy()


def _sparse_row_sums(rows: Any) -> Array:
    """`Σ_j bits(x_ij)(2j + 1)` over the stored elements of each row: `[n]`."""
    products = _bits(np.ascontiguousarray(rows.data)).astype(np.uint64) * (2 * rows.indices.astype(np.uint64) + 1)
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(products, dtype=np.uint64)])
    return np.asarray(total[rows.indptr[1:]] - total[rows.indptr[:-1]])


def _numeric(rows: Any) -> Array:
    """An array of numbers; texts and lists by a hash of each row, objects without a content of their own by type."""
    if hasattr(rows, "detach"):
        tensor = rows.detach().cpu()
        rows = tensor.float().numpy() if str(tensor.dtype) == "torch.bfloat16" else tensor.numpy()
    array = rows if isinstance(rows, np.ndarray) else None
    if array is None and not isinstance(rows, list):
        array = as_array(rows)
    if array is not None and array.dtype.kind in "biufc" and array.dtype.itemsize in _BITS:
        return array
    return np.asarray([_of_object(value) for value in rows], dtype=np.uint64)


def _of_object(value: Any) -> int:
    text = value if isinstance(value, bytes) else _text_of(value).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _text_of(value: Any) -> str:
    if value is None or isinstance(value, (str, int, float, bool, np.generic)):
        return f"{type(value).__name__}:{value}"
    if isinstance(value, (list, tuple)):
        return ",".join(_text_of(each) for each in value)
    if isinstance(value, (np.ndarray, Mapping)) or hasattr(value, "detach"):
        return digest_of(value) if getattr(value, "ndim", 1) else str(value)
    return type(value).__name__


def _bits(array: Array) -> Array:
    return array.view(_BITS[array.dtype.itemsize])


def _sums(block: Array) -> tuple[Array, Array]:
    """Sums of bits over columns `[n]` and over rows `[p]`, modulo 2⁶⁴."""
    bits = _bits(block) if block.dtype != np.bool_ else block.view(np.uint8)
    if bits.size == 0:
        return np.asarray(bits.shape, dtype=np.uint64), np.zeros(0, np.uint64)
    bits = bits.reshape(len(bits), -1)
    if bits.dtype == np.uint64:  # the same sums, two to three times as fast for few columns
        return np.einsum("ij->i", bits), np.einsum("ij->j", bits)
    return np.sum(bits, axis=1, dtype=np.uint64), np.sum(bits, axis=0, dtype=np.uint64)


def _added(before: Array | None, more: Array) -> Array:
    """Sums of columns, also where batches are padded to different widths."""
    if before is None:
        return more
    long, short = (before, more) if len(before) >= len(more) else (more, before)
    total: Array = long.copy()
    total[: len(short)] += short
    return total
