"""Per-example products of modules that use their parameters element by element: scales, shifts, thresholds, gates.

Where an element of a module's output depends on no element of a parameter `θ` but the one that stands at its place when
`θ` is broadcast to the output's shape, the Jacobian is one number for each element of the output:

    D = ∂(Σ y)/∂θ        for a copy of θ at each element of the output: one reverse pass of the module
    Jᵀg = Σ g ∘ D        over the axes along which θ is broadcast
    Jθ̇ = θ̇ ∘ D

Filter response normalisation, layer scale and root-mean-square norms of one's own are of this kind. Whether a module is
one is found by a comparison with a loop over examples (`vmap_fallback.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
OutputFunction = Callable[[Tensors], Tensor]  # output of some examples as a function of the parameters


def elementwise_vjp(local: Tensors, outputs: OutputFunction, g: Tensor) -> Tensors:
    """Gradients `{name: G [n, k, …]}` for cotangents `g [n, k, …]` of the outputs `[n, …]`.

    Raises
    ------
    RuntimeError
        The parameters cannot be broadcast to the output's shape, or the module does not take them so.
    """
    derivatives = _derivatives(local, outputs, g[:, 0].shape)
    axes = {name: tuple(_summed_axes(local[name], derivative)) for name, derivative in derivatives.items()}
    found: Tensors = {}
    for summed in set(axes.values()):  # γ, β and τ of a normalisation are summed alike: g is read once
        names = [name for name, own in axes.items() if own == summed]
        sums = _sums(g, torch.stack([derivatives[name] for name in names], 1), summed)
        found |= {name: sums[..., s].reshape(*g.shape[:2], *local[name].shape) for s, name in enumerate(names)}
    return found


def _sums(g: Tensor, derivatives: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`Σ g ∘ D [n, k, q, s]` over some axes of one example's output, for `g [n, k, …]` and `D [n, s, …]`."""
    others = [axis for axis in range(1, g.ndim - 1) if axis not in axes]
    order = [0, *(1 + axis for axis in others), 1, *(1 + axis for axis in axes)]
    kept = math.prod(g.shape[1 + axis] for axis in others)
    each = (z.permute(order).reshape(len(z), kept, z.shape[1], -1) for z in (g, derivatives))
    cotangents, factors = each
    return torch.matmul(cotangents, factors.mT).transpose(1, 2)


def elementwise_jvp(local: Tensors, outputs: OutputFunction, tangents: Tensors, shape: torch.Size) -> Tensor:
    """Output tangents of `shape`, `[n, …]`, for parameter tangents `{name: [n, …]}`, example by example."""
    parts = []
    for name, derivative in _derivatives(local, outputs, shape).items():
        own = _broadcast_shape(local[name], derivative)
        parts.append(derivative * tangents[name].reshape(-1, *own))
    return torch.stack(parts).sum(0)


def _derivatives(local: Tensors, outputs: OutputFunction, shape: torch.Size) -> Tensors:
    """`D [n, …]` of every parameter."""
    with torch.enable_grad():
        copies = {name: value.detach().expand(shape).requires_grad_() for name, value in local.items()}
        y = outputs(copies)
        ones = y.new_ones(shape)  # torch raises if this is not the output's shape
        found = torch.autograd.grad(y, list(copies.values()), ones, allow_unused=True)
    zeros = (torch.zeros(shape, dtype=value.dtype, device=value.device) for value in local.values())
    return {name: zero if each is None else each for name, zero, each in zip(local, zeros, found, strict=True)}


def _broadcast_shape(parameter: Tensor, derivative: Tensor) -> tuple[int, ...]:
    """A parameter's shape with the axes of one example's output, of length one where it is broadcast."""
    return (*(1,) * (derivative.ndim - parameter.ndim), *parameter.shape)[1:]


def _summed_axes(parameter: Tensor, derivative: Tensor) -> list[int]:
    """Axes of `D [n, …]` along which the parameter is broadcast."""
    return [axis for axis, length in enumerate(_broadcast_shape(parameter, derivative), 1) if length == 1]
