"""Preconditioned conjugate gradients for several right-hand sides."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from memorymaps.nets.covariance.block_diagonal import HessianCovariance, PosteriorCovariance
from memorymaps.nets.curvature.ggn import Operator, ggn_operator, group_order
from memorymaps.nets.laplace_problem import LaplaceProblem


def preconditioner(problem: LaplaceProblem, covariance: PosteriorCovariance) -> Operator:
    """`v ↦ S⁻¹v` for vectors `[v, P]` in the order of the named parameters."""
    order = group_order(problem, covariance.groups)
    inverse_order = order.argsort()
    return lambda v: covariance.solve(v[:, order])[:, inverse_order]


def exact_precision(problem: LaplaceProblem, covariance: PosteriorCovariance) -> Operator:
    """`v ↦ S v` for vectors `[v, P]` in the order of the named parameters: with the exact Gauss–Newton matrix, whatever
    approximation the covariance is; with the Hessian, if it is of the Hessian."""
    if not isinstance(covariance, HessianCovariance):
        return ggn_operator(problem)
    order = group_order(problem, covariance.groups)
    inverse_order = order.argsort()
    return lambda v: covariance.matvec(v[:, order])[:, inverse_order]


def conjugate_gradients(
    operator: Operator,
    b: Tensor,
    precondition: Operator,
    steps: int,
    tolerance: float = 1e-8,
    enough: Callable[[Tensor, Tensor], bool] = lambda x, residual: False,
) -> tuple[Tensor, Tensor]:
    """Solve `A x = b [v, P]` for each row; returns `x` and the residuals' relative norms `[v]`.

    Ends after `steps`, when all residuals are below the `tolerance`, or when `enough(x, residuals)` says so.
    """
    x, r = torch.zeros_like(b), b.clone()
    z = precondition(r)
    p, rz, size = z.clone(), (r * z).sum(-1), b.norm(dim=-1).clamp(min=1e-300)
    for _ in range(steps):
        residual = r.norm(dim=-1) / size
        if bool((residual <= tolerance).all()) or enough(x, residual):
            break
        ap = operator(p)
        step = rz / (p * ap).sum(-1).clamp(min=1e-300)
        x, r = x + step[:, None] * p, r - step[:, None] * ap
        z = precondition(r)
        new = (r * z).sum(-1)
        p, rz = z + (new / rz.clamp(min=1e-300))[:, None] * p, new
    return x, r.norm(dim=-1) / size
