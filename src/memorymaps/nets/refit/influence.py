"""Parameter changes for removed training examples with the exact curvature, by conjugate gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.nets.autograd.batch_size import to_numpy
from memorymaps.nets.covariance.block_diagonal import PosteriorCovariance
from memorymaps.nets.curvature.conjugate_gradient import conjugate_gradients, exact_precision, preconditioner
from memorymaps.nets.curvature.ggn import GaussNewton, Operator, ggn_operator, group_order
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.covariance import SampledCovariance

_CHUNK = 64  # examples of a group processed together


def removal_influence(
    problem: LaplaceProblem, covariance: PosteriorCovariance, groups: Sequence[Array], steps: int, tolerance: float
) -> tuple[Array, Array]:
    """Parameter changes `(S − J_MᵀΛ_MJ_M)⁻¹ J_Mᵀe_M [g, P]` for groups of rows, and relative residuals `[g]`."""
    operator = ggn_operator(problem)
    batches_by_group = [_batches(problem, rows) for rows in groups]
    gradients = torch.stack(
        [
            sum((_group_gradient(operator, problem, b) for b in batches), operator.prior * 0)
            for batches in batches_by_group
        ]
    )

    precision = exact_precision(problem, covariance)

    def remaining(v: Tensor) -> Tensor:
        return precision(v) - torch.stack(
            [_group_ggn_product(operator, b, each) for b, each in zip(batches_by_group, v, strict=True)]
        )

    precondition = preconditioner_without(problem, covariance, groups)
    deltas, residual = conjugate_gradients(remaining, gradients, precondition, steps, tolerance)
    return to_numpy(deltas), to_numpy(residual)


def preconditioner_without(
    problem: LaplaceProblem, covariance: PosteriorCovariance, groups: Sequence[Array]
) -> Operator:
    """`S⁻¹`, without each group's own rows where it is made of rows."""
    if not isinstance(covariance, SampledCovariance):
        return preconditioner(problem, covariance)
    order = group_order(problem, covariance.groups)
    solve, back = covariance.without([torch.as_tensor(rows, device=order.device) for rows in groups]), order.argsort()
    return lambda v: solve(v[:, order])[:, back]


def _batches(problem: LaplaceProblem, rows: Array) -> list[Batch]:
    return [problem.examples.take(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK)]


def _group_gradient(operator: GaussNewton, problem: LaplaceProblem, batch: Batch) -> Tensor:
    """`J_Mᵀ e_M [P]` for one batch of a group."""
    with torch.enable_grad():
        f = problem.network.outputs(problem.network.to_device(batch.inputs))
        error = problem.network.likelihood.error(f.detach().double(), problem.target(batch))
        named = {name: problem.covered[name] for name in operator.parameters.values}
        weighted = (problem.weights(batch)[:, None] * error).to(f)
        found = torch.autograd.grad(f, list(named.values()), weighted, allow_unused=True)
    whole = {n: torch.zeros_like(v) if g is None else g for (n, v), g in zip(named.items(), found, strict=True)}
    return operator.parameters.flatten(whole)


def _group_ggn_product(operator: GaussNewton, batches: list[Batch], v: Tensor) -> Tensor:
    """`J_MᵀΛ_MJ_M v [P]`."""
    with torch.no_grad():
        return sum((operator.batch_product(b, v[None], b.inputs, slice(None))[0] for b in batches), torch.zeros_like(v))
