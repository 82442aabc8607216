"""Arrow columns of the explorer's page, each with its metadata (name, kind, unit, description)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.table import COLUMNS

MISSING = 65535  # code of a value that belongs to no class


class ArrowColumns:
    """Columns of numbers, classes and texts with `n` values each, in the order in which they were added.

    `added` is called after each column.
    """

    def __init__(self, n: int, added: Callable[[], object] = lambda: None) -> None:
        self.n, self._added = n, added
        self.arrays: dict[str, pa.Array] = {}
        self.metadata: list[dict[str, Any]] = []

    def add(self, name: str, values: Array, names: tuple[Any, ...] = (), described_as: str = "") -> None:
        """Add numbers as float32, categories as uint16 codes, everything else as strings, depending on the dtype.

        `names` are the categories in order (default: sorted); unit and description are those of `described_as`.
        """
        unit, words = COLUMNS.get(described_as or name, ("", ""))
        meta: dict[str, Any] = {"name": name, "unit": unit, "words": words}
        if names or _is_categorical(values):
            self.arrays[name], found = _category_codes(values, names)
            meta |= {"kind": "class", "names": found}
        elif values.dtype.kind in "biuf":
            self.arrays[name] = pa.array(values.astype(np.float32))
            meta["kind"] = "number"
        else:
            self.arrays[name] = pa.array([to_text(value) for value in values], pa.string())
            meta["kind"] = "text"
        self.metadata.append(meta)
        self._added()

    def add_unlisted(self, name: str, values: Array) -> None:
        """Add a column without metadata: the page uses it and does not list it."""
        self.arrays[name] = pa.array(values)
        self._added()

    def table(self) -> pa.Table:
        """All columns as one Arrow table."""
        return pa.table(self.arrays)


def to_text(value: Any) -> str:
    """The value as text that UTF-8 can encode: lone surrogates become `?`; None and NaN become the empty string."""
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if missing else str(value).encode("utf-8", "replace").decode("utf-8")


def _is_categorical(values: Array) -> bool:
    if values.dtype.kind in "biuf":
        return bool(values.dtype.kind == "b")
    kinds = len(pd.unique(values))
    return kinds <= 50 or (kinds <= 1000 and kinds < len(values) / 4)


def _category_codes(values: Array, names: tuple[Any, ...]) -> tuple[pa.Array, list[str]]:
    known = list(names) or sorted({v for v in values.tolist() if to_text(v) or isinstance(v, bool)}, key=str)
    code_of = {value: code for code, value in enumerate(known)}
    codes = [code_of.get(value, MISSING) for value in values.tolist()]
    return pa.array(np.asarray(codes, dtype=np.uint16)), [to_text(value) for value in known]


def rows_by_id(m: MemoryMap, other: MemoryMap) -> Array:
    """Row of each example of `m` in another map, joined by id, `[n]`; −1 where the id is missing."""
    return np.asarray(pd.Index(other["id"].tolist()).get_indexer(m["id"].tolist()))


def finite_or_none(value: float) -> float | None:
    """A finite number, or None, which JSON can hold."""
    return float(value) if np.isfinite(value) else None
