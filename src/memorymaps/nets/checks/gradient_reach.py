"""Every covered parameter that the output depends on has a gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.per_example_autodiff import functional_forward
from memorymaps.nets.checks.tolerance import difference_beyond

_STEP, _ZERO_SIZE = 0.05, 0.2  # size of a parameter change relative to the parameter, and to one that is zero


def check_gradients_reach(network: Network, covered: Sequence[str], inputs: Any) -> None:
    """Raise for parameters that change the output but receive no gradient: int8 layers, `detach`, rounding,
    checkpoints with `use_reentrant=True` (which need `backward()` and refuse `autograd.grad`).

    A parameter that the forward pass does not use, or that a zero multiplies (LoRA's at the start, all of a network of
    zeros), is none of these: the latter have a gradient at other values of the parameters.

    Raises
    ------
    ValueError
        Parameters without gradient, by name.
    """
    with torch.enable_grad():
        f = network.outputs(inputs)
    without = _without_gradient(network, covered, f)
    if without:
        without = _without_gradient_nearby(network, covered, without, inputs)
    if not without or not _output_depends_on(network, without, f, inputs):
        return
    blocked = [name for name in without if _output_depends_on(network, [name], f, inputs)] or without
    raise ValueError(_message(blocked, [name for name in covered if name not in without]))


def _without_gradient(network: Network, covered: Sequence[str], f: Tensor) -> list[str]:
    """Parameters with no gradient, or one that is exactly zero."""
    return _zero_gradients(dict(network.module.named_parameters()), covered, f)


def _without_gradient_nearby(
    network: Network, covered: Sequence[str], without: Sequence[str], inputs: Any
) -> list[str]:
    """Those of `without` that have none at parameters with random changes either."""
    with torch.enable_grad():
        values = {name: value.requires_grad_() for name, value in _changed(network, covered).items()}
        f = functional_forward(network, values, inputs)
    return _zero_gradients(values, without, f)


def _zero_gradients(values: Mapping[str, Tensor], covered: Sequence[str], f: Tensor) -> list[str]:
    if not f.requires_grad:
        return list(covered)
    direction = torch.randn(f.shape, generator=torch.Generator().manual_seed(0)).to(f)
    found = torch.autograd.grad(f, [values[name] for name in covered], direction, allow_unused=True)
    return [name for name, g in zip(covered, found, strict=True) if g is None or not bool(g.any())]


def _output_depends_on(network: Network, names: Sequence[str], f: Tensor, inputs: Any) -> bool:
    """Whether outputs change with these parameters."""
    with torch.no_grad():
        moved = functional_forward(network, _changed(network, names), inputs)
        return difference_beyond(moved, f.detach(), f.dtype) > 0


def _changed(network: Network, names: Sequence[str]) -> dict[str, Tensor]:
    """Parameters with random changes of a few percent."""
    values, generator = dict(network.module.named_parameters()), torch.Generator().manual_seed(0)
    changed = {}
    for name in names:
        value = values[name].detach()
        size = _STEP * (float(value.float().abs().mean()) + _ZERO_SIZE)
        changed[name] = value + size * torch.randn(value.shape, generator=generator).to(value)
    return changed


def _message(blocked: Sequence[str], others: Sequence[str]) -> str:
    names = ", ".join(map(repr, blocked[:6])) + (f" and {len(blocked) - 6} more" if len(blocked) > 6 else "")
    rest = f"{list(others)[:6]}{'' if len(others) <= 6 else ' + …'}"
    exclude = f"exclude them, Laplace(subset={rest}), or " if others else ""
    return (
        f"no gradient reaches {names} although the output depends on them: the path passes quantised (int8) layers, "
        "detach(), no_grad, rounding, argmax or a reentrant checkpoint. Expected a gradient for every covered "
        f"parameter: {exclude}remove what blocks it; for a checkpoint, checkpoint(…, use_reentrant=False); of a "
        "quantised network map the one it was made from"
    )
