"""Figure of pruning: the loss against the share of examples kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memorymaps.analysis.answers.pruning import Pruning
from memorymaps.viz.displays.base import Display
from memorymaps.viz.displays.style import GREY, PALETTE


@dataclass
class PruningDisplay(Display):
    """Left-out loss, or with a check the held-out losses of pruned and of random subsets, as examples are removed."""

    fewest: int = 0
    tolerance: float = 0.0

    @classmethod
    def from_pruning(cls, result: Pruning, *, ax: Any = None) -> PruningDisplay:
        """Draw the curve of `prune`; a mark at the fewest examples whose loss is within its standard error."""
        data = result.to_pandas()
        total = int(data["kept"].max())
        title = f"{result.fewest:,} of {total:,} examples predict as well"
        display = cls(data, title, fewest=result.fewest, tolerance=result.tolerance, caption=result.held)
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        data, checked = self.data, "random_loss" in self.data
        name = "held_out_loss" if checked else "left_out_loss"
        start = float(data[name].iloc[0])
        ax.axhspan(start, start + self.tolerance, color=GREY, alpha=0.18, lw=0, label="all examples, + standard error")
        if checked:
            error = data["difference_error"]
            ax.fill_between(data["share"], data["random_loss"] - error, data["random_loss"] + error, color=PALETTE[1],
                            alpha=0.2, lw=0)  # fmt: skip
            ax.plot(
                data["share"],
                data["random_loss"],
                "s--",
                ms=4,
                color=PALETTE[1],
                label="random examples kept, ± standard error of the difference",
            )
        ax.plot(data["share"], data[name], "o-", ms=4, color=PALETTE[0], label="kept by prune")
        chosen = data[data["kept"] == self.fewest]
        ax.plot(chosen["share"], chosen[name], "o", ms=10, mfc="none", mec=PALETTE[0], mew=1.2)
        ax.set_xlim(1.02, 0)
        ax.set_xlabel("share of the training examples kept")
        ax.set_ylabel(f"{name.replace('_', '-').replace('-loss', ' loss')} (nats)")
        ax.legend(loc="upper left")
