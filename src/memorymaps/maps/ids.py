"""Examples by their ids: positions in a map, whatever type the ids come in, and whether two maps mean the same ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from memorymaps.core.arrays import Array

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable

_SAME = 1e-5  # relative difference of targets that are the same number, one of them perhaps in 32 bits
_LINEAR = 1e-6  # 1 − |correlation| of targets that are the same in other units


def find(m: ExampleTable, ids: Iterable[Any]) -> Array:
    """Positions of ids in a map, −1 where it has none: joined by value, in any type that holds it (NumPy, torch, text).

    A map's text ids are taken as they are written: `"00041"` is not `41`.
    """
    column = m.table.column("id").combine_chunks()
    integers = pa.types.is_integer(column.type)
    wanted = [_as_integer(value) if integers else str(_plain(value)) for value in ids]
    known = pa.array(wanted, pa.int64() if integers else column.type)
    return np.asarray(pc.fill_null(pc.index_in(known, value_set=column, skip_nulls=True), -1))


def positions(m: ExampleTable, ids: Iterable[Any]) -> Array:
    """Positions of ids in a map.

    Raises
    ------
    KeyError
        An id that is not in the map.
    TypeError
        Not several ids.
    """
    wanted = _as_list(ids)
    found = find(m, wanted)
    if np.any(found < 0):
        missing = [_plain(wanted[k]) for k in np.flatnonzero(found < 0)]
        mask = ". For a mask of True and False: m.filter(mask)" * all(isinstance(each, bool) for each in missing)
        raise KeyError(f"{len(missing)} id(s) are not in this map: {missing[:5]}{mask}")
    return found


def _as_list(ids: Any) -> list[Any]:
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable) or getattr(ids, "shape", None) == ():
        raise TypeError(f"ids = {ids!r}: expected several ids; for one: [{ids!r}]")
    return list(ids)


def _plain(value: Any) -> Any:
    """A Python number for NumPy's and torch's."""
    return value.item() if hasattr(value, "item") else value


def _as_integer(value: Any) -> int | None:
    """The integer of 64 bits that a value is, or None."""
    value = _plain(value)
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"0|-?[1-9][0-9]{0,18}", value, re.ASCII) else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    whole = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if whole and -(2**63) <= value < 2**63 else None


def are_row_numbers(m: ExampleTable) -> bool:
    """Whether ids are positions in the training data: those that a map gets where no ids were given."""
    ids = m["id"]
    return ids.dtype.kind in "iu" and np.array_equal(ids, m["row"])


def check_same_examples(a: ExampleTable, b: ExampleTable, rows: tuple[Array, Array], corrected: str = "") -> None:
    """Raise `ValueError` where maps are joined by row numbers and their targets tell that they are other examples.

    `rows` are the positions of the same ids in both. Targets are the same if they are equal, in other units, or class
    by class under other names. `corrected`: what to type if targets were corrected between the maps.
    """
    if not (are_row_numbers(a) and are_row_numbers(b)):
        return
    x, y = a["target"][rows[0]], b["target"][rows[1]]
    if len(x) == 0 or _equal(x, y):
        return
    other = int(np.count_nonzero(~_equal_rows(x, y)))
    raise ValueError(
        f"the maps are joined by row numbers, and {other:,} of {len(x):,} targets differ: rows in another order, or "
        f"other data? Pass memory_map(…, ids=…) the examples' own names in both maps{corrected}"
    )


def _equal(x: Array, y: Array) -> bool:
    if x.shape != y.shape:
        return False
    if bool(np.all(_equal_rows(x, y))) or (x.ndim == 1 and _renamed(x, y)):
        return True
    numbers = x.dtype.kind == "f" and y.dtype.kind in "iuf" and x.ndim == 1 and np.ptp(x) > 0 and np.ptp(y) > 0
    return numbers and 1 - abs(np.corrcoef(x, y)[0, 1]) < _LINEAR


def _equal_rows(x: Array, y: Array) -> Array:
    if x.shape != y.shape:
        return np.zeros(len(x), dtype=bool)
    numeric = x.dtype.kind in "biuf" and y.dtype.kind in "biuf"
    same = np.isclose(x, y, rtol=_SAME, atol=0) if numeric else x.astype(str) == y.astype(str)
    return np.asarray(same.reshape(len(x), -1).all(axis=1))


def _renamed(x: Array, y: Array) -> bool:
    """Whether classes of `x` are those of `y` one by one; few enough that this is no accident."""
    a, b = np.unique(x, return_inverse=True)[1], np.unique(y, return_inverse=True)[1]
    classes = int(a.max()) + 1
    return classes <= len(x) / 4 and classes == int(b.max()) + 1 == len(set(zip(a.tolist(), b.tolist(), strict=True)))
