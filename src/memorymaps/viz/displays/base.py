"""Base class of the displays, in the manner of scikit-learn's `Display` objects.

A class method `from_…` computes the data of a figure and draws it; `frame()` returns the data; `plot` draws again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd

from memorymaps.core.wording import counted
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.viz.displays.style import axes_or_new, escape_label, style_context


@dataclass
class Display:
    """Data and title of a figure; `ax_` and `figure_` are set once it is drawn."""

    data: pd.DataFrame
    title: str
    ax_: Any = field(default=None, repr=False)
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
        with style_context(), axes_or_new(ax, self._size()) as self.ax_:
            self.ax_.set_title(self.title, loc="left")
            self._draw(self.ax_)
        return self

    def _size(self) -> tuple[float, float]:
        return self.size

    def _draw(self, ax: Any) -> None:
        raise NotImplementedError


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
