"""Active set: exact rows for the examples with the largest output curvature, a diagonal for all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.curvature.dual import MAX_EIGH_ROWS, MAX_ROW_NUMBERS
from memorymaps.nets.curvature.kronecker import diagonal_curvature
from memorymaps.nets.curvature.structure import CurvatureEstimate, CurvatureStructure, exact_rows, with_exact_rows
from memorymaps.nets.laplace_problem import LaplaceProblem

TRUSTED_FRACTION = 0.8  # fraction of the curvature's trace in exact rows from which sizes are reliable

_EQUAL = 1e-9  # relative difference of curvatures that are the same
_ARBITRARY_CAUTION = (
    "structure='active_set': all examples have the same curvature, as in regression, so that which {:,} of {:,} are "
    "exact is arbitrary and sizes of the two kinds do not compare. Use 'full', 'dual' or 'sampled', or rows= all"
)


@dataclass(frozen=True)
class ActiveSet(CurvatureStructure):
    """Exact rows of the examples with the largest `tr Λ`, diagonal curvature of all others (`covariance/woodbury.py`).

    `rows`: number of exact examples; more where their fraction of the curvature's trace is too small.
    """

    rows: int = 400
    name = "active_set"
    shared = True

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[BlockDiagonalCovariance]:
        """The diagonal of most examples and the exact rows of some: two passes over the data."""
        traces = [_output_curvature_traces(problem, batch) for batch in problem.examples]
        trace = torch.cat(problem.ranks.gathered(traces)).cpu()
        order = trace.argsort(descending=True)
        chosen = order[: self._size(problem, trace[order])].sort().values
        outside = torch.ones(len(trace), dtype=torch.float64)
        outside[chosen] = 0
        own = outside[problem.examples.share].to(problem.network.device)
        parts = iter(torch.split(own, [len(batch) for batch in problem.examples]))
        base = diagonal_curvature(problem, lambda batch: problem.weights(batch) * next(parts))
        pieces = torch.split(chosen, 64)
        made = [exact_rows(problem, problem.examples.take(piece.numpy())) for piece in _own(problem, pieces)]
        rows = torch.cat(problem.ranks.gathered(made))
        fraction = float(trace[chosen].sum() / trace.sum())
        note = f"exact curvature of {len(chosen):,} examples with {fraction:.0%} of its trace, diagonal for the rest"
        if len(chosen) < min(len(trace), self.rows):
            note += f" ({self.rows:,} were requested: no more fit in memory)"
        arbitrary = len(chosen) < len(trace) and bool(trace.max() - trace.min() <= _EQUAL * trace.max())
        return CurvatureEstimate(
            lambda deltas: with_exact_rows(base.build(deltas), rows), (note,), 0.0 if arbitrary else fraction,
            cautions=(_ARBITRARY_CAUTION.format(len(chosen), len(trace)),) if arbitrary else (),
        )  # fmt: skip

    def _size(self, problem: LaplaceProblem, trace: Tensor) -> int:
        """Number of exact examples: at least `rows`, more until their fraction of the trace suffices.

        More only up to the number of rows whose eigenvectors take half a minute.
        """
        fraction = trace.cumsum(0) / trace.sum()
        sufficient = int((fraction < TRUSTED_FRACTION + 0.05).sum()) + 1
        wanted = max(self.rows, min(sufficient, MAX_EIGH_ROWS // problem.num_outputs))
        return min(len(trace), wanted, max(1, int(MAX_ROW_NUMBERS / problem.num_outputs / problem.num_parameters)))


def _own(problem: LaplaceProblem, pieces: Sequence[Tensor]) -> Sequence[Tensor]:
    """This process' part of the exact examples."""
    return pieces[problem.ranks.part(len(pieces))]


def _output_curvature_traces(problem: LaplaceProblem, batch: Batch) -> Tensor:
    """`w tr Λ [n]` of a batch."""
    y = problem.target(batch)

    def work(x: Any, rows_: slice) -> Tensor:
        f = problem.network.outputs(problem.network.to_device(x)).double()
        found: Tensor = problem.network.likelihood.fisher_diagonal(f, y[rows_]).sum(-1)
        return found

    with torch.no_grad():
        return torch.cat(list(problem.batch_size.run(batch.inputs, work))) * problem.weights(batch)
