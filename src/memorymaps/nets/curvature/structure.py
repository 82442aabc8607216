"""The contract of a curvature structure, and what the structures share: the pass over the data, exact rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.files.progress_plan import Step
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock, ParameterGroup
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance, PosteriorCovariance, group_gradient
from memorymaps.nets.covariance.block_precision import EigenbasisPrecision
from memorymaps.nets.covariance.woodbury import Woodbury
from memorymaps.nets.curvature.accumulators import CurvatureAccumulator, combine
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.output_fisher import FEW_DIRECTIONS, FISHER_ROOTS
from memorymaps.posteriors.contract import Description

Deltas = dict[str, Tensor]  # prior precisions by parameter


S = TypeVar("S", bound=PosteriorCovariance)


@dataclass(frozen=True)
class CurvatureEstimate(Generic[S]):
    """Curvature of one structure before a prior is added: `build(δ)` is the posterior covariance.

    `exact_trace_fraction` is the fraction of the curvature's trace that is exact. `loo_bounded` is whether the
    curvature contains each example's own `J_iᵀΛ_iJ_i` and no negative part, so that the eigenvalues of `ΛV` are
    below 1. `posterior` makes the posterior where it is not the usual one of networks. `cautions` become the map's
    warnings; `relative_error` is that of leverages, where the structure states one, and `size_errors` those of
    sensitivities and of the mean left-out loss. `evidence`: the prior by the marginal likelihood and its description,
    where that was found with more of the curvature than `build` has.
    """

    build: Callable[[Deltas], S]
    notes: tuple[str, ...] = ()
    exact_trace_fraction: float = 0.0
    loo_bounded: bool = True
    posterior: Callable[[LaplaceProblem, S, Description], Any] | None = None
    cautions: tuple[str, ...] = ()
    relative_error: float | None = None
    size_errors: tuple[float, float] | None = None
    evidence: tuple[Deltas, str] | None = None


class CurvatureStructure(ABC):
    """A representation of the curvature `Σ_i J_iᵀΛ_iJ_i` of a network (curvlinops, laplace-torch: structure).

    `Laplace(structure)` takes an instance, or the name of one that `structures.STRUCTURES` lists. To add one, subclass
    and implement `fit`.
    """

    name: ClassVar[str]
    chosen_by_size: ClassVar[bool] = False
    """Whether the structure only selects another one."""
    averages_prior: ClassVar[bool] = False
    """Whether a matrix layer takes the mean of its prior precisions."""
    shared: ClassVar[bool] = False
    """Whether `fit` combines what several processes compute from their parts of the examples (`problem.ranks`); of any
    other structure each process computes all."""

    @abstractmethod
    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[Any]:
        """The curvature from passes over the data.

        Raises
        ------
        ValueError
            The problem is too large for this structure, or its options do not suit it; the message says what to type.
        """

    def steps(self, problem: LaplaceProblem) -> tuple[Step, ...]:
        """What `fit` reads of the data, step by step, for the progress bar; none: each pass has a bar of its own."""
        return ()

    def resolve(self, problem: LaplaceProblem) -> tuple[CurvatureStructure, tuple[str, ...]]:
        """The structure to fit and the reason for it: itself, without a reason."""
        return self, ()

    def representation(self, block: ParameterBlock) -> str:
        """How a block of parameters is represented, for the coverage report."""
        return self.name


def curvature_pass(problem: LaplaceProblem, name: str = "curvature") -> Step:
    """A pass with a reverse pass, and products of its cost, for each root direction of `Λ`; in forward passes."""
    return Step(name, len(problem.examples), pass_cost(problem))


def pass_cost(problem: LaplaceProblem) -> float:
    """What an example of such a pass costs."""
    return 1 + 2 * FEW_DIRECTIONS.get(problem.options.fisher, problem.num_outputs)


def estimate_of(
    groups: tuple[ParameterGroup, ...], made: list[CurvatureAccumulator], exact: float = 0.0
) -> CurvatureEstimate[BlockDiagonalCovariance]:
    """The estimate whose blocks are independent: each accumulated curvature plus its prior."""

    def build(deltas: Deltas) -> BlockDiagonalCovariance:
        parts = (c.precision(group.pack(deltas)) for c, group in zip(made, groups, strict=True))
        return BlockDiagonalCovariance(groups, tuple(parts))

    return CurvatureEstimate(build, (), exact)


def root_directions(problem: LaplaceProblem, batch: Batch, weight: Tensor) -> Callable[[Tensor, slice], Tensor]:
    """Root directions `[k, n, c]` of `wΛ` for some rows of a batch."""
    root, y = FISHER_ROOTS[problem.options.fisher], problem.target(batch)

    def directions(f: Tensor, rows: slice) -> Tensor:
        return root(problem.network.likelihood, f, y[rows]) * weight[rows, None].sqrt()

    return directions


Weight = Callable[[Batch], Tensor]


def accumulate_over_data(
    problem: LaplaceProblem,
    groups: tuple[ParameterGroup, ...],
    made: list[CurvatureAccumulator],
    weight: Weight | None = None,
) -> None:
    """One pass over the data: accumulate every group's curvature along the root directions of `wΛ`."""
    for batch in problem.examples:
        weights = (weight or problem.weights)(batch)
        directions = root_directions(problem, batch, weights)

        def work(x: Any, part: slice, directions: Any = directions, weights: Tensor = weights) -> list[Any]:
            seen = linearize(problem.network, problem.owners, x, part, directions)
            k, w = len(seen.g[0]), weights[part]
            return [c.contribution(group_gradient(seen, g), w, k) for c, g in zip(made, groups, strict=True)]

        for measured in problem.batch_size.run(batch.inputs, work):
            for curvature, increment in zip(made, measured, strict=True):
                curvature.accumulate(increment)
    for curvature in made:
        combine(curvature, problem.ranks)


def prior_covariance(problem: LaplaceProblem, deltas: Deltas) -> BlockDiagonalCovariance:
    """The covariance `D⁻¹` of the prior alone."""
    return BlockDiagonalCovariance(
        problem.block_groups, tuple(EigenbasisPrecision(group.pack(deltas)) for group in problem.block_groups)
    )


def with_exact_rows(base: BlockDiagonalCovariance, rows: Tensor) -> BlockDiagonalCovariance:
    """`(S_base + AᵀA)⁻¹` for rows `A [r, P]`."""
    return BlockDiagonalCovariance(base.groups, base.precisions, Woodbury.from_rows(base.block_inv_sqrt_rmatvec(rows)))


def exact_rows(problem: LaplaceProblem, batch: Batch) -> Tensor:
    """Rows `√w L_iᵀ J_i [n·k, P]`."""
    directions = root_directions(problem, batch, problem.weights(batch))

    def work(x: Any, part: slice) -> Tensor:
        seen = linearize(problem.network, problem.owners, x, part, directions)
        pieces = [group_gradient(seen, group).materialize(slice(None)) for group in problem.block_groups]
        return torch.cat(pieces, dim=-1).flatten(0, 1).detach()

    return torch.cat(list(problem.batch_size.run(batch.inputs, work)))
