"""The explorer in a notebook (Jupyter, VS Code, Colab, marimo), by anywidget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from memorymaps._imports import require
from memorymaps.viz.explorer.html_page import static_asset
from memorymaps.viz.explorer.options import ExplorerOptions

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_anywidget, _traitlets = require("anywidget"), require("traitlets")


class ExplorerWidget(_anywidget.AnyWidget):  # type: ignore[misc, name-defined]
    """A live explorer; `selection` holds the ids selected in the page and can be set from Python.

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

    def __init__(self, m: MemoryMap, options: ExplorerOptions | None = None) -> None:
        options = options or ExplorerOptions()
        self._map = m
        self._packed = options.packed(m, lazy=True)
        self._ids = m["id"].tolist()
        self._id_index = pd.Index(self._ids)
        super().__init__(
            _meta=self._packed.meta_json(), _table=self._packed.compressed(), height=options.height, _rows=[]
        )
        self.on_msg(self._send_part)

    @property
    def selected(self) -> MemoryMap:
        """The selected examples as a map."""
        return self._map.select(self.selection) if self.selection else self._map.filter(np.zeros(len(self._map), bool))

    def _send_part(self, _: Any, message: Any, __: Any) -> None:
        """Send the part that the page asks for; ask for nothing else, get nothing else."""
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


def _known_ids(place: pd.Index, ids: Iterable[Any]) -> list[Any]:
    wanted = list(dict.fromkeys(ids))
    missing = [value for value, row in zip(wanted, place.get_indexer(wanted), strict=True) if row < 0]
    if missing:
        raise KeyError(f"{len(missing)} id(s) are not in this map: {missing[:5]}")
    return wanted
