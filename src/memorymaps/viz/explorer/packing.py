"""A map as the page reads it: Arrow columns, a description in JSON, parts that are fetched when they are shown.

The page's side is `frontend/src/data`; `description.VERSION` changes with either.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.maps.ids import check_same_examples
from memorymaps.maps.table import COLUMNS
from memorymaps.viz.explorer.arrow_columns import Columns, joined, text
from memorymaps.viz.explorer.group_table import groups_of
from memorymaps.viz.explorer.metadata import describe
from memorymaps.viz.explorer.payloads import Pictures, Rows, Texts, payload_of
from memorymaps.viz.explorer.thumbnails import GRID, PER, sheet, slots_of, sprites
from memorymaps.viz.explorer.training_steps import add_steps

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap
    from memorymaps.viz.explorer.options import ExplorerOptions

_CHUNK = 1024  # texts fetched at once
_PAGE = 200e3  # bytes of script, style and description
_SHOWN = ("target", "prediction", "error", "leverage", "sensitivity", "loss", "loo_loss", "loo_prediction",
          "memorization", "weight", "warning")  # fmt: skip


@dataclass
class Packed:
    """Everything a page shows: description, columns, and the parts that are read lazily."""

    meta: dict[str, Any]
    table: pa.Table
    sheet: Callable[[int], bytes]
    texts: list[str] = field(default_factory=list, repr=False)

    def meta_json(self) -> str:
        """The description; infinite and undefined numbers are null."""
        return json.dumps(self.meta, allow_nan=False, separators=(",", ":"))

    def arrow(self) -> bytes:
        """The columns as an Arrow stream."""
        sink = pa.BufferOutputStream()
        whole = self.table.combine_chunks()
        with pa.ipc.new_stream(sink, whole.schema) as stream:
            stream.write_table(whole)
        return bytes(sink.getvalue().to_pybytes())

    def chunk(self, k: int) -> bytes:
        """The `k`-th thousand of texts as JSON."""
        return json.dumps(self.texts[k * _CHUNK : (k + 1) * _CHUNK]).encode()

    def compressed(self) -> bytes:
        """The columns, gzipped (the same bytes every time)."""
        return gzip.compress(self.arrow(), 9, mtime=0)


def pack(m: MemoryMap, options: ExplorerOptions, *, lazy: bool) -> Packed:
    """A map and its options as the page reads them; `lazy` parts are made when asked for, without a budget."""
    columns = Columns(len(m))
    _add_map(columns, m)
    models = [m.provenance.description.model, *_add_other(columns, m, options)]
    recorded = options.trajectory or {}
    steps = add_steps(columns, m, recorded, options.max_steps)
    _add_extra(columns, m, options)
    order = np.argsort(-np.nan_to_num(m["sensitivity"], nan=-np.inf), kind="stable")
    made, texts, pictures = _payload(columns, m, options, order, lazy)
    meta = describe(m, options, columns, models, steps)
    if 0 < len(steps) < len(recorded):
        meta["notes"].append(f"the slider holds {len(steps)} of {len(recorded)} recorded steps (max_steps)")
    meta["groups"] = groups_of(m, options.leave_out)
    meta["pictures"] = pictures
    meta["texts"] = {"per": _CHUNK, "chunks": -(-len(texts) // _CHUNK)} if texts else None
    return Packed(meta, columns.table(), made, texts)


def _add_map(columns: Columns, m: MemoryMap) -> None:
    _add_ids(columns, m["id"])
    classes = _classes(m)
    for name in _SHOWN:
        if name in m.table.column_names and m[name].ndim == 1 and not _idle(name, m[name]):
            columns.add(name, m[name], classes if name in ("target", "prediction", "loo_prediction") else ())
    for name in m.table.column_names:
        if name not in COLUMNS and m[name].ndim == 1:
            columns.add(name, m[name])


def _idle(name: str, values: Array) -> bool:
    return name == "weight" and bool(np.all(values == 1))


def _add_ids(columns: Columns, ids: Array) -> None:
    small = ids.dtype.kind in "iu" and (len(ids) == 0 or np.abs(ids).max() < 2**31)
    columns.raw("id", ids.astype(np.int32) if small else np.asarray([text(value) for value in ids], dtype=object))


def _classes(m: MemoryMap) -> tuple[Any, ...]:
    """Names of the classes, with any label that the description does not list."""
    described = m.provenance.description.classes
    if not described:
        return ()
    found = {v for name in ("target", "prediction", "loo_prediction") for v in m[name].tolist()}
    return (*described, *sorted(found - set(described), key=str))


def _other_map(options: ExplorerOptions) -> tuple[str, MemoryMap] | None:
    other = options.compare
    if other is None:
        return None
    if isinstance(other, Mapping):
        if len(other) != 1:
            raise ValueError(f"compare has {len(other)} maps: expected one, {{name: map}}")
        return next(iter(other.items()))
    return f"{other.provenance.description.model} (compared)", other


def _add_other(columns: Columns, m: MemoryMap, options: ExplorerOptions) -> list[str]:
    found = _other_map(options)
    if found is None:
        return []
    name, other = found
    rows = joined(m, other)
    if np.all(rows < 0):
        raise ValueError("the compared map shares no id with this one: maps are linked by id")
    check_same_examples(m, other, (np.flatnonzero(rows >= 0), rows[rows >= 0]))
    for score in ("leverage", "error", "sensitivity"):
        values = np.where(rows >= 0, other[score][np.maximum(rows, 0)], np.nan)
        columns.add(f"{score}@1", values, shown=score)
    return [name]


def _add_extra(columns: Columns, m: MemoryMap, options: ExplorerOptions) -> None:
    if options.columns is None:
        return
    joined = payload_of(m, options.columns if hasattr(options.columns, "iloc") else pd.DataFrame(options.columns))
    if isinstance(joined, Rows):
        _add_frame(columns, joined.frame)


def _add_frame(columns: Columns, frame: pd.DataFrame) -> None:
    for name in frame.columns:
        known = str(name) in columns.arrays or "@" in str(name) or "#" in str(name)
        columns.add(f"{text(name)} (yours)" if known else text(name), _plain(frame[name]))


def _plain(series: pd.Series) -> Array:
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else "O"
    return series.to_numpy() if kind in "biuf" else series.astype(object).where(series.notna(), None).to_numpy()


# --- payload ---------------------------------------------------------------------------------------------------------


def _no_sheet(k: int) -> bytes:
    raise KeyError(f"no sheet {k}: this map has no pictures")


def _payload(
    columns: Columns, m: MemoryMap, options: ExplorerOptions, order: Array, lazy: bool
) -> tuple[Callable[[int], bytes], list[str], dict[str, Any] | None]:
    if options.payload is None:
        return _no_sheet, [], None
    found = payload_of(m, options.payload)
    if isinstance(found, Texts):
        return _no_sheet, [text(value) for value in found.values], None
    if isinstance(found, Rows):
        _add_frame(columns, found.frame)
        return _no_sheet, [], None
    return _pictures(columns, found, options, order, lazy)


def _pictures(
    columns: Columns, pictures: Pictures, options: ExplorerOptions, order: Array, lazy: bool
) -> tuple[Callable[[int], bytes], list[str], dict[str, Any]]:
    slots, readable = _all_slots(pictures, order) if lazy else slots_of(pictures, order)
    columns.raw("slot", slots)
    rows = np.argsort(slots, kind="stable")[len(slots) - readable :]
    read: Callable[[int], bytes]
    if lazy:
        read = lru_cache(64)(lambda k: sheet(pictures, rows[k * PER : (k + 1) * PER]))
        included, count = readable, -(-readable // PER)
    else:
        sheets = sprites(pictures, rows, _room(columns, options.max_mb))
        read = sheets.__getitem__
        included, count = min(readable, len(sheets) * PER), len(sheets)
    about = {"width": pictures.width, "height": pictures.height, "grid": GRID, "sheets": count, "mime": "image/webp",
             "included": included}  # fmt: skip
    return read, [], about


def _room(columns: Columns, max_mb: float) -> float:
    """Bytes left for pictures beside the columns, the script and the style; base64 makes four bytes of three."""
    table = Packed({}, columns.table(), _no_sheet).compressed()
    return 0.75 * (1e6 * max_mb - _PAGE) - len(table)


def _all_slots(pictures: Pictures, order: Array) -> tuple[Array, int]:
    """Slots without reading a single picture where there are too many to try them all."""
    if len(order) <= 20_000:
        return slots_of(pictures, order)
    slots = np.empty(len(order), dtype=np.float32)
    slots[order] = np.arange(len(order))
    return slots, len(order)
