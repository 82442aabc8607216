"""Per-example gradients must sum to autograd's gradient of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from memorymaps.data.examples import DataError
from memorymaps.nets.autograd.batch_size import BatchSize, linearize
from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.hooks import ParameterOwner, record_forward
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.autograd.vmap_fallback import warn_fallback

_DIRECTIONS = 2  # one would not show faults of `vmap` over directions


def check_gradient_sums(
    network: Network,
    owners: Sequence[ParameterOwner],
    blocks: Sequence[ParameterBlock],
    inputs: Any,
    dtype: torch.dtype,
) -> None:
    """Raise unless the gradients of every block, computed in `dtype`, sum to the gradient of the batch.

    Raises
    ------
    DataError
        They do not: examples of a batch influence each other there.
    """
    wrong = _differences(network, owners, blocks, inputs, dtype)
    if wrong:
        name, difference = next(iter(wrong.items()))
        raise DataError(
            f"gradients of {name!r} do not sum to the gradient of the batch (difference {difference:.2g}): examples of "
            "a batch influence each other there. Exclude it with Laplace(subset=[...])"
        )


def looped_where_wrong(
    network: Network,
    owners: tuple[ParameterOwner, ...],
    blocks: Sequence[ParameterBlock],
    inputs: Any,
    size: BatchSize,
    dtype: torch.dtype,
) -> tuple[ParameterOwner, ...]:
    """Owners with a loop over examples where `vmap` is wrong on a larger batch (`cdist` beyond 25 rows)."""
    local = [block for block in blocks if not block.is_matrix]
    if not local:
        return owners
    found = size.run(inputs, lambda x, _: _differences(network, owners, local, x, dtype))
    wrong = {name for differences in found for name in differences}
    names = {name for block in local if block.name in wrong for name in block.parameters}
    slow = [owner for owner in owners if names & set(owner.parameters.values())]
    warn_fallback(slow)
    return tuple(replace(owner, strategy="loop over examples") if owner in slow else owner for owner in owners)


def _differences(
    network: Network,
    owners: Sequence[ParameterOwner],
    blocks: Sequence[ParameterBlock],
    inputs: Any,
    dtype: torch.dtype,
) -> dict[str, float]:
    """Blocks whose gradients do not sum to autograd's, with the largest difference."""
    f, _ = record_forward(network, inputs, owners)
    directions = torch.randn((_DIRECTIONS, *f.shape), generator=torch.Generator().manual_seed(0)).to(f)
    values = dict(network.module.named_parameters())
    named = {name: values[name] for block in blocks for name in block.parameters}
    whole = [_batch_gradient(f, named, direction) for direction in directions]
    batch = linearize(network, owners, inputs, slice(None), lambda *_: directions)
    found = {}
    for block in blocks:
        autograd = torch.stack([block.pack(each).reshape(-1) for each in whole])
        summed = _sum(batch.gradient(block), block, len(f))
        if not bool(((summed - autograd).abs() <= _allowed(autograd, dtype)).all()):
            found[block.name] = float((summed - autograd).abs().max())
    return found


def _allowed(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounding errors, of the size of those of the floating-point type in which the network computes."""
    relative, absolute = (1e-2, 1e-3) if dtype in (torch.float32, torch.float64) else (0.1, 0.05)
    return relative * gradient.abs() + absolute * gradient.abs().max() + 1e-6


def _batch_gradient(f: Tensor, named: dict[str, Tensor], direction: Tensor) -> dict[str, Tensor]:
    found = torch.autograd.grad(
        f, list(named.values()), direction, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(named, found, strict=True))


def _sum(gradient: Any, block: ParameterBlock, n: int) -> Tensor:
    """Sums over examples of each direction's gradients, `[k, q]`."""
    parts = (gradient.materialize(rows).sum(0).detach() for rows in chunk_slices(n, _DIRECTIONS * block.size))
    return torch.stack(list(parts)).sum(0)
