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
from memorymaps.maps.table import COLUMNS
from memorymaps.viz.explorer.arrow_columns import ArrowColumns, rows_by_id, to_text
from memorymaps.viz.explorer.group_table import group_tables
from memorymaps.viz.explorer.metadata import page_metadata
from memorymaps.viz.explorer.payloads import Pictures, Rows, Texts, join_payload
from memorymaps.viz.explorer.thumbnails import GRID, PER_SHEET, sprite_sheet, sprite_sheets, thumbnail_slots
from memorymaps.viz.explorer.training_steps import add_steps

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap
    from memorymaps.viz.explorer.options import ExplorerOptions

_TEXTS_PER_CHUNK = 1024  # texts fetched at once
_PAGE_BYTES = 200e3  # bytes of script, style and description
_MAP_COLUMNS = ("target", "prediction", "error", "leverage", "sensitivity", "loss", "loo_loss", "loo_prediction",
          "memorization", "weight", "warning")  # fmt: skip


@dataclass
class PackedMap:
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

    def text_chunk(self, k: int) -> bytes:
        """The `k`-th thousand of texts as JSON."""
        return json.dumps(self.texts[k * _TEXTS_PER_CHUNK : (k + 1) * _TEXTS_PER_CHUNK]).encode()

    def compressed(self) -> bytes:
        """The columns, gzipped (the same bytes every time)."""
        return gzip.compress(self.arrow(), 9, mtime=0)


