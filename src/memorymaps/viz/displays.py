"""The three pictures of a map: the residual–leverage plot generalised, its concentration, leaving out.

Each display keeps the numbers it draws (`frame()`), is computed once by a `from_…` method, which also draws it, and
can be drawn again with `plot`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from memorymaps._types import Array
from memorymaps.leave_out import LeaveOut
from memorymaps.summary import share
from memorymaps.viz.style import GREY, MARKERS, PALETTE, axes, literal, look

if TYPE_CHECKING:
    from memorymaps.maps import MemoryMap
    from memorymaps.retraining import RetrainCheck

_DENSE = 5_000  # more points than this are drawn as a density, with the tails as points
_DECADES = 1.4  # when the middle 80 % of the data spans more decades than this, the axis is logarithmic
_SHOWN = 0.8  # an axis that would hide more of the examples than the rest is linear
_NOTHING = 1e-9  # of the largest value: drawn as zero where the axis is logarithmic
_CLASSES = 10  # more values than this are not told apart by colour


@dataclass
class Display:
    """Numbers of a picture; `ax_` and `figure_` after it has been drawn."""

    data: pd.DataFrame
    title: str
    ax_: Any = field(default=None, repr=False)
    size: ClassVar[tuple[float, float]] = (5.2, 4.0)

    @property
    def figure_(self) -> Any:
        """The figure last drawn on."""
        if self.ax_ is None:
            raise AttributeError(f"{type(self).__name__} has not been drawn: call plot()")
        return self.ax_.figure

    def frame(self) -> pd.DataFrame:
        """The numbers behind the picture."""
        return self.data.copy()

    def plot(self, ax: Any = None) -> Display:
        """Draw on `ax` or on a new figure; returns itself."""
        with look():
            self.ax_ = axes(ax, self._size())
            self.ax_.set_title(self.title, loc="left")
            self._draw(self.ax_)
        return self

    def _size(self) -> tuple[float, float]:
        return self.size

    def _draw(self, ax: Any) -> None:
        raise NotImplementedError


def _named(m: MemoryMap, lost: int = 0) -> str:
    undefined = f" ({lost:,} undefined)" if lost else ""
    return f"{literal(m.provenance.description.model, 40)}, {len(m):,} examples{undefined}"


def _refuse_empty(m: MemoryMap) -> None:
    if len(m) == 0:
        raise ValueError("the map has no examples: nothing to draw")


# --- the map ---------------------------------------------------------------------------------------------------------


@dataclass
class MapDisplay(Display):
    """The residual–leverage plot generalised: leverage against prediction error, iso-sensitivity lines, names.

    Examples
    --------
    >>> from memorymaps import memory_map
    >>> from memorymaps.datasets import demo_model
    >>> display = MapDisplay.from_map(memory_map(*demo_model()), label=3)
    >>> list(display.frame().columns)
    ['id', 'leverage', 'error', 'sensitivity', 'color', 'labelled']
    """

    color: str = ""
    size: ClassVar[tuple[float, float]] = (6.4, 4.8)

    @classmethod
    def from_map(cls, m: MemoryMap, *, color: str | None = None, label: int = 10, ax: Any = None) -> MapDisplay:
        """Draw a map.

        Parameters
        ----------
        color : column to colour by; default: the class, where there are at most ten, else the sensitivity.
        label : name this many of the most sensitive examples.

        Raises
        ------
        KeyError
            No such column.
        ValueError
            The map is empty, or the column cannot be told apart by colour.
        """
        _refuse_empty(m)
        color = color or _default_color(m)
        top = set(m.top(label)["id"].tolist()) if label > 0 else set()
        data = pd.DataFrame({name: m[name] for name in ("id", "leverage", "error", "sensitivity")})
        data["color"] = _colors(m, color)
        data["labelled"] = [value in top for value in data["id"]]
        made = cls(data, _named(m), color=color)
        made.plot(ax)
        return made

    def _draw(self, ax: Any) -> None:
        shown = self.data[np.isfinite(self.data["sensitivity"])]
        logs = [_log_axis(ax, axis, shown[name]) for axis, name in (("x", "leverage"), ("y", "error"))]
        _points(ax, shown, self.color)
        ax.set_xlabel("leverage (effective parameters)" + logs[0])
        ax.set_ylabel("prediction error (units of the target)" + logs[1])
        _limits(ax, self.data)
        _iso_lines(ax, shown)
        self._undefined(ax)
        _marginals(ax, self.data)
        self._legend(ax, shown)
        _names(ax, self.data[self.data["labelled"]])

    def _undefined(self, ax: Any) -> None:
        lost = self.data[~np.isfinite(self.data["sensitivity"])]
        if len(lost):
            x, y = _inside(ax, lost["leverage"], lost["error"])
            words = f"cannot be left out ({len(lost):,})"
            ax.plot(x, y, "*", ms=9, mfc="none", color="black", label=words, clip_on=False)

    def _legend(self, ax: Any, shown: pd.DataFrame) -> None:
        if not ax.get_legend_handles_labels()[0]:
            return
        if _by_class(shown["color"], self.color):
            ax.legend(loc="upper left", bbox_to_anchor=(1.12, 1.0), title=literal(self.color))
        else:  # only the undefined: the colour bar stands outside
            ax.legend(loc="upper right")


def _colors(m: MemoryMap, color: str) -> Array:
    values = m[color]
    if values.ndim > 1:
        raise ValueError(f"cannot colour by {color!r}: it has {values.shape[1]} values an example")
    kinds = len(pd.unique(values))
    if values.dtype.kind not in "biuf" and kinds > _CLASSES:
        raise ValueError(f"cannot colour by {color!r}: {kinds} different values, expected numbers or at most ten")
    return values


def _by_class(values: pd.Series, color: str) -> bool:
    return color != "sensitivity" and len(pd.unique(values)) <= _CLASSES


def _inside(ax: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Positions moved to the axes' edges where they would be outside (zero on a logarithmic axis)."""
    return np.clip(x, *ax.get_xlim()), np.clip(y, *ax.get_ylim())


