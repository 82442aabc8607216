"""Options of the explorer, the same for all its deliveries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memorymaps.maps.trajectory import Trajectory
from memorymaps.viz.explorer.packing import PackedMap, pack
from memorymaps.viz.explorer.rank_agreement import MEASURES

if TYPE_CHECKING:
    from memorymaps.maps.group_removal import LeaveOut
    from memorymaps.maps.memory_map import MemoryMap


@dataclass(frozen=True)
class ExplorerOptions:
    """What an explorer shows, the same for all its deliveries.

    Attributes
    ----------
    payload : what examples look like: pictures, texts, rows, a mapping from ids, or the training data set.
    columns : further columns (a data frame or a mapping from names to values) to filter, sort and colour by.
    compare : a second map of the same examples, or `{name: map}`; linked by id.
    trajectory : maps at recorded steps, `{step: map}`, oldest first, or the `Trajectory` of a tracked run.
    leave_out : what removing whole groups would do, `m.leave_out(…)`; or the column whose groups to remove, such as
        `"target"`: leave one class out (asks the live posterior, so not for maps read from disk).
    title : heading of the page.
    color : column to colour by at first (default: the sensitivity).
    measures : columns of numbers whose rankings are compared, largest first; those given as `columns` too, such as
        another influence measure.
    max_mb : size of the single file in 10⁶ bytes; thumbnails lose quality, then the least sensitive are left out.
    max_steps : recorded steps that the slider holds at most; of longer runs evenly spaced ones are taken.
    height : height of the notebook's widget in pixels.
    """

    payload: Any = None
    columns: Any = None
    compare: MemoryMap | Mapping[str, MemoryMap] | None = None
    trajectory: Trajectory | Mapping[str, MemoryMap] | None = None
    leave_out: LeaveOut | str | None = None
    title: str | None = None
    color: str | None = None
    measures: Sequence[str] = MEASURES
    max_mb: float = 8.5
    max_steps: int = 60
    height: int = 680

    def packed(self, shown: MemoryMap | Trajectory, *, lazy: bool = False) -> PackedMap:
        """The map, or the trajectory, as the page reads it."""
        m, options = resolve_trajectory(shown, self)
        if len(m) == 0:
            raise ValueError("the map has no examples: nothing to explore")
        return pack(m, options, lazy=lazy)


def options_from_keywords(changes: Mapping[str, Any]) -> ExplorerOptions:
    """Options from keyword arguments.

    Raises
    ------
    TypeError
        No such option; the message lists them.
    """
    known = [field.name for field in dataclasses.fields(ExplorerOptions)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise TypeError(f"the explorer has no option {unknown[0]!r}: expected some of {', '.join(known)}")
    return ExplorerOptions(**changes)


def resolve_trajectory(shown: MemoryMap | Trajectory, options: ExplorerOptions) -> tuple[MemoryMap, ExplorerOptions]:
    """A trajectory is its last map, with the slider over all of its steps."""
    if not isinstance(shown, Trajectory):
        return shown, options
    if options.trajectory is not None:
        raise TypeError("exploring a Trajectory and given trajectory= as well: expected one of them")
    return shown.at(shown.steps[-1]), dataclasses.replace(options, trajectory=shown)
