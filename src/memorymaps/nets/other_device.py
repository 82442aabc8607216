"""A network copied to another device for its map, `memory_map(net, …, device="cuda")`; itself it stays where it is."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from memorymaps.nets.autograd.network import Network
from memorymaps.nets.optimizers.from_optimizer import OptimizedNetwork
from memorymaps.nets.prior import Prior
from memorymaps.nets.recipe import LaplaceNetwork


def device_named(device: Any) -> torch.device:
    """The device as torch counts it (`"cuda"`: the current one).

    Raises
    ------
    ValueError
        No device of this name here, or one without numbers (`"meta"`).
    """
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: torch was built without CUDA
        reason = (str(error).splitlines() or [""])[0]
        raise _unusable(device, reason) from error
    if found.type == "meta":
        raise _unusable(device, "its tensors have no numbers")
    return found


def _unusable(device: Any, reason: str) -> ValueError:
    return ValueError(
        f"device = {device!r} cannot be used here ({reason}): expected a device of this machine's torch, such as "
        "device='cpu', or leave it out: the map is then computed where the network is"
    )


def laplace_network_on(model: LaplaceNetwork, device: Any) -> LaplaceNetwork:
    """A network and its recipe on a device; the prior belongs to the copy's parameters."""
    network = _network_on(model.network, device)
    if network is model.network:
        return model
    prior = _prior_of(model.prior, model.network.module, network.module)
    return LaplaceNetwork(network, replace(model.recipe, prior=prior))


def optimized_network_on(model: OptimizedNetwork, device: Any) -> OptimizedNetwork:
    """A network on a device, with the optimiser of the original."""
    network = _network_on(model.network, device)
    return model if network is model.network else OptimizedNetwork(network, model.recipe, model.network.module)


def _network_on(network: Network, device: Any) -> Network:
    """The network itself if all of it is on the device, else a copy there."""
    wanted = device_named(device)
    tensors = (*network.module.parameters(), *network.module.buffers())
    if all(tensor.device == wanted for tensor in tensors):
        return network
    return replace(network, module=_copied(network.module, wanted))


def _copied(module: nn.Module, device: torch.device) -> nn.Module:
    """A deep copy whose tensors are on the device; tied parameters stay tied."""
    memo: dict[int, Any] = {id(p): nn.Parameter(_tensor_on(p, device), p.requires_grad) for p in module.parameters()}
    for each in module.modules():
        computed = [value for value in vars(each).values() if isinstance(value, Tensor)]  # of torch's weight_norm
        for tensor in (*each.buffers(recurse=False), *computed):
            memo[id(tensor)] = _tensor_on(tensor, device)
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:  # of whatever a user's module contains
        raise ValueError(
            f"device=: {type(module).__name__} cannot be copied ({type(error).__name__}: {error}). Move the network "
            "itself instead, net.to(device), and leave device= out"
        ) from error


def _tensor_on(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.detach().to(device, copy=True)


def _prior_of(prior: Prior, module: nn.Module, copied: nn.Module) -> Prior:
    """The prior of a module as that of its copy."""
    pairs = zip(module.parameters(), copied.parameters(), strict=True)
    found = {id(to): prior.by_parameter[id(p)] for p, to in pairs if id(p) in prior.by_parameter}
    return replace(prior, by_parameter=found)