def _default_color(m: MemoryMap) -> str:
    few = bool(m.provenance.description.classes) and len(m.provenance.description.classes) <= _CLASSES
    return "target" if few else "sensitivity"


def _log_axis(ax: Any, axis: str, values: pd.Series) -> str:
    """Make an axis logarithmic where the data spans decades; returns what to add to its name."""
    if not _spans_decades(values):
        return ""
    getattr(ax, f"set_{axis}scale")("log")
    hidden = int(np.count_nonzero(values <= _floor(values)))
    return f", log scale; {hidden:,} at zero not drawn" if hidden else ", log scale"


def _floor(values: pd.Series) -> float:
    """What counts as zero on a logarithmic axis: far from a margin a leverage is 1e-80, and nothing to look at."""
    return float(values.max()) * _NOTHING


def _spans_decades(values: pd.Series) -> bool:
    positive = values[values > _floor(values)]
    return len(positive) > max(1, _SHOWN * len(values)) and bool(
        np.log10(positive.quantile(0.9) / positive.quantile(0.1)) >= _DECADES
    )


def _points(ax: Any, shown: pd.DataFrame, color: str) -> None:
    if _by_class(shown["color"], color):
        numbers = shown["color"].dtype.kind in "biuf"
        _classes(ax, shown, sorted(pd.unique(shown["color"]), key=None if numbers else str))
    else:
        _graded(ax, shown, color)


def _tail(shown: pd.DataFrame) -> Array:
    """Which points are drawn one by one: all, or those outside the dense bulk."""
    if len(shown) <= _DENSE:
        return np.ones(len(shown), dtype=bool)
    edges = [shown[name].quantile(0.98) for name in ("leverage", "error", "sensitivity")]
    names = ("leverage", "error", "sensitivity")
    return np.any([shown[name] > edge for name, edge in zip(names, edges, strict=True)], axis=0)


def _bulk(ax: Any, shown: pd.DataFrame) -> None:
    if len(shown) <= _DENSE:
        return
    scales = {f"{axis}scale": getattr(ax, f"get_{axis}scale")() for axis in "xy"}
    kept = shown
    for name, axis in (("leverage", "x"), ("error", "y")):
        kept = kept[kept[name] > _floor(kept[name])] if scales[f"{axis}scale"] == "log" else kept
    cells = ax.hexbin(
        kept["leverage"], kept["error"], gridsize=70, bins="log", mincnt=1, cmap="Greys", linewidths=0, **scales
    )
    cells.set_rasterized(True)


def _classes(ax: Any, shown: pd.DataFrame, kinds: list[Any]) -> None:
    _bulk(ax, shown)
    part = shown[_tail(shown)]
    for kind, marker, color in zip(kinds, MARKERS, PALETTE, strict=False):
        rows = part[part["color"] == kind]
        ax.plot(
            rows["leverage"], rows["error"], marker, ms=3.2, mew=0, alpha=0.7, color=color, rasterized=True,
            label=_in_legend(kind),
        )  # fmt: skip


