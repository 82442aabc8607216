"""What an example looks like: pictures, texts or rows, joined to a map by id or by position.

A payload may be an array of pictures, a list of PIL pictures, of file names or of encoded pictures
(`{"bytes": …, "path": …}`, as Hugging Face datasets hold them), a list of texts, a data frame or series, a mapping from
ids to any of these, or the data set a network was trained on (its inputs are taken).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from memorymaps.core.arrays import Array
from memorymaps.viz.explorer.payload_ids import PayloadError, examples_by_id, frame_by_id, rows_by_index

if TYPE_CHECKING:
    import pandas as pd

    from memorymaps.maps.memory_map import MemoryMap

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_LARGEST = 64  # pixels of a thumbnail's longer side


@dataclass(frozen=True)
class Pictures:
    """`read(k)` gives the picture of the map's row `k`, uint8 `[height, width, 3]`; None where there is none."""

    width: int
    height: int
    read: Callable[[int], Array | None]


@dataclass(frozen=True)
class Texts:
    """One text for every row of the map."""

    values: list[str]


@dataclass(frozen=True)
class Rows:
    """Columns for every row of the map."""

    frame: pd.DataFrame


Payload = Pictures | Texts | Rows


def payload_of(m: MemoryMap, payload: Any) -> Payload:
    """Join a payload to the rows of a map.

    Raises
    ------
    PayloadError
        Another length, missing ids, or a kind of example that cannot be shown.

    Examples
    --------
    >>> from memorymaps import memory_map
    >>> from memorymaps.data.datasets import demo_model
    >>> model, X, y = demo_model()
    >>> payload_of(memory_map(model, X, y), X.reshape(-1, 8, 8)).width
    8
    """
    if isinstance(payload, Mapping):
        return _kind(examples_by_id(m, payload), np.arange(len(m)))
    if _is_frame(payload) and "id" in payload.columns:
        return Rows(frame_by_id(m, payload))
    if hasattr(payload, "iloc"):  # a data frame or a series
        rows = rows_by_index(m, payload)
        rows = _positions(m, len(payload)) if rows is None else rows
        return _kind(payload if _is_frame(payload) else payload.tolist(), rows)
    values = _inputs(payload)
    return _kind(values, _positions(m, len(values)))


def _is_frame(values: Any) -> bool:
    return hasattr(values, "columns") and hasattr(values, "iloc")


def _positions(m: MemoryMap, length: int) -> Array:
    """Where each row of the map is in a payload without ids: the whole training set, or exactly this map."""
    if length == m.provenance.n:
        return m["row"]
    if length == len(m):
        return np.arange(len(m))
    raise PayloadError(
        f"payload has {length:,} examples, the map {len(m):,} (of {m.provenance.n:,} in training): pass one of these "
        "numbers of examples in the order of training, or a mapping {id: example}"
    )


def _inputs(payload: Any) -> Any:
    """An indexable of examples: of a data set with (input, target) items, the inputs."""
    if hasattr(payload, "detach"):
        return np.asarray(payload.detach().cpu())
    if isinstance(payload, str | bytes) or not hasattr(payload, "__len__"):
        raise PayloadError(
            f"payload is a {type(payload).__name__}: expected pictures, texts, a data frame or {{id: …}}"
        )
    if len(payload) and not hasattr(payload, "shape") and isinstance(payload[0], tuple):
        return [_array(payload[k][0]) for k in range(len(payload))]
    return payload


def _array(value: Any) -> Any:
    return np.asarray(value.detach().cpu()) if hasattr(value, "detach") else value


def _kind(values: Any, rows: Array) -> Payload:
    if _is_frame(values):
        return Rows(values.iloc[rows].reset_index(drop=True))
    first = values[int(rows[0])] if len(rows) else ""
    if isinstance(first, str) and not first.lower().endswith(_PICTURES):
        return Texts([str(values[int(row)]) for row in rows])
    if isinstance(first, str | Path | Image.Image) or _is_encoded(first):
        return _from_images(values, rows)
    if np.ndim(first) in (2, 3):
        return _from_arrays(values, rows)
    raise PayloadError(
        f"payload holds {type(first).__name__} of shape {np.shape(first)}: expected pictures [h, w] or [h, w, 3], "
        "texts, or a data frame. Flat pictures want a shape: X.reshape(-1, 28, 28)"
    )


def _from_arrays(values: Any, rows: Array) -> Pictures:
    low, high = _range(values, rows)
    first = _picture(np.asarray(values[int(rows[0])]), low, high)
    height, width = _thumbnail(first).shape[:2]

    def read(k: int) -> Array:
        return _sized(_picture(np.asarray(values[int(rows[k])]), low, high), width, height)

    return Pictures(width, height, read)


def _range(values: Any, rows: Array) -> tuple[float, float]:
    """Black and white: 0 and 255 for bytes, 0 and 1 or the extremes of a sample for other numbers."""
    sample = [np.asarray(values[int(row)]) for row in rows[:: max(1, len(rows) // 500)]]
    if sample[0].dtype == np.uint8:
        return 0.0, 255.0
    low, high = min(float(np.min(s)) for s in sample), max(float(np.max(s)) for s in sample)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _picture(values: Array, low: float, high: float) -> Array:
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3, 4):
        values = np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[2] not in (1, 3, 4):
        raise PayloadError(f"a picture has shape {values.shape}: expected [h, w], [h, w, 1], [h, w, 3] or [h, w, 4]")
    grey = values if values.ndim == 2 else values[..., :3]
    if grey.dtype != np.uint8:
        scaled = np.nan_to_num((grey.astype(float) - low) / ((high - low) or 1.0))
        grey = np.clip(np.rint(255 * scaled), 0, 255).astype(np.uint8)
    grey = grey[..., None] if grey.ndim == 2 else grey
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))


def _thumbnail(picture: Array) -> Array:
    height, width = picture.shape[:2]
    scale = min(1.0, _LARGEST / max(height, width))
    return _sized(picture, max(1, round(width * scale)), max(1, round(height * scale)))


def _sized(picture: Array, width: int, height: int) -> Array:
    """The picture inside `width × height`, its proportions kept."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((width, height))
    sheet = Image.new("RGB", (width, height))
    sheet.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return np.asarray(sheet)


def _from_images(values: Any, rows: Array) -> Pictures:
    sizes = [opened for opened in (_open(values[int(row)]) for row in rows[:20]) if opened is not None]
    if not sizes:
        raise PayloadError(f"none of the first {min(20, len(rows))} pictures can be read, for instance "
                           f"{values[int(rows[0])]!s:.200}")  # fmt: skip
    height, width = _thumbnail(sizes[0]).shape[:2]

    def read(k: int) -> Array | None:
        found = _open(values[int(rows[k])])
        return None if found is None else _sized(found, width, height)

    return Pictures(width, height, read)


def _is_encoded(value: Any) -> bool:
    """Whether an example is an encoded picture: a mapping with its bytes, its path, or both."""
    return isinstance(value, Mapping) and set(value) == {"bytes", "path"}


def _open(value: Any) -> Array | None:
    """Pixels of a picture, upright; None for a file that is missing or damaged (the page says so)."""
    try:
        if _is_encoded(value):
            value = value["path"] if value["bytes"] is None else io.BytesIO(value["bytes"])
        image = value if isinstance(value, Image.Image) else Image.open(value)
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, AttributeError):  # AttributeError: neither bytes nor a path
        return None
