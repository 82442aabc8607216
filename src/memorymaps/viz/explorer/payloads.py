"""Payloads: pictures, texts or table rows of the examples, joined to a map by id or by position.

A payload may be an array of pictures, a list of PIL pictures, of file names or of encoded pictures
(`{"bytes": …, "path": …}`, as Hugging Face datasets hold them), a list of texts, a data frame or series, a mapping from
ids to any of these, or the data set a network was trained on (its inputs are taken).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from memorymaps.core.arrays import Array
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.viz.explorer.payload_ids import PayloadError, data_frame_by_id, examples_by_id, rows_by_index

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_THUMBNAIL_PIXELS = 64  # pixels of a thumbnail's longer side


@dataclass(frozen=True)
class Pictures:
    """`read(k)` returns the picture of the map's row `k`, uint8 `[height, width, 3]`, or None if it cannot be read."""

    width: int
    height: int
    read: Callable[[int], Array | None]


@dataclass(frozen=True)
class Texts:
    """One text for each row of the map."""

    values: list[str]


@dataclass(frozen=True)
class Rows:
    """A data frame with one row for each row of the map."""

    frame: pd.DataFrame


Payload = Pictures | Texts | Rows


def join_payload(m: MemoryMap, payload: Any) -> Payload:
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
    >>> join_payload(memory_map(model, X, y), X.reshape(-1, 8, 8)).width
    8
    """
    if isinstance(payload, Mapping):
        return _payload_from(examples_by_id(m, payload), np.arange(len(m)))
    if _is_data_frame(payload) and "id" in payload.columns:
        return Rows(data_frame_by_id(m, payload))
    if hasattr(payload, "iloc"):  # a data frame or a series
        rows = rows_by_index(m, payload)
        rows = _positions(m, len(payload)) if rows is None else rows
        return _payload_from(payload if _is_data_frame(payload) else payload.tolist(), rows)
    values = _inputs_of_items(payload)
    return _payload_from(values, _positions(m, len(values)))


def _is_data_frame(values: Any) -> bool:
    return hasattr(values, "columns") and hasattr(values, "iloc")


def _positions(m: MemoryMap, length: int) -> Array:
    """Position of each row of the map in a payload without ids, which has the length of the training set or the map."""
    if length == m.provenance.n:
        return m["row"]
    if length == len(m):
        return np.arange(len(m))
    raise PayloadError(
        f"payload has {length:,} examples, the map {len(m):,} (of {m.provenance.n:,} in training): pass one of these "
        "numbers of examples in the order of training, or a mapping {id: example}"
    )


def _inputs_of_items(payload: Any) -> Any:
    """The examples as something indexable; for a data set with (input, target) items, the inputs."""
    if hasattr(payload, "detach"):
        return np.asarray(payload.detach().cpu())
    if isinstance(payload, str | bytes) or not hasattr(payload, "__len__"):
        raise PayloadError(
            f"payload is a {type(payload).__name__}: expected pictures, texts, a data frame or {{id: …}}"
        )
    if len(payload) and not hasattr(payload, "shape") and isinstance(payload[0], tuple):
        return [_to_numpy(payload[k][0]) for k in range(len(payload))]
    return payload


def _to_numpy(value: Any) -> Any:
    return np.asarray(value.detach().cpu()) if hasattr(value, "detach") else value


def _payload_from(values: Any, rows: Array) -> Payload:
    if _is_data_frame(values):
        return Rows(values.iloc[rows].reset_index(drop=True))
    first = values[int(rows[0])] if len(rows) else ""
    if isinstance(first, str) and not first.lower().endswith(_IMAGE_SUFFIXES):
        return Texts([str(values[int(row)]) for row in rows])
    if isinstance(first, str | Path | Image.Image) or _is_encoded(first):
        return _pictures_from_files(values, rows)
    if np.ndim(first) in (2, 3):
        return _pictures_from_arrays(values, rows)
    raise PayloadError(
        f"payload holds {type(first).__name__} of shape {np.shape(first)}: expected pictures [h, w] or [h, w, 3], "
        "texts, or a data frame. Reshape flat pictures: X.reshape(-1, 28, 28)"
    )


def _pictures_from_arrays(values: Any, rows: Array) -> Pictures:
    low, high = _intensity_range(values, rows)
    first = _to_rgb(np.asarray(values[int(rows[0])]), low, high)
    height, width = _thumbnail(first).shape[:2]

    def read(k: int) -> Array:
        return _fit_inside(_to_rgb(np.asarray(values[int(rows[k])]), low, high), width, height)

    return Pictures(width, height, read)


def _intensity_range(values: Any, rows: Array) -> tuple[float, float]:
    """Values shown as black and white: 0 and 255 for uint8; else 0 and 1, or the extremes of a sample of pictures."""
    sample = [np.asarray(values[int(row)]) for row in rows[:: max(1, len(rows) // 500)]]
    if sample[0].dtype == np.uint8:
        return 0.0, 255.0
    low, high = min(float(np.min(s)) for s in sample), max(float(np.max(s)) for s in sample)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _to_rgb(values: Array, low: float, high: float) -> Array:
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
    scale = min(1.0, _THUMBNAIL_PIXELS / max(height, width))
    return _fit_inside(picture, max(1, round(width * scale)), max(1, round(height * scale)))


def _fit_inside(picture: Array, width: int, height: int) -> Array:
    """The picture scaled down to fit into `width × height`, aspect ratio unchanged, centred on black."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((width, height))
    canvas = Image.new("RGB", (width, height))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return np.asarray(canvas)


def _pictures_from_files(values: Any, rows: Array) -> Pictures:
    sizes = [opened for opened in (_read_image(values[int(row)]) for row in rows[:20]) if opened is not None]
    if not sizes:
        raise PayloadError(
            f"none of the first {min(20, len(rows))} pictures can be read, for instance {values[int(rows[0])]!s:.200}: "
            "pass paths of files that exist, or the pictures as arrays"
        )
    height, width = _thumbnail(sizes[0]).shape[:2]

    def read(k: int) -> Array | None:
        found = _read_image(values[int(rows[k])])
        return None if found is None else _fit_inside(found, width, height)

    return Pictures(width, height, read)


def _is_encoded(value: Any) -> bool:
    """Whether an example is an encoded picture: a mapping with its bytes, its path, or both."""
    return isinstance(value, Mapping) and set(value) == {"bytes", "path"}


def _read_image(value: Any) -> Array | None:
    """Pixels `[height, width, 3]` of a picture, upright; None if its file is missing or damaged."""
    try:
        if _is_encoded(value):
            value = value["path"] if value["bytes"] is None else io.BytesIO(value["bytes"])
        image = value if isinstance(value, Image.Image) else Image.open(value)
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, AttributeError):  # AttributeError: neither bytes nor a path
        return None
