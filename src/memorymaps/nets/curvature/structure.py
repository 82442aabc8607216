"""Common parts of the curvature structures: the curvature before a prior is added, and the pass over the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance, PosteriorCovariance, group_gradient
from memorymaps.nets.covariance.block_precision import EigenbasisPrecision
from memorymaps.nets.covariance.woodbury import Woodbury
from memorymaps.nets.curvature.accumulators import CurvatureAccumulator
from memorymaps.nets.output_fisher import FISHER_ROOTS
from memorymaps.nets.problem import LaplaceProblem

Deltas = dict[str, Tensor]  # prior precisions by parameter


S = TypeVar("S", bound=PosteriorCovariance)


@dataclass(frozen=True)
class Held(Generic[S]):
    """Curvature of one structure before a prior is added: `build(δ)` is the posterior covariance.

    `share` is the fraction of the curvature's trace that is exact. `bounded` is whether the curvature contains each
    example's own `J_iᵀΛ_iJ_i` and no negative part, so that the eigenvalues of `ΛV` are below 1.
    """

    build: Callable[[Deltas], S]
    notes: tuple[str, ...] = ()
    share: float = 0.0
    bounded: bool = True


def _streamed(
    groups: tuple[ParameterGroup, ...], made: list[CurvatureAccumulator], share: float = 0.0
) -> Held[BlockDiagonalCovariance]:
    def build(deltas: Deltas) -> BlockDiagonalCovariance:
        parts = (c.precision(group.pack(deltas)) for c, group in zip(made, groups, strict=True))
        return BlockDiagonalCovariance(groups, tuple(parts))

    return Held(build, (), share)


def _directions(problem: LaplaceProblem, batch: Batch, weight: Tensor) -> Callable[[Tensor, slice], Tensor]:
    """Root directions `[k, n, c]` of `wΛ` for some rows of a batch."""
    root, y = FISHER_ROOTS[problem.recipe.fisher], problem.target(batch)

    def directions(f: Tensor, rows: slice) -> Tensor:
        return root(problem.network.likelihood, f, y[rows]) * weight[rows, None].sqrt()

    return directions


Weight = Callable[[Batch], Tensor]


def _stream(
    problem: LaplaceProblem,
    groups: tuple[ParameterGroup, ...],
    made: list[CurvatureAccumulator],
    weight: Weight | None = None,
) -> None:
    """One pass over the data: accumulate every group's curvature along the root directions of `wΛ`."""
    for batch in problem.examples:
        directions = _directions(problem, batch, (weight or problem.weights)(batch))

        def work(x: Any, part: slice, directions: Any = directions) -> list[Any]:
            seen = linearize(problem.network, problem.owners, x, part, directions)
            k = len(seen.g[0])
            return [c.contribution(group_gradient(seen, g), len(seen.f), k) for c, g in zip(made, groups, strict=True)]

        for measured in problem.batch_size.run(batch.inputs, work):
            for curvature, increment in zip(made, measured, strict=True):
                curvature.accumulate(increment)


def _prior_only(problem: LaplaceProblem, deltas: Deltas) -> BlockDiagonalCovariance:
    return BlockDiagonalCovariance(
        problem.block_groups, tuple(EigenbasisPrecision(group.pack(deltas)) for group in problem.block_groups)
    )


def _with_rows(base: BlockDiagonalCovariance, rows: Tensor) -> BlockDiagonalCovariance:
    return BlockDiagonalCovariance(base.groups, base.precisions, Woodbury.from_rows(base.block_inv_sqrt_rmatvec(rows)))


def _exact_rows(problem: LaplaceProblem, batch: Batch) -> Tensor:
    """Rows `√w L_iᵀ J_i [n·k, P]`."""
    directions = _directions(problem, batch, problem.weights(batch))

    def work(x: Any, part: slice) -> Tensor:
        seen = linearize(problem.network, problem.owners, x, part, directions)
        pieces = [group_gradient(seen, group).materialize(slice(None)) for group in problem.block_groups]
        return torch.cat(pieces, dim=-1).flatten(0, 1).detach()

    return torch.cat(list(problem.batch_size.run(batch.inputs, work)))
