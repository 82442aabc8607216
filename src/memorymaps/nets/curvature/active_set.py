"""Active set: exact rows for the examples with the largest output curvature, a diagonal for all others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.curvature.dual import _MAX_EIGH_ROWS, _MAX_ROW_NUMBERS
from memorymaps.nets.curvature.kronecker import _diag
from memorymaps.nets.curvature.structure import Held, _exact_rows, _with_rows
from memorymaps.nets.problem import LaplaceProblem

TRUSTED_SHARE = 0.8  # fraction of the curvature's trace in exact rows from which sizes are reliable


def _active_set(problem: LaplaceProblem) -> Held[BlockDiagonalCovariance]:
    """Exact rows of the examples with the largest `tr Λ`, diagonal curvature of all others [method: Woodbury]."""
    trace = torch.cat([_output_curvature_traces(problem, batch) for batch in problem.examples]).cpu()
    order = trace.argsort(descending=True)
    chosen = order[: _active_set_size(problem, trace[order])].sort().values
    outside = torch.ones(len(trace), dtype=torch.float64)
    outside[chosen] = 0
    parts = iter(torch.split(outside.to(problem.network.device), [len(batch) for batch in problem.examples]))
    base = _diag(problem, lambda batch: problem.weights(batch) * next(parts))
    pieces = torch.split(chosen, 64)
    rows = torch.cat([_exact_rows(problem, problem.examples.take(piece.numpy())) for piece in pieces])
    share = float(trace[chosen].sum() / trace.sum())
    note = f"exact curvature of {len(chosen):,} examples with {share:.0%} of its trace, diagonal for the rest"
    if len(chosen) < min(len(trace), problem.recipe.rows):
        note += f" ({problem.recipe.rows:,} were requested: no more fit in memory)"
    return Held(lambda deltas: _with_rows(base.build(deltas), rows), (note,), share)


def _active_set_size(problem: LaplaceProblem, trace: Tensor) -> int:
    """Number of exact examples: at least `rows`, more until their fraction of the trace suffices.

    More only up to the number of rows whose eigenvectors take half a minute.
    """
    share = trace.cumsum(0) / trace.sum()
    trusted = int((share < TRUSTED_SHARE + 0.05).sum()) + 1
    wanted = max(problem.recipe.rows, min(trusted, _MAX_EIGH_ROWS // problem.num_outputs))
    return min(len(trace), wanted, max(1, int(_MAX_ROW_NUMBERS / problem.num_outputs / problem.num_parameters)))


def _output_curvature_traces(problem: LaplaceProblem, batch: Batch) -> Tensor:
    """`w tr Λ [n]` of a batch."""
    y = problem.target(batch)

    def work(x: Any, rows_: slice) -> Tensor:
        f = problem.network.outputs(problem.network.to_device(x)).double()
        found: Tensor = problem.network.likelihood.fisher_diagonal(f, y[rows_]).sum(-1)
        return found

    with torch.no_grad():
        return torch.cat(list(problem.batch_size.run(batch.inputs, work))) * problem.weights(batch)
