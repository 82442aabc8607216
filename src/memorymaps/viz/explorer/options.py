"""Options of the explorer, the same for a file, a notebook's widget and a server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memorymaps.maps.group_removal import LeaveOut
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.trajectory import Trajectory

MEASURES = ("sensitivity", "leverage", "error", "loo_loss")


@dataclass(frozen=True)
class ExplorerOptions:
    """Options of the explorer, the same for a file, a notebook's widget and a server.

    Attributes
    ----------
    payload : what to display for an example: pictures, texts, rows, a mapping from ids, or the training data set.
    columns : further columns (a data frame or a mapping from names to values) to filter, sort and colour by; measures
        that were added by `measures.register` are columns without being given here.
    compare : a second map of the same examples, or `{name: map}`; linked by id.
    trajectory : maps at recorded steps, `{step: map}`, oldest first, or the `Trajectory` of a tracked run.
    leave_out : effects of removing whole groups, `m.leave_out(…)`; or the column whose groups are removed, such as
        `"target"`: each class is left out (computed from the posterior, so not for maps read from disk).
    title : heading of the page.
    color : column to colour by at first (default: the sensitivity).
    measures : numeric columns whose rankings are compared, largest first; registered measures and columns given in
        `columns` are allowed, for instance another influence measure.
    max_mb : size of the single file in 10⁶ bytes; thumbnails lose quality, then the least sensitive are left out.
    max_steps : maximum number of recorded steps on the slider; of longer runs evenly spaced ones are taken.
    height : height of the notebook's widget in pixels.
    progress : a progress bar while the page is packed; None displays one on a terminal if it takes over a second.
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
    progress: bool | None = None

    @property
    def no_bar(self) -> bool | None:
        """`progress` as tqdm's `disable`."""
        return None if self.progress is None else not self.progress


def options_from_keywords(keywords: Mapping[str, Any]) -> ExplorerOptions:
    """Options from keyword arguments.

    Raises
    ------
    TypeError
        No such option; the message lists them.
    """
    known = [field.name for field in dataclasses.fields(ExplorerOptions)]
    unknown = [name for name in keywords if name not in known]
    if unknown:
        raise TypeError(f"the explorer has no option {unknown[0]!r}: expected some of {', '.join(known)}")
    return ExplorerOptions(**keywords)


def resolve_trajectory(m: MemoryMap | Trajectory, options: ExplorerOptions) -> tuple[MemoryMap, ExplorerOptions]:
    """The map to display and its options; a trajectory is its last map, with the slider over all of its steps."""
    if not isinstance(m, Trajectory):
        return m, options
    if options.trajectory is not None:
        raise TypeError("a Trajectory to explore and trajectory= as well: expected one of them")
    return m.at(m.steps[-1]), dataclasses.replace(options, trajectory=m)
