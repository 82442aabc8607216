"""A map and options packed for the explorer's page: Arrow columns, metadata as JSON, sprite sheets and texts.

The page reads them in `frontend/src/data`; `metadata.VERSION` is raised when the format changes.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.files.progress import ProgressBar
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.trajectory import Trajectory
from memorymaps.viz.explorer.arrow_columns import ArrowColumns, to_text
from memorymaps.viz.explorer.group_table import group_tables
from memorymaps.viz.explorer.metadata import page_metadata
from memorymaps.viz.explorer.options import ExplorerOptions, resolve_trajectory
from memorymaps.viz.explorer.page_columns import (
    add_compared_map,
    add_data_frame,
    add_map,
    add_registered_measures,
    add_user_columns,
)
from memorymaps.viz.explorer.payloads import Pictures, Rows, Texts, join_payload
from memorymaps.viz.explorer.thumbnails import GRID, SpriteSheets, sheets_on_demand, sheets_within
from memorymaps.viz.explorer.training_steps import add_steps

_TEXTS_PER_CHUNK = 1024
_PAGE_BYTES = 200e3  # of script, style and metadata
_GZIP_LEVEL = 6  # level 9 takes ten times as long for columns that are 0.3 % smaller


@dataclass
class PackedMap:
    """Everything a page shows: metadata, columns, and the parts that the page reads when it shows them."""

    meta: dict[str, Any]
    table: pa.Table
    sheet: Callable[[int], bytes]
    texts: list[str] = field(default_factory=list, repr=False)

    def meta_json(self) -> str:
        """The metadata as JSON; infinite and undefined numbers are null."""
        return json.dumps(self.meta, allow_nan=False, separators=(",", ":"))

    def arrow(self) -> bytes:
        """The columns as an Arrow stream."""
        return _arrow_stream(self.table)

    def text_chunk(self, k: int) -> bytes:
        """Texts `1024 k` to `1024 (k + 1)` as JSON."""
        return json.dumps(self.texts[k * _TEXTS_PER_CHUNK : (k + 1) * _TEXTS_PER_CHUNK]).encode()

    def compressed(self) -> bytes:
        """The columns, compressed with gzip; the same bytes every time."""
        return _compressed(self.table)


def _arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    whole = table.combine_chunks()
    with pa.ipc.new_stream(sink, whole.schema) as stream:
        stream.write_table(whole)
    return bytes(sink.getvalue().to_pybytes())


def _compressed(table: pa.Table) -> bytes:
    return gzip.compress(_arrow_stream(table), _GZIP_LEVEL, mtime=0)


def pack(m: MemoryMap | Trajectory, options: ExplorerOptions) -> PackedMap:
    """Pack a map for a single file: thumbnails are encoded at once, within `options.max_mb`.

    Raises
    ------
    ValueError
        The map has no examples, or an option does not fit the map.
    """
    content = _content(m, options)
    if content.pictures is None:
        return content.packed()
    sheets = sheets_within(
        content.pictures,
        content.order,
        lambda slots: _thumbnail_budget(content.table, slots, options.max_mb),
        options.no_bar,
    )
    return content.packed_with(content.pictures, sheets)


def pack_lazily(m: MemoryMap | Trajectory, options: ExplorerOptions) -> PackedMap:
    """Pack a map for a server or a widget: as `pack`, but thumbnails are encoded when requested, without a budget."""
    content = _content(m, options)
    if content.pictures is None:
        return content.packed()
    return content.packed_with(content.pictures, sheets_on_demand(content.pictures, content.order))


@dataclass(frozen=True)
class _Content:
    """Everything of a page but the sprite sheets; `order` lists the rows, the most sensitive first."""

    metadata: dict[str, Any]
    table: pa.Table
    texts: list[str]
    pictures: Pictures | None
    order: Array

    def packed(self) -> PackedMap:
        """A page without pictures."""
        return PackedMap(self.metadata, self.table, _no_sheet, self.texts)

    def packed_with(self, pictures: Pictures, sheets: SpriteSheets) -> PackedMap:
        """A page with the pictures of these sheets."""
        about = {"width": pictures.width, "height": pictures.height, "grid": GRID, "sheets": sheets.count,
                 "mime": "image/webp", "included": sheets.included}  # fmt: skip
        return PackedMap(self.metadata | {"pictures": about}, _with_slots(self.table, sheets.slots), sheets.read)


def _content(m: MemoryMap | Trajectory, options: ExplorerOptions) -> _Content:
    m, options = resolve_trajectory(m, options)
    if len(m) == 0:
        raise ValueError("the map has no examples: nothing to explore")
    with ProgressBar(desc="packing", unit="column", delay=1.0, disable=options.no_bar) as bar:
        columns = ArrowColumns(len(m), bar.update)
        add_map(columns, m)
        models = [m.provenance.description.model, *add_compared_map(columns, m, options.compare)]
        steps = add_steps(columns, m, options.trajectory or {}, options.max_steps)
        add_user_columns(columns, m, options.columns)
        add_registered_measures(columns, m, options.columns)
        payload = None if options.payload is None else join_payload(m, options.payload)
        if isinstance(payload, Rows):
            add_data_frame(columns, payload.frame)
        texts = [to_text(value) for value in payload.values] if isinstance(payload, Texts) else []
        metadata = page_metadata(m, options, columns, models, steps) | {
            "groups": group_tables(m, options.leave_out),
            "pictures": None,
            "texts": {"per": _TEXTS_PER_CHUNK, "chunks": -(-len(texts) // _TEXTS_PER_CHUNK)} if texts else None,
        }
    order = np.argsort(-np.nan_to_num(m["sensitivity"], nan=-np.inf), kind="stable")
    pictures = payload if isinstance(payload, Pictures) else None
    return _Content(metadata, columns.table(), texts, pictures, order)


def _no_sheet(k: int) -> bytes:
    raise KeyError(f"no sheet {k}: this map has no pictures")


def _with_slots(table: pa.Table, slots: Array) -> pa.Table:
    return table.append_column("slot", pa.array(slots))


def _thumbnail_budget(table: pa.Table, slots: Array, max_mb: float) -> float:
    """Bytes that remain for thumbnails besides columns, script and style; base64 turns three bytes into four."""
    return 0.75 * (1e6 * max_mb - _PAGE_BYTES) - len(_compressed(_with_slots(table, slots)))