def pack(m: MemoryMap, options: ExplorerOptions, *, lazy: bool) -> PackedMap:
    """A map and its options as the page reads them; `lazy` parts are made when asked for, without a budget."""
    columns = ArrowColumns(len(m))
    _add_map_columns(columns, m)
    models = [m.provenance.description.model, *_add_compared_map(columns, m, options)]
    recorded = options.trajectory or {}
    steps = add_steps(columns, m, recorded, options.max_steps)
    _add_user_columns(columns, m, options)
    order = np.argsort(-np.nan_to_num(m["sensitivity"], nan=-np.inf), kind="stable")
    made, texts, pictures = _pack_payload(columns, m, options, order, lazy)
    meta = page_metadata(m, options, columns, models, steps)
    if 0 < len(steps) < len(recorded):
        meta["notes"].append(f"the slider holds {len(steps)} of {len(recorded)} recorded steps (max_steps)")
    meta["groups"] = group_tables(m, options.leave_out)
    meta["pictures"] = pictures
    meta["texts"] = {"per": _TEXTS_PER_CHUNK, "chunks": -(-len(texts) // _TEXTS_PER_CHUNK)} if texts else None
    return PackedMap(meta, columns.table(), made, texts)


def _add_map_columns(columns: ArrowColumns, m: MemoryMap) -> None:
    _add_ids(columns, m["id"])
    classes = _class_names(m)
    for name in _MAP_COLUMNS:
        if name in m.table.column_names and m[name].ndim == 1 and not _is_unit_weight(name, m[name]):
            columns.add(name, m[name], classes if name in ("target", "prediction", "loo_prediction") else ())
    for name in m.table.column_names:
        if name not in COLUMNS and m[name].ndim == 1:
            columns.add(name, m[name])


def _is_unit_weight(name: str, values: Array) -> bool:
    return name == "weight" and bool(np.all(values == 1))


def _add_ids(columns: ArrowColumns, ids: Array) -> None:
    small = ids.dtype.kind in "iu" and (len(ids) == 0 or np.abs(ids).max() < 2**31)
    columns.add_unlisted(
        "id", ids.astype(np.int32) if small else np.asarray([to_text(value) for value in ids], dtype=object)
    )


def _class_names(m: MemoryMap) -> tuple[Any, ...]:
    """Names of the classes, with any label that the description does not list."""
    described = m.provenance.description.classes
    if not described:
        return ()
    found = {v for name in ("target", "prediction", "loo_prediction") for v in m[name].tolist()}
    return (*described, *sorted(found - set(described), key=str))


def _compared_map(options: ExplorerOptions) -> tuple[str, MemoryMap] | None:
    other = options.compare
    if other is None:
        return None
    if isinstance(other, Mapping):
        if len(other) != 1:
            raise ValueError(f"compare has {len(other)} maps: expected one, {{name: map}}")
        return next(iter(other.items()))
    return f"{other.provenance.description.model} (compared)", other


def _add_compared_map(columns: ArrowColumns, m: MemoryMap, options: ExplorerOptions) -> list[str]:
    found = _compared_map(options)
    if found is None:
        return []
    name, other = found
    rows = rows_by_id(m, other)
    if np.all(rows < 0):
        raise ValueError("the compared map shares no id with this one: maps are linked by id")
    for score in ("leverage", "error", "sensitivity"):
        values = np.where(rows >= 0, other[score][np.maximum(rows, 0)], np.nan)
        columns.add(f"{score}@1", values, described_as=score)
    return [name]


def _add_user_columns(columns: ArrowColumns, m: MemoryMap, options: ExplorerOptions) -> None:
    if options.columns is None:
        return
    joined = join_payload(m, options.columns if hasattr(options.columns, "iloc") else pd.DataFrame(options.columns))
    if isinstance(joined, Rows):
        _add_data_frame(columns, joined.frame)


def _add_data_frame(columns: ArrowColumns, frame: pd.DataFrame) -> None:
    for name in frame.columns:
        known = str(name) in columns.arrays or "@" in str(name) or "#" in str(name)
        columns.add(f"{to_text(name)} (yours)" if known else to_text(name), _to_numpy(frame[name]))


def _to_numpy(series: pd.Series) -> Array:
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else "O"
    return series.to_numpy() if kind in "biuf" else series.astype(object).where(series.notna(), None).to_numpy()


# --- payload ---------------------------------------------------------------------------------------------------------


def _no_sheet(k: int) -> bytes:
    raise KeyError(f"no sheet {k}: this map has no pictures")


def _pack_payload(
    columns: ArrowColumns, m: MemoryMap, options: ExplorerOptions, order: Array, lazy: bool
) -> tuple[Callable[[int], bytes], list[str], dict[str, Any] | None]:
    if options.payload is None:
        return _no_sheet, [], None
    found = join_payload(m, options.payload)
    if isinstance(found, Texts):
        return _no_sheet, [to_text(value) for value in found.values], None
    if isinstance(found, Rows):
        _add_data_frame(columns, found.frame)
        return _no_sheet, [], None
    return _pack_pictures(columns, found, options, order, lazy)


def _pack_pictures(
    columns: ArrowColumns, pictures: Pictures, options: ExplorerOptions, order: Array, lazy: bool
) -> tuple[Callable[[int], bytes], list[str], dict[str, Any]]:
    slots, readable = _slots_unread(pictures, order) if lazy else thumbnail_slots(pictures, order)
    columns.add_unlisted("slot", slots)
    rows = np.argsort(slots, kind="stable")[len(slots) - readable :]
    read: Callable[[int], bytes]
    if lazy:
        read = lru_cache(64)(lambda k: sprite_sheet(pictures, rows[k * PER_SHEET : (k + 1) * PER_SHEET]))
        included, count = readable, -(-readable // PER_SHEET)
    else:
        sheets = sprite_sheets(pictures, rows, _thumbnail_budget(columns, options.max_mb))
        read = sheets.__getitem__
        included, count = min(readable, len(sheets) * PER_SHEET), len(sheets)
    about = {"width": pictures.width, "height": pictures.height, "grid": GRID, "sheets": count, "mime": "image/webp",
             "included": included}  # fmt: skip
    return read, [], about


def _thumbnail_budget(columns: ArrowColumns, max_mb: float) -> float:
    """Bytes left for pictures beside the columns, the script and the style; base64 makes four bytes of three."""
    table = PackedMap({}, columns.table(), _no_sheet).compressed()
    return 0.75 * (1e6 * max_mb - _PAGE_BYTES) - len(table)


def _slots_unread(pictures: Pictures, order: Array) -> tuple[Array, int]:
    """Slots without reading a single picture where there are too many to try them all."""
    if len(order) <= 20_000:
        return thumbnail_slots(pictures, order)
    slots = np.empty(len(order), dtype=np.float32)
    slots[order] = np.arange(len(order))
    return slots, len(order)
