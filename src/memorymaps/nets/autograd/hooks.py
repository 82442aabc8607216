"""Layer inputs and output cotangents of a network, by forward hooks and reverse passes.

One forward pass with hooks records each layer's inputs and the *gradient edge* of its output (an edge survives
in-place activations, the tensor does not). Reverse passes then give the cotangents `g` at every edge; the gradients
of parameters follow locally, without a Jacobian of the whole network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from memorymaps.nets.autograd.cotangents import Cotangents
from memorymaps.nets.autograd.finite_checks import all_finite, check_rows
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.pytree import leaves, tree_map

Strategy = Literal["elementwise", "vmap", "loop over cotangents", "loop over examples"]

ROOT_MODULE = ""  # name of the whole network among its modules


@dataclass(frozen=True)
class ParameterOwner:
    """A module and the parameters whose gradients are computed from its output.

    `parameters` maps names within the module to names within the network; a tied parameter has several owners.
    `strategy` is how per-example products are computed for it: `"elementwise"` (`layers/elementwise.py`), `"vmap"` over
    examples and directions, `"loop over cotangents"` (vmap over examples only) or `"loop over examples"`. `unbatched`
    are the flat positions of arguments without a batch axis (`vmap_fallback.py`).
    """

    module: str
    parameters: Mapping[str, str]
    strategy: Strategy = "vmap"
    unbatched: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RecordedCall:
    """Inputs, output shape and gradient edge of one module call.

    Copied in the hook, because an in-place activation may change the output later.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shape: torch.Size | None
    edge: GradientEdge | None
    versions: tuple[int, ...]

    @classmethod
    def of(cls, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> RecordedCall:
        """From the arguments of a forward hook."""
        single = _single_tensor(out)
        edge = get_gradient_edge(out) if single and out.requires_grad else None
        return cls(name, args, kwargs, out.shape if single else None, edge, _versions(args, kwargs))

    def check_unchanged(self) -> None:
        """Raise `RuntimeError` if the network has modified this layer's input in place since the call."""
        if _versions(self.args, self.kwargs) != self.versions:
            raise RuntimeError(
                f"the input of {self.name!r} is changed in place after the layer has used it: "
                "use an activation with inplace=False there"
            )


def _versions(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(leaf._version for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor))


@dataclass(frozen=True)
class OwnerCall:
    """One differentiable call of an owner: its arguments (detached), and edge and shape of its output."""

    owner: ParameterOwner
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    edge: GradientEdge
    shape: torch.Size


def _single_tensor(out: Any) -> bool:
    return isinstance(out, Tensor) and out.is_floating_point()


class ForwardHooks:
    """Context: forward hooks on the named modules; gives the list that calls are appended to."""

    def __init__(self, network: Network, names: Sequence[str]):
        self._network, self._names = network, set(names)

    def __enter__(self) -> list[RecordedCall]:
        recorded: list[RecordedCall] = []

        def hook(name: str) -> Any:
            return lambda module, args, kwargs, out: recorded.append(RecordedCall.of(name, args, kwargs, out))

        found = [(name, child) for name, child in self._network.module.named_modules() if name in self._names]
        self._handles = [child.register_forward_hook(hook(name), with_kwargs=True) for name, child in found]
        return recorded

    def __exit__(self, *_: Any) -> None:
        for handle in self._handles:
            handle.remove()


def record_forward(network: Network, inputs: Any, owners: Sequence[ParameterOwner]) -> tuple[Tensor, list[OwnerCall]]:
    """One forward pass: outputs `f [n, c]` and the calls of every owner, in order.

    Raises
    ------
    RuntimeError
        An owner's output requires no gradient (it runs under `no_grad`).
    """
    by_name = {owner.module: owner for owner in owners}
    with torch.enable_grad(), ForwardHooks(network, [name for name in by_name if name != ROOT_MODULE]) as recorded:
        f = network.outputs(inputs)
    if ROOT_MODULE in by_name:
        recorded.append(RecordedCall.of(ROOT_MODULE, (inputs,), {}, f))
    return f, [_owner_call(by_name[record.name], record, f.dtype) for record in recorded]


def _owner_call(owner: ParameterOwner, recorded: RecordedCall, dtype: torch.dtype) -> OwnerCall:
    recorded.check_unchanged()
    if recorded.edge is None or recorded.shape is None:
        raise RuntimeError(
            f"the output of {owner.module!r} carries no gradient although {list(owner.parameters.values())} require "
            "one: it runs under no_grad. Exclude it: Laplace(subset=[...])"
        )
    args, kwargs = (
        tree_map(lambda leaf: _detached(leaf, dtype), each) for each in (recorded.args, dict(recorded.kwargs))
    )
    return OwnerCall(owner, args, kwargs, recorded.edge, recorded.shape)


def _detached(leaf: Any, dtype: torch.dtype) -> Any:
    """Detached, and in the parameters' dtype (autocast may have lowered it)."""
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.detach().to(dtype) if leaf.is_floating_point() else leaf.detach()


def backward_cotangents(f: Tensor, calls: Sequence[OwnerCall], directions: Tensor) -> list[Cotangents]:
    """Cotangents `g [n, …]` at the output of every call, for `directions [k, n, c]` at the network's output.

    Raises
    ------
    DataError
        They are not finite.
    """
    last = len(directions) - 1
    return _stack_passes(calls, [_reverse_pass(f, calls, d, row < last) for row, d in enumerate(directions)])


def differentiable_cotangents(
    f: Tensor, calls: Sequence[OwnerCall], cotangent: Tensor, others: Sequence[Tensor]
) -> tuple[list[Tensor], Any]:
    """Cotangents for a direction `cotangent [n, c]` that requires a gradient, and for `others`.

    Returns the first direction's cotangents as differentiable functions of it (for layers that autograd can
    differentiate twice) and the `Cotangents` of all directions at every call.
    """
    gradients = torch.autograd.grad(f, [call.edge for call in calls], cotangent, create_graph=True, allow_unused=True)
    call_cotangents = [f.new_zeros(call.shape) if g is None else g for call, g in zip(calls, gradients, strict=True)]
    first = [g.detach().to(f.dtype) for g in call_cotangents]
    return call_cotangents, _stack_passes(calls, [first, *(_reverse_pass(f, calls, other, True) for other in others)])


def _stack_passes(calls: Sequence[OwnerCall], passes: Sequence[Sequence[Tensor]]) -> list[Cotangents]:
    """Regroup reverse passes as the `Cotangents` of every call; raises `DataError` if one is not finite."""
    found = [Cotangents(cotangents) for cotangents in zip(*passes, strict=True)]
    if not all_finite(cotangent for cotangents in found for cotangent in cotangents.tensors):
        for call, cotangents in zip(calls, found, strict=True):
            what = f"gradients at the output of {call.owner.module or 'the network'!r} are"
            check_rows(torch.stack(cotangents.tensors, 1), what, tuple(call.owner.parameters.values()))
    return found


def _reverse_pass(f: Tensor, calls: Sequence[OwnerCall], direction: Tensor, retain_graph: bool) -> list[Tensor]:
    edges = [call.edge for call in calls]
    found = torch.autograd.grad(f, edges, direction, retain_graph=retain_graph, allow_unused=True)
    return [f.new_zeros(call.shape) if g is None else g.to(f.dtype) for call, g in zip(calls, found, strict=True)]


def one_hot_directions(f: Tensor) -> Tensor:
    """One-hot directions `[c, n, c]`, one for each output."""
    n, c = f.shape
    return torch.eye(c, dtype=f.dtype, device=f.device)[:, None].expand(c, n, c)


def submodule(network: Network, owner: ParameterOwner) -> nn.Module:
    """The module of an owner."""
    return network.module.get_submodule(owner.module)
