"""`refine`: deviations of the most sensitive examples with the exact curvature."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.core.perturbation.estimators import Perturbation
from memorymaps.core.settings import as_count, check_positive_number
from memorymaps.core.wording import counted
from memorymaps.files.progress import ProgressBar
from memorymaps.maps.columns import columns_of, to_record_batch
from memorymaps.maps.memory_map import MemoryMap, require_map
from memorymaps.posteriors.capabilities import RemovalInfluence, capabilities_of
from memorymaps.posteriors.gate import undefined_warnings
from memorymaps.posteriors.origin import Origin

_OF_DEVIATION = ("sensitivity_se", "loo_loss_se")  # standard errors of an approximation that a new deviation has not
_CHUNK = 32  # examples solved together


def refine(
    m: MemoryMap, top: int = 50, *, by: str = "sensitivity", steps: int = 20, tolerance: float = 1e-2,
    progress: bool | None = None,
) -> MemoryMap:  # fmt: skip
    """A map whose `top` examples have deviations computed with the exact curvature; others are unchanged.

    `Δf_i = J_i (S − J_iᵀΛ_iJ_i)⁻¹ J_iᵀe_i` (the cavity form with the exact Gauss–Newton matrix), by conjugate
    gradients with the map's posterior as preconditioner; each step is one pass over the data. Sampled rows, of which
    more are drawn where there are fewer than four an effective parameter, take some five passes, EKFAC often more than
    `steps`. The column `refined` marks these rows; one that misses `tolerance` after `steps` has its last iterate, the
    warning `NOT_CONVERGED`, and infinite standard errors where the map states them. Leverage is unchanged. For chosen
    examples: `refine(m.select(ids), top=len(ids))`.

    Raises
    ------
    ValueError
        The map was read from disk, or `top`, `steps` or `tolerance` is not positive.
    TypeError
        The posterior is exact and cannot be refined, or an argument is of another kind.

    Examples
    --------
    >>> import torch, memorymaps as mm
    >>> x, y = torch.randn(40, 3), torch.arange(40) % 2
    >>> recipe = mm.Laplace("diag", prior=1.0)
    >>> m = mm.memory_map(torch.nn.Linear(3, 2), x, y, likelihood="categorical", posterior=recipe)
    >>> int(mm.refine(m, top=5)["refined"].sum())
    5
    """
    origin = require_origin(m)
    source = _require_removal(origin)
    origin.check_unchanged()
    steps = as_count("steps", steps)
    check_positive_number("tolerance", tolerance)
    chosen = top_positions(m, as_number_of_examples(top, by, "refine"), by)
    pieces = [chosen[start : start + _CHUNK] for start in range(0, len(chosen), _CHUNK)]
    hidden = None if progress is None else not progress
    shown = ProgressBar(pieces, desc="refining", unit=f"×{_CHUNK} ex", delay=1.0, disable=hidden)
    found = [_solve_deviations(source, origin, m["row"][rows], steps, tolerance) for rows in shown]
    deviation, residual = (np.concatenate(each) for each in zip(*found, strict=True))
    warning = np.where(residual > tolerance, int(Warn.NOT_CONVERGED), 0)
    note = f"{counted(len(chosen), 'example')} (largest {by}) refined with the exact curvature, column 'refined'"
    return replace_deviations(m, chosen, deviation, warning, "refined", note)


def as_number_of_examples(top: Any, by: str, function: str) -> int:
    """The argument `top` as a number; the error message says how examples are chosen by id."""
    return as_count(
        "top", top, instead=f": how many examples, those with the largest {by!r}. For chosen examples: "
        f"{function}(m.select(ids), top=len(ids))",
    )  # fmt: skip


def require_origin(m: MemoryMap) -> Origin:
    """The map's posterior and examples.

    Raises
    ------
    ValueError
        The map was read from disk.
    TypeError
        Not a map.
    """
    require_map(m)
    if m.origin is None:
        raise ValueError(
            "this needs the posterior, and a map read from disk has none: use the map returned by memory_map"
        )
    return m.origin


def _require_removal(origin: Origin) -> RemovalInfluence:
    found = capabilities_of(origin.posterior).removal
    if found is None:
        kind = type(origin.posterior).__name__
        raise TypeError(f"{kind} cannot be refined, as networks with approximate curvature can be: use refit(m, top=…)")
    return found


def top_positions(m: MemoryMap, top: int, by: str) -> Array:
    """Positions of the `top` examples with the largest `by`."""
    return np.flatnonzero(np.isin(m["id"], m.top(top, by=by)["id"]))


def _solve_deviations(
    source: RemovalInfluence, origin: Origin, rows: Array, steps: int, tolerance: float
) -> tuple[Array, Array]:
    """Deviations `[n, c]` and relative residuals `[n]`."""
    deltas, residual = source.parameter_change([np.asarray([row]) for row in rows], steps, tolerance)
    own = np.arange(len(rows))
    return source.output_change(origin.examples.take(rows).inputs, deltas)[own, :, own], residual


def replace_deviations(
    m: MemoryMap, rows: Array, deviation: Array, warning: Array, column: str, note: str
) -> MemoryMap:
    """The map with deviations `[k, c]` of some rows replaced, marked in the column `column` unless that is empty."""
    parts = [slice(start, start + _CHUNK) for start in range(0, len(rows), _CHUNK)]
    refitted = column == "refitted"
    records = [_record(m, rows[part], deviation[part], warning[part], refitted) for part in parts]
    table = _replace_rows(m.table, rows, pa.Table.from_batches(records), column)
    description = dataclasses.replace(m.provenance.description, notes=(*m.provenance.description.notes, note))
    return MemoryMap(table, dataclasses.replace(m.provenance, description=description), m.origin)


def _record(m: MemoryMap, rows: Array, deviation: Array, warning: Array, refitted: bool) -> pa.RecordBatch:
    origin, where = require_origin(m), m["row"][rows]
    batch = origin.examples.take(where)
    stats: Any = origin.batch_statistics(batch)
    without = averaged_over_refits(origin, stats, where) if refitted else stats
    change = without.likelihood.mean(stats.f + deviation) - stats.likelihood.mean(stats.f)
    effect = Perturbation(stats.leverage, stats.leverage_norm, deviation, change, warning)
    columns = {"id": batch.ids, "row": where} | columns_of(stats, effect, origin.posterior.description, without)
    columns["warning"] = columns["warning"] | undefined_warnings(effect, columns["loo_loss"])
    add = capabilities_of(origin.posterior).extra_columns
    own = {} if add is None else {name: values for name, values in add(batch, stats).items() if name != "warning"}
    known = np.where(warning & int(Warn.NOT_CONVERGED), np.inf, 0.0)
    exact = {name: known for name in _OF_DEVIATION if name in own}
    return to_record_batch(columns | own | exact)


def averaged_over_refits(origin: Origin, stats: Any, rows: Array) -> Any:
    """The statistics, with the likelihood averaged over the variances after the refits without each of the rows."""
    variance_of = capabilities_of(origin.posterior).refitted_variance
    if variance_of is None:
        return stats
    likelihood = origin.posterior.likelihood.averaged_over(variance_of(rows))
    return dataclasses.replace(stats, likelihood=likelihood.cached_at(stats.f))


def _replace_rows(table: pa.Table, rows: Array, replacement: pa.Table, column: str) -> pa.Table:
    order = np.arange(table.num_rows)
    order[rows] = table.num_rows + np.arange(len(rows))
    marks = [name for name in ("refined", "refitted") if name in table.column_names]
    rest = table.drop_columns(marks)
    joined = pa.concat_tables([rest, replacement.select(rest.column_names).cast(rest.schema)]).take(pa.array(order))
    for name in dict.fromkeys([*marks, *([column] if column else [])]):
        marked = np.array(table.column(name)) if name in marks else np.zeros(len(order), bool)
        marked[rows] = name == column
        joined = joined.append_column(name, pa.array(marked))
    return joined.combine_chunks()
