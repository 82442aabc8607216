"""Registers the result type of ArviZ from 1.0 on, xarray's tree: it is met by the line to type."""

from xarray import DataTree

from memorymaps.models.draws.arviz import register_hint

register_hint(DataTree)
