"""Choice of the most accurate curvature structure for a problem's size."""

from __future__ import annotations

from memorymaps.nets.cost_model import MACS_PER_MINUTE
from memorymaps.nets.curvature.dual import (
    _MAX_EIGH_ROWS,
    _MAX_GRAM_ROWS,
    _MAX_ROW_NUMBERS,
    _gram_fits,
    _num_dense_row_parameters,
    _rows_fit,
    _rows_types,
)
from memorymaps.nets.problem import LaplaceProblem
from memorymaps.nets.sampled.cost import affordable
from memorymaps.nets.sampled.structure import Sampled

_MAX_FULL_PARAMETERS = 4_000  # parameters: a dense float64 precision of 128 MB


def select_structure(problem: LaplaceProblem) -> tuple[str, tuple[str, ...]]:
    """The requested structure (`"auto"`: the most accurate one for the problem's size), and the reason."""
    requested = problem.recipe.structure
    if isinstance(requested, Sampled):
        return "sampled", ()
    if requested != "auto":
        return requested, ()
    n, c, p, m = len(problem.examples), problem.num_outputs, problem.num_parameters, problem.recipe.rows
    size = f"{n:,} examples × {c} outputs, {p:,} parameters"
    if p <= _MAX_FULL_PARAMETERS and n * c * p**2 <= MACS_PER_MINUTE:
        return "full", (f"auto chose full: {size}",)
    if _rows_fit(problem) or (
        n * c <= _MAX_GRAM_ROWS and n * c * _num_dense_row_parameters(problem, _rows_types(problem)) <= _MAX_ROW_NUMBERS
    ):
        return "dual", (f"auto chose dual: {size}",)
    within_reach = _gram_fits(n * c, 0) and _gram_fits(n * c, _num_dense_row_parameters(problem, _rows_types(problem)))
    exact = " 'dual' would be exact and take minutes." if within_reach else ""
    if affordable(problem, _rows_types(problem)):
        return "sampled", (f"auto chose sampled: {size}.{exact}",)
    if m * c <= _MAX_EIGH_ROWS and m * c * p <= _MAX_ROW_NUMBERS and m * c * p * (m + n) * c <= MACS_PER_MINUTE:
        return "active_set", (f"auto chose active_set: {size}",)
    return "ekfac", (f"auto chose ekfac: {size}.{exact}",)
