"""Pictures of a run over time: losses left out and unseen, and how sensitivity gathers on few examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib import colormaps

from memorymaps.maps.summary import top_share
from memorymaps.maps.trajectory import Trajectory
from memorymaps.viz.displays.base import Display
from memorymaps.viz.displays.style import PALETTE

_LINES = 5  # checkpoints drawn where none are named


@dataclass
class GeneralisationDisplay(Display):
    """Leave-one-out loss beside test loss over training [MPE Figs. 1b, 5, 8–10]: nats an example, against steps."""

    unit: str = "step"
    size: ClassVar[tuple[float, float]] = (3.6, 2.7)

    @classmethod
    def from_trajectory(
        cls, run: Trajectory, *, unit: str = "step", scale: float = 1.0, title: str = "", ax: Any = None
    ) -> GeneralisationDisplay:
        """Draw a run's losses; `scale` divides its steps, into epochs for instance (`scale=len(loader)`)."""
        data = run.losses().reset_index()
        data["step"] = data["step"] / scale
        made = cls(data, title, unit=unit)
        made.plot(ax)
        return made

    def _draw(self, ax: Any) -> None:
        lines = {
            "loo_loss": ("left out, estimated", PALETTE[1], "-"),
            "test_loss": ("test", PALETTE[0], "--"),
            "loss": ("training", PALETTE[7], ":"),
        }
        for name, (words, color, dash) in lines.items():
            if np.isfinite(self.data[name]).any():
                ax.plot(self.data["step"], self.data[name], dash, color=color, label=words)
        ax.set_xlabel(self.unit)
        ax.set_ylabel("loss (nats an example)")
        ax.legend()


@dataclass
class EvolutionDisplay(Display):
    """A column sorted, largest first, at several steps of training [MPE Fig. 3b]."""

    by: str = "sensitivity"
    size: ClassVar[tuple[float, float]] = (4.2, 3.0)

    @classmethod
    def from_trajectory(
        cls, run: Trajectory, *, steps: Sequence[int] | None = None, by: str = "sensitivity", title: str = "",
        ax: Any = None,
    ) -> EvolutionDisplay:  # fmt: skip
        """Draw `by` at the `steps`; default: five of those recorded, first and last among them.

        Raises
        ------
        KeyError
            A step that was not recorded, or no such column.
        """
        pieces = []
        for step in spread(run.steps) if steps is None else steps:
            values = run.at(step)[by]
            values = np.sort(values[np.isfinite(values)])[::-1]
            part = np.arange(1, len(values) + 1) / len(values)
            pieces.append(pd.DataFrame({"step": step, "part": part, "value": values}))
        made = cls(pd.concat(pieces, ignore_index=True), title, by=by)
        made.plot(ax)
        return made

    def _draw(self, ax: Any) -> None:
        groups = list(self.data.groupby("step"))
        for (step, rows), tone in zip(groups, np.linspace(0.9, 0.1, len(groups)), strict=True):
            held = top_share(rows["value"].to_numpy(), 0.01)
            color = colormaps["viridis"](tone)
            ax.plot(100 * rows["part"], rows["value"], color=color, label=f"{step:,}: {held:.0%}", rasterized=True)
        ax.set_xscale("log")
        if (self.data["value"] > 0).any():
            ax.set_yscale("log")
            ax.set_ylim(bottom=max(self.data["value"].max() * 1e-6, self.data["value"].min()))
        ax.set_xlabel(f"examples, largest {self.by} first (%)")
        ax.set_ylabel(self.by)
        ax.legend(title="step: share of\nthe first 1 %")


def spread(steps: Sequence[int], count: int = _LINES) -> list[int]:
    """At most `count` of the steps, evenly over those recorded, first and last among them.

    Examples
    --------
    >>> spread(list(range(1, 12)), 3)
    [1, 6, 11]
    """
    rows = np.unique(np.round(np.linspace(0, len(steps) - 1, count)).astype(int))
    return [steps[row] for row in rows]
