"""What Gauss–Newton leaves out of a loss's second derivatives: `R = Σ_i Σ_c w_i e_ic ∇²f_ic`, from the residuals `e`.

Where a network follows its data closely and its prior is weak, `R` is small beside the whole and yet decides how far
the flat directions reach. With `S = Σ J_iᵀΛ_iJ_i + R + diag δ` sizes of removal come out smaller than Gauss–Newton's,
and mostly too small: an example left out keeps its own `R_i` in `S` (docs/retraining.md). Taking it out makes many
`S − R_i` no precision at all. Made row by row, so for some thousand parameters; positive definite only at a minimum.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.parameter_blocks import Group
from memorymaps.nets.problem import Setting


def residual_curvature(setting: Setting, group: Group) -> Tensor:
    """`R [P, P]` in double precision, in the order of the group's blocks."""
    total = setting.zeros(setting.count, setting.count)
    for batch in setting.examples:
        work = functools.partial(_of_part, setting, group, setting.target(batch), setting.weights(batch))
        for found in setting.size.run(batch.inputs, work):
            total += found
    return (total + total.T) / 2


def _of_part(setting: Setting, group: Group, y: Tensor, weight: Tensor, inputs: Any, part: slice) -> Tensor:
    network, parameters = setting.network, setting.covered
    with torch.enable_grad():
        f = network.outputs(network.place(inputs))
        residual = (weight[part, None] * network.likelihood.error(f.detach().double(), y[part])).to(f)
        gradient = _packed(group, parameters, f, residual, create_graph=True)
    if not gradient.requires_grad:  # outputs linear in the parameters
        return setting.zeros(setting.count, setting.count)
    found, one = setting.zeros(setting.count, setting.count), torch.zeros_like(gradient)
    for k in range(setting.count):
        one[k] = 1
        found[k] = _packed(group, parameters, gradient, one, retain_graph=True)
        one[k] = 0
    return found


def _packed(group: Group, parameters: dict[str, Tensor], out: Tensor, along: Tensor, **graph: bool) -> Tensor:
    """The gradient of `⟨out, along⟩` as one vector."""
    found = torch.autograd.grad(out, list(parameters.values()), along, allow_unused=True, **graph)
    pairs = zip(parameters.items(), found, strict=True)
    return group.pack({name: torch.zeros_like(p) if g is None else g for (name, p), g in pairs}).reshape(-1)
