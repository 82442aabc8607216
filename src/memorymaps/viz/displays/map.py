"""The memory map: the residual–leverage plot for any model with a posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from memorymaps.core.arrays import Array
from memorymaps.maps.iso_lines import IsoScore, iso_score_of
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.viz.displays.base import Display, caveat, map_title, require_examples
from memorymaps.viz.displays.log_scales import clip_to_axes, effective_zero, spans_decades
from memorymaps.viz.displays.point_labels import label_points
from memorymaps.viz.displays.style import GREY, MARKERS, PALETTE, escape_label

_MAX_POINTS = 5_000  # more points than this are drawn as a density, with the tails as single points
_MAX_CLASSES = 10  # more categories than this are not distinguished by colour


@dataclass
class MapDisplay(Display):
    """Leverage against prediction error, with iso-sensitivity lines, marginal histograms and labelled examples.

    Examples
    --------
    >>> from memorymaps import memory_map
    >>> from memorymaps.data.datasets import demo_model
    >>> display = MapDisplay.from_map(memory_map(*demo_model()), label=3)
    >>> list(display.frame().columns)
    ['id', 'leverage', 'error', 'sensitivity', 'color', 'labelled']
    """

    color: str = ""
    iso: IsoScore = IsoScore.PRODUCT
    caveat: str = ""
    size: ClassVar[tuple[float, float]] = (6.4, 4.8)

    @classmethod
    def from_map(cls, m: MemoryMap, *, color: str | None = None, label: int = 10, ax: Any = None) -> MapDisplay:
        """Draw a map.

        Parameters
        ----------
        color : column to colour by; default: the class, where there are at most ten, else the sensitivity.
        label : number of most sensitive examples that are labelled with their ids.

        Raises
        ------
        KeyError
            No such column.
        ValueError
            The map is empty, or the column has too many categories for colours.
        """
        require_examples(m)
        color = color or _default_color(m)
        top = set(m.top(label)["id"].tolist()) if label > 0 else set()
        data = pd.DataFrame({name: m[name] for name in ("id", "leverage", "error", "sensitivity")})
        data["color"] = _color_values(m, color)
        data["labelled"] = [value in top for value in data["id"]]
        display = cls(data, map_title(m), color=color, iso=iso_score_of(m), caveat=caveat(m, "sensitivity"))
        display.plot(ax)
        return display

    def _draw(self, ax: Any) -> None:
        shown = self.data[np.isfinite(self.data["sensitivity"])]
        logs = [_log_axis(ax, axis, shown[name]) for axis, name in (("x", "leverage"), ("y", "error"))]
        _draw_points(ax, shown, self.color)
        ax.set_xlabel("leverage (effective parameters)" + logs[0])
        ax.set_ylabel("prediction error (units of the target)" + logs[1])
        _set_limits(ax, self.data)
        _draw_iso_lines(ax, shown, self.iso)
        words = f"lines: {self.iso.formula}" + (f"\nsensitivity{self.caveat}" if self.caveat else "")
        ax.text(0.99, 0.99, words, transform=ax.transAxes, fontsize=6, color=GREY, ha="right", va="top")
        self._draw_undefined(ax)
        _draw_marginals(ax, self.data)
        self._draw_legend(ax, shown)
        label_points(ax, self.data[self.data["labelled"]])

    def _draw_undefined(self, ax: Any) -> None:
        undefined = self.data[~np.isfinite(self.data["sensitivity"])]
        if len(undefined):
            x, y = clip_to_axes(ax, undefined["leverage"], undefined["error"])
            label = f"undefined sensitivity ({len(undefined):,})"
            ax.plot(x, y, "*", ms=9, mfc="none", color="black", label=label, clip_on=False)

    def _draw_legend(self, ax: Any, shown: pd.DataFrame) -> None:
        if not ax.get_legend_handles_labels()[0]:
            return
        if _is_categorical(shown["color"], self.color):
            ax.legend(loc="upper left", bbox_to_anchor=(1.12, 1.0), title=escape_label(self.color))
        else:  # only examples with undefined sensitivity: colours are explained by the colour bar
            ax.legend(loc="upper right")


def _color_values(m: MemoryMap, color: str) -> Array:
    values = m[color]
    if values.ndim > 1:
        raise ValueError(f"cannot colour by {color!r}: it has {values.shape[1]} values per example, expected one")
    kinds = len(pd.unique(values))
    if values.dtype.kind not in "biuf" and kinds > _MAX_CLASSES:
        raise ValueError(f"cannot colour by {color!r}: {kinds} different values, expected numbers or at most ten")
    return values


def _is_categorical(values: pd.Series, color: str) -> bool:
    return color != "sensitivity" and len(pd.unique(values)) <= _MAX_CLASSES


def _default_color(m: MemoryMap) -> str:
    few = bool(m.provenance.description.classes) and len(m.provenance.description.classes) <= _MAX_CLASSES
    return "target" if few else "sensitivity"


def _log_axis(ax: Any, axis: str, values: pd.Series) -> str:
    """Make an axis logarithmic if the data span decades; returns a suffix for its label."""
    if not spans_decades(values):
        return ""
    getattr(ax, f"set_{axis}scale")("log")
    hidden = int(np.count_nonzero(values <= effective_zero(values)))
    return f", log scale; {hidden:,} at zero not drawn" if hidden else ", log scale"


def _draw_points(ax: Any, shown: pd.DataFrame, color: str) -> None:
    if _is_categorical(shown["color"], color):
        numbers = shown["color"].dtype.kind in "biuf"
        _draw_classes(ax, shown, sorted(pd.unique(shown["color"]), key=None if numbers else str))
    else:
        _draw_continuous(ax, shown, color)


def _drawn_individually(shown: pd.DataFrame) -> Array:
    """Mask `[n]` of points that are drawn individually: all, or those above a 98 % quantile if there are many."""
    if len(shown) <= _MAX_POINTS:
        return np.ones(len(shown), dtype=bool)
    edges = [shown[name].quantile(0.98) for name in ("leverage", "error", "sensitivity")]
    names = ("leverage", "error", "sensitivity")
    return np.any([shown[name] > edge for name, edge in zip(names, edges, strict=True)], axis=0)


def _draw_density(ax: Any, shown: pd.DataFrame) -> None:
    if len(shown) <= _MAX_POINTS:
        return
    scales = {f"{axis}scale": getattr(ax, f"get_{axis}scale")() for axis in "xy"}
    drawn = shown
    for name, axis in (("leverage", "x"), ("error", "y")):
        drawn = drawn[drawn[name] > effective_zero(drawn[name])] if scales[f"{axis}scale"] == "log" else drawn
    cells = ax.hexbin(
        drawn["leverage"], drawn["error"], gridsize=70, bins="log", mincnt=1, cmap="Greys", linewidths=0, **scales
    )
    cells.set_rasterized(True)


def _draw_classes(ax: Any, shown: pd.DataFrame, kinds: list[Any]) -> None:
    _draw_density(ax, shown)
    points = shown[_drawn_individually(shown)]
    for kind, marker, color in zip(kinds, MARKERS, PALETTE, strict=False):
        rows = points[points["color"] == kind]
        ax.plot(
            rows["leverage"], rows["error"], marker, ms=3.2, mew=0, alpha=0.7, color=color, rasterized=True,
            label=_legend_label(kind),
        )  # fmt: skip


def _legend_label(kind: Any) -> str:
    """Label for a legend; a zero-width space in front of labels that Matplotlib omits (empty or with an underscore)."""
    text = escape_label(kind)
    return "\N{ZERO WIDTH SPACE}" + text if text.startswith("_") or not text else text


def _draw_continuous(ax: Any, shown: pd.DataFrame, color: str) -> None:
    _draw_density(ax, shown)
    rows = shown[_drawn_individually(shown)].sort_values("color")
    points = ax.scatter(rows["leverage"], rows["error"], c=rows["color"], s=11, lw=0, cmap="viridis", rasterized=True)
    ax.figure.colorbar(points, ax=ax, label=escape_label(color), pad=0.12, shrink=0.8)


def _set_limits(ax: Any, data: pd.DataFrame) -> None:
    """Axis limits with a margin beyond the largest values; linear axes start at zero."""
    for axis, name in (("x", "leverage"), ("y", "error")):
        values = data[name][np.isfinite(data[name])]
        top = float(values.max()) if len(values) else 1.0
        if getattr(ax, f"get_{axis}scale")() == "log":
            getattr(ax, f"set_{axis}lim")(float(values[values > effective_zero(values)].quantile(0.005)) / 1.5, top * 2)
        else:
            getattr(ax, f"set_{axis}lim")(0, top * 1.12 if top > 0 else 1.0)


def _draw_iso_lines(ax: Any, shown: pd.DataFrame, iso: IsoScore) -> None:
    """Lines of equal score through its median, 90 % and 99 % quantiles."""
    scores = pd.Series(iso.score(shown["leverage"].to_numpy(), shown["error"].to_numpy())).dropna()
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    x = np.geomspace(max(x0, x1 / 1e4), x1, 200)
    last_label_height = -np.inf  # pixels
    for level in np.unique(scores.quantile([0.5, 0.9, 0.99])) if len(scores) else ():
        y = iso.error(x, level)
        inside = (y >= y0) & (y <= y1)
        if level > 0 and np.any(inside):
            ax.plot(x[inside], y[inside], "-", lw=0.7, color=GREY, zorder=0)
            end = (x[inside][-1], y[inside][-1])
            height = ax.transData.transform(end)[1]
            if height - last_label_height > 8 * ax.figure.dpi / 72:
                ax.annotate(f"{level:.2g}", end, fontsize=6, color=GREY, ha="right", va="bottom")
                last_label_height = height


def _draw_marginals(ax: Any, data: pd.DataFrame) -> None:
    """Histograms of leverage and error at the outer edges of the axes."""
    for axis, name, box in (("x", "leverage", (0, 1.01, 1, 0.09)), ("y", "error", (1.01, 0, 0.09, 1))):
        edge = ax.inset_axes(box, **{f"share{axis}": ax})
        bins = _bin_edges(data[name], getattr(ax, f"get_{axis}scale")(), getattr(ax, f"get_{axis}lim")())
        orientation = "vertical" if axis == "x" else "horizontal"
        edge.hist(np.clip(data[name], bins[0], bins[-1]), bins=bins, color=GREY, orientation=orientation)
        edge.axis("off")
    ax.set_title(ax.get_title(loc="left"), loc="left", y=1.11)


def _bin_edges(values: pd.Series, scale: str, limits: tuple[float, float]) -> Array:
    low, high = limits
    return np.geomspace(low, high, 41) if scale == "log" else np.linspace(low, high, 41)