def _in_legend(kind: Any) -> str:
    """A legend leaves out empty labels and those that begin with an underscore: put an invisible character before."""
    text = literal(kind)
    return "\N{ZERO WIDTH SPACE}" + text if text.startswith("_") or not text else text


def _graded(ax: Any, shown: pd.DataFrame, color: str) -> None:
    _bulk(ax, shown)
    part = shown[_tail(shown)].sort_values("color")
    points = ax.scatter(part["leverage"], part["error"], c=part["color"], s=11, lw=0, cmap="viridis", rasterized=True)
    ax.figure.colorbar(points, ax=ax, label=literal(color), pad=0.12, shrink=0.8)


def _limits(ax: Any, data: pd.DataFrame) -> None:
    """Room on the far side of the extremes; linear axes start at zero."""
    for axis, name in (("x", "leverage"), ("y", "error")):
        values = data[name][np.isfinite(data[name])]
        top = float(values.max()) if len(values) else 1.0
        if getattr(ax, f"get_{axis}scale")() == "log":
            getattr(ax, f"set_{axis}lim")(float(values[values > _floor(values)].quantile(0.005)) / 1.5, top * 2)
        else:
            getattr(ax, f"set_{axis}lim")(0, top * 1.12 if top > 0 else 1.0)


def _iso_lines(ax: Any, shown: pd.DataFrame) -> None:
    """Hyperbolas `leverage × error = const` through the upper quantiles of the product."""
    product = shown["leverage"] * shown["error"]
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    x = np.geomspace(max(x0, x1 / 1e4), x1, 200)
    named = -np.inf  # height of the last number written, in pixels
    for level in np.unique(product.quantile([0.5, 0.9, 0.99])) if len(product) else ():
        y = level / x
        inside = (y >= y0) & (y <= y1)
        if level > 0 and np.any(inside):
            ax.plot(x[inside], y[inside], "-", lw=0.7, color=GREY, zorder=0)
            end = (x[inside][-1], y[inside][-1])
            height = ax.transData.transform(end)[1]
            if height - named > 8 * ax.figure.dpi / 72:
                ax.annotate(f"{level:.2g}", end, fontsize=6, color=GREY, ha="right", va="bottom")
                named = height


