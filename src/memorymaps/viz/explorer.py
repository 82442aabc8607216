"""The explorer: a map one can walk around in, as one file, in a notebook, or from a local server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorymaps.trajectories import Trajectory
from memorymaps.viz.packing import Packed, pack
from memorymaps.viz.rankings import MEASURES

if TYPE_CHECKING:
    from memorymaps.leave_out import LeaveOut
    from memorymaps.maps import MemoryMap


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

    def packed(self, shown: MemoryMap | Trajectory, *, lazy: bool = False) -> Packed:
        """The map, or the trajectory, as the page reads it."""
        m, options = unfold(shown, self)
        if len(m) == 0:
            raise ValueError("the map has no examples: nothing to explore")
        return pack(m, options, lazy=lazy)


def options_from(changes: Mapping[str, Any]) -> ExplorerOptions:
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


def unfold(shown: MemoryMap | Trajectory, options: ExplorerOptions) -> tuple[MemoryMap, ExplorerOptions]:
    """A trajectory is its last map, with the slider over all of its steps."""
    if not isinstance(shown, Trajectory):
        return shown, options
    if options.trajectory is not None:
        raise TypeError("exploring a Trajectory and given trajectory= as well: expected one of them")
    return shown.at(shown.steps[-1]), dataclasses.replace(options, trajectory=shown)


def explore(m: MemoryMap | Trajectory, path: str | Path | None = None, **options: Any) -> Any:
    """Walk around in a map: `path` writes one offline file, without it a notebook's widget is returned.

    Parameters
    ----------
    m : a map, or the `Trajectory` of a tracked run (its last map, with a slider over its steps).
    path : HTML file to write; opens by double-click, needs no network, can be sent as it is.
    options : the fields of `ExplorerOptions`.

    Returns
    -------
    The path, or the widget, whose `selection` holds ids and can be set (needs `memorymaps[notebook]`).

    Raises
    ------
    memorymaps.viz.payloads.PayloadError
        The payload has another length than the map, lacks ids, or cannot be shown.

    Examples
    --------
    >>> import tempfile
    >>> from memorymaps import memory_map
    >>> from memorymaps.datasets import demo_model
    >>> model, X, y = demo_model()
    >>> m = memory_map(model, X, y)
    >>> explore(m, tempfile.mkdtemp() + "/map.html", payload=X.reshape(-1, 8, 8)).name
    'map.html'
    """
    last, chosen = unfold(m, options_from(options))
    if path is None:
        from memorymaps.viz.widget import ExplorerWidget

        return ExplorerWidget(last, chosen)
    from memorymaps.viz.page import write_page

    return write_page(chosen.packed(last), path)
