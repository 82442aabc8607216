"""Dense curvature: full, one block per layer, and the full Hessian."""

from __future__ import annotations

import torch

from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.curvature.accumulators import CurvatureAccumulator, DenseCurvature
from memorymaps.nets.curvature.residual_hessian import residual_curvature
from memorymaps.nets.curvature.structure import Deltas, Held, _stream, _streamed
from memorymaps.nets.problem import LaplaceProblem

_MAX_DENSE_PARAMETERS = 40_000  # parameters of one dense matrix: 13 GB


_OWN_RESIDUAL_NOTE = (
    "An example that is left out keeps its own part of the residual curvature: sizes tend to be too small, not too "
    "large."
)


def _hessian(problem: LaplaceProblem) -> Held[BlockDiagonalCovariance]:
    """The Gauss–Newton matrix plus the residual part of the loss's Hessian.

    Raises
    ------
    ValueError
        A sampled or truncated Fisher; when built, a matrix that is not positive definite.
    """
    if problem.recipe.fisher != "exact":
        raise ValueError(f"structure='hessian' with fisher={problem.recipe.fisher!r}: expected fisher='exact'")
    group = ParameterGroup(problem.blocks)
    _check_dense(problem, group)
    made: list[CurvatureAccumulator] = [DenseCurvature(problem.zeros(group.size, group.size))]
    _stream(problem, (group,), made)
    made[0].accumulate(_residual_curvature(problem, group))
    held = _streamed((group,), made, 1.0)

    def build(deltas: Deltas) -> BlockDiagonalCovariance:
        try:
            return held.build(deltas)
        except torch.linalg.LinAlgError:
            raise ValueError(
                "structure='hessian': the loss curves downwards along some direction at these parameters (a saddle "
                "point, a kink, or unfinished training). Train longer, or use structure='full'"
            ) from None

    return Held(build, (_OWN_RESIDUAL_NOTE,), 1.0, bounded=False)


def _residual_curvature(problem: LaplaceProblem, group: ParameterGroup) -> torch.Tensor:
    try:
        return residual_curvature(problem, group)
    except NotImplementedError as error:
        raise ValueError(
            f"structure='hessian' needs second derivatives, which an operation of this network does not have ({error}). "
            "Use structure='full'"
        ) from error


def _check_dense(problem: LaplaceProblem, group: ParameterGroup) -> None:
    if group.size > _MAX_DENSE_PARAMETERS:
        raise ValueError(
            f"structure={problem.recipe.structure!r} needs a dense matrix of {group.size:,} × {group.size:,} "
            f"({group.name}): {8e-9 * group.size**2:,.0f} GB. Use 'auto', 'active_set' or 'ekfac', or a subset"
        )


def _dense(problem: LaplaceProblem, groups: tuple[ParameterGroup, ...], share: float) -> Held[BlockDiagonalCovariance]:
    _check_dense(problem, max(groups, key=lambda group: group.size))
    made: list[CurvatureAccumulator] = [DenseCurvature(problem.zeros(group.size, group.size)) for group in groups]
    _stream(problem, groups, made)
    return _streamed(groups, made, share)


def _full(problem: LaplaceProblem) -> Held[BlockDiagonalCovariance]:
    return _dense(problem, (ParameterGroup(problem.blocks),), 1.0)


def _block(problem: LaplaceProblem) -> Held[BlockDiagonalCovariance]:
    return _dense(problem, problem.block_groups, 1.0 if len(problem.blocks) == 1 else 0.0)
