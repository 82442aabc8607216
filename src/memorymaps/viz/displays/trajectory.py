"""Maps of a tracked run: paths of examples, small multiples, and an animation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib import animation
from matplotlib.figure import Figure

from memorymaps.core.wording import counted
from memorymaps.files.atomic_files import replacing
from memorymaps.maps.trajectory import Trajectory
from memorymaps.viz.displays.base import Display
from memorymaps.viz.displays.evolution import evenly_spaced_steps
from memorymaps.viz.displays.figure_files import write_animation
from memorymaps.viz.displays.style import GREY, MARKERS, PALETTE, escape_label, style_context

_MAX_POINTS = 5_000  # points per frame; of more, a fixed random subset is drawn


@dataclass
class TrajectoryDisplay(Display):
    """Leverage and error of the examples over the training steps, on the same axes for all steps.

    `plot` draws the paths of the `followed` examples over the map of the last step, `multiples` one panel per step,
    `animate` an animation.
    """

    followed: tuple[Any, ...] = ()
    size: ClassVar[tuple[float, float]] = (5.2, 4.0)

    @classmethod
    def from_trajectory(
        cls, run: Trajectory, *, ids: Iterable[Any] | None = None, follow: int = 5, title: str = "", ax: Any = None
    ) -> TrajectoryDisplay:
        """Draw the paths of some examples; default: the `follow` most sensitive at the last step.

        Raises
        ------
        KeyError
            An id is not in the run.
        """
        last = run.at(run.steps[-1])
        followed = last.top(follow)["id"].tolist() if ids is None else last.select(ids)["id"].tolist()
        display = cls(_positions(run), title or _default_title(run), followed=tuple(followed))
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        self._set_axes(ax)
        last = self._rows_at(self.data["step"].max())
        ax.plot(last["leverage"], last["error"], "o", ms=2, mew=0, alpha=0.35, color=GREY, rasterized=True)
        for id, color, marker in zip(self.followed, PALETTE * 9, MARKERS * 9, strict=False):
            path = self.data[self.data["id"] == id].sort_values("step")
            x, y = path["leverage"].to_numpy(), path["error"].to_numpy()
            ax.plot(x, y, "-", lw=0.9, color=color)
            ax.plot(x, y, marker, ms=2.5, mew=0, color=color)
            ax.plot(x[-1:], y[-1:], marker, ms=6, mew=0.5, mec="white", color=color, label=escape_label(id))
        ax.legend(title="example (large: last step)", loc="upper left", bbox_to_anchor=(1, 1))

    def _set_axes(self, ax: Any) -> None:
        """Labels, and the same limits for every step, such that all steps fit."""
        positive = self.data["leverage"][self.data["leverage"] > 0]
        ax.set_xscale("log")
        ax.set_xlim(positive.quantile(0.002) / 1.3, positive.max() * 1.3)
        ax.set_ylim(0, self.data["error"].max() * 1.05)
        ax.set_xlabel("leverage (effective parameters), log scale")
        ax.set_ylabel("prediction error")

    def _rows_at(self, step: int) -> pd.DataFrame:
        rows = self.data[self.data["step"] == step]
        subset = np.random.default_rng(0).permutation(len(rows))[:_MAX_POINTS]
        return rows.iloc[np.sort(subset)]

    def _draw_points(self, ax: Any, step: int) -> None:
        rows = self._rows_at(step)
        for kind, color, marker in zip(sorted(rows["kind"].unique()), PALETTE, MARKERS, strict=False):
            points = rows[rows["kind"] == kind]
            ax.plot(
                points["leverage"], points["error"], marker, ms=2.4, mew=0, alpha=0.6, color=color, rasterized=True,
                label=escape_label(kind),
            )  # fmt: skip

    def multiples(self, steps: Sequence[int] | None = None, columns: int = 4) -> Any:
        """Draw one panel per step, with the same axes, classes as colours; default: eight steps. Returns the figure."""
        shown = (
            evenly_spaced_steps(sorted(self.data["step"].unique().tolist()), 2 * columns)
            if steps is None
            else list(steps)
        )
        across, down = min(columns, len(shown)), -(-len(shown) // columns)
        with style_context():
            figure = Figure(figsize=(2.3 * across + 0.9, 2.2 * down), layout="constrained")
            panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
            for k, panel in enumerate(panels.flat):
                if k >= len(shown):
                    panel.axis("off")
                    continue
                self._set_axes(panel)
                self._draw_points(panel, shown[k])
                panel.set_title(f"step {shown[k]:,}", loc="left")
                panel.set(xlabel="", ylabel="")
            figure.supxlabel("leverage (effective parameters), log scale", fontsize=9)
            figure.supylabel("prediction error", fontsize=9)
            self._draw_legend(figure, panels.flat[0])
        return figure

    def _draw_legend(self, figure: Any, panel: Any) -> None:
        handles, labels = panel.get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside right upper", markerscale=2)

    def animate(self, path: str | Path, *, fps: int = 4, steps: Sequence[int] | None = None) -> Path:
        """Write a `.gif`, `.mp4` (needs ffmpeg) or `.html` animation (a page with playback buttons); returns the path.

        Raises
        ------
        ValueError
            Another suffix; `.mp4` without ffmpeg.
        """
        path = Path(path)
        shown = sorted(self.data["step"].unique().tolist()) if steps is None else list(steps)
        writer = _movie_writer(path, fps)
        with style_context():
            figure = Figure(figsize=(5.6, 4.0), layout="constrained")
            ax = figure.add_subplot()

            def draw(step: int) -> list[Any]:
                ax.clear()
                self._set_axes(ax)
                self._draw_points(ax, step)
                ax.set_title(f"{self.title}  step {step:,}", loc="left")
                if len(self.data["kind"].unique()) > 1:
                    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)
                return []

            movie = animation.FuncAnimation(figure, draw, frames=shown, init_func=lambda: [])
            if path.suffix == ".html":
                with replacing(path) as partial:
                    partial.write_text(movie.to_jshtml(fps=fps), encoding="utf-8")
            else:
                write_animation(movie, path, writer, dpi=120)
        return path


def _movie_writer(path: Path, fps: int) -> Any:
    if path.suffix == ".mp4" and not animation.FFMpegWriter.isAvailable():
        raise ValueError("an .mp4 animation needs the program ffmpeg, which is not installed: write a .gif or .html")
    if path.suffix not in (".gif", ".mp4", ".html"):
        raise ValueError(f"cannot write an animation to {path.name}: expected .gif, .mp4 or .html")
    kinds: dict[str, Any] = {".gif": animation.PillowWriter, ".mp4": animation.FFMpegWriter}
    return kinds[path.suffix](fps=fps) if path.suffix in kinds else None


def _positions(run: Trajectory) -> pd.DataFrame:
    names = ["id", "leverage", "error", "sensitivity"]
    pieces = []
    for step in run.steps:
        m = run.at(step)
        classes = bool(m.provenance.description.classes) and len(m.provenance.description.classes) <= len(PALETTE)
        piece = pd.DataFrame({name: m[name] for name in names})
        pieces.append(piece.assign(step=step, kind=m["target"] if classes else ""))
    return pd.concat(pieces, ignore_index=True)


def _default_title(run: Trajectory) -> str:
    first = run.at(run.steps[0])
    return f"{escape_label(first.provenance.description.model, 40)}, {counted(len(first), 'example')}"
