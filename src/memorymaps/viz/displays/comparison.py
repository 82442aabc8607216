"""Figures of several maps: a score in one map against that in another, and models by their left-out loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from memorymaps.analysis.agreement import Comparison
from memorymaps.analysis.answers.model_selection import ModelSelection
from memorymaps.core.wording import counted
from memorymaps.maps.trust import Level
from memorymaps.viz.displays.base import Display
from memorymaps.viz.displays.log_scales import spans_decades
from memorymaps.viz.displays.point_labels import label_points
from memorymaps.viz.displays.style import GREY, PALETTE, escape_label

_RANKED = tuple(str(level) for level in Level if not level.sizes)


@dataclass
class ComparisonDisplay(Display):
    """A score of each example in one map against that in another, with the noise between repeats where it is known."""

    score: str = "sensitivity"
    maps: str = "ab"

    @classmethod
    def from_comparison(
        cls, comparison: Comparison, *, score: str = "sensitivity", maps: str = "ab", label: int = 8, ax: Any = None
    ) -> ComparisonDisplay:
        """Draw a score of two of the maps; examples beyond the noise are marked, the `label` furthest labelled.

        Without repeats (`compare(…, floor=…)`) none are marked, and those of the largest change are labelled.

        Raises
        ------
        ValueError
            The maps' letters are not two of the comparison's.
        """
        comparison.pair(score, maps)  # checks the letters
        data = pd.DataFrame({"id": comparison["id"], **{side: comparison[f"{score}_{side}"] for side in maps}})
        a, b = data[maps[0]], data[maps[1]]
        noise = np.full(len(data), np.nan) if comparison.floor is None else comparison.floor.noise(score)
        data["noise"], data["moved"] = noise, (b - a).abs() > noise
        data["excess"] = (b - a).abs() / (noise if comparison.floor is not None else 1.0)
        data["labelled"] = data["excess"].rank(ascending=False, method="first") <= label
        drawn = data[np.isfinite(a) & np.isfinite(b)].reset_index(drop=True)
        words = f"{score}, rank correlation {comparison.spearman(score, maps):.2f}"
        moved = f", {int(data['moved'].sum()):,} of {len(data):,} beyond the noise" if comparison.floor else ""
        display = cls(drawn, words + moved, score=score, maps=maps)
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        a, b, moved = self.data[self.maps[0]], self.data[self.maps[1]], self.data["moved"]
        log = bool((self.data[list(self.maps)] > 0).all(axis=None)) and spans_decades(a)
        if log:
            ax.set_xscale("log")
            ax.set_yscale("log")
        self._draw_noise(ax)
        style = {"ms": 3, "mew": 0, "alpha": 0.6, "rasterized": True}
        ax.plot(a[~moved], b[~moved], "o", color=PALETTE[0], **style)
        if moved.any():
            ax.plot(a[moved], b[moved], "s", color=PALETTE[1], label="beyond the noise", **style)
        low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
        ax.plot([low, high], [low, high], "-", lw=0.7, color=GREY, zorder=0)
        ax.set_xlabel(f"{self.score} of map {self.maps[0]}" + ", log scale" * log)
        ax.set_ylabel(f"{self.score} of map {self.maps[1]}" + ", log scale" * log)
        label_points(ax, self.data[self.data["labelled"]], self.maps[0], self.maps[1], "excess")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(loc="lower right")

    def _draw_noise(self, ax: Any) -> None:
        """The band of ± the noise of examples of that score, in 40 groups."""
        known = self.data[np.isfinite(self.data["noise"])].sort_values(self.maps[0])
        if len(known) < 2:
            return
        groups = [part for part in np.array_split(np.arange(len(known)), min(40, len(known))) if len(part)]
        middle = [known.iloc[part].median(numeric_only=True) for part in groups]
        x = np.array([each[self.maps[0]] for each in middle])
        noise = np.array([each["noise"] for each in middle])
        ax.fill_between(
            x, np.maximum(x - noise, x / 100), x + noise, color=GREY, alpha=0.25, lw=0, label="noise of repeats, 95 %"
        )


@dataclass
class SelectionDisplay(Display):
    """Models by their left-out loss or score, with one standard error over the examples; the best first.

    Thick bars are standard errors of the paired difference to the best model.
    """

    ranked_by: str = ""

    @classmethod
    def from_selection(cls, found: ModelSelection, *, ax: Any = None) -> SelectionDisplay:
        """Draw the result of `select_model`."""
        data = found.to_pandas()
        display = cls(data, f"{counted(found.examples, 'example')}, best first", ranked_by=found.ranked_by)
        display.plot(ax)
        return display

    @classmethod
    def size_of(cls, found: ModelSelection) -> tuple[float, float]:
        """Inches of a figure with all models."""
        return cls(found.to_pandas(), "")._size()

    def _size(self) -> tuple[float, float]:
        longest = max(map(len, self._labels()))
        return max(self.size[0], 3.6 + 0.07 * longest), max(2.8, 1.3 + 0.24 * len(self.data))

    def _labels(self) -> list[str]:
        rows = zip(self.data["name"], self.data["effective_parameters"], strict=True)
        return [f"{escape_label(name, 40)} ({effective:,.3g})" for name, effective in rows]

    def _draw(self, ax: Any) -> None:
        rows, value = np.arange(len(self.data))[::-1], self.data["value"]
        ax.errorbar(value, rows, xerr=self.data["value_se"], fmt="none", ecolor=GREY, elinewidth=1, label="± s.e.")
        ax.errorbar(
            value, rows, xerr=self.data["difference_se"], fmt="none", ecolor=PALETTE[0], elinewidth=3,
            label="± s.e. of the difference to the best",
        )  # fmt: skip
        ranked = self.data["trust"].isin(_RANKED).to_numpy()
        for mask, fill, words in ((~ranked, PALETTE[0], "sizes can be used"), (ranked, "white", "ranks only")):
            if mask.any():
                ax.plot(value[mask], rows[mask], "o", ms=5, color=PALETTE[0], mfc=fill, label=words)
        ax.axvline(value.iloc[0], ls=":", lw=0.8, color=GREY, zorder=0)
        ax.set_yticks(rows, self._labels())
        ax.set_ylabel("model (effective parameters)")
        ax.set_xlabel(self.ranked_by + (" (nats)" if self.ranked_by.endswith("loss") else ""))
        ax.legend(loc="upper right", bbox_to_anchor=(1, 0), borderaxespad=4.5, ncols=2)
