"""Thumbnails as WebP sprite sheets, the most sensitive examples first, within a budget of bytes."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from memorymaps.core.arrays import Array
from memorymaps.viz.explorer.payloads import Pictures

GRID = 32  # pictures along a side of a sheet
PER_SHEET = GRID * GRID
_BEST_QUALITY = 60
_QUALITIES = (60, 40, 25, 15, 10, 5)
_BEST_QUALITY_SHARE = 0.125  # this share of the sheets, the most sensitive, keeps the best quality


def thumbnail_slots(pictures: Pictures, order: Array) -> tuple[Array, int]:
    """Slots by sensitivity; examples whose picture cannot be read get none and are warned of."""
    slots = np.full(len(order), -1.0, dtype=np.float32)
    readable = [int(row) for row in order if pictures.read(int(row)) is not None]
    slots[readable] = np.arange(len(readable))
    lost = len(order) - len(readable)
    if lost:
        first = int(np.flatnonzero(slots < 0)[0])
        warnings.warn(f"{lost:,} of {len(order):,} pictures cannot be read (the first is row {first})", stacklevel=2)
    return slots, len(readable)


def sprite_sheet(pictures: Pictures, rows: Array, quality: int = _BEST_QUALITY) -> bytes:
    """One sheet with the pictures of at most 1,024 rows."""
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


def sprite_sheets(pictures: Pictures, rows: Array, budget: float) -> list[bytes]:
    """Sheets of these rows within `budget` bytes: the bulk loses quality first, then the last rows are left out."""
    parts = [rows[start : start + PER_SHEET] for start in range(0, len(rows), PER_SHEET)]
    best = max(1, round(_BEST_QUALITY_SHARE * len(parts)))
    first = [sprite_sheet(pictures, part) for part in parts[:best]]
    quality = _quality_within(pictures, parts[best:], budget - sum(map(len, first)))
    sheets: list[bytes] = []
    rest = budget
    for k, part in enumerate(parts):
        made = first[k] if k < best else sprite_sheet(pictures, part, quality)
        if len(made) > rest:
            break
        sheets.append(made)
        rest -= len(made)
    return sheets


def _quality_within(pictures: Pictures, parts: list[Array], budget: float) -> int:
    """The best quality at which the sheets fit, judged by three of them."""
    if not parts:
        return _BEST_QUALITY
    sample = [parts[k] for k in sorted({0, len(parts) // 2, len(parts) - 1})]
    for quality in _QUALITIES:
        mean = np.mean([len(sprite_sheet(pictures, part, quality)) / len(part) for part in sample])
        if 1.02 * mean * sum(map(len, parts)) <= budget:
            return quality
    return _QUALITIES[-1]
