"""Registers the result class of ArviZ ≥ 1.0, `xarray.DataTree`: `memory_map` raises and shows `from_arviz`."""

from xarray import DataTree

from memorymaps.models.draws.arviz import register_hint

register_hint(DataTree)
