"""Per-example vector–Jacobian and Jacobian–vector products of one module call, as a function of its parameters.

All examples at once, element by element (`layers/elementwise.py`) or by `vmap`, except for modules whose control flow
depends on data, that write into their own buffers, or that use an operation with a wrong batching rule: there a loop
over cotangents or over examples.
`vmap_fallback.py` selects the strategy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

from memorymaps.nets.autograd.hooks import ROOT_MODULE, OwnerCall, ParameterOwner, submodule
from memorymaps.nets.autograd.layers.elementwise import elementwise_jvp, elementwise_vjp
from memorymaps.nets.autograd.layers.group_norm import ContiguousGroupNorms
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.parameter_owners import has_batch_axis

Tensors = dict[str, Tensor]
OutputFunction = Callable[[Tensors], Tensor]  # output of one call as a function of its parameters


def per_example_vjp(network: Network, call: OwnerCall, local: Tensors, g: Tensor, rows: slice) -> Tensors:
    """Gradients `{name: G [n', k, …]}` of one call for cotangents `g [n', k, …]`, by the owner's strategy."""
    if call.owner.strategy == "elementwise":
        return elementwise_vjp(local, _outputs_of(network, call, rows), g)
    vjp_strategy = {"vmap": _vjp_vmap, "loop over cotangents": _vjp_loop, "loop over examples": _vjp_autograd}[
        call.owner.strategy
    ]
    found: Tensors = _map_over_examples(network, call, functools.partial(vjp_strategy, local), g, rows)
    return found


def _vjp_vmap(local: Tensors, outputs: OutputFunction, cotangents: Tensor) -> Tensors:
    _, pull_back = vjp(outputs, local)
    found: Tensors = vmap(lambda cotangent: pull_back(cotangent[None])[0])(cotangents)
    return found


def _vjp_loop(local: Tensors, outputs: OutputFunction, cotangents: Tensor) -> Tensors:
    """The same by a loop over cotangents: under two nested `vmap`s torch's gradient of PReLU is wrong."""
    _, pull_back = vjp(outputs, local)
    found: Tensors = _stack_results([pull_back(cotangent[None])[0] for cotangent in cotangents])
    return found


def _vjp_autograd(local: Tensors, outputs: OutputFunction, cotangents: Tensor) -> Tensors:
    """The same by `torch.autograd.grad`, where `torch.func` raises: packed sequences, `autograd.Function`s."""
    with torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in local.items()}
        out = outputs(leaves)
    each = (_gradients(out, leaves, cotangent[None]) for cotangent in cotangents)
    return {name: torch.stack(found) for name, found in zip(local, zip(*each, strict=True), strict=True)}


def _gradients(out: Tensor, leaves: Tensors, cotangent: Tensor, **options: Any) -> Sequence[Tensor]:
    found: Sequence[Tensor] = torch.autograd.grad(
        out, list(leaves.values()), cotangent, retain_graph=True, materialize_grads=True, allow_unused=True, **options
    )
    return found


def per_example_jvp(network: Network, call: OwnerCall, local: Tensors, tangents: Tensors, rows: slice) -> Tensor:
    """Output tangents `[n', …]` of one call for parameter tangents `{name: [n', …]}`, example by example."""
    if call.owner.strategy == "elementwise":
        shape = torch.Size((len(next(iter(tangents.values()))), *call.shape[1:]))
        return elementwise_jvp(local, _outputs_of(network, call, rows), tangents, shape)
    jvp_strategy = _jvp_double_backward if call.owner.strategy == "loop over examples" else _jvp_forward
    found: Tensor = _map_over_examples(network, call, functools.partial(jvp_strategy, local), tangents, rows)
    return found


def _jvp_forward(local: Tensors, outputs: OutputFunction, tangent: Tensors) -> Tensor:
    out: Tensor = jvp(outputs, (local,), (tangent,))[1][0]
    return out


def _jvp_double_backward(local: Tensors, outputs: OutputFunction, tangent: Tensors) -> Tensor:
    """The same by double backward, for operations without forward-mode derivatives."""
    with torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in local.items()}
        out = outputs(leaves)
        cotangent = torch.zeros_like(out, requires_grad=True)
        gradient = torch.cat([each.reshape(-1) for each in _gradients(out, leaves, cotangent, create_graph=True)])
    vectors = torch.cat([tangent[name].reshape(-1) for name in local])
    found: Tensor = torch.autograd.grad(gradient, cotangent, vectors)[0][0]
    return found


