"""Arrow columns of a page, and what the page must know of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.maps.table import COLUMNS

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

MISSING = 65535


class Columns:
    """Numbers, classes and texts, added one by one."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.arrays: dict[str, pa.Array] = {}
        self.metas: list[dict[str, Any]] = []

    def add(self, name: str, values: Array, names: tuple[Any, ...] = (), shown: str = "") -> None:
        """A column of numbers (32-bit), of classes (codes), or of texts, as its values ask for."""
        unit, words = COLUMNS.get(shown or name, ("", ""))
        meta: dict[str, Any] = {"name": name, "unit": unit, "words": words}
        if names or _is_class(values):
            self.arrays[name], found = _codes(values, names)
            meta |= {"kind": "class", "names": found}
        elif values.dtype.kind in "biuf":
            self.arrays[name] = pa.array(values.astype(np.float32))
            meta["kind"] = "number"
        else:
            self.arrays[name] = pa.array([text(value) for value in values], pa.string())
            meta["kind"] = "text"
        self.metas.append(meta)

    def raw(self, name: str, values: Array) -> None:
        """A column that the page uses but does not list."""
        self.arrays[name] = pa.array(values)

    def table(self) -> pa.Table:
        """All of them."""
        return pa.table(self.arrays)


def text(value: Any) -> str:
    """Text that every encoder takes: lone surrogates become question marks, missing values are empty."""
    missing = value is None or (isinstance(value, float) and np.isnan(value))
    return "" if missing else str(value).encode("utf-8", "replace").decode("utf-8")


def _is_class(values: Array) -> bool:
    if values.dtype.kind in "biuf":
        return bool(values.dtype.kind == "b")
    kinds = len(pd.unique(values))
    return kinds <= 50 or (kinds <= 1000 and kinds < len(values) / 4)


def _codes(values: Array, names: tuple[Any, ...]) -> tuple[pa.Array, list[str]]:
    known = list(names) or sorted({v for v in values.tolist() if text(v) or isinstance(v, bool)}, key=str)
    place = {value: code for code, value in enumerate(known)}
    codes = [place.get(value, MISSING) for value in values.tolist()]
    return pa.array(np.asarray(codes, dtype=np.uint16)), [text(value) for value in known]


def joined(m: MemoryMap, other: MemoryMap) -> Array:
    """Where each example of `m` is in another map; −1 where it is not."""
    return np.asarray(pd.Index(other["id"].tolist()).get_indexer(m["id"].tolist()))


def finite(value: float) -> float | None:
    """A number that JSON has, or None."""
    return float(value) if np.isfinite(value) else None
