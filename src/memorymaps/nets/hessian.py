"""What Gauss–Newton leaves out of a loss's second derivatives: `R = Σ_i Σ_c w_i e_ic ∇²f_ic`, from the residuals `e`.

Where a network follows its data closely and its prior is weak, `R` is small beside the whole and yet decides how far
the flat directions reach: with `S = Σ J_iᵀΛ_iJ_i + R + diag δ` sizes of removal come out right that Gauss–Newton
overstates (docs/retraining.md). Made row by row, so for some thousand parameters; positive definite only at a minimum.

An example that is left out takes its own `R_i` with it. Its deviation therefore follows from
`V_i = J_i (S − R_i)⁻¹ J_iᵀ`, solved in coordinates where `S` is the identity: few steps, as one example bends little.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp, vmap

from memorymaps.nets.alone import flatten, functional_forward
from memorymaps.nets.covariance import Covariance
from memorymaps.nets.ggn import Vectors, conjugate_gradients, operator_of, order_of
from memorymaps.nets.network import Network
from memorymaps.nets.parts import Group
from memorymaps.nets.setting import Setting
from memorymaps.nets.tape import has_rows

_NEGLIGIBLE = 1e-3  # share of z that one step changes, below which a second one would not be seen
_TOLERANCE = 1e-4
_STEPS = 60


class HessianCovariance(Covariance):
    """`S⁻¹` of all second derivatives."""


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
    rows = (_packed(group, parameters, gradient, one, retain_graph=True) for one in torch.eye(len(gradient)).to(f))
    return torch.stack([row.double() for row in rows])


def _packed(group: Group, parameters: dict[str, Tensor], out: Tensor, along: Tensor, **graph: bool) -> Tensor:
    """The gradient of `⟨out, along⟩` as one vector."""
    found = torch.autograd.grad(out, list(parameters.values()), along, allow_unused=True, **graph)
    pairs = zip(parameters.items(), found, strict=True)
    return group.pack({name: torch.zeros_like(p) if g is None else g for (name, p), g in pairs}).reshape(-1)


@dataclass(frozen=True)
class OwnResiduals:
    """`R_i v` for all examples of a part: outputs' second derivatives, weighted by residuals `[n, c]`."""

    setting: Setting
    inputs: Any
    residual: Tensor

    def __call__(self, v: Tensor, rows: Tensor) -> Tensor:
        """Some examples' `R_i v [m, c, P]`, in the order of the blocks' names."""
        parameters = operator_of(self.setting).parameters
        values, n = dict(parameters.values), len(self.residual)
        flat, rebuild = flatten(self.inputs)
        dims = [0 if has_rows(leaf, n) else None for leaf in flat]

        def bent(leaves: list[Any], residual: Tensor, along: Vectors) -> Vectors:
            inputs = rebuild([leaf[None] if dim == 0 else leaf for leaf, dim in zip(leaves, dims, strict=True)])
            outputs = functools.partial(_outputs, self.setting.network, inputs)
            _, pull = vjp(lambda at: vjp(outputs, at)[1](residual[None])[0], values)
            found: Vectors = vmap(lambda one: pull(one)[0])(along)
            return found

        taken = [leaf[rows] if dim == 0 else leaf for leaf, dim in zip(flat, dims, strict=True)]
        with torch.no_grad():
            return parameters.flat(vmap(bent, in_dims=(dims, 0, 0))(taken, self.residual[rows], parameters.named(v)))


def _outputs(network: Network, inputs: Any, at: Vectors) -> Tensor:
    return functional_forward(network, at, inputs)


def variance_without_own(covariance: Covariance, z: Tensor, own: OwnResiduals) -> Tensor:
    """`J_i (S − R_i)⁻¹ J_iᵀ [n, c, c]` from `z = J_i S^{-1/2} [n, c, P]`.

    Where `S − R_i` is no precision, conjugate gradients stop at its negative curvature, as truncated Newton methods do.
    """
    order = order_of(own.setting, covariance.groups)
    back = order.argsort()

    def bent(v: Tensor, rows: Tensor) -> Tensor:
        """`S^{-1/2} R_i S^{-1/2} v`."""
        moved = own(covariance.unwhiten(v)[..., back].to(own.residual), rows)
        return covariance.whiten(moved[..., order]).to(z)

    first = bent(z, torch.arange(len(z), device=z.device))
    x, far = z + first, (first.norm(dim=-1) > _NEGLIGIBLE * z.norm(dim=-1)).any(-1)
    rows = torch.nonzero(far)[:, 0]
    if len(rows):
        shape = z[rows].shape

        def remaining(v: Tensor) -> Tensor:
            return v - bent(v.reshape(shape), rows).flatten(0, 1)

        found, _ = conjugate_gradients(remaining, z[rows].flatten(0, 1), lambda r: r, _STEPS, _TOLERANCE)
        x[rows] = found.reshape(shape)
    v = torch.matmul(z, x.mT)
    return (v + v.mT) / 2
