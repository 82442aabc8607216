"""The explorer: a map one can walk around in, as one file, in a notebook, or from a local server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorymaps.maps.trajectory import Trajectory

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap
from memorymaps.viz.explorer.options import options_from_keywords, resolve_trajectory


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
    memorymaps.viz.explorer.payloads.PayloadError
        The payload has another length than the map, lacks ids, or cannot be shown.

    Examples
    --------
    >>> import tempfile
    >>> from memorymaps import memory_map
    >>> from memorymaps.data.datasets import demo_model
    >>> model, X, y = demo_model()
    >>> m = memory_map(model, X, y)
    >>> explore(m, tempfile.mkdtemp() + "/map.html", payload=X.reshape(-1, 8, 8)).name
    'map.html'
    """
    last, chosen = resolve_trajectory(m, options_from_keywords(options))
    if path is None:
        from memorymaps.viz.explorer.widget import ExplorerWidget

        return ExplorerWidget(last, chosen)
    from memorymaps.viz.explorer.html_page import write_page

    return write_page(chosen.packed(last), path)
