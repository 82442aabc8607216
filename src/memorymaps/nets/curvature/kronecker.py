"""Kronecker-factored and diagonal curvature: KFAC, EKFAC, diagonal."""

from __future__ import annotations

from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.curvature.accumulators import CurvatureAccumulator, DiagonalCurvature, KroneckerCurvature
from memorymaps.nets.curvature.structure import Held, Weight, _stream, _streamed
from memorymaps.nets.problem import LaplaceProblem


def _diag(problem: LaplaceProblem, weight: Weight | None = None) -> Held[BlockDiagonalCovariance]:
    made: list[CurvatureAccumulator] = [DiagonalCurvature(problem.zeros(*block.shape)) for block in problem.blocks]
    _stream(problem, problem.block_groups, made, weight)
    return _streamed(problem.block_groups, made)


def _kronecker(problem: LaplaceProblem) -> list[CurvatureAccumulator]:
    n = len(problem.examples)

    def start(block: ParameterBlock) -> CurvatureAccumulator:
        if not block.is_matrix:
            return DiagonalCurvature(problem.zeros(*block.shape))
        o, d = block.shape
        return KroneckerCurvature(problem.zeros(d, d), problem.zeros(o, o), n, problem.recipe.reduce)

    made = [start(block) for block in problem.blocks]
    _stream(problem, problem.block_groups, made)
    return made


def _kfac(problem: LaplaceProblem) -> Held[BlockDiagonalCovariance]:
    return _streamed(problem.block_groups, _kronecker(problem))


def _ekfac(problem: LaplaceProblem) -> Held[BlockDiagonalCovariance]:
    dtype = next(iter(problem.prior.values())).dtype

    def corrected(block: ParameterBlock, first: CurvatureAccumulator) -> CurvatureAccumulator:
        bases = first.eigenbases(dtype)[:2] if isinstance(first, KroneckerCurvature) else ()
        return DiagonalCurvature(problem.zeros(*block.shape), *bases)

    made = [corrected(b, first) for b, first in zip(problem.blocks, _kronecker(problem), strict=True)]
    _stream(problem, problem.block_groups, made)
    return _streamed(problem.block_groups, made)
