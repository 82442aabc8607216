"""The most faithful structure that a problem's size allows."""

from __future__ import annotations

from memorymaps.nets.cost_model import MINUTE
from memorymaps.nets.curvature.dual import _DUAL, _GRAM, _ROWS, _gram_fits, _kinds, _rows_fit, _written
from memorymaps.nets.problem import Setting
from memorymaps.nets.sampled.cost import affordable
from memorymaps.nets.sampled.structure import Sampled

_FULL = 4_000  # parameters: a dense float64 precision of 128 MB


def chosen(setting: Setting) -> tuple[str, tuple[str, ...]]:
    """The structure asked for, or the most faithful one that the problem's size allows, and why."""
    asked = setting.recipe.structure
    if isinstance(asked, Sampled):
        return "sampled", ()
    if asked != "auto":
        return asked, ()
    n, c, p, m = len(setting.examples), setting.outputs, setting.count, setting.recipe.rows
    size = f"{n:,} examples × {c} outputs, {p:,} parameters"
    if p <= _FULL and n * c * p**2 <= MINUTE:
        return "full", (f"auto chose full: {size}",)
    if _rows_fit(setting) or (n * c <= _GRAM and n * c * _written(setting, _kinds(setting)) <= _ROWS):
        return "dual", (f"auto chose dual: {size}",)
    within_reach = _gram_fits(n * c, 0) and _gram_fits(n * c, _written(setting, _kinds(setting)))
    exact = " 'dual' would be exact and take minutes." if within_reach else ""
    if affordable(setting, _kinds(setting)):
        return "sampled", (f"auto chose sampled: {size}.{exact}",)
    if m * c <= _DUAL and m * c * p <= _ROWS and m * c * p * (m + n) * c <= MINUTE:
        return "active_set", (f"auto chose active_set: {size}",)
    return "ekfac", (f"auto chose ekfac: {size}.{exact}",)
