"""Figure of the examples, or groups, behind a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from memorymaps.analysis.answers.query_influence import QueryInfluence
from memorymaps.viz.displays.base import Display
from memorymaps.viz.displays.style import GREY, PALETTE, escape_label


@dataclass
class InfluenceDisplay(Display):
    """What a prediction would lose or gain without each of its most influential examples, one bar each."""

    unit: str = ""

    @classmethod
    def from_influence(cls, found: QueryInfluence, *, query: int = 0, k: int = 8, ax: Any = None) -> InfluenceDisplay:
        """Draw the `k` most helpful and the `k` most harmful examples, or groups, of one query.

        Where losses are unknown: the `2k` of the largest change of the mean.

        Raises
        ------
        ValueError
            The query is not among those of `found`.
        """
        rows = np.flatnonzero(found["query"] == query)
        if not len(rows):
            raise ValueError(f"query = {query}: expected a position from 0 to {found['query'].max()}")
        known = not np.all(np.isnan(found["loss_change"]))
        change = found["change"].reshape(len(found), -1)
        value = found["loss_change"] if known else change[:, 0]
        if not known and change.shape[1] > 1:
            value = np.linalg.vector_norm(change, axis=1)
        name = "group" if "group" in found.table.column_names else "id"
        data = pd.DataFrame({"id": found[name][rows], "change": value[rows]}).dropna()
        data = data.sort_values("change", ascending=False, key=None if known else np.abs, kind="stable")
        shown = pd.concat([data.head(k), data.tail(k)]).drop_duplicates("id") if known else data.head(2 * k)
        unit = "change of the loss without it (nats)" if known else "change of the prediction without it"
        title = f"{name}s behind prediction {query}".replace("ids", "examples")
        caption = "; ".join(filter(None, (found.caution, found.held)))
        display = cls(shown.reset_index(drop=True), title, unit=unit, caption=caption)
        display.plot(ax)
        return display

    def _size(self) -> tuple[float, float]:
        return self.size[0], max(2.0, 1.0 + 0.2 * len(self.data))

    def _draw(self, ax: Any) -> None:
        rows, change = np.arange(len(self.data))[::-1], self.data["change"].to_numpy()
        for mask, color, words in (
            (change > 0, PALETTE[0], "helpful: more without it"),
            (change <= 0, PALETTE[1], "harmful: less without it"),
        ):
            if mask.any():
                ax.barh(rows[mask], change[mask], color=color, height=0.7, label=words)
        ax.axvline(0, lw=0.8, color=GREY)
        ax.set_yticks(rows, [escape_label(each) for each in self.data["id"]])
        ax.set_ylabel("group" if self.title.startswith("group") else "example")
        ax.set_xlabel(self.unit)
        if "loss" in self.unit:
            ax.legend(loc="lower right")
