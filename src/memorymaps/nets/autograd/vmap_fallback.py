"""How a module's examples can pass through it alone, found out on a few of them before the first pass over the data."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.hooks import Call, Owner, Way, cotangents, record
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_owners import another_number, has_rows
from memorymaps.nets.autograd.per_example_vjp import Tensors, flatten, pulled
from memorymaps.nets.autograd.pytree import length

_WAYS: tuple[Way, ...] = ("together", "by lane", "in turn")  # from the fastest to the one that nothing can upset
_FEW = slice(0, 2)


class InTurnWarning(RuntimeWarning):
    """Examples pass a module one after another: the same map, made more slowly."""


def with_ways(network: Network, owners: Sequence[Owner], names: Iterable[str], inputs: Any) -> tuple[Owner, ...]:
    """Owners of the parameters `names`, each with the fastest way that gives what examples give in turn."""
    owners = [replace(owner, shared=shared) for owner, shared in _shared(network, owners, inputs)]
    f, calls = record(network, inputs, owners)
    direction = torch.randn(f.shape, generator=torch.Generator().manual_seed(0)).to(f)
    local, found = set(names), {owner.module: 0 for owner in owners}
    for call, g in zip(calls, cotangents(f, calls, direction[None]), strict=True):
        if local & set(call.owner.parameters.values()):
            found[call.owner.module] = max(found[call.owner.module], _fastest(network, call, g[_FEW]))
    _tell([owner for owner in owners if _WAYS[found[owner.module]] == "in turn"])
    return tuple(replace(owner, way=_WAYS[found[owner.module]]) for owner in owners)


def _shared(network: Network, owners: Sequence[Owner], inputs: Any) -> Iterator[tuple[Owner, frozenset[int]]]:
    """Places of arguments that do not follow the number of examples: a mask may be as long as a batch by chance."""
    seen = [(length(some), record(network, some, owners)[1]) for some in (inputs, another_number(inputs))]
    for owner in owners:
        fixed = [[_fixed(call, n) for call in calls if call.owner is owner] for n, calls in seen]
        yield owner, frozenset().union(*(frozenset.intersection(*each) for each in fixed if each))


def _fixed(call: Call, n: int) -> frozenset[int]:
    return frozenset(place for place, leaf in enumerate(flatten((call.args, call.kwargs))[0]) if not has_rows(leaf, n))


def _fastest(network: Network, call: Call, g: Tensor) -> int:
    """Position among the ways."""
    values = dict(network.module.named_parameters())
    local = {key: values[name].detach() for key, name in call.owner.parameters.items()}
    *ways, expected = (_gradients(network, call, local, g, way) for way in _WAYS)
    alike = (found is not None and _alike(found, expected) for found in ways)
    return next((place for place, right in enumerate(alike) if right), len(ways))


def _gradients(network: Network, call: Call, local: Tensors, g: Tensor, way: Way) -> Any:
    """By one way; `None` where torch cannot batch what the module does."""
    try:
        return pulled(network, replace(call, owner=replace(call.owner, way=way)), local, g, _FEW)
    except RuntimeError:
        if way == "in turn":
            raise
        return None


def _alike(found: Tensors, expected: Tensors) -> bool:
    pairs = ((found[name], value, 1e-3 * float(value.abs().max())) for name, value in expected.items())
    return all(torch.allclose(mine, value, rtol=1e-2, atol=size + 1e-6, equal_nan=True) for mine, value, size in pairs)


def _tell(slow: Sequence[Owner]) -> None:
    if slow:
        names = ", ".join(repr(owner.module) if owner.module else "the whole network" for owner in slow)
        without = ", ".join(slow[0].parameters.values())
        warnings.warn(
            f"examples pass {names} one after another: torch cannot batch what is computed there (as masks that depend "
            f"on the data). The map is the same but slower; without {without} it is not: Laplace(subset=[...])",
            InTurnWarning,
            stacklevel=2,
        )
