"""Concentration: how much of all sensitivity the most sensitive examples hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from memorymaps.maps.summary import top_share
from memorymaps.viz.displays.base import Display, named, refuse_empty
from memorymaps.viz.displays.style import GREY, PALETTE

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_VECTORS = 5_000  # lines of more points than this are drawn as pixels


@dataclass
class SensitivityDisplay(Display):
    """Sensitivities, largest first, and the share of their sum that the first ones hold."""

    @classmethod
    def from_map(cls, m: MemoryMap, *, ax: Any = None) -> SensitivityDisplay:
        """Draw the sorted sensitivities; examples that cannot be left out are left out of the picture and counted.

        Raises
        ------
        ValueError
            The map is empty.
        """
        refuse_empty(m)
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
        lost = len(m) - len(finite)
        made = cls(data, named(m, lost))
        made.plot(ax)
        return made

    def _draw(self, ax: Any) -> None:
        part, s = 100 * self.data["part"], self.data["sensitivity"]
        ax.plot(part, s, color=PALETTE[0], rasterized=len(s) > _VECTORS)
        if np.any(s > 0):
            ax.set_yscale("log")
        ax.set_xlabel("examples, most sensitive first (%)")
        ax.set_ylabel("sensitivity (units of the target)", color=PALETTE[0])
        right = ax.twinx()
        right.plot(part, 100 * self.data["share"], color=PALETTE[1], ls="--")
        right.set_ylabel("share of all sensitivity (%)", color=PALETTE[1])
        right.set_ylim(0, 102)
        right.spines["right"].set_visible(True)
        self._mark(right)

    def _mark(self, right: Any) -> None:
        held = top_share(self.data["sensitivity"].to_numpy(), 0.05)
        right.plot([5], [100 * held], "o", color=PALETTE[1], ms=5)
        words = f"{held:.0%} of the sensitivity\nin 5% of the examples"
        right.annotate(
            words, (5, 100 * held), xytext=(0.2, 0.06), textcoords="axes fraction", fontsize=8,
            bbox={"boxstyle": "square,pad=0.15", "color": "white", "alpha": 0.85},
            arrowprops={"arrowstyle": "->", "lw": 0.7, "color": GREY},
        )  # fmt: skip