def _names(ax: Any, rows: pd.DataFrame, x: str = "leverage", y: str = "error", by: str = "sensitivity") -> None:
    """Write ids beside their points, inside the axes and apart from each other and from the points they name."""
    ax.figure.canvas.figure.draw_without_rendering()  # where the points are is known once the layout is
    across, up = _inside(ax, rows[x], rows[y])
    points = 72 / ax.figure.dpi
    spots = ax.transData.transform(np.column_stack([across, up])) * points
    frame = tuple(ax.bbox.extents * points)
    taken: list[_Box] = [(px - 2, py - 2, px + 2, py + 2) for px, py in spots]
    for k in np.argsort(-np.nan_to_num(rows[by], nan=np.inf), kind="stable"):
        text = literal(rows["id"].iloc[k])
        dx, dy = _free_place(spots[k], text, taken, frame)
        ax.annotate(
            text, (across.iloc[k], up.iloc[k]), xytext=(dx, dy), textcoords="offset points",
            ha="left" if dx > 0 else "right", fontsize=7, bbox={"color": "white", "alpha": 0.6, "pad": 0.3, "lw": 0},
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": GREY, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


_Box = tuple[float, float, float, float]  # left, bottom, right, top


def _offsets() -> Iterator[tuple[float, float]]:
    for radius in (7, 14, 22, 32, 44, 58, 74, 92):
        for angle in np.deg2rad([35, -35, 145, -145, 88, -88, 10, 170]):
            yield radius * float(np.cos(angle)), radius * float(np.sin(angle))


def _free_place(spot: Array, text: str, taken: list[_Box], frame: _Box) -> tuple[float, float]:
    """The nearest offset (in points) where the text hides nothing; adds its box to those taken."""
    width, height = 4.8 * len(text.replace("\\$", "$")), 8.5
    for dx, dy in _offsets():
        left, low = spot[0] + dx - (width if dx < 0 else 0), spot[1] + dy - 1.5
        box = (left, low, left + width, low + height)
        if _contains(frame, box) and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return dx, dy
    return 7.0, 7.0


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _contains(outer: _Box, box: _Box) -> bool:
    return outer[0] <= box[0] and outer[1] <= box[1] and box[2] <= outer[2] and box[3] <= outer[3]


def _marginals(ax: Any, data: pd.DataFrame) -> None:
    """Histograms of both axes along the outer edges."""
    for axis, name, box in (("x", "leverage", (0, 1.01, 1, 0.09)), ("y", "error", (1.01, 0, 0.09, 1))):
        edge = ax.inset_axes(box, **{f"share{axis}": ax})
        bins = _bins(data[name], getattr(ax, f"get_{axis}scale")(), getattr(ax, f"get_{axis}lim")())
        way = "vertical" if axis == "x" else "horizontal"
        edge.hist(np.clip(data[name], bins[0], bins[-1]), bins=bins, color=GREY, orientation=way)
        edge.axis("off")
    ax.set_title(ax.get_title(loc="left"), loc="left", y=1.11)


def _bins(values: pd.Series, scale: str, limits: tuple[float, float]) -> Array:
    low, high = limits
    return np.geomspace(low, high, 41) if scale == "log" else np.linspace(low, high, 41)


# --- concentration ---------------------------------------------------------------------------------------------------


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
        _refuse_empty(m)
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
        made = cls(data, _named(m, lost))
        made.plot(ax)
        return made

    def _draw(self, ax: Any) -> None:
        part, s = 100 * self.data["part"], self.data["sensitivity"]
        ax.plot(part, s, color=PALETTE[0], rasterized=len(s) > _DENSE)
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
        held = share(self.data["sensitivity"].to_numpy(), 0.05)
        right.plot([5], [100 * held], "o", color=PALETTE[1], ms=5)
        words = f"{held:.0%} of the sensitivity\nin 5% of the examples"
        right.annotate(
            words, (5, 100 * held), xytext=(0.2, 0.06), textcoords="axes fraction", fontsize=8,
            bbox={"boxstyle": "square,pad=0.15", "color": "white", "alpha": 0.85},
            arrowprops={"arrowstyle": "->", "lw": 0.7, "color": GREY},
        )  # fmt: skip


# --- leaving out -----------------------------------------------------------------------------------------------------


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
        _refuse_empty(m)
        data = pd.DataFrame({name: m[name] for name in ("id", "loss", "loo_loss", "sensitivity")})
        data["labelled"] = (data["loo_loss"] - data["loss"]).rank(ascending=False, method="first") <= label
        made = cls(data, _named(m, int(np.count_nonzero(~np.isfinite(data["loo_loss"])))))
        made.plot(ax)
        return made

    @classmethod
    def from_leave_out(cls, result: LeaveOut, *, ax: Any = None) -> GroupDisplay:
        """Draw what removing groups does (see `MemoryMap.leave_out`)."""
        return GroupDisplay.from_leave_out(result, ax=ax)

    def _draw(self, ax: Any) -> None:
        good = self.data[np.isfinite(self.data["loo_loss"])]
        ax.plot(good["loss"], good["loo_loss"], "o", ms=3, mew=0, alpha=0.5, color=PALETTE[0], rasterized=True)
        log = bool((good[["loss", "loo_loss"]] > 0).all(axis=None)) and _spans_decades(good["loss"])
        if log:
            ax.set_xscale("log")
            ax.set_yscale("log")
        self._means(ax, good)
        ax.set_xlabel("loss, seen in training (nats)" + ", log scale" * log)
        ax.set_ylabel("loss, left out (nats)" + ", log scale" * log)
        _names(ax, good[good["labelled"]], "loss", "loo_loss")
        ax.legend(loc="lower right")

    def _means(self, ax: Any, good: pd.DataFrame) -> None:
        low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
        ax.plot([low, high], [low, high], "-", lw=0.7, color=GREY, zorder=0)
        seen, unseen = good["loss"].mean(), good["loo_loss"].mean()
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
        words = f"slope {check.slope:.2f}, relative error {check.relative_error:.2f}, rank correlation "
        made = cls(data, f"{words}{check.spearman:.2f} ({len(data)} retrainings)")
        made.plot(ax)
        return made

    def _draw(self, ax: Any) -> None:
        good = self.data[np.isfinite(self.data["estimate"])]
        ax.plot(good["truth"], good["estimate"], "o", ms=4, mew=0, alpha=0.6, color=PALETTE[0])
        log = bool((good[["truth", "estimate"]] > 0).all(axis=None)) and _spans_decades(good["truth"])
        if log:
            ax.set_xscale("log")
            ax.set_yscale("log")
        low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
        ax.plot([low, high], [low, high], "-", lw=0.7, color=GREY, zorder=0)
        ax.set_xlabel("sensitivity by retraining (units of the target)" + ", log scale" * log)
        ax.set_ylabel("estimated sensitivity" + ", log scale" * log)
        _names(ax, good[good["labelled"]], "truth", "estimate", "truth")


_GROUPS = 30  # more groups than this do not fit on a page


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
