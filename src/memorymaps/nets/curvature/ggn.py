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

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.examples import Examples
from memorymaps.nets.autograd.batch_size import BatchSize
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_blocks import Group
from memorymaps.nets.autograd.per_example_vjp import functional_forward
from memorymaps.nets.problem import Setting

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
        bent = self.network.likelihood.fisher_matvec(wide, y, self._pushed(placed, v).permute(1, 2, 0).double())
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
