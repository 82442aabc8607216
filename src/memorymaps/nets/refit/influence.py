"""What removing training examples does to the parameters, by the exact curvature: systems solved by iteration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.nets.autograd.batch_size import numpy
from memorymaps.nets.covariance.block_diagonal import Spreading
from memorymaps.nets.curvature.conjugate_gradient import conjugate_gradients, preconditioner
from memorymaps.nets.curvature.ggn import GaussNewton, operator_of
from memorymaps.nets.problem import Setting

_PART = 64  # examples of a group looked at together


def removal(
    setting: Setting, covariance: Spreading, groups: Sequence[Array], steps: int, tolerance: float
) -> tuple[Array, Array]:
    """`(S − J_MᵀΛ_MJ_M)⁻¹ J_Mᵀe_M` for every group of rows: moves `[g, P]` and relative residuals `[g]`."""
    operator = operator_of(setting)
    own = [_batches(setting, rows) for rows in groups]
    push = torch.stack([sum((_push(operator, setting, b) for b in batches), operator.prior * 0) for batches in own])

    def remaining(v: Tensor) -> Tensor:
        return operator(v) - torch.stack([_curved(operator, b, each) for b, each in zip(own, v, strict=True)])

    moves, residual = conjugate_gradients(remaining, push, preconditioner(setting, covariance), steps, tolerance)
    return numpy(moves), numpy(residual)


def _batches(setting: Setting, rows: Array) -> list[Batch]:
    return [setting.examples.take(rows[start : start + _PART]) for start in range(0, len(rows), _PART)]


def _push(operator: GaussNewton, setting: Setting, batch: Batch) -> Tensor:
    """`J_Mᵀ e_M [P]`."""
    with torch.enable_grad():
        f = setting.network.outputs(setting.network.place(batch.inputs))
        error = setting.network.likelihood.error(f.detach().double(), setting.target(batch))
        named = {name: setting.covered[name] for name in operator.parameters.values}
        weighted = (setting.weights(batch)[:, None] * error).to(f)
        found = torch.autograd.grad(f, list(named.values()), weighted, allow_unused=True)
    whole = {n: torch.zeros_like(v) if g is None else g for (n, v), g in zip(named.items(), found, strict=True)}
    return operator.parameters.flat(whole)


def _curved(operator: GaussNewton, batches: list[Batch], v: Tensor) -> Tensor:
    """`J_MᵀΛ_MJ_M v [P]`."""
    with torch.no_grad():
        return sum((operator.local(b, v[None], b.inputs, slice(None))[0] for b in batches), torch.zeros_like(v))
