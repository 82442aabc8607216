"""Covariances of a network's parameters with given predictions: one linear system with the exact curvature for each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.batch_size import to_numpy
from memorymaps.nets.autograd.pytree import length, take_rows
from memorymaps.nets.cost_model import in_memory
from memorymaps.nets.covariance.block_diagonal import PosteriorCovariance
from memorymaps.nets.curvature.conjugate_gradient import conjugate_gradients, exact_precision, preconditioner
from memorymaps.nets.curvature.ggn import ggn_operator
from memorymaps.nets.jacobian.products import batch_products
from memorymaps.nets.laplace_problem import LaplaceProblem

_STEPS = 500
_MAX_RESIDUAL = 1e-2  # largest relative residual: two digits


def query_solutions(problem: LaplaceProblem, covariance: PosteriorCovariance, queries: Any) -> Array:
    """`x = S⁻¹J_*ᵀ [k·c, P]` for the outputs at `k` inputs, `S` with the exact Gauss–Newton matrix, or the Hessian.

    Raises
    ------
    ValueError
        A system whose relative residual stays above 1 %.
    """
    held = in_memory(problem)
    operator = ggn_operator(held)
    gradients = torch.cat(
        [operator.parameters.flatten(_output_gradients(problem, take_rows(queries, slice(k, k + 1))))
         for k in range(length(queries))]
    )  # fmt: skip
    tolerance = float(torch.finfo(gradients.dtype).eps) ** 0.5
    with torch.no_grad():
        found, residual = conjugate_gradients(
            exact_precision(held, covariance), gradients, preconditioner(problem, covariance), _STEPS, tolerance
        )
    if bool((residual > _MAX_RESIDUAL).any()):
        raise ValueError(
            f"the linear systems of the queries have a relative residual of {float(residual.max()):.1g} after {_STEPS} "
            "steps: use a larger prior precision, or a posterior with better curvature, Laplace('auto')"
        )
    return to_numpy(found)


def _output_gradients(problem: LaplaceProblem, inputs: Any) -> dict[str, Tensor]:
    """`J_* [c, …]` of one example, by parameter."""
    with torch.no_grad():
        products = batch_products(problem.site, problem.network.to_device(inputs), problem.product_strategy)
        return products.vjp(torch.eye(products.f.shape[1]).to(products.f)[:, None])
