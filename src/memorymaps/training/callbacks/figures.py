"""Input of the loggers: a map as an image, and scalars with a common prefix."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import numpy as np
from PIL import Image

from memorymaps.core.arrays import Array
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.viz.displays.map import MapDisplay
from memorymaps.viz.displays.style import offscreen_axes


def map_image(m: MemoryMap) -> Array:
    """The figure of a map as an RGB image, uint8 `[height, width, 3]`."""
    page = io.BytesIO()
    MapDisplay.from_map(m, label=5, ax=offscreen_axes(MapDisplay.size)).figure_.savefig(page, dpi=120)
    with Image.open(page) as picture:
        return np.asarray(picture.convert("RGB"))


def finite_scalars(scalars: Mapping[str, float]) -> dict[str, float]:
    """The finite scalars, named `memorymaps/…`; `test_loss` is NaN without test data."""
    return {f"memorymaps/{name}": float(value) for name, value in scalars.items() if math.isfinite(value)}
