"""Figures of removal: of single examples, of whole groups, and estimates against retraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from memorymaps.analysis.retraining import RetrainCheck
from memorymaps.core.wording import counted
from memorymaps.maps.group_removal import LeaveOut
from memorymaps.maps.loo_averages import loss_weights
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.viz.displays.base import Display, caveat, map_title, require_examples
from memorymaps.viz.displays.log_scales import spans_decades
from memorymaps.viz.displays.point_labels import label_points
from memorymaps.viz.displays.style import GREY, PALETTE, escape_label

_MAX_GROUPS = 30  # groups drawn at most


@dataclass
class LeaveOutDisplay(Display):
    """Leave-one-out loss of each example against its training loss."""

    caveat: str = ""

    @classmethod
    def from_map(cls, m: MemoryMap, *, label: int = 8, ax: Any = None) -> LeaveOutDisplay:
        """Draw leave-one-out losses against training losses; the `label` largest increases are labelled with their ids.

        Raises
        ------
        ValueError
            The map is empty.
        """
        require_examples(m)
        data = pd.DataFrame({name: m[name] for name in ("id", "loss", "loo_loss", "sensitivity")})
        data["weight"] = loss_weights(m)
        data["labelled"] = (data["loo_loss"] - data["loss"]).rank(ascending=False, method="first") <= label
        undefined = int(np.count_nonzero(~np.isfinite(data["loo_loss"])))
        display = cls(data, map_title(m, undefined), caveat=caveat(m, "loo_loss"))
        display.plot(ax)
        return display

    @classmethod
    def from_leave_out(cls, result: LeaveOut, *, ax: Any = None) -> GroupDisplay:
        """Draw the effects of removing groups (see `MemoryMap.leave_out`)."""
        return GroupDisplay.from_leave_out(result, ax=ax)

    def _draw(self, ax: Any) -> None:
        finite = self.data[np.isfinite(self.data["loo_loss"])]
        ax.plot(finite["loss"], finite["loo_loss"], "o", ms=3, mew=0, alpha=0.5, color=PALETTE[0], rasterized=True)
        log = bool((finite[["loss", "loo_loss"]] > 0).all(axis=None)) and spans_decades(finite["loss"])
        if log:
            ax.set_xscale("log")
            ax.set_yscale("log")
        self._draw_means(ax, finite)
        ax.set_xlabel("loss, example in training (nats)" + ", log scale" * log)
        ax.set_ylabel("loss, example left out (nats)" + ", log scale" * log + self.caveat)
        label_points(ax, finite[finite["labelled"]], "loss", "loo_loss")
        ax.legend(loc="lower right")

    def _draw_means(self, ax: Any, finite: pd.DataFrame) -> None:
        low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
        ax.plot([low, high], [low, high], "-", lw=0.7, color=GREY, zorder=0)
        weight = finite["weight"] / (finite["weight"].sum() or np.nan)
        training, left_out = ((weight * finite[name]).sum(min_count=1) for name in ("loss", "loo_loss"))
        ax.axvline(training, ls=":", lw=1, color=PALETTE[2], label=f"mean in training {training:.3g}")
        ax.axhline(left_out, ls="--", lw=1, color=PALETTE[1], label=f"mean left out {left_out:.3g}")


@dataclass
class RetrainingDisplay(Display):
    """Estimated sensitivities against those measured by retraining, with the line of equality."""

    @classmethod
    def from_check(cls, check: RetrainCheck, *, label: int = 5, ax: Any = None) -> RetrainingDisplay:
        """Draw the result of `retrain_check`."""
        data = check.to_pandas()
        data["labelled"] = (data["estimate"] - data["truth"]).abs().rank(ascending=False, method="first") <= label
        summary = f"slope {check.slope:.2f}, relative error {check.relative_error:.2f},\nrank correlation "
        display = cls(data, f"{summary}{check.spearman:.2f} ({len(data)} retrainings)")
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        finite = self.data[np.isfinite(self.data["estimate"])]
        ax.plot(finite["truth"], finite["estimate"], "o", ms=4, mew=0, alpha=0.6, color=PALETTE[0])
        log = bool((finite[["truth", "estimate"]] > 0).all(axis=None)) and spans_decades(finite["truth"])
        if log:
            ax.set_xscale("log")
            ax.set_yscale("log")
        low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
        ax.plot([low, high], [low, high], "-", lw=0.7, color=GREY, zorder=0)
        ax.set_xlabel("sensitivity by retraining (units of the target)" + ", log scale" * log)
        ax.set_ylabel("estimated sensitivity" + ", log scale" * log)
        label_points(ax, finite[finite["labelled"]], "truth", "estimate", "truth")


@dataclass
class GroupDisplay(Display):
    """One line per group: its members' mean loss with and without the group in the training data."""

    @classmethod
    def from_leave_out(cls, result: LeaveOut, *, ax: Any = None) -> GroupDisplay:
        """Draw the groups with the largest increase in loss (at most 30; the title gives the total)."""
        display = cls._of(result)
        display.plot(ax)
        return display

    @classmethod
    def size_of(cls, result: LeaveOut) -> tuple[float, float]:
        """Inches of a figure with the groups that are drawn."""
        return cls._of(result).inches()

    @classmethod
    def _of(cls, result: LeaveOut) -> GroupDisplay:
        data = result.to_pandas()
        increase = (data["leave_out_loss"] - data["loss"]).sort_values(ascending=False)
        shown = data.loc[increase.index[:_MAX_GROUPS]]
        prefix = f"{_MAX_GROUPS} of " if len(data) > _MAX_GROUPS else ""
        title = f"{prefix}{counted(len(data), 'group')}, largest increase first"
        return cls(shown, title, caption=result.held)

    def _size(self) -> tuple[float, float]:
        longest = max(map(len, self._labels()))
        return max(self.size[0], 4.2 + 0.075 * longest), max(self.size[1], 1.4 + 0.18 * len(self.data))

    def _labels(self) -> list[str]:
        groups = zip(self.data["group"], self.data["size"], strict=True)
        return [f"{escape_label(group)} ({size:,})" for group, size in groups]

    def _draw(self, ax: Any) -> None:
        rows = np.arange(len(self.data))[::-1]
        before, after = self.data["loss"], self.data["leave_out_loss"]
        ax.hlines(rows, before, after, color=GREY, lw=1)
        ax.plot(before, rows, "o", color=PALETTE[0], label="group in training")
        ax.plot(after, rows, "s", color=PALETTE[1], label="group left out")
        ax.set_yticks(rows, self._labels())
        ax.set_xlabel("members' mean loss (nats)")
        ax.set_ylabel("group (examples)")
        ax.legend(loc="upper right", bbox_to_anchor=(1, 0), borderaxespad=4.5, ncols=2)
