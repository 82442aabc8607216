"""Products `J v` and `Jᵀu` of a batch's Jacobian with parameter and output vectors, by three strategies.

    "torch.func"        forward mode, and reverse mode under `vmap`
    "double backward"   reverse mode only: `J v` is the derivative of `Jᵀu` in `u`; without `torch.func`
    "per example"       `J v` from the gradients of all outputs, example by example

Operations without forward-mode derivative (weight norm, `cdist`, `grid_sample`, `EmbeddingBag`), checkpointing and
functions that `torch.func` cannot trace need the second, operations with one derivative only the third.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.hooks import ParameterOwner, one_hot_directions
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.autograd.per_example_autodiff import functional_forward

ProductStrategy = Literal["torch.func", "double backward", "per example"]
NamedTensors = dict[str, Tensor]  # parameter → tensor, or [v, *shape]
_VMAP_CHUNK = 8  # vectors per vmap chunk
_OUTPUTS_PER_PASS = 16  # outputs whose gradients are computed in one set of reverse passes
_TOLERANCE = 1e-2  # relative difference of two ways to compute one product


@dataclass(frozen=True)
class BatchProducts:
    """Outputs `f [n, c]` of a batch at some parameters, and products with its Jacobian.

    `jvp` maps parameter tangents `{name: [v, …]}` to output tangents `[v, n, c]`, `vjp` output cotangents `[v, n, c]`
    to parameter gradients `{name: [v, …]}`.
    """

    f: Tensor
    jvp: Callable[[NamedTensors], Tensor]
    vjp: Callable[[Tensor], NamedTensors]


@dataclass(frozen=True)
class JacobianSite:
    """A network at the parameters `values`, with their owners and blocks: where its Jacobian is taken."""

    network: Network
    owners: tuple[ParameterOwner, ...]
    blocks: tuple[ParameterBlock, ...]
    values: Mapping[str, Tensor]


def batch_products(site: JacobianSite, inputs: Any, strategy: ProductStrategy) -> BatchProducts:
    """The products of one batch."""
    if strategy == "per example":
        return _per_example(site, inputs)
    make = {"torch.func": _functional, "double backward": _double_backward}[strategy]
    return make(functools.partial(_outputs, site, inputs), dict(site.values))


def _outputs(site: JacobianSite, inputs: Any, parameters: NamedTensors) -> Tensor:
    return functional_forward(site.network, parameters, inputs)


def _functional(outputs: Callable[[NamedTensors], Tensor], values: NamedTensors) -> BatchProducts:
    f, pull_back = vjp(outputs, values)

    def one(tangent: NamedTensors) -> Tensor:
        product: Tensor = jvp(outputs, (values,), (tangent,))[1]
        return product

    return BatchProducts(
        f.detach(), vmap(one, chunk_size=_VMAP_CHUNK), vmap(lambda u: pull_back(u)[0], chunk_size=_VMAP_CHUNK)
    )


def _recorded(
    outputs: Callable[[NamedTensors], Tensor], values: NamedTensors
) -> tuple[Tensor, NamedTensors, Callable[[Tensor], NamedTensors]]:
    """Outputs with their graph, the leaves, and `u [v, n, c] ↦ Jᵀu` by a loop over vectors."""
    with torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        f = outputs(leaves)

    def pull_back(cotangents: Tensor) -> NamedTensors:
        each = [_gradient(f, leaves, cotangent) for cotangent in cotangents]
        return {name: torch.stack(found) for name, found in zip(leaves, zip(*each, strict=True), strict=True)}

    return f, leaves, pull_back


def _gradient(f: Tensor, leaves: NamedTensors, cotangent: Tensor, **options: bool) -> Sequence[Tensor]:
    found: Sequence[Tensor] = torch.autograd.grad(
        f, list(leaves.values()), cotangent, retain_graph=True, materialize_grads=True, allow_unused=True, **options
    )
    return found


def _double_backward(outputs: Callable[[NamedTensors], Tensor], values: NamedTensors) -> BatchProducts:
    f, leaves, pull_back = _recorded(outputs, values)

    def push(tangents: NamedTensors) -> Tensor:
        with torch.enable_grad():
            cotangent = torch.zeros_like(f, requires_grad=True)
            gradient = _gradient(f, leaves, cotangent, create_graph=True)
        pairs = [(each, tangents[name]) for name, each in zip(leaves, gradient, strict=True) if each.requires_grad]
        along, vectors = zip(*pairs, strict=True)
        each = [
            torch.autograd.grad(along, cotangent, [v[k] for v in vectors], retain_graph=True)[0]
            for k in range(len(vectors[0]))
        ]
        return torch.stack(each)

    return BatchProducts(f.detach(), push, pull_back)


def _per_example(site: JacobianSite, inputs: Any) -> BatchProducts:
    f, _, pull_back = _recorded(functools.partial(_outputs, site, inputs), dict(site.values))

    def push(tangents: NamedTensors) -> Tensor:
        v = range(len(next(iter(tangents.values()))))
        packed = [
            torch.stack([block.pack({name: tangents[name][k] for name in block.parameters}).reshape(-1) for k in v])
            for block in site.blocks
        ]
        parts = torch.arange(f.shape[1]).split(_OUTPUTS_PER_PASS)
        return torch.cat([_pushed_to_outputs(site, inputs, outputs, packed) for outputs in parts], dim=2)

    return BatchProducts(f.detach(), push, pull_back)


def _pushed_to_outputs(site: JacobianSite, inputs: Any, outputs: Tensor, packed: Sequence[Tensor]) -> Tensor:
    """`J v [v, n, c']` for some outputs, from per-example gradients of every block."""

    def one_hot(f: Tensor, _: slice) -> Tensor:
        return one_hot_directions(f)[outputs.to(f.device)]

    batch = linearize(site.network, site.owners, inputs, slice(None), one_hot)
    n, found = len(batch.f), batch.f.new_zeros(len(packed[0]), len(batch.f), len(outputs))
    for block, v in zip(site.blocks, packed, strict=True):
        gradient = batch.gradient(block)
        for rows in chunk_slices(n, len(outputs) * block.size):
            found[:, rows] += torch.einsum("ncq,vq->vnc", gradient.materialize(rows), v.to(found))
    return found


def select_product_strategy(site: JacobianSite, samples: Sequence[Any]) -> ProductStrategy:
    """The fastest strategy that works for a network, tried on some batches of inputs.

    Its products must satisfy `⟨u, J v⟩ = ⟨Jᵀu, v⟩` with `Jᵀu` by plain reverse mode.
    """
    works: tuple[ProductStrategy, ...] = ("torch.func", "double backward")
    for inputs in samples:
        generator = torch.Generator().manual_seed(0)
        exact = batch_products(site, inputs, "per example")
        u = torch.randn((2, *exact.f.shape), generator=generator).to(exact.f)
        v = {n: torch.randn((2, *value.shape), generator=generator).to(value) for n, value in site.values.items()}
        pulled = exact.vjp(u)
        works = tuple(strategy for strategy in works if _agrees(site, inputs, strategy, u, v, pulled))
    return works[0] if works else "per example"


def _agrees(
    site: JacobianSite, inputs: Any, strategy: ProductStrategy, u: Tensor, v: NamedTensors, pulled: NamedTensors
) -> bool:
    """Whether a strategy's products are right; torch raises for an operation that it does not support."""
    try:
        products = batch_products(site, inputs, strategy)
        pushed, found = products.jvp(v), products.vjp(u)
    except RuntimeError:
        return False
    left = (u * pushed).flatten(1).double().sum(1)
    right = torch.stack([(pulled[name] * v[name]).reshape(2, -1).double().sum(1) for name in v]).sum(0)
    size = u.flatten(1).double().norm(dim=1) * pushed.flatten(1).double().norm(dim=1) + right.abs()
    same = all(
        torch.allclose(found[name], each, rtol=_TOLERANCE, atol=_TOLERANCE * float(each.abs().max()) + 1e-6)
        for name, each in pulled.items()
    )
    return same and bool(((left - right).abs() <= _TOLERANCE * size + 1e-6).all())
