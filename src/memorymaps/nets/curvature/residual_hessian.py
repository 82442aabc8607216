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
    total = problem.zeros(problem.num_parameters, problem.num_parameters)
    for batch in problem.examples:
        work = functools.partial(
            _chunk_residual_curvature, problem, group, problem.target(batch), problem.weights(batch)
        )
        for found in problem.batch_size.run(batch.inputs, work):
            total += found
    total = problem.ranks.total(total)
    return (total + total.T) / 2


def _chunk_residual_curvature(
    problem: LaplaceProblem, group: ParameterGroup, y: Tensor, weight: Tensor, inputs: Any, rows: slice
) -> Tensor:
    """`R [P, P]` of some rows of a batch."""
    network, parameters = problem.network, problem.covered
    with torch.enable_grad():
        f = network.outputs(network.to_device(inputs))
        residual = (weight[rows, None] * network.likelihood.error(f.detach().double(), y[rows])).to(f)
        gradient = _packed_gradient(group, parameters, f, residual, create_graph=True)
    if not gradient.requires_grad:  # outputs linear in the parameters
        return problem.zeros(problem.num_parameters, problem.num_parameters)
    found, one_hot = problem.zeros(problem.num_parameters, problem.num_parameters), torch.zeros_like(gradient)
    for k in range(problem.num_parameters):
        one_hot[k] = 1
        found[k] = _packed_gradient(group, parameters, gradient, one_hot, retain_graph=True)
        one_hot[k] = 0
    return found


def _packed_gradient(
    group: ParameterGroup, parameters: dict[str, Tensor], out: Tensor, cotangent: Tensor, **graph: bool
) -> Tensor:
    """Gradient of `⟨out, cotangent⟩` as one vector."""
    found = torch.autograd.grad(out, list(parameters.values()), cotangent, allow_unused=True, **graph)
    pairs = zip(parameters.items(), found, strict=True)
    return group.pack({name: torch.zeros_like(p) if g is None else g for (name, p), g in pairs}).reshape(-1)
