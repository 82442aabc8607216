"""The exact generalised Gauss–Newton matrix as a linear operator, `(Σ_i w_i J_iᵀ Λ_i J_i + diag δ) v`.

One product with the Jacobian and one with its transpose per batch and vector (`jacobian.products`); linear
systems by preconditioned conjugate gradients. Equals `GGNLinearOperator` of curvlinops plus the prior.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.examples import Examples
from memorymaps.nets.autograd.batch_size import BatchSize
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.distributed.shares import ranks_in
from memorymaps.nets.jacobian.products import (
    BatchProducts,
    JacobianSite,
    NamedTensors,
    ProductStrategy,
    batch_products,
)
from memorymaps.nets.laplace_problem import LaplaceProblem

Operator = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ParameterVector:
    """The covered parameters as one vector."""

    values: Mapping[str, Tensor]

    def flatten(self, named: Mapping[str, Tensor]) -> Tensor:
        """Named tensors with the same leading axes as `[..., P]`."""
        lead = next(iter(named.values())).ndim - next(iter(self.values.values())).ndim
        return torch.cat([named[name].reshape(*named[name].shape[:lead], -1) for name in self.values], dim=-1)

    def unflatten(self, flat: Tensor) -> NamedTensors:
        """The inverse of `flatten`."""
        parts = torch.split(flat, [value.numel() for value in self.values.values()], dim=-1)
        shaped = zip(self.values.items(), parts, strict=True)
        return {name: part.reshape((*flat.shape[:-1], *value.shape)) for (name, value), part in shaped}

    def to_device(self, flat: Array) -> Tensor:
        """A vector in main memory as a tensor on the parameters' device, in their dtype."""
        return torch.as_tensor(flat).to(next(iter(self.values.values())))


@dataclass(frozen=True)
class GaussNewton:
    """`v ↦ GGN v + δ v` over a set of examples, for several vectors `[v, P]` at once."""

    network: Network
    examples: Examples
    parameters: ParameterVector
    prior: Tensor
    batch_size: BatchSize
    site: JacobianSite
    strategy: ProductStrategy

    def __call__(self, v: Tensor) -> Tensor:
        """Product with vectors `[v, P]`: one pass over the data."""
        ranks = ranks_in(self.examples)
        total = self.prior * v if ranks.is_first else torch.zeros_like(v)
        for batch in self.examples:
            with torch.no_grad():
                for product in self.batch_size.run(batch.inputs, functools.partial(self.batch_product, batch, v)):
                    total = total + product
        return ranks.total(total)

    def batch_product(self, batch: Batch, v: Tensor, inputs: Any, rows: slice) -> Tensor:
        """`Σ_i w_i J_iᵀ Λ_i J_i v` over some rows of a batch."""
        products = self._products(inputs)
        f64, y = products.f.double(), torch.as_tensor(batch.target, device=products.f.device)[rows]
        tangents = products.jvp(self.parameters.unflatten(v)).permute(1, 2, 0).double()
        weighted = self.network.likelihood.fisher_matvec(f64, y, tangents)
        if batch.weight is not None:
            weighted = torch.as_tensor(batch.weight[rows]).to(weighted)[:, None, None] * weighted
        return self.parameters.flatten(products.vjp(weighted.permute(2, 0, 1).to(products.f)))

    def jvp(self, inputs: Any, v: Tensor) -> Tensor:
        """`J v [v, n, c]`: output tangents of a batch for parameter tangents `[v, P]`."""
        return self._products(inputs).jvp(self.parameters.unflatten(v))

    def _products(self, inputs: Any) -> BatchProducts:
        return batch_products(self.site, self.network.to_device(inputs), self.strategy)


def ggn_operator(problem: LaplaceProblem, with_prior: bool = True) -> GaussNewton:
    """The exact matrix for a problem's covered parameters, in the order of the blocks' names."""
    parameters = ParameterVector(problem.site.values)
    prior = parameters.flatten({name: problem.prior[name] for name in parameters.values})
    return GaussNewton(
        problem.network, problem.examples, parameters, prior if with_prior else prior * 0, problem.batch_size,
        problem.site, problem.product_strategy,
    )  # fmt: skip


def group_order(problem: LaplaceProblem, groups: tuple[ParameterGroup, ...]) -> Tensor:
    """Positions of the groups' coordinates in a vector of the named parameters: `packed = v[..., order]`."""
    parameters = ParameterVector(problem.site.values)
    positions = parameters.unflatten(torch.arange(problem.num_parameters, device=problem.network.device))
    return torch.cat([group.pack(positions).reshape(-1) for group in groups])
