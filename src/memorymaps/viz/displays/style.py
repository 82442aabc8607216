"""Style of all figures: sizes for print, a colour-blind safe palette; global Matplotlib settings are not changed."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Okabe & Ito (2008), dark enough on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F", "#8C510A", "#542788")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
GREY = "#8A8A8A"
_RC_PARAMS: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.dpi": 120,
    "pdf.fonttype": 42,
}


def style_context() -> contextlib.AbstractContextManager[Any]:
    """Context manager with the figures' settings, `matplotlib.rc_context`."""
    return mpl.rc_context(_RC_PARAMS)


@contextlib.contextmanager
def axes_or_new(ax: Any, size: tuple[float, float]) -> Iterator[Any]:
    """The given axes, or, for None, those of a new pyplot figure of `size` inches; closed again if drawing fails."""
    axes: Any = ax if ax is not None else plt.subplots(figsize=size, layout="constrained")[1]
    try:
        yield axes
    except BaseException:
        if ax is None:
            plt.close(axes.figure)
        raise


def offscreen_axes(size: tuple[float, float]) -> Any:
    """Axes of a figure that is not registered with pyplot, for writing to a file."""
    return Figure(figsize=size, layout="constrained").add_subplot()


def escape_label(value: Any, limit: int = 28) -> str:
    """A label that Matplotlib draws literally: `$` escaped, control characters replaced, at most `limit` characters.

    Examples
    --------
    >>> escape_label("$x$")
    '\\\\$x\\\\$'
    """
    text = "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in str(value)[:200])
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return text.replace("$", r"\$")
