"""Figures of a tracked run over its steps: mean losses, and the distribution of the sensitivity over examples."""

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

_DEFAULT_STEPS = 5  # steps drawn by default


@dataclass
class GeneralisationDisplay(Display):
    """Mean training, leave-one-out and test loss against the training step, in nats [MPE Figs. 1b, 5, 8–10].

    Bands are one standard error of the mean over the examples, where the run has recorded it.
    """

    unit: str = "step"
    caveat: str = ""
    size: ClassVar[tuple[float, float]] = (3.6, 2.7)

    @classmethod
    def from_trajectory(
        cls, run: Trajectory, *, unit: str = "step", scale: float = 1.0, title: str = "", ax: Any = None
    ) -> GeneralisationDisplay:
        """Draw a run's losses; steps are divided by `scale`, for instance into epochs (`scale=len(loader)`)."""
        data = run.losses().reset_index()
        data["step"] = data["step"] / scale
        verdict = run.loo_trust()
        caveat = "" if verdict is None or verdict.sizes else f": {verdict}"
        display = cls(data, title, unit=unit, caveat=caveat)
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        lines = {
            "loo_loss": (f"leave-one-out, estimated{self.caveat}", PALETTE[1], "-"),
            "test_loss": ("test", PALETTE[0], "--"),
            "loss": ("training", PALETTE[7], ":"),
        }
        for name, (label, color, dash) in lines.items():
            if np.isfinite(self.data[name]).any():
                ax.plot(self.data["step"], self.data[name], dash, color=color, label=label)
                self._draw_band(ax, name, color)
        ax.set_xlabel(self.unit)
        ax.set_ylabel("mean loss (nats)")
        ax.legend()

    def _draw_band(self, ax: Any, name: str, color: str) -> None:
        if f"{name}_se" in self.data:
            mean, error = self.data[name], self.data[f"{name}_se"]
            ax.fill_between(self.data["step"], mean - error, mean + error, color=color, alpha=0.15, lw=0)


@dataclass
class EvolutionDisplay(Display):
    """One column sorted in decreasing order, at several training steps [MPE Fig. 3b]."""

    by: str = "sensitivity"
    size: ClassVar[tuple[float, float]] = (4.2, 3.0)

    @classmethod
    def from_trajectory(
        cls, run: Trajectory, *, steps: Sequence[int] | None = None, by: str = "sensitivity", title: str = "",
        ax: Any = None,
    ) -> EvolutionDisplay:  # fmt: skip
        """Draw the column `by` at the `steps`; default: five recorded steps including the first and the last.

        Raises
        ------
        KeyError
            A step was not recorded, or there is no such column.
        """
        pieces = []
        for step in evenly_spaced_steps(run.steps) if steps is None else steps:
            values = run.at(step)[by]
            values = np.sort(values[np.isfinite(values)])[::-1]
            part = np.arange(1, len(values) + 1) / len(values)
            pieces.append(pd.DataFrame({"step": step, "part": part, "value": values}))
        display = cls(pd.concat(pieces, ignore_index=True), title, by=by)
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        groups = list(self.data.groupby("step"))
        for (step, rows), tone in zip(groups, np.linspace(0.9, 0.1, len(groups)), strict=True):
            top_percent = top_share(rows["value"].to_numpy(), 0.01)
            color = colormaps["viridis"](tone)
            ax.plot(
                100 * rows["part"], rows["value"], color=color, label=f"{step:,}: {top_percent:.0%}", rasterized=True
            )
        ax.set_xscale("log")
        if (self.data["value"] > 0).any():
            ax.set_yscale("log")
            ax.set_ylim(bottom=max(self.data["value"].max() * 1e-6, self.data["value"].min()))
        ax.set_xlabel(f"examples, largest {self.by} first (%)")
        ax.set_ylabel(self.by)
        ax.legend(title="step: share of\nthe top 1 %")


def evenly_spaced_steps(steps: Sequence[int], count: int = _DEFAULT_STEPS) -> list[int]:
    """At most `count` of the steps, evenly spaced, including the first and the last.

    Examples
    --------
    >>> evenly_spaced_steps(list(range(1, 12)), 3)
    [1, 6, 11]
    """
    rows = np.unique(np.round(np.linspace(0, len(steps) - 1, count)).astype(int))
    return [steps[row] for row in rows]
