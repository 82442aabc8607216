"""The most sensitive examples again, on the exact curvature: an approximate posterior becomes a preconditioner."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm.auto import tqdm

from memorymaps._types import Array
from memorymaps.columns import columns_of, record_of
from memorymaps.maps import MemoryMap
from memorymaps.perturbation import Perturbation, Warn, form_named
from memorymaps.posteriors import Origin, Removable

_TOGETHER = 32  # examples solved for in one set of passes


def refine(
    m: MemoryMap, top: int = 50, *, by: str = "sensitivity", steps: int = 20, tolerance: float = 1e-2,
    progress: bool | None = None,
) -> MemoryMap:  # fmt: skip
    """A map whose `top` examples have deviations from the exact curvature, all others as they were.

    `Δf_i = J_i (S − J_iᵀΛ_iJ_i)⁻¹ J_iᵀe_i` (the cavity form on the exact Gauss–Newton matrix), by conjugate gradients
    with the map's posterior as preconditioner; each step is one pass over the data. The column `refined` tells which
    rows were solved; one that misses `tolerance` after `steps` keeps its solution and the light `NOT_CONVERGED`.
    Leverage stays the posterior's.

    Raises
    ------
    ValueError
        The map was read from disk, or `top` or `steps` is not positive.
    TypeError
        The posterior is exact already: there is nothing to refine.

    Examples
    --------
    >>> import torch, memorymaps as mm
    >>> x, y = torch.randn(40, 3), torch.arange(40) % 2
    >>> recipe = mm.Laplace("diag", prior=1.0)
    >>> m = mm.memory_map(torch.nn.Linear(3, 2), x, y, likelihood="categorical", posterior=recipe)
    >>> int(mm.refine(m, top=5)["refined"].sum())
    5
    """
    origin = _origin(m)
    if top < 1 or steps < 1:
        raise ValueError(f"top = {top}, steps = {steps}: expected positive numbers")
    ids = m.top(top, by=by)["id"]
    chosen = np.flatnonzero(np.isin(m["id"], ids))
    pieces = [chosen[start : start + _TOGETHER] for start in range(0, len(chosen), _TOGETHER)]
    hidden = None if progress is None else not progress
    shown = tqdm(pieces, desc="refining", unit=f"×{_TOGETHER} ex", delay=1.0, disable=hidden)
    records = [_refined(m, origin, rows, steps, tolerance) for rows in shown]
    table = _replaced(m.table, chosen, pa.Table.from_batches(records))
    note = f"{len(chosen):,} examples (largest {by}) refined on the exact curvature, column 'refined'"
    description = dataclasses.replace(m.provenance.description, notes=(*m.provenance.description.notes, note))
    return MemoryMap(table, dataclasses.replace(m.provenance, description=description), m.origin)


def _origin(m: MemoryMap) -> Origin:
    if m.origin is None:
        raise ValueError("refining needs the posterior, and a map read from disk has none: use the map memory_map made")
    if not isinstance(m.origin.posterior, Removable):
        kind = type(m.origin.posterior).__name__
        raise TypeError(f"{kind} needs no refining: refine() is for networks with approximate curvature")
    return m.origin


def _refined(m: MemoryMap, origin: Origin, rows: Array, steps: int, tolerance: float) -> pa.RecordBatch:
    source: Any = origin.posterior
    where = m["row"][rows]
    moves, residual = source.removal([np.asarray([row]) for row in where], steps, tolerance)
    batch = origin.examples.take(where)
    at = origin.local(batch)
    own = np.arange(len(where))
    deviation = source.answer(batch.inputs, moves)[own, :, own]
    warning = np.where(residual > tolerance, int(Warn.NOT_CONVERGED), 0)
    change = form_named("R-sm").change(at, deviation)
    effect = Perturbation(at.leverage, at.leverage_norm, deviation, change, warning)
    return record_of({"id": batch.ids, "row": where} | columns_of(at, effect, source.description))


def _replaced(table: pa.Table, rows: Array, refined: pa.Table) -> pa.Table:
    """The table with some rows exchanged, and a column that tells which."""
    order = np.arange(table.num_rows)
    order[rows] = table.num_rows + np.arange(len(rows))
    kept = table.drop_columns(["refined"]) if "refined" in table.column_names else table
    was = np.asarray(table.column("refined")) if "refined" in table.column_names else np.zeros(len(order), bool)
    joined = pa.concat_tables([kept, refined.select(kept.column_names).cast(kept.schema)]).take(pa.array(order))
    was[rows] = True
    return joined.combine_chunks().append_column("refined", pa.array(was))
