"""Each example of a call by itself: its gradients and its output's moves, as functions of the call's own tensors.

All examples pass at once (`vmap`), except through modules that look at numbers to decide what to compute (masks), write
into tensors of their own, or hold an operation that torch batches wrongly: there a lane or an example passes after
another. `ways.py` finds out which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

from memorymaps.nets.network import Network
from memorymaps.nets.tape import ROOT, Call, Owner, submodule

Tensors = dict[str, Tensor]


def pulled(network: Network, call: Call, local: Tensors, g: Tensor, part: slice) -> Tensors:
    """`{name: G [n', k, …]}` of one call for lanes `g [n', k, …]`: each example alone, pulled back `k` times."""
    over_lanes = vmap if call.owner.way == "together" else _by_lane

    def pull(outputs: Any, lanes: Tensor) -> Tensors:
        _, back = vjp(outputs, local)
        found: Tensors = over_lanes(lambda lane: back(lane[None])[0])(lanes)
        return found

    found: Tensors = _each_alone(network, call, pull, g, part)
    return found


def pushed(network: Network, call: Call, local: Tensors, moves: Tensors, part: slice) -> Tensor:
    """`[n', …]`: each example's output of one call, pushed by moves `[n', …]` of its tensors."""

    def push(outputs: Any, tangent: Tensors) -> Tensor:
        out: Tensor = jvp(outputs, (local,), (tangent,))[1][0]
        return out

    found: Tensor = _each_alone(network, call, push, moves, part)
    return found


def _each_alone(network: Network, call: Call, act: Any, along: Any, part: slice) -> Any:
    """`act(outputs, along[i])` with the call's output as a function of its parameters, each example by itself."""
    n = call.shape[0]
    flat, rebuild = _flatten((call.args, call.kwargs))
    dims = [0 if isinstance(leaf, Tensor) and leaf.shape[:1] == (n,) else None for leaf in flat]

    def alone(leaves: list[Any], mine: Any) -> Any:
        args, kwargs = rebuild([leaf[None] if dim == 0 else leaf for leaf, dim in zip(leaves, dims, strict=True)])
        return act(lambda parameters: _call_with(network, call.owner, parameters, args, kwargs), mine)

    taken = [leaf[part] if dim == 0 else leaf for leaf, dim in zip(flat, dims, strict=True)]
    over_examples = _in_turn if call.owner.way == "in turn" else vmap
    with torch.no_grad():
        return over_examples(alone, in_dims=(dims, 0))(taken, along)


def _by_lane(act: Callable[[Tensor], Tensors]) -> Callable[[Tensor], Tensors]:
    """What `vmap(act)` gives, one lane after another: under two `vmap`s torch's own gradient of PReLU is wrong."""
    return lambda lanes: _stacked([act(lane) for lane in lanes])


def _in_turn(act: Callable[..., Any], in_dims: tuple[Sequence[int | None], int]) -> Callable[..., Any]:
    """What `vmap(act, in_dims)` gives, one example after another."""

    def acted(taken: Sequence[Any], along: Any) -> Any:
        named = along if isinstance(along, dict) else {"": along}
        each = []
        for i in range(len(next(iter(named.values())))):
            leaves = [leaf if dim is None else leaf[i] for leaf, dim in zip(taken, in_dims[0], strict=True)]
            mine = {name: value[i] for name, value in named.items()}
            each.append(act(leaves, mine if along is named else mine[""]))
        return _stacked(each)

    return acted


def _stacked(each: Sequence[Any]) -> Any:
    if isinstance(each[0], Tensor):
        return torch.stack(list(each))
    return {name: torch.stack([found[name] for found in each]) for name in each[0]}


def _call_with(network: Network, owner: Owner, parameters: Tensors, args: Any, kwargs: Any) -> Tensor:
    if owner.module != ROOT:
        out: Tensor = functional_call(submodule(network, owner), parameters, args, kwargs, tie_weights=False)
        return out
    return functional_forward(network, parameters, args[0])


def functional_forward(network: Network, parameters: Tensors, inputs: Any) -> Tensor:
    """The network's outputs `[n, c]` with other parameters, through the user's own `forward`."""
    wrapped = _Forward(network)
    named = {f"module.{name}": value for name, value in parameters.items()}
    out: Tensor = functional_call(wrapped, named, (inputs,))
    out = out.to(next(network.module.parameters()).dtype)
    return out[:, None] if out.ndim == 1 else out


class _Forward(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The user's forward as a module, so that its parameters can be replaced."""

    def __init__(self, network: Network):
        super().__init__()
        self.module, self._call = network.module, network.forward

    def forward(self, inputs: Any) -> Tensor:
        return self._call(self.module, inputs)


def _flatten(tree: Any) -> tuple[list[Any], Any]:
    """Leaves of nested tuples and mappings, and the function that puts leaves back."""
    if isinstance(tree, Mapping):
        keys, inner = list(tree), [_flatten(value) for value in tree.values()]
        return _joined(inner, lambda values: dict(zip(keys, values, strict=True)))
    if isinstance(tree, (tuple, list)):
        return _joined([_flatten(value) for value in tree], tuple)
    return [tree], lambda leaves: leaves[0]


def _joined(inner: list[tuple[list[Any], Any]], make: Any) -> tuple[list[Any], Any]:
    sizes = [len(found) for found, _ in inner]

    def rebuild(leaves: list[Any]) -> Any:
        ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
        pieces = zip(ends[:-1], ends[1:], inner, strict=True)
        return make([build(leaves[a:b]) for a, b, (_, build) in pieces])

    return [leaf for found, _ in inner for leaf in found], rebuild
