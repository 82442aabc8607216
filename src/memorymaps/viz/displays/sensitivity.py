"""Concentration of the sensitivity: the share of the most sensitive examples in its sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.summary import top_share
from memorymaps.viz.displays.base import Display, caveat, map_title, require_examples
from memorymaps.viz.displays.style import GREY, PALETTE

_MAX_VECTOR_POINTS = 5_000  # lines with more points than this are rasterised


@dataclass
class SensitivityDisplay(Display):
    """Sensitivities in decreasing order, and their cumulative share of the sum."""

    caveat: str = ""

    @classmethod
    def from_map(cls, m: MemoryMap, *, ax: Any = None) -> SensitivityDisplay:
        """Draw the sorted sensitivities; examples with an undefined one are not drawn, the title gives their number.

        Raises
        ------
        ValueError
            The map is empty.
        """
        require_examples(m)
        finite = m.filter(np.isfinite(m["sensitivity"]))
        ordered = finite.top(len(finite))
        s = ordered["sensitivity"]
        total = float(np.sum(s))
        data = pd.DataFrame(
            {
                "id": ordered["id"],
                "rank": np.arange(1, len(s) + 1),
                "part": np.arange(1, len(s) + 1) / max(1, len(s)),
                "sensitivity": s,
                "share": np.cumsum(s) / total if total > 0 else np.zeros(len(s)),
            }
        )
        display = cls(data, map_title(m, len(m) - len(finite)), caveat=caveat(m, "sensitivity"))
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        part, s = 100 * self.data["part"], self.data["sensitivity"]
        ax.plot(part, s, color=PALETTE[0], rasterized=len(s) > _MAX_VECTOR_POINTS)
        if np.any(s > 0):
            ax.set_yscale("log")
        ax.set_xlabel("examples, most sensitive first (%)")
        ax.set_ylabel(f"sensitivity (units of the target){self.caveat}", color=PALETTE[0])
        right = ax.twinx()
        right.plot(part, 100 * self.data["share"], color=PALETTE[1], ls="--")
        right.set_ylabel("share of all sensitivity (%)", color=PALETTE[1])
        right.set_ylim(0, 102)
        right.spines["right"].set_visible(True)
        self._annotate_share(right)

    def _annotate_share(self, right: Any) -> None:
        top_percent = top_share(self.data["sensitivity"].to_numpy(), 0.05)
        right.plot([5], [100 * top_percent], "o", color=PALETTE[1], ms=5)
        text = f"{top_percent:.0%} of the sensitivity\nin 5% of the examples"
        right.annotate(
            text, (5, 100 * top_percent), xytext=(0.2, 0.06), textcoords="axes fraction", fontsize=8,
            bbox={"boxstyle": "square,pad=0.15", "color": "white", "alpha": 0.85},
            arrowprops={"arrowstyle": "->", "lw": 0.7, "color": GREY},
        )  # fmt: skip
