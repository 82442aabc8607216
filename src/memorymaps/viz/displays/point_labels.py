"""Labels of points with their ids, inside the axes and without overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from memorymaps.core.arrays import Array
from memorymaps.viz.displays.log_scales import clip_to_axes
from memorymaps.viz.displays.style import GREY, escape_label

_Box = tuple[float, float, float, float]  # left, bottom, right, top


def label_points(ax: Any, rows: pd.DataFrame, x: str = "leverage", y: str = "error", by: str = "sensitivity") -> None:
    """Annotate points with their ids, largest `by` first, so that labels overlap neither each other nor the points."""
    ax.figure.canvas.figure.draw_without_rendering()  # pixel positions are defined once the layout is computed
    xs, ys = clip_to_axes(ax, rows[x], rows[y])
    points_per_pixel = 72 / ax.figure.dpi
    positions = ax.transData.transform(np.column_stack([xs, ys])) * points_per_pixel
    frame = tuple(ax.bbox.extents * points_per_pixel)
    occupied: list[_Box] = [(px - 2, py - 2, px + 2, py + 2) for px, py in positions]
    for k in np.argsort(-np.nan_to_num(rows[by], nan=np.inf), kind="stable"):
        text = escape_label(rows["id"].iloc[k])
        dx, dy = _free_offset(positions[k], text, occupied, frame)
        ax.annotate(
            text, (xs.iloc[k], ys.iloc[k]), xytext=(dx, dy), textcoords="offset points",
            ha="left" if dx > 0 else "right", fontsize=7, bbox={"color": "white", "alpha": 0.6, "pad": 0.3, "lw": 0},
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def _offsets() -> Iterator[tuple[float, float]]:
    for radius in (7, 14, 22, 32, 44, 58, 74, 92):
        for angle in np.deg2rad([35, -35, 145, -145, 88, -88, 10, 170]):
            yield radius * float(np.cos(angle)), radius * float(np.sin(angle))


def _free_offset(position: Array, text: str, occupied: list[_Box], frame: _Box) -> tuple[float, float]:
    """The smallest offset (in points) at which the text overlaps nothing; its box is added to `occupied`."""
    width, height = 4.8 * len(text.replace("\\$", "$")), 8.5
    for dx, dy in _offsets():
        left, low = position[0] + dx - (width if dx < 0 else 0), position[1] + dy - 1.5
        box = (left, low, left + width, low + height)
        if _contains(frame, box) and not any(_overlap(box, other) for other in occupied):
            occupied.append(box)
            return dx, dy
    return 7.0, 7.0


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _contains(outer: _Box, box: _Box) -> bool:
    return outer[0] <= box[0] and outer[1] <= box[1] and box[2] <= outer[2] and box[3] <= outer[3]
