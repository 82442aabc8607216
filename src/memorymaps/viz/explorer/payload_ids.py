"""Which example of a payload belongs to which row of a map: joined by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from memorymaps.core.arrays import Array
from memorymaps.maps.ids import are_row_numbers, find
from memorymaps.maps.memory_map import MemoryMap


class PayloadError(ValueError):
    """Examples that cannot be joined to the map, or that are neither pictures, texts nor rows."""


def examples_by_id(m: MemoryMap, payload: Mapping[Any, Any]) -> list[Any]:
    """The examples of a mapping from ids, in the map's order.

    Raises
    ------
    PayloadError
        Ids of the map that the mapping lacks.
    """
    place, values = _places(m, list(payload)), list(payload.values())
    _check_all(m, place)
    return [values[k] for k in place]


def data_frame_by_id(m: MemoryMap, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a data frame with a column `id`, in the map's order, without it.

    Raises
    ------
    PayloadError
        Ids of the map that the frame lacks, or one that it has more than once.
    """
    place = _places(m, frame["id"].tolist())
    _check_all(m, place)
    return frame.drop(columns="id").iloc[place].reset_index(drop=True)


def rows_by_index(m: MemoryMap, payload: Any) -> Array | None:
    """Rows of a data frame or series for each example of the map, by its index; None where that does not hold the ids.

    Raises
    ------
    PayloadError
        The ids are row numbers, and the index holds them in another order: it may name the examples or not.
    """
    index = payload.index.tolist()
    if not payload.index.is_unique or np.any(_lacking(m, index)):
        return None
    place = _places(m, index)
    ordered = len(payload) == m.provenance.n and np.array_equal(place, m["row"])
    if are_row_numbers(m) and not ordered and len(payload) in (len(m), m.provenance.n):
        named = "payload.rename_axis('id').reset_index()" if hasattr(payload, "columns") else "dict(payload)"
        raise PayloadError(
            "payload has the map's row numbers as its index, in another order: say which holds. By the index: "
            f"payload={named}; by position: payload=payload.reset_index(drop=True)"
        )
    return place


def _lacking(m: MemoryMap, ids: list[Any]) -> Array:
    """Which examples of the map are not among these ids."""
    found = find(m, ids)
    missing = np.ones(len(m), dtype=bool)
    missing[found[found >= 0]] = False
    return missing


def _places(m: MemoryMap, ids: list[Any]) -> Array:
    """Where each example of the map is among ids, −1 where it is not."""
    found = find(m, ids)
    kept = np.flatnonzero(found >= 0)
    if len(np.unique(found[kept])) < len(kept):
        values, counts = np.unique(found[kept], return_counts=True)
        raise PayloadError(
            f"payload has the id {m['id'][values[np.argmax(counts)]]!s:.80} more than once: pass one row for each"
        )
    place = np.full(len(m), -1)
    place[found[kept]] = kept
    return place


def _check_all(m: MemoryMap, place: Array) -> None:
    lacking = m["id"][place < 0]
    if len(lacking):
        raise PayloadError(
            f"payload has no row for {len(lacking):,} of {len(m):,} ids of the map, for instance {lacking[:3].tolist()}"
            ": pass one for every id, or all examples in the order of training without ids"
        )