def _map_over_examples(network: Network, call: OwnerCall, function: Any, vectors: Any, rows: slice) -> Any:
    """Map `function(outputs, vectors[i])` over examples, the call's output being a function of its parameters."""
    flat, dims, rebuild = _batched_leaves(call)

    def one_example(leaves: list[Any], vector: Any) -> Any:
        args, kwargs = rebuild([leaf[None] if dim == 0 else leaf for leaf, dim in zip(leaves, dims, strict=True)])
        return function(lambda parameters: _call_with_parameters(network, call.owner, parameters, args, kwargs), vector)

    selected = [leaf[rows] if dim == 0 else leaf for leaf, dim in zip(flat, dims, strict=True)]
    over_examples = _loop_over_examples if call.owner.strategy == "loop over examples" else vmap
    with torch.no_grad():
        return over_examples(one_example, in_dims=(dims, 0))(selected, vectors)


def _batched_leaves(call: OwnerCall) -> tuple[list[Any], list[int | None], Any]:
    """Leaves of a call's arguments, the axis of examples of each (None without), and what rebuilds the arguments."""
    flat, rebuild = tree_flatten((call.args, call.kwargs))
    return (
        flat,
        [
            0 if has_batch_axis(leaf, call.shape[0]) and position not in call.owner.unbatched else None
            for position, leaf in enumerate(flat)
        ],
        rebuild,
    )


def _outputs_of(network: Network, call: OwnerCall, rows: slice) -> OutputFunction:
    """The call's output for some examples at once, `[n', …]`, as a function of its parameters."""
    flat, dims, rebuild = _batched_leaves(call)
    args, kwargs = rebuild([leaf[rows] if dim == 0 else leaf for leaf, dim in zip(flat, dims, strict=True)])
    return lambda parameters: _call_with_parameters(network, call.owner, parameters, args, kwargs)


def _loop_over_examples(function: Callable[..., Any], in_dims: tuple[Sequence[int | None], int]) -> Callable[..., Any]:
    """The same result as `vmap(function, in_dims)`, by a loop over examples."""

    def looped(selected: Sequence[Any], vectors: Any) -> Any:
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        each = []
        for i in range(len(next(iter(named.values())))):
            leaves = [leaf if dim is None else leaf[i] for leaf, dim in zip(selected, in_dims[0], strict=True)]
            vector = {name: value[i] for name, value in named.items()}
            each.append(function(leaves, vector if vectors is named else vector[""]))
        return _stack_results(each)

    return looped


def _stack_results(each: Sequence[Any]) -> Any:
    if isinstance(each[0], Tensor):
        return torch.stack(list(each))
    return {name: torch.stack([found[name] for found in each]) for name in each[0]}


def _call_with_parameters(
    network: Network, owner: ParameterOwner, parameters: Tensors, args: Any, kwargs: Any
) -> Tensor:
    if owner.module != ROOT_MODULE:
        with ContiguousGroupNorms():
            out: Tensor = functional_call(submodule(network, owner), parameters, args, kwargs, tie_weights=False)
        return out
    return functional_forward(network, parameters, args[0])


def functional_forward(network: Network, parameters: Tensors, inputs: Any) -> Tensor:
    """Outputs `f [n, c]` at other parameters, through the user's own `forward`; equals `torch.func.functional_call`."""
    wrapped = _ForwardModule(network)
    named = {f"module.{name}": value for name, value in parameters.items()}
    with ContiguousGroupNorms():
        out: Tensor = functional_call(wrapped, named, (inputs,))
    out = out.to(next(network.module.parameters()).dtype)
    return out[:, None] if out.ndim == 1 else out


class _ForwardModule(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The user's forward function as a module, so that `functional_call` can replace its parameters."""

    def __init__(self, network: Network):
        super().__init__()
        self.module, self._call = network.module, network.forward

    def forward(self, inputs: Any) -> Tensor:
        return self._call(self.module, inputs)


def tree_flatten(tree: Any) -> tuple[list[Any], Any]:
    """Leaves of nested tuples and mappings, and the function that rebuilds the tree from leaves."""
    if isinstance(tree, Mapping):
        keys, inner = list(tree), [tree_flatten(value) for value in tree.values()]
        return _flatten_children(inner, lambda values: dict(zip(keys, values, strict=True)))
    if isinstance(tree, (tuple, list)):
        return _flatten_children([tree_flatten(value) for value in tree], tuple)
    return [tree], lambda leaves: leaves[0]


def _flatten_children(inner: list[tuple[list[Any], Any]], make: Any) -> tuple[list[Any], Any]:
    sizes = [len(found) for found, _ in inner]

    def rebuild(leaves: list[Any]) -> Any:
        ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
        pieces = zip(ends[:-1], ends[1:], inner, strict=True)
        return make([build(leaves[a:b]) for a, b, (_, build) in pieces])

    return [leaf for found, _ in inner for leaf in found], rebuild
