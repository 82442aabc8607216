"""Leaving out: single examples, whole groups, and estimates against retraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from memorymaps.maps.group_removal import LeaveOut
from memorymaps.maps.loo_averages import loss_weights
from memorymaps.viz.displays.base import Display, named, refuse_empty
from memorymaps.viz.displays.log_scales import spans_decades
from memorymaps.viz.displays.point_labels import names
from memorymaps.viz.displays.style import GREY, PALETTE, literal

if TYPE_CHECKING:
    from memorymaps.analysis.retraining import RetrainCheck
    from memorymaps.maps.memory_map import MemoryMap

_GROUPS = 30  # more groups than this do not fit on a page


@dataclass
class LeaveOutDisplay(Display):
    """Loss with an example in the training data against loss without it; or the same for whole groups."""

    @classmethod
    def from_map(cls, m: MemoryMap, *, label: int = 8, ax: Any = None) -> LeaveOutDisplay:
        """Draw leave-one-out losses against training losses.

        Raises
        ------
        ValueError
            The map is empty.
        """
        refuse_empty(m)
        data = pd.DataFrame({name: m[name] for name in ("id", "loss", "loo_loss", "sensitivity")})
        data["weight"] = loss_weights(m)
        data["labelled"] = (data["loo_loss"] - data["loss"]).rank(ascending=False, method="first") <= label
        made = cls(data, named(m, int(np.count_nonzero(~np.isfinite(data["loo_loss"])))))
        made.plot(ax)
        return made

    @classmethod
    def from_leave_out(cls, result: LeaveOut, *, ax: Any = None) -> GroupDisplay:
        """Draw what removing groups does (see `MemoryMap.leave_out`)."""
        return GroupDisplay.from_leave_out(result, ax=ax)

    def _draw(self, ax: Any) -> None:
        good = self.data[np.isfinite(self.data["loo_loss"])]
        ax.plot(good["loss"], good["loo_loss"], "o", ms=3, mew=0, alpha=0.5, color=PALETTE[0], rasterized=True)
        log = bool((good[["loss", "loo_loss"]] > 0).all(axis=None)) and spans_decades(good["loss"])
        if log:
            ax.set_xscale("log")
            ax.set_yscale("log")
        self._means(ax, good)
        ax.set_xlabel("loss, seen in training (nats)" + ", log scale" * log)
        ax.set_ylabel("loss, left out (nats)" + ", log scale" * log)
        names(ax, good[good["labelled"]], "loss", "loo_loss")
        ax.legend(loc="lower right")

    def _means(self, ax: Any, good: pd.DataFrame) -> None:
        low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
        ax.plot([low, high], [low, high], "-", lw=0.7, color=GREY, zorder=0)
        weight = good["weight"] / (good["weight"].sum() or np.nan)
        seen, unseen = ((weight * good[name]).sum(min_count=1) for name in ("loss", "loo_loss"))
        ax.axvline(seen, ls=":", lw=1, color=PALETTE[2], label=f"mean seen {seen:.3g}")
        ax.axhline(unseen, ls="--", lw=1, color=PALETTE[1], label=f"mean left out {unseen:.3g}")


@dataclass
class RetrainingDisplay(Display):
    """Estimated sensitivities against those measured by retraining; on the line they are equal."""

    @classmethod
    def from_check(cls, check: RetrainCheck, *, label: int = 5, ax: Any = None) -> RetrainingDisplay:
        """Draw the result of `retrain_check`."""
        data = check.to_pandas()
        data["labelled"] = (data["estimate"] - data["truth"]).abs().rank(ascending=False, method="first") <= label
        words = f"slope {check.slope:.2f}, relative error {check.relative_error:.2f},\nrank correlation "
        made = cls(data, f"{words}{check.spearman:.2f} ({len(data)} retrainings)")
        made.plot(ax)
        return made

    def _draw(self, ax: Any) -> None:
        good = self.data[np.isfinite(self.data["estimate"])]
        ax.plot(good["truth"], good["estimate"], "o", ms=4, mew=0, alpha=0.6, color=PALETTE[0])
        log = bool((good[["truth", "estimate"]] > 0).all(axis=None)) and spans_decades(good["truth"])
        if log:
            ax.set_xscale("log")
            ax.set_yscale("log")
        low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
        ax.plot([low, high], [low, high], "-", lw=0.7, color=GREY, zorder=0)
        ax.set_xlabel("sensitivity by retraining (units of the target)" + ", log scale" * log)
        ax.set_ylabel("estimated sensitivity" + ", log scale" * log)
        names(ax, good[good["labelled"]], "truth", "estimate", "truth")


@dataclass
class GroupDisplay(Display):
    """One line a group: its members' mean loss with and without the group in the training data."""

    @classmethod
    def from_leave_out(cls, result: LeaveOut, *, ax: Any = None) -> GroupDisplay:
        """Draw the groups with the largest rise in loss (at most 30; the title says so)."""
        data = result.to_pandas()
        rise = (data["leave_out_loss"] - data["loss"]).sort_values(ascending=False)
        shown = data.loc[rise.index[:_GROUPS]]
        cut = f"{_GROUPS} of " if len(data) > _GROUPS else ""
        made = cls(shown, f"{cut}{len(data)} groups, largest rise first")
        made.plot(ax)
        return made

    def _size(self) -> tuple[float, float]:
        longest = max(map(len, self._labels()))
        return max(self.size[0], 4.2 + 0.075 * longest), max(self.size[1], 1.4 + 0.18 * len(self.data))

    def _labels(self) -> list[str]:
        named = zip(self.data["group"], self.data["size"], strict=True)
        return [f"{literal(group)} ({size:,})" for group, size in named]

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
