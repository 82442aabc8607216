"""Selection of the per-example strategy of each module, by a comparison on a few examples before the first pass."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.cotangents import Cotangents
from memorymaps.nets.autograd.hooks import OwnerCall, ParameterOwner, Strategy, backward_cotangents, record_forward
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_owners import has_batch_axis, other_batch_size
from memorymaps.nets.autograd.per_example_autodiff import Tensors, per_example_vjp, tree_flatten
from memorymaps.nets.autograd.pytree import length

_STRATEGIES: tuple[Strategy, ...] = ("elementwise", "vmap", "loop over cotangents")  # the fastest first
_LOOP: Strategy = "loop over examples"  # what they are compared with
_TEST_ROWS = slice(0, 2)


class VmapFallbackWarning(RuntimeWarning):
    """A module is evaluated example by example because `torch.func.vmap` fails on it: same map, slower."""


def select_strategies(
    network: Network, owners: Sequence[ParameterOwner], names: Iterable[str], inputs: Any
) -> tuple[ParameterOwner, ...]:
    """Owners of the parameters `names`, each with the fastest strategy that agrees with a loop over examples."""
    owners = [replace(owner, unbatched=unbatched) for owner, unbatched in _unbatched_arguments(network, owners, inputs)]
    f, calls = record_forward(network, inputs, owners)
    directions = torch.randn((2, *f.shape), generator=torch.Generator().manual_seed(0)).to(f)  # one hides faults
    local = set(names)
    pairs = list(zip(calls, backward_cotangents(f, calls, directions), strict=True))
    found = [
        replace(owner, strategy=_fastest_strategy(network, [p for p in pairs if p[0].owner is owner]))
        if local & set(owner.parameters.values())
        else owner
        for owner in owners
    ]
    warn_fallback([owner for owner in found if owner.strategy == _LOOP])
    return tuple(found)


def _unbatched_arguments(
    network: Network, owners: Sequence[ParameterOwner], inputs: Any
) -> Iterator[tuple[ParameterOwner, frozenset[int]]]:
    """For each owner, flat positions of arguments without a batch axis.

    Tested with two batch sizes: the length of a mask may equal one of them by chance.
    """
    recorded = [
        (length(some_inputs), record_forward(network, some_inputs, owners)[1])
        for some_inputs in (inputs, other_batch_size(inputs))
    ]
    for owner in owners:
        positions = [[_unbatched_positions(call, n) for call in calls if call.owner is owner] for n, calls in recorded]
        yield owner, frozenset().union(*(frozenset.intersection(*each) for each in positions if each))


def _unbatched_positions(call: OwnerCall, n: int) -> frozenset[int]:
    return frozenset(
        position
        for position, leaf in enumerate(tree_flatten((call.args, call.kwargs))[0])
        if not has_batch_axis(leaf, n)
    )


def _fastest_strategy(network: Network, uses: Sequence[tuple[OwnerCall, Cotangents]]) -> Strategy:
    """The fastest strategy whose gradients agree with a loop over examples at every call of an owner."""
    values = dict(network.module.named_parameters())
    tests = []
    for call, g in uses:
        local = {key: values[name].detach() for key, name in call.owner.parameters.items()}
        tried = functools.partial(_try_strategy, network, call, local, g[_TEST_ROWS])
        tests.append((tried, tried(_LOOP)))
    return next((each for each in _STRATEGIES if all(_agrees(tried(each), loop) for tried, loop in tests)), _LOOP)


def _try_strategy(network: Network, call: OwnerCall, local: Tensors, g: Tensor, strategy: Strategy) -> Tensors | None:
    """Gradients by one strategy; None where torch raises."""
    try:
        return per_example_vjp(
            network, replace(call, owner=replace(call.owner, strategy=strategy)), local, g, _TEST_ROWS
        )
    except RuntimeError:
        if strategy == _LOOP:
            raise
        return None


def _agrees(found: Tensors | None, expected: Tensors | None) -> bool:
    return found is not None and expected is not None and _all_close(found, expected)


def _all_close(found: Tensors, expected: Tensors) -> bool:
    pairs = ((found[name], value, 1e-3 * float(value.abs().max())) for name, value in expected.items())
    return all(
        torch.allclose(value_found, value, rtol=1e-2, atol=size + 1e-6, equal_nan=True)
        for value_found, value, size in pairs
    )


def warn_fallback(slow: Sequence[ParameterOwner]) -> None:
    """Warn that the parameters of some modules take a loop over examples."""
    if slow:
        names = ", ".join(repr(owner.module) if owner.module else "the whole network" for owner in slow)
        without = ", ".join(slow[0].parameters.values())
        warnings.warn(
            f"torch.func.vmap cannot be used for {names} (as for masks that depend on the data): examples are "
            "evaluated one after another. The map is the same but slower; "
            f"exclude {without} to avoid it: Laplace(subset=[...])",
            VmapFallbackWarning,
            stacklevel=2,
        )
