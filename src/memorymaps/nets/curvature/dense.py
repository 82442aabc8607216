"""Dense curvature: full, one block per layer, and the full Hessian."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from memorymaps.files.progress_plan import Step
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance, HessianCovariance
from memorymaps.nets.covariance.rounding import IllConditionedError
from memorymaps.nets.curvature.accumulators import CurvatureAccumulator, DenseCurvature
from memorymaps.nets.curvature.residual_hessian import residual_curvature
from memorymaps.nets.curvature.structure import (
    CurvatureEstimate,
    CurvatureStructure,
    Deltas,
    accumulate_over_data,
    curvature_pass,
    estimate_of,
)
from memorymaps.nets.laplace_problem import LaplaceProblem

_MAX_DENSE_PARAMETERS = 40_000  # parameters of one dense matrix: 13 GB


_OWN_RESIDUAL_CAUTION = (
    "structure='hessian': an example that is left out keeps its own part of the residual curvature, sizes tend to be "
    "too small, not too large. structure='full' errs the other way; refit(m, top=…) computes the largest"
)


@dataclass(frozen=True)
class Full(CurvatureStructure):
    """One dense matrix of all covered parameters: exact."""

    name = "full"
    shared = True

    def steps(self, problem: LaplaceProblem) -> tuple[Step, ...]:
        """One pass."""
        return (curvature_pass(problem),)

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[BlockDiagonalCovariance]:
        """The Gauss–Newton matrix."""
        return _dense(self.name, problem, (ParameterGroup(problem.blocks),), 1.0)


@dataclass(frozen=True)
class Block(CurvatureStructure):
    """One dense matrix per layer (its weight with its bias; a tied tensor is a block of its own).

    Exact for networks of a single layer.
    """

    name = "block"
    shared = True

    def steps(self, problem: LaplaceProblem) -> tuple[Step, ...]:
        """One pass."""
        return (curvature_pass(problem),)

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[BlockDiagonalCovariance]:
        """The diagonal blocks of the Gauss–Newton matrix."""
        return _dense(self.name, problem, problem.block_groups, 1.0 if len(problem.blocks) == 1 else 0.0)


@dataclass(frozen=True)
class Hessian(CurvatureStructure):
    """The Hessian of the loss: the Gauss–Newton matrix plus the residual part."""

    name = "hessian"
    shared = True

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[BlockDiagonalCovariance]:
        """The Gauss–Newton matrix plus the residual part of the loss's Hessian.

        Raises
        ------
        ValueError
            A sampled or truncated Fisher; when built, a matrix that is not positive definite.
        """
        if problem.options.fisher != "exact":
            raise ValueError(f"structure='hessian' with fisher={problem.options.fisher!r}: expected fisher='exact'")
        group = ParameterGroup(problem.blocks)
        _check_size(self.name, group)
        curvatures: list[CurvatureAccumulator] = [DenseCurvature(problem.zeros(group.size, group.size))]
        accumulate_over_data(problem, (group,), curvatures)
        curvatures[0].accumulate(_residual_curvature(problem, group))
        dense = estimate_of((group,), curvatures, 1.0)

        def build(deltas: Deltas) -> BlockDiagonalCovariance:
            try:
                found = dense.build(deltas)
            except IllConditionedError:
                raise ValueError(
                    "structure='hessian': the loss curves downwards along some direction at these parameters (a saddle "
                    "point, a kink, or unfinished training). Train longer, or use structure='full'"
                ) from None
            return HessianCovariance(found.groups, found.precisions)

        return CurvatureEstimate(build, (), 1.0, loo_bounded=False, cautions=(_OWN_RESIDUAL_CAUTION,))


def _residual_curvature(problem: LaplaceProblem, group: ParameterGroup) -> torch.Tensor:
    try:
        return residual_curvature(problem, group)
    except NotImplementedError as error:
        raise ValueError(
            "structure='hessian' needs second derivatives, which an operation of this network does not have "
            f"({error}). Use structure='full'"
        ) from error


def _check_size(name: str, group: ParameterGroup) -> None:
    if group.size > _MAX_DENSE_PARAMETERS:
        raise ValueError(
            f"structure={name!r} needs a dense matrix of {group.size:,} × {group.size:,} "
            f"({group.name}): {8e-9 * group.size**2:,.0f} GB. Use 'auto', 'active_set' or 'ekfac', or a subset"
        )


def _dense(
    name: str, problem: LaplaceProblem, groups: tuple[ParameterGroup, ...], exact: float
) -> CurvatureEstimate[BlockDiagonalCovariance]:
    _check_size(name, max(groups, key=lambda group: group.size))
    curvatures: list[CurvatureAccumulator] = [DenseCurvature(problem.zeros(group.size, group.size)) for group in groups]
    accumulate_over_data(problem, groups, curvatures)
    return estimate_of(groups, curvatures, exact)
