"""All rows of the weighted Jacobian exactly, solved in the space of rows (the dual or Gram form)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from memorymaps.core.arrays import Batch
from memorymaps.files.progress_plan import Step
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.pytree import take_rows
from memorymaps.nets.covariance.block_diagonal import MAX_FACTORED_PARAMETERS, group_gradient
from memorymaps.nets.covariance.gram import DenseRows, GramCovariance, RowsType, group_rows, rows_type
from memorymaps.nets.curvature.structure import (
    CurvatureEstimate,
    CurvatureStructure,
    curvature_pass,
    exact_rows,
    prior_covariance,
    root_directions,
    with_exact_rows,
)
from memorymaps.nets.distributed.shares import require_first
from memorymaps.nets.laplace_problem import LaplaceProblem

MAX_EIGH_ROWS = 4_000  # rows (examples × outputs) whose eigenvectors take half a minute


MAX_GRAM_ROWS = 8_000  # largest Gram matrix that `"auto"` chooses: 0.5 GB


MAX_ROW_NUMBERS = 2.5e8  # numbers in exact rows: 2 GB in double precision


@dataclass(frozen=True)
class Dual(CurvatureStructure):
    """The posterior of `Full` from the Gram matrix of all rows; for few examples and any number of parameters."""

    name = "dual"
    shared = True

    def steps(self, problem: LaplaceProblem) -> tuple[Step, ...]:
        """One pass."""
        return (curvature_pass(problem),)

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[Any]:
        """All exact rows, materialised where they are few, layer by layer otherwise."""
        if not rows_fit(problem):
            return _gram(problem)
        rows = torch.cat(problem.ranks.gathered([exact_rows(problem, batch) for batch in problem.examples]))
        return CurvatureEstimate(lambda deltas: with_exact_rows(prior_covariance(problem, deltas), rows), (), 1.0)


def rows_fit(problem: LaplaceProblem) -> bool:
    """Whether all exact rows can be materialised and diagonalised, as covariance roots require."""
    r = len(problem.examples) * problem.num_outputs
    return (
        problem.num_parameters <= MAX_FACTORED_PARAMETERS
        and r <= MAX_EIGH_ROWS
        and r * problem.num_parameters <= MAX_ROW_NUMBERS
    )


def _gram(problem: LaplaceProblem) -> CurvatureEstimate[GramCovariance]:
    """Gram form with all rows, in factored form where the layer allows it."""
    r, kinds = len(problem.examples) * problem.num_outputs, rows_types(problem)
    dense_parameters = num_dense_row_parameters(problem, kinds)
    if not gram_fits(r, dense_parameters):
        raise ValueError(
            f"structure='dual' needs a matrix of {r:,} × {r:,} (examples × outputs) and rows of "
            f"{dense_parameters:,} parameters of layers used more than once: more than 2 GB. "
            "Use 'auto', 'active_set' or 'ekfac'"
        )
    each = problem.ranks.gathered([_gram_rows(problem, batch, kinds) for batch in problem.examples])
    rows = tuple(kind.concatenate(pieces) for kind, pieces in zip(kinds, zip(*each, strict=True), strict=True))
    return CurvatureEstimate(lambda deltas: GramCovariance.from_rows(prior_covariance(problem, deltas), rows), (), 1.0)


def gram_fits(r: int, dense_parameters: int) -> bool:
    """Whether an `r × r` matrix and the materialised rows fit in memory."""
    return max(r, dense_parameters) * r <= MAX_ROW_NUMBERS


def rows_types(problem: LaplaceProblem) -> list[RowsType]:
    """Type of each group's rows, determined on one example."""
    first = take_rows(require_first(problem.examples).inputs, slice(0, 1))
    batch = linearize(problem.network, problem.owners, first, slice(0, 1), lambda f, _: torch.ones_like(f)[None])
    return [rows_type(group_gradient(batch, group), group.pack(problem.prior)) for group in problem.block_groups]


def num_dense_row_parameters(problem: LaplaceProblem, kinds: list[RowsType]) -> int:
    """Number of parameters whose rows are materialised."""
    return sum(group.size for kind, group in zip(kinds, problem.block_groups, strict=True) if kind is DenseRows)


def _gram_rows(problem: LaplaceProblem, batch: Batch, kinds: list[RowsType]) -> list[Any]:
    directions = root_directions(problem, batch, problem.weights(batch))

    def work(x: Any, part: slice) -> list[Any]:
        return group_rows(linearize(problem.network, problem.owners, x, part, directions), problem.block_groups, kinds)

    parts = zip(*problem.batch_size.run(batch.inputs, work), strict=True)
    return [kind.concatenate(pieces) for kind, pieces in zip(kinds, parts, strict=True)]
