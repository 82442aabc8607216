"""Kronecker-factored and diagonal curvature: KFAC, EKFAC, diagonal."""

from __future__ import annotations

from memorymaps.nets.autograd.parameter_blocks import Block
from memorymaps.nets.covariance.block_diagonal import Covariance
from memorymaps.nets.curvature.accumulators import Curvature, DiagonalCurvature, KroneckerCurvature
from memorymaps.nets.curvature.structure import Held, Weight, _stream, _streamed
from memorymaps.nets.problem import Setting


def _diag(setting: Setting, weight: Weight | None = None) -> Held[Covariance]:
    made: list[Curvature] = [DiagonalCurvature(setting.zeros(*block.shape)) for block in setting.blocks]
    _stream(setting, setting.separate, made, weight)
    return _streamed(setting.separate, made)


def _kronecker(setting: Setting) -> list[Curvature]:
    n = len(setting.examples)

    def start(block: Block) -> Curvature:
        if not block.is_matrix:
            return DiagonalCurvature(setting.zeros(*block.shape))
        o, d = block.shape
        return KroneckerCurvature(setting.zeros(d, d), setting.zeros(o, o), n, setting.recipe.reduce)

    made = [start(block) for block in setting.blocks]
    _stream(setting, setting.separate, made)
    return made


def _kfac(setting: Setting) -> Held[Covariance]:
    return _streamed(setting.separate, _kronecker(setting))


def _ekfac(setting: Setting) -> Held[Covariance]:
    dtype = next(iter(setting.prior.values())).dtype

    def corrected(block: Block, first: Curvature) -> Curvature:
        bases = first.bases(dtype)[:2] if isinstance(first, KroneckerCurvature) else ()
        return DiagonalCurvature(setting.zeros(*block.shape), *bases)

    made = [corrected(b, first) for b, first in zip(setting.blocks, _kronecker(setting), strict=True)]
    _stream(setting, setting.separate, made)
    return _streamed(setting.separate, made)
