"""Assignment of each covered parameter to the modules at whose outputs its gradient is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from memorymaps.nets.autograd.hooks import ROOT_MODULE, ForwardHooks, ParameterOwner
from memorymaps.nets.autograd.layers.attention import projection_parameter_path
from memorymaps.nets.autograd.network import Network
from memorymaps.nets.autograd.pytree import length, take_rows, tree_map


def find_owners(network: Network, inputs: Any, covered: Sequence[str]) -> tuple[ParameterOwner, ...]:
    """For each covered parameter, its smallest enclosing modules whose output has a batch axis; several if it is tied.

    A parameter that is used outside its own module (attention's output projection) belongs to the calling module, and
    so does one whose module returns one value for the whole batch (a position embedding added to every example).
    """
    called = _modules_with_batch_axis(network, inputs) | {ROOT_MODULE}
    canonical = {id(value): name for name, value in network.module.named_parameters()}
    owners: dict[str, dict[str, str]] = {}
    for path, value in _parameter_paths(network, called).items():
        name = canonical[id(value)]
        if name in covered:
            module = _enclosing_module(path, called)
            owners.setdefault(module, {})[path.removeprefix(module + ".") if module else path] = name
    return _drop_nested_owners(tuple(ParameterOwner(module, parameters) for module, parameters in owners.items()))


def _parameter_paths(network: Network, called: set[str]) -> dict[str, nn.Parameter]:
    """Paths of all parameters; attention's input projection under the projection layer where that is called."""
    paths = dict(network.module.named_parameters(remove_duplicate=False))
    for path in list(paths):
        layer_path = projection_parameter_path(path)
        if layer_path != path and layer_path in paths:
            del paths[path if layer_path.rpartition(".")[0] in called else layer_path]
    return paths


def _modules_with_batch_axis(network: Network, inputs: Any) -> set[str]:
    """Modules all of whose calls return one tensor with a row per example.

    Tested with two batch sizes: the length of a table of positions may equal one of them by chance.
    """
    found = [_modules_batched_on(network, batch) for batch in (inputs, other_batch_size(inputs))]
    return found[0] & found[1]


def _modules_batched_on(network: Network, batch: Any) -> set[str]:
    names = [name for name, _ in network.module.named_modules()]
    with torch.no_grad(), ForwardHooks(network, names) as recorded:
        network.outputs(batch)
    without_batch_axis = {
        record.name for record in recorded if record.shape is None or record.shape[:1] != (length(batch),)
    }
    return {record.name for record in recorded} - without_batch_axis


def other_batch_size(inputs: Any) -> Any:
    """The same inputs with another batch size: all examples but the last; a single one twice."""
    n = length(inputs)
    if n > 1:
        return take_rows(inputs, slice(0, n - 1))
    return tree_map(lambda leaf: torch.cat([leaf, leaf]) if has_batch_axis(leaf, n) else leaf, inputs)


def has_batch_axis(leaf: Any, n: int) -> bool:
    """Whether the first axis of a leaf has length `n`, the number of examples."""
    return isinstance(leaf, Tensor) and leaf.shape[:1] == (n,)


def _enclosing_module(path: str, called: set[str]) -> str:
    module = path.rpartition(".")[0]
    while module not in called:
        module = module.rpartition(".")[0]
    return module


def _drop_nested_owners(owners: tuple[ParameterOwner, ...]) -> tuple[ParameterOwner, ...]:
    """Drop a parameter from owners that lie inside another owner of it, where it is already counted."""

    def is_nested(owner: ParameterOwner, name: str) -> bool:
        others = (other.module for other in owners if name in other.parameters.values())
        return any(
            owner.module != module and (module == ROOT_MODULE or owner.module.startswith(module + "."))
            for module in others
        )

    remaining = (
        ParameterOwner(o.module, {local: name for local, name in o.parameters.items() if not is_nested(o, name)})
        for o in owners
    )
    return tuple(owner for owner in remaining if owner.parameters)
