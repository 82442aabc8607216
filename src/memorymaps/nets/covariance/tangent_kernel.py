"""The tangent kernel of a network: inner products of the gradients of its outputs, averaged over the outputs.

    k(x, x') = 1/c Σ_a ∇f_a(x)·∇f_a(x')

A matrix layer used at one position has `k = (a·a') Σ_a (g_a·g'_a)` without materialised gradients.
Source: Jacot, Gabriel & Hongler 2018, at the trained parameters instead of the initial ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from memorymaps.nets.autograd.outer_product import OuterProductGradient
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch

Factors = tuple[Tensor, ...]  # of one block: gradients [n, c q], or inputs [n, d] and cotangents [n, c o]


def gradient_factors(batch: LinearizedBatch, blocks: Sequence[ParameterBlock]) -> list[Factors]:
    """Of each block the matrices whose Gram matrices' product is its part of the kernel, for one-hot directions."""
    return [_factors(batch, block) for block in blocks]


def _factors(batch: LinearizedBatch, block: ParameterBlock) -> Factors:
    found = batch.gradient(block)
    if isinstance(found, OuterProductGradient) and found.positions == 1:
        return found.a[:, 0].detach(), found.g[:][:, :, 0].flatten(1).detach()
    return (found.materialize(slice(None)).flatten(1).detach(),)


def kernel_of_factors(batches: Sequence[list[Factors]], outputs: int) -> Tensor:
    """`k [n, n]` in double precision, from the factors of consecutive batches."""
    total = 0.0
    for block in zip(*batches, strict=True):
        grams = [torch.cat(parts) @ torch.cat(parts).T for parts in zip(*block, strict=True)]
        total = total + torch.stack(grams).double().prod(0)
    return torch.as_tensor(total) / outputs
