"""Base class of the displays, in the manner of scikit-learn's `Display` objects.

A class method `from_…` computes the data of a figure and draws it; `frame()` returns the data; `plot` draws again.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd

from memorymaps.core.wording import counted
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.viz.displays.style import GREY, axes_or_new, escape_label, style_context

_CAPTION_SIZE, _CAPTION_WIDTH = 7.0, 62  # points, characters a line
_LINE, _GAP = 1.25 * _CAPTION_SIZE, 5.0  # points: height of a line, and below and above all of them


@dataclass
class Display:
    """Data and title of a figure; `ax_` and `figure_` are set once it is drawn.

    `caption`: what all of its numbers hold or cannot be trusted for, written small below the title; empty: nothing.
    """

    data: pd.DataFrame
    title: str
    ax_: Any = field(default=None, repr=False)
    caption: str = field(default="", kw_only=True)
    size: ClassVar[tuple[float, float]] = (5.2, 4.0)

    @property
    def figure_(self) -> Any:
        """The figure last drawn on.

        Raises
        ------
        AttributeError
            Nothing has been drawn.
        """
        if self.ax_ is None:
            raise AttributeError(f"{type(self).__name__} has not been drawn: call plot()")
        return self.ax_.figure

    def frame(self) -> pd.DataFrame:
        """A copy of the data that is drawn."""
        return self.data.copy()

    def plot(self, ax: Any = None) -> Display:
        """Draw on `ax` or on a new figure; returns the display itself."""
        with style_context(), axes_or_new(ax, self.inches()) as self.ax_:
            _write_heading(self.ax_, self.title, _lines(self.caption))
            self._draw(self.ax_)
        return self

    def inches(self) -> tuple[float, float]:
        """Width and height of a new figure, with the caption."""
        width, height = self._size()
        return width, height + _height(_lines(self.caption)) / 72

    def _size(self) -> tuple[float, float]:
        """Width and height in inches without the caption."""
        return self.size

    def _draw(self, ax: Any) -> None:
        raise NotImplementedError


def _lines(caption: str) -> list[str]:
    return [escape_label(line, _CAPTION_WIDTH) for line in textwrap.wrap(caption, _CAPTION_WIDTH)]


def _height(lines: list[str]) -> float:
    """Points between the axes and the title that the lines of a caption take, with the space above them."""
    return _LINE * len(lines) + _GAP if lines else 0.0


def _write_heading(ax: Any, title: str, lines: list[str]) -> None:
    """The title, and the caption between it and the axes, which layouts then leave room for."""
    if not lines:
        ax.set_title(title, loc="left")
        return
    ax.set_title(title, loc="left", pad=_GAP + _height(lines))
    ax.annotate(
        "\n".join(lines), (0, 1), (0, _GAP), "axes fraction", "offset points", fontsize=_CAPTION_SIZE, color=GREY,
        ha="left", va="bottom",
    )  # fmt: skip


def map_title(m: MemoryMap, undefined: int = 0) -> str:
    """Title of a map's figure: model, number of examples, number of examples with undefined values."""
    suffix = f" ({undefined:,} undefined)" if undefined else ""
    return f"{escape_label(m.provenance.description.model, 40)}, {counted(len(m), 'example')}{suffix}"


def caveat(m: MemoryMap, figure: str) -> str:
    """What to add to a figure's axis label: nothing where sizes can be used, else the verdict."""
    verdict = m.trust[figure]
    return "" if verdict.sizes else f": {verdict.level}"


def require_examples(m: MemoryMap) -> None:
    """Raise `ValueError` if the map has no examples."""
    if len(m) == 0:
        raise ValueError("the map has no examples: nothing to draw")
