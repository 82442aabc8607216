"""The explorer as a notebook widget (Jupyter, VS Code, Colab, marimo), built with anywidget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from memorymaps._imports import require
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.trajectory import Trajectory
from memorymaps.viz.explorer.html_page import static_asset
from memorymaps.viz.explorer.options import ExplorerOptions, resolve_trajectory
from memorymaps.viz.explorer.packing import pack_lazily

_anywidget, _traitlets = require("anywidget"), require("traitlets")


class ExplorerWidget(_anywidget.AnyWidget):  # type: ignore[misc, name-defined]
    """Interactive explorer in a notebook; `selection` lists the ids selected on the page and can be set from Python.

    Examples
    --------
    >>> from memorymaps import memory_map
    >>> from memorymaps.data.datasets import demo_model
    >>> widget = ExplorerWidget(memory_map(*demo_model()))
    >>> widget.selection = [3, 1]
    >>> widget.selected.table.num_rows
    2
    """

    _esm = static_asset("widget.js")
    _css = static_asset("explorer.css")
    _meta = _traitlets.Unicode().tag(sync=True)
    _table = _traitlets.Bytes().tag(sync=True)
    _rows = _traitlets.List(_traitlets.Int()).tag(sync=True)
    height = _traitlets.Int().tag(sync=True)
    selection = _traitlets.List()

    def __init__(self, m: MemoryMap | Trajectory, options: ExplorerOptions | None = None) -> None:
        self._map, options = resolve_trajectory(m, options or ExplorerOptions())
        self._packed = pack_lazily(self._map, options)
        self._ids = self._map["id"].tolist()
        self._id_index = pd.Index(self._ids)
        super().__init__(
            _meta=self._packed.meta_json(), _table=self._packed.compressed(), height=options.height, _rows=[]
        )
        self.on_msg(self._send_part)

    @property
    def selected(self) -> MemoryMap:
        """The selected examples, as a map."""
        return self._map.select(self.selection) if self.selection else self._map.filter(np.zeros(len(self._map), bool))

    def _send_part(self, _: Any, message: Any, __: Any) -> None:
        """Send the sprite sheet or the texts that the page requests; other messages are ignored."""
        kind, _slash, number = str(message.get("want", "")).partition("/")
        if not number.isdigit() or kind not in ("sheet", "texts"):
            return
        read = self._packed.sheet if kind == "sheet" else self._packed.text_chunk
        self.send({"part": message["want"]}, buffers=[read(int(number))])

    @_traitlets.observe("_rows")  # type: ignore[untyped-decorator]
    def _selection_from_page(self, change: Any) -> None:
        ids = [self._ids[row] for row in change["new"] if 0 <= row < len(self._ids)]
        if set(ids) != set(self.selection):
            self.selection = ids

    @_traitlets.validate("selection")  # type: ignore[untyped-decorator]
    def _validate_selection(self, proposal: Any) -> list[Any]:
        return _known_ids(self._id_index, proposal["value"])

    @_traitlets.observe("selection")  # type: ignore[untyped-decorator]
    def _selection_to_page(self, change: Any) -> None:
        rows = sorted(int(row) for row in self._id_index.get_indexer(list(change["new"])))
        if rows != self._rows:
            self._rows = rows


def _known_ids(index: pd.Index, ids: Iterable[Any]) -> list[Any]:
    wanted = list(dict.fromkeys(ids))
    missing = [value for value, row in zip(wanted, index.get_indexer(wanted), strict=True) if row < 0]
    if missing:
        raise KeyError(f"{len(missing)} id(s) are not in this map: {missing[:5]}")
    return wanted
