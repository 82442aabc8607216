"""Half-normal plot: sizes of a score against what a normal sample of that length would have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from memorymaps.analysis.measures import REGISTERED, TABLE, evaluate
from memorymaps.core.arrays import Array
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.table import COLUMNS
from memorymaps.viz.displays.base import Display, caveat, map_title, require_examples
from memorymaps.viz.displays.point_labels import label_points
from memorymaps.viz.displays.style import PALETTE, escape_label


@dataclass
class HalfNormalDisplay(Display):
    """Sorted sizes of a score against half-normal quantiles, with the largest labelled [Daniel 1959].

    The `i`-th smallest of `n` is drawn at the normal quantile of `(n + i)/(2n + 1)`, as R's `faraway::halfnorm` does.
    No straight line is expected of a score that is not normal: the figure is for points far from their neighbours.
    """

    by: str = ""
    caveat: str = ""
    signed: bool = False

    @classmethod
    def from_map(cls, m: MemoryMap, *, by: str = "leverage", label: int = 5, ax: Any = None) -> HalfNormalDisplay:
        """Draw a map's score; examples with an undefined one are not drawn, the title gives their number.

        Parameters
        ----------
        by : a column of the map, or a measure of `measures.influence_table`.
        label : number of largest examples that are labelled with their ids.

        Raises
        ------
        KeyError
            No such column or measure.
        ValueError
            The map is empty, or the column has no number per example.
        """
        require_examples(m)
        score = _score(m, by)
        values = np.abs(score)
        rows = np.flatnonzero(np.isfinite(values))
        rows = rows[np.argsort(values[rows], kind="stable")]
        n = len(rows)
        data = pd.DataFrame({"id": m["id"][rows], "quantile": ndtri((n + np.arange(1, n + 1)) / (2 * n + 1))})
        data["value"] = values[rows]
        data["labelled"] = np.arange(n) >= n - label
        verdict, signed = caveat(m, by) if by in m.trust else "", bool(np.any(score < 0))
        display = cls(data, map_title(m, len(m) - n), by=by, caveat=verdict, signed=signed)
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        ax.plot(
            self.data["quantile"], self.data["value"], "o", ms=3, mew=0, alpha=0.6, color=PALETTE[0], rasterized=True
        )
        unit = COLUMNS.get(self.by, ("", ""))[0]
        unit = "units of the target" if unit == "target" else unit
        ax.set_xlabel("half-normal quantile")
        ax.set_ylabel("size of " * self.signed + escape_label(self.by) + f" ({unit})" * bool(unit) + self.caveat)
        label_points(ax, self.data[self.data["labelled"]], "quantile", "value", "value")


def _score(m: MemoryMap, by: str) -> Array:
    """Numbers `[n]` of a column or a measure."""
    known = (*TABLE, *REGISTERED)
    if by not in m and by not in known:
        raise KeyError(f"no score {by!r}: expected a column of the map ({', '.join(m)}) or one of {', '.join(known)}")
    values = m[by] if by in m else evaluate(by, m)
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise ValueError(f"cannot draw sizes of {by!r}: expected a column with one number per example")
    return np.asarray(values, dtype=float)
