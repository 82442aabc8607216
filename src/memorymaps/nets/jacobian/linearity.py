"""Whether a network is linear in its parameters: a fact of its forward pass, not of its number of layers.

A layer before `tanh`, a recurrent layer, one that is called twice or has a parametrized weight is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.per_example_autodiff import functional_forward

_TRIALS = 3  # random displacements: kinks lie on one side of some


def is_linear(network: Network, values: Mapping[str, Tensor], inputs: Any) -> bool:
    """Whether `f(θ + v) + f(θ − v) = 2 f(θ)` for random `v`, to the square root of the machine precision.

    `θ` are the parameters `values`, all others are fixed. `v` is as long as `θ` and longer than the unit, so that
    squashing functions saturate and ReLUs switch. Outputs that are not finite there are not linear.
    """
    return all(_is_linear_along(network, values, _displacement(values, seed), inputs) for seed in range(_TRIALS))


def _displacement(values: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    noise = {name: torch.randn(value.shape, generator=generator) for name, value in values.items()}
    return {name: noise[name].to(value) * (1 + value.square().mean().sqrt()) for name, value in values.items()}


def _is_linear_along(network: Network, values: Mapping[str, Tensor], v: dict[str, Tensor], inputs: Any) -> bool:
    with torch.no_grad():
        at, up, down = (
            functional_forward(network, {name: value + t * v[name] for name, value in values.items()}, inputs)
            for t in (0.0, 1.0, -1.0)
        )
    bend, change = (up + down - 2 * at).abs().max(), torch.stack([up - at, down - at]).abs().max()
    return bool(bend <= torch.finfo(at.dtype).eps ** 0.5 * change)  # a NaN is not
