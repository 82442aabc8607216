"""Residual part of the loss's Hessian, which Gauss–Newton omits: `R = Σ_i Σ_c w_i e_ic ∇²f_ic` with errors `e`.

For a network that fits its data closely under a weak prior, `R` is small relative to `S` but changes its smallest
eigenvalues. With `S = Σ J_iᵀΛ_iJ_i + R + diag δ` removal sizes are smaller than Gauss–Newton's and mostly too small,
because an example that is left out keeps its own `R_i` in `S` (docs/meaning/retraining.md); subtracting it makes many
`S − R_i` indefinite. Computed row by row, for some thousand parameters; positive definite only at a minimum.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.laplace_problem import LaplaceProblem


def residual_curvature(problem: LaplaceProblem, group: ParameterGroup) -> Tensor:
    """`R [P, P]` in double precision, in the order of the group's blocks."""
    total = residual_products(problem, group, torch.eye(problem.num_parameters))
    return (total + total.T) / 2


def residual_products(problem: LaplaceProblem, group: ParameterGroup, v: Tensor) -> Tensor:
    """`R v [k, P]` in double precision for vectors `[k, P]`, in the order of the group's blocks."""
    total = problem.zeros(*v.shape)
    for batch in problem.examples:
        work = functools.partial(
            _chunk_products, problem, group, v.to(total.device), problem.target(batch), problem.weights(batch)
        )
        for found in problem.batch_size.run(batch.inputs, work):
            total += found
    return problem.ranks.total(total)


def _chunk_products(
    problem: LaplaceProblem, group: ParameterGroup, v: Tensor, y: Tensor, weight: Tensor, inputs: Any, rows: slice
) -> Tensor:
    """`R v [k, P]` of some rows of a batch."""
    network, parameters = problem.network, problem.covered
    with torch.enable_grad():
        f = network.outputs(network.to_device(inputs))
        residual = (weight[rows, None] * network.likelihood.error(f.detach().double(), y[rows])).to(f)
        gradient = _packed_gradient(group, parameters, f, residual, create_graph=True)
    found = problem.zeros(*v.shape)
    if not gradient.requires_grad:  # outputs linear in the parameters
        return found
    for k, vector in enumerate(v.to(gradient)):
        found[k] = _packed_gradient(group, parameters, gradient, vector, retain_graph=True)
    return found


def _packed_gradient(
    group: ParameterGroup, parameters: dict[str, Tensor], out: Tensor, cotangent: Tensor, **graph: bool
) -> Tensor:
    """Gradient of `⟨out, cotangent⟩` as one vector."""
    found = torch.autograd.grad(out, list(parameters.values()), cotangent, allow_unused=True, **graph)
    pairs = zip(parameters.items(), found, strict=True)
    return group.pack({name: torch.zeros_like(p) if g is None else g for (name, p), g in pairs}).reshape(-1)
