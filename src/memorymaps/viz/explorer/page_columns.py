"""Columns of the explorer's page: those of the map, of a second map to compare with, and the user's own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from memorymaps.analysis.measures import REGISTERED, evaluate
from memorymaps.core.arrays import Array
from memorymaps.maps.ids import check_same_examples
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.table import COLUMNS
from memorymaps.viz.explorer.arrow_columns import ArrowColumns, rows_by_id, to_text
from memorymaps.viz.explorer.payloads import Rows, join_payload

_MAP_COLUMNS = ("target", "prediction", "error", "leverage", "sensitivity", "loss", "loo_loss", "loo_prediction",
                "memorization", "weight", "warning")  # fmt: skip
_LABELS = ("target", "prediction", "loo_prediction")


def add_map(columns: ArrowColumns, m: MemoryMap) -> None:
    """Add the map's ids and its columns with one value per example."""
    _add_ids(columns, m["id"])
    classes = _class_names(m)
    for name in _MAP_COLUMNS:
        if name in m.table.column_names and m[name].ndim == 1 and not _is_unit_weight(name, m[name]):
            columns.add(name, m[name], classes if name in _LABELS else ())
    for name in m.table.column_names:
        if name not in COLUMNS and m[name].ndim == 1:
            columns.add(name, m[name])


def _is_unit_weight(name: str, values: Array) -> bool:
    return name == "weight" and bool(np.all(values == 1))


def _add_ids(columns: ArrowColumns, ids: Array) -> None:
    small = ids.dtype.kind in "iu" and (len(ids) == 0 or np.abs(ids).max() < 2**31)
    columns.add_unlisted("id", ids.astype(np.int32) if small else _texts(ids))


def _texts(values: Array) -> Array:
    return np.asarray([to_text(value) for value in values.tolist()], dtype=object)


def _class_names(m: MemoryMap) -> tuple[Any, ...]:
    """Names of the classes: those of the map's description, then further labels found in the columns."""
    described = m.provenance.description.classes
    if not described:
        return ()
    found = {v for name in _LABELS for v in m[name].tolist()}
    return (*described, *sorted(found - set(described), key=str))


def add_compared_map(
    columns: ArrowColumns, m: MemoryMap, compared: MemoryMap | Mapping[str, MemoryMap] | None
) -> list[str]:
    """Add leverage, error and sensitivity of a second map, joined by id; returns its name, if there is one.

    Raises
    ------
    ValueError
        More than one map, no id in common, or joined by row numbers and the targets differ.
    """
    if compared is None:
        return []
    name, other = _named_map(compared)
    rows = rows_by_id(m, other)
    if np.all(rows < 0):
        raise ValueError(
            "the compared map shares no id with this one: pass memory_map(…, ids=…) the same names in both"
        )
    names = ". If the targets were corrected between the maps, any names do: ids=[f'row {i}' for i in range(n)]"
    check_same_examples(m, other, (np.flatnonzero(rows >= 0), rows[rows >= 0]), names)
    for score in ("leverage", "error", "sensitivity"):
        values = np.where(rows >= 0, other[score][np.maximum(rows, 0)], np.nan)
        columns.add(f"{score}@1", values, described_as=score)
    return [name]


def _named_map(compared: MemoryMap | Mapping[str, MemoryMap]) -> tuple[str, MemoryMap]:
    if not isinstance(compared, Mapping):
        return f"{compared.provenance.description.model} (compared)", compared
    if len(compared) != 1:
        raise ValueError(f"compare has {len(compared)} maps: expected one, {{name: map}}")
    return next(iter(compared.items()))


def add_user_columns(columns: ArrowColumns, m: MemoryMap, given: Any) -> None:
    """Add the option `columns`: a data frame or a mapping from names to values, joined to the map's rows."""
    if given is None:
        return
    joined = join_payload(m, given if hasattr(given, "iloc") else _data_frame(given))
    if isinstance(joined, Rows):
        add_data_frame(columns, joined.frame)


def _data_frame(given: Mapping[Any, Any]) -> pd.DataFrame:
    """The columns of a mapping; text that UTF-8 cannot encode is replaced first, which pandas would refuse."""
    return pd.DataFrame({to_text(name): _encodable(values) for name, values in given.items()})


def _encodable(values: Any) -> Any:
    if hasattr(values, "iloc") or np.asarray(values).dtype.kind not in "UO":
        return values
    return [to_text(value) if isinstance(value, str) else value for value in values]


def add_registered_measures(columns: ArrowColumns, m: MemoryMap, given: Any) -> None:
    """Add the measures that `measures.register` has added, but for those that the option `columns` gives itself.

    One that is not defined for this map (it raises `ValueError`) is left out, with a warning.
    """
    names = [name for name in REGISTERED if given is None or name not in given]
    for name in names:
        try:
            values = evaluate(name, m)
        except ValueError as error:
            warnings.warn(f"the page has no column {name!r}, a registered measure: {error}", stacklevel=2)
            continue
        add_data_frame(columns, pd.DataFrame({name: values}))


def add_data_frame(columns: ArrowColumns, frame: pd.DataFrame) -> None:
    """Add all columns of a data frame; a name that is in use gets the suffix ` (yours)`."""
    for name in frame.columns:
        in_use = str(name) in columns.arrays or "@" in str(name) or "#" in str(name)
        columns.add(f"{to_text(name)} (yours)" if in_use else to_text(name), _to_numpy(frame[name]))


def _to_numpy(series: pd.Series) -> Array:
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else "O"
    return series.to_numpy() if kind in "biuf" else series.astype(object).where(series.notna(), None).to_numpy()
