"""What every picture is: numbers that are kept, drawn when made, and drawn again where one wants them.

Each display keeps the numbers it draws (`frame()`), is computed once by a `from_…` method, which also draws it, and
can be drawn again with `plot`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from memorymaps.viz.displays.style import axes_or_new, escape_label, style_context

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap


@dataclass
class Display:
    """Numbers of a picture; `ax_` and `figure_` after it has been drawn."""

    data: pd.DataFrame
    title: str
    ax_: Any = field(default=None, repr=False)
    size: ClassVar[tuple[float, float]] = (5.2, 4.0)

    @property
    def figure_(self) -> Any:
        """The figure last drawn on."""
        if self.ax_ is None:
            raise AttributeError(f"{type(self).__name__} has not been drawn: call plot()")
        return self.ax_.figure

    def frame(self) -> pd.DataFrame:
        """The numbers behind the picture."""
        return self.data.copy()

    def plot(self, ax: Any = None) -> Display:
        """Draw on `ax` or on a new figure; returns itself."""
        with style_context():
            self.ax_ = axes_or_new(ax, self._size())
            self.ax_.set_title(self.title, loc="left")
            self._draw(self.ax_)
        return self

    def _size(self) -> tuple[float, float]:
        return self.size

    def _draw(self, ax: Any) -> None:
        raise NotImplementedError


def map_title(m: MemoryMap, lost: int = 0) -> str:
    """Title of a map: its model, how many examples, how many of them undefined."""
    undefined = f" ({lost:,} undefined)" if lost else ""
    return f"{escape_label(m.provenance.description.model, 40)}, {len(m):,} examples{undefined}"


def require_examples(m: MemoryMap) -> None:
    """Raises `ValueError` where there is nothing to draw."""
    if len(m) == 0:
        raise ValueError("the map has no examples: nothing to draw")
