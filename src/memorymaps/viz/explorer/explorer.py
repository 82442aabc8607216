"""The interactive explorer of a map: one offline HTML file, or a notebook's widget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.trajectory import Trajectory
from memorymaps.viz.explorer.html_page import write_page
from memorymaps.viz.explorer.options import options_from_keywords
from memorymaps.viz.explorer.packing import pack


def explore(m: MemoryMap | Trajectory, path: str | Path | None = None, **options: Any) -> Any:
    """Explore a map interactively: with `path` one offline HTML file is written, without it a widget is returned.

    Parameters
    ----------
    m : a map, or the `Trajectory` of a tracked run (its last map, with a slider over its steps).
    path : HTML file to write; it opens in a browser and needs no network.
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
    chosen = options_from_keywords(options)
    if path is not None:
        return write_page(pack(m, chosen), path)
    from memorymaps.viz.explorer.widget import ExplorerWidget  # needs anywidget

    return ExplorerWidget(m, chosen)
