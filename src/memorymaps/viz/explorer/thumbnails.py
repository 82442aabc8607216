"""Thumbnails as WebP sprite sheets of 32 × 32 pictures, the most sensitive examples first."""

from __future__ import annotations

import io
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from memorymaps.core.arrays import Array
from memorymaps.files.progress import ProgressBar
from memorymaps.viz.explorer.payloads import Pictures

GRID = 32  # pictures along a side of a sheet
PER_SHEET = GRID * GRID
_BEST_QUALITY = 60
_QUALITIES = (60, 40, 25, 15, 10, 5)
_BEST_QUALITY_SHARE = 0.125  # share of the sheets, the most sensitive ones, that is stored at the best quality
_MAX_READ = 20_000  # with more examples than this, pictures are not read before they are requested
_CACHED_BYTES = 100e6  # of encoded sheets that a server or a widget keeps


@dataclass(frozen=True)
class SpriteSheets:
    """Sprite sheets of a map's pictures: `read(k)` returns sheet `k < count`, encoded as WebP.

    `slots [n]` (float32) is each example's position over all sheets, −1 without a picture; examples in slots below
    `included` are on a sheet.
    """

    slots: Array
    included: int
    count: int
    read: Callable[[int], bytes]


class SheetCache:
    """Sheets that are encoded once, one at a time, and kept up to a total size, the last requested longest.

    However many threads ask: who asks for a sheet that is being encoded waits for it. Encoding takes the memory of a
    whole sheet of pixels, 12 MB for pictures of 64 × 64.

    Examples
    --------
    >>> cache = SheetCache(lambda k: bytes(k), max_bytes=5)
    >>> [len(cache(k)) for k in (2, 3, 4)]
    [2, 3, 4]
    >>> cache.size
    4
    """

    def __init__(self, encode: Callable[[int], bytes], max_bytes: float = _CACHED_BYTES) -> None:
        self._encode, self._max_bytes = encode, max_bytes
        self._sheets: OrderedDict[int, bytes] = OrderedDict()
        self._encoding, self._access = threading.Lock(), threading.Lock()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        with self._access:
            return sum(map(len, self._sheets.values()))

    def __call__(self, k: int) -> bytes:
        """Sheet `k`."""
        found = self._known(k)
        if found is not None:
            return found
        with self._encoding:
            found = self._known(k)  # another thread may have encoded it meanwhile
            return self._keep(k, self._encode(k)) if found is None else found

    def _known(self, k: int) -> bytes | None:
        with self._access:
            if k in self._sheets:
                self._sheets.move_to_end(k)
            return self._sheets.get(k)

    def _keep(self, k: int, sheet: bytes) -> bytes:
        with self._access:
            self._sheets[k] = sheet
            while len(self._sheets) > 1 and sum(map(len, self._sheets.values())) > self._max_bytes:
                self._sheets.popitem(last=False)
        return sheet


def sheets_within(
    pictures: Pictures, order: Array, budget: Callable[[Array], float], no_bar: bool | None = None
) -> SpriteSheets:
    """All sheets, encoded within `budget(slots)` bytes; `order` lists the rows, the most sensitive first.

    Over budget the less sensitive sheets lose quality first, then the last sheets are dropped. `no_bar` is tqdm's
    `disable`.
    """
    slots, readable = _readable_slots(pictures, order, no_bar)
    sheets = _encode_within(pictures, _rows_in_order(slots, readable), budget(slots), no_bar)
    return SpriteSheets(slots, min(readable, len(sheets) * PER_SHEET), len(sheets), sheets.__getitem__)


def sheets_on_demand(pictures: Pictures, order: Array) -> SpriteSheets:
    """Sheets that are encoded when they are first read, at the best quality and without a budget.

    Up to 20,000 examples, unreadable pictures get no slot; above, no picture is read in advance.
    """
    slots, readable = _readable_slots(pictures, order) if len(order) <= _MAX_READ else _unread_slots(order)
    rows = _rows_in_order(slots, readable)
    cache = SheetCache(lambda k: sprite_sheet(pictures, rows[k * PER_SHEET : (k + 1) * PER_SHEET]))
    return SpriteSheets(slots, readable, -(-readable // PER_SHEET), cache)


def _readable_slots(pictures: Pictures, order: Array, no_bar: bool | None = None) -> tuple[Array, int]:
    """Slots by sensitivity and their number; −1, with a warning, for pictures that cannot be read."""
    slots = np.full(len(order), -1.0, dtype=np.float32)
    rows = ProgressBar(order, desc="reading pictures", unit="picture", delay=1.0, disable=no_bar)
    readable = [int(row) for row in rows if pictures.read(int(row)) is not None]
    slots[readable] = np.arange(len(readable))
    unreadable = len(order) - len(readable)
    if unreadable:
        first = int(np.flatnonzero(slots < 0)[0])
        warnings.warn(
            f"{unreadable:,} of {len(order):,} pictures cannot be read (the first is row {first})", stacklevel=2
        )
    return slots, len(readable)


def _unread_slots(order: Array) -> tuple[Array, int]:
    """Slots by sensitivity, one for every example."""
    slots = np.empty(len(order), dtype=np.float32)
    slots[order] = np.arange(len(order))
    return slots, len(order)


def _rows_in_order(slots: Array, readable: int) -> Array:
    return np.argsort(slots, kind="stable")[len(slots) - readable :]


def sprite_sheet(pictures: Pictures, rows: Array, quality: int = _BEST_QUALITY) -> bytes:
    """One sheet with the pictures of at most 1,024 rows, encoded as WebP."""
    canvas = np.zeros((GRID * pictures.height, GRID * pictures.width, 3), dtype=np.uint8)
    for place, row in enumerate(rows):
        top, left = (place // GRID) * pictures.height, (place % GRID) * pictures.width
        found = pictures.read(int(row))
        if found is not None:
            canvas[top : top + pictures.height, left : left + pictures.width] = found
    return _webp(canvas, quality)


def _webp(canvas: Array, quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()


def _encode_within(pictures: Pictures, rows: Array, budget: float, no_bar: bool | None) -> list[bytes]:
    """Sheets of these rows within `budget` bytes."""
    if budget <= 0:
        return []
    chunks = [rows[start : start + PER_SHEET] for start in range(0, len(rows), PER_SHEET)]
    best = max(1, round(_BEST_QUALITY_SHARE * len(chunks)))
    first = [sprite_sheet(pictures, chunk) for chunk in chunks[:best]]
    quality = _quality_within(pictures, chunks[best:], budget - sum(map(len, first)))
    sheets: list[bytes] = []
    remaining = budget
    for k, chunk in enumerate(ProgressBar(chunks, desc="packing pictures", unit="sheet", delay=1.0, disable=no_bar)):
        encoded = first[k] if k < best else sprite_sheet(pictures, chunk, quality)
        if len(encoded) > remaining:
            break
        sheets.append(encoded)
        remaining -= len(encoded)
    return sheets


def _quality_within(pictures: Pictures, chunks: list[Array], budget: float) -> int:
    """The best quality at which the sheets fit into the budget, estimated from three of them."""
    if not chunks:
        return _BEST_QUALITY
    sample = [chunks[k] for k in sorted({0, len(chunks) // 2, len(chunks) - 1})]
    for quality in _QUALITIES:
        mean = np.mean([len(sprite_sheet(pictures, chunk, quality)) / len(chunk) for chunk in sample])
        if 1.02 * mean * sum(map(len, chunks)) <= budget:
            return quality
    return _QUALITIES[-1]
