"""Figure of the coefficients that each group moves: DFBETAS of groups as a table of colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from memorymaps.maps.group_removal import LeaveOut
from memorymaps.viz.displays.base import Display
from memorymaps.viz.displays.style import escape_label

_MAX_GROUPS, _MAX_COEFFICIENTS = 30, 12  # drawn at most
_MAX_NUMBERS = 180  # cells up to which values are written into them
_LARGE = 2.0  # standard errors at which the colours end unless values are larger
_DARK = 0.6  # of the largest value, from which text is white


@dataclass
class GroupInfluenceDisplay(Display):
    """One row per group, one column per coefficient: by how many standard errors the coefficient changes without it."""

    @classmethod
    def from_leave_out(cls, result: LeaveOut, *, ax: Any = None) -> GroupInfluenceDisplay:
        """Draw the groups of the largest Cook's distance (at most 30) and the coefficients they move most (at most 12).

        The value is `θ̂_(M) − θ̂` in standard errors, minus the DFBETAS: positive where the coefficient is larger without
        the group.

        Raises
        ------
        TypeError
            The coefficients without the groups are not known; `GroupDisplay` draws losses.
        """
        display = cls._of(result)
        display.plot(ax)
        return display

    @classmethod
    def size_of(cls, result: LeaveOut) -> tuple[float, float]:
        """Inches of a figure with the groups and coefficients that are drawn."""
        return cls._of(result).inches()

    @classmethod
    def _of(cls, result: LeaveOut) -> GroupInfluenceDisplay:
        change = -result.dfbetas()
        order = np.argsort(-np.nan_to_num(result["cooks_distance"]), kind="stable")[:_MAX_GROUPS]
        largest = np.nanmax(np.abs(change.to_numpy()), axis=0, initial=0.0)
        columns = np.sort(np.argsort(-largest, kind="stable")[:_MAX_COEFFICIENTS])
        data = change.iloc[order, columns].reset_index()
        data.insert(1, "size", result["size"][order])
        data.insert(2, "cooks_distance", result["cooks_distance"][order])
        parts = (_part(len(order), len(change), "groups"), _part(len(columns), change.shape[1], "coefficients"))
        return cls(data, f"{', '.join(parts)}, most influential first", caption=result.coefficients_held)

    def _values(self) -> pd.DataFrame:
        return self.data.drop(columns=["group", "size", "cooks_distance"])

    def _size(self) -> tuple[float, float]:
        values, longest = self._values(), max(map(len, self._labels()), default=0)
        names = max((len(escape_label(name)) for name in values), default=0)
        return 2.2 + 0.065 * longest + 0.55 * values.shape[1], max(2.6, 1.5 + 0.05 * names + 0.26 * len(values))

    def _labels(self) -> list[str]:
        rows = zip(self.data["group"], self.data["size"], self.data["cooks_distance"], strict=True)
        return [f"{escape_label(group)} ({size:,}), D = {distance:.2g}" for group, size, distance in rows]

    def _draw(self, ax: Any) -> None:
        values = self._values().to_numpy(dtype=float)
        limit = max(_LARGE, float(np.nanmax(np.abs(values), initial=0.0)))
        image = ax.imshow(values, cmap=_colours(), vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        if values.size <= _MAX_NUMBERS:
            _write_numbers(ax, values, limit)
        names = [escape_label(name) for name in self._values()]
        slanted = max(map(len, names), default=0) > 5
        ax.set_xticks(range(len(names)), names, rotation=45 if slanted else 0, ha="right" if slanted else "center",
                      rotation_mode="anchor")  # fmt: skip
        ax.set_yticks(range(len(values)), self._labels())
        ax.tick_params(length=0)
        ax.set_xlabel("coefficient")
        ax.set_ylabel("group left out (examples),\nCook's distance")
        ax.spines[:].set_visible(False)
        bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, aspect=25, pad=0.02)
        bar.set_label("change without the group\n(standard errors)")
        bar.outline.set_visible(False)


def _colours() -> Any:
    """Blue to red through white (safe for colour-blind readers), grey for values that do not exist."""
    return mpl.colormaps["RdBu_r"].with_extremes(bad="#D9D9D9")


def _write_numbers(ax: Any, values: Any, limit: float) -> None:
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        if np.isfinite(value):
            colour = "white" if abs(value) > _DARK * limit else "black"
            ax.text(
                column,
                row,
                f"{value:.2f}".replace("-", "\N{MINUS SIGN}"),
                ha="center",
                va="center",
                fontsize=7,
                color=colour,
            )


def _part(shown: int, total: int, what: str) -> str:
    return f"{total} {what}" if shown == total else f"{shown} of {total} {what}"
