"""The exact generalised Gauss–Newton matrix as an operator, `(Σ_i w_i J_iᵀ Λ_i J_i + diag δ) v`, never formed.

One forward-mode and one reverse-mode product for each batch and vector; systems are solved by preconditioned
conjugate gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from memorymaps._types import Array, Batch
from memorymaps.examples import Examples
from memorymaps.nets.alone import functional_forward
from memorymaps.nets.batching import BatchSize
from memorymaps.nets.covariance import Spreading
from memorymaps.nets.network import Network
from memorymaps.nets.parts import Group
from memorymaps.nets.setting import Setting

Vectors = dict[str, Tensor]  # parameter → [v, *shape]
Operator = Callable[[Tensor], Tensor]
_LANES = 8  # vectors that pass the network together


@dataclass(frozen=True)
class Parameters:
    """The covered parameters as one vector."""

    values: Mapping[str, Tensor]

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """`[..., P]` from tensors with the same leading axes."""
        lead = next(iter(named.values())).ndim - next(iter(self.values.values())).ndim
        return torch.cat([named[name].reshape(*named[name].shape[:lead], -1) for name in self.values], dim=-1)

    def named(self, flat: Tensor) -> Vectors:
        """The inverse of `flat`."""
        parts = torch.split(flat, [value.numel() for value in self.values.values()], dim=-1)
        shaped = zip(self.values.items(), parts, strict=True)
        return {name: part.reshape((*flat.shape[:-1], *value.shape)) for (name, value), part in shaped}

    def placed(self, flat: Array) -> Tensor:
        """A vector in main memory on the parameters' device, in their precision."""
        return torch.as_tensor(flat).to(next(iter(self.values.values())))


@dataclass(frozen=True)
class GaussNewton:
    """`v ↦ GGN v + δ v` over a set of examples, for several vectors `[v, P]` at once."""

    network: Network
    examples: Examples
    parameters: Parameters
    prior: Tensor
    size: BatchSize

    def __call__(self, v: Tensor) -> Tensor:
        """One pass over the data."""
        total = self.prior * v
        for batch in self.examples:
            with torch.no_grad():
                for product in self.size.run(batch.inputs, functools.partial(self.local, batch, v)):
                    total = total + product
        return total

    def local(self, batch: Batch, v: Tensor, inputs: Any, part: slice) -> Tensor:
        """`Σ_i w_i J_iᵀ Λ_i J_i v` of one part of a batch."""
        placed = self.network.place(inputs)
        f, pull = vjp(functools.partial(self._outputs, placed), dict(self.parameters.values))
        wide, y = f.detach().double(), torch.as_tensor(batch.target, device=f.device)[part]
        bent = self.network.likelihood.curve(wide, y, self._pushed(placed, v).permute(1, 2, 0).double())
        if batch.weight is not None:
            bent = torch.as_tensor(batch.weight[part]).to(bent)[:, None, None] * bent
        back: Vectors = vmap(lambda lane: pull(lane)[0], chunk_size=_LANES)(bent.permute(2, 0, 1).to(f))
        return self.parameters.flat(back)

    def respond(self, inputs: Any, v: Tensor) -> Tensor:
        """`J v`: how the outputs of a batch answer to moves of the parameters, `[v, n, c]`."""
        return self._pushed(self.network.place(inputs), v)

    def _pushed(self, placed: Any, v: Tensor) -> Tensor:
        outputs, values = functools.partial(self._outputs, placed), dict(self.parameters.values)

        def one(tangent: Vectors) -> Tensor:
            push: Tensor = jvp(outputs, (values,), (tangent,))[1]
            return push

        pushes: Tensor = vmap(one, chunk_size=_LANES)(self.parameters.named(v))
        return pushes

    def _outputs(self, placed: Any, values: Vectors) -> Tensor:
        return functional_forward(self.network, values, placed)


def operator_of(setting: Setting, with_prior: bool = True) -> GaussNewton:
    """The exact matrix of a setting's covered parameters, in the order of the blocks' names."""
    values = dict(setting.network.module.named_parameters())
    names = [name for block in setting.blocks for name in block.parameters]
    parameters = Parameters({name: values[name].detach() for name in names})
    prior = parameters.flat({name: setting.prior[name] for name in names})
    return GaussNewton(setting.network, setting.examples, parameters, prior if with_prior else prior * 0, setting.size)


def order_of(setting: Setting, groups: tuple[Group, ...]) -> Tensor:
    """Where each coordinate of the groups sits in a vector of the named parameters: `packed = v[..., order]`."""
    parameters = operator_of(setting).parameters
    positions = parameters.named(torch.arange(setting.count, device=setting.network.device))
    return torch.cat([group.pack(positions).reshape(-1) for group in groups])


def preconditioner(setting: Setting, covariance: Spreading) -> Operator:
    """`v ↦ S⁻¹v` for vectors `[v, P]` in the order of the named parameters."""
    order = order_of(setting, covariance.groups)
    back = order.argsort()
    return lambda v: covariance.solve(v[:, order])[:, back]


def conjugate_gradients(
    operator: Operator, b: Tensor, precondition: Operator, steps: int, tolerance: float = 1e-8
) -> tuple[Tensor, Tensor]:
    """Solve `A x = b [v, P]` for each row; returns `x` and the residuals' relative norms `[v]`."""
    x, r = torch.zeros_like(b), b.clone()
    z = precondition(r)
    p, rz, size = z.clone(), (r * z).sum(-1), b.norm(dim=-1).clamp(min=1e-300)
    for _ in range(steps):
        if bool((r.norm(dim=-1) <= tolerance * size).all()):
            break
        ap = operator(p)
        step = rz / (p * ap).sum(-1).clamp(min=1e-300)
        x, r = x + step[:, None] * p, r - step[:, None] * ap
        z = precondition(r)
        new = (r * z).sum(-1)
        p, rz = z + (new / rz.clamp(min=1e-300))[:, None] * p, new
    return x, r.norm(dim=-1) / size
