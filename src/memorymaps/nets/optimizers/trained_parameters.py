"""Which parameter of an optimizer belongs to which of a network: the same objects, or those of a copy.

A copy is an averaged model (`AveragedModel`), a reloaded or a deep-copied one: its parameters are other objects than
those in the optimizer, with the same names, in the same order and of the same shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

_PREFIXES = ("_orig_mod.", "module.")  # of torch.compile, and of DataParallel and AveragedModel
_T = TypeVar("_T")


@dataclass(frozen=True)
class TrainedParameters:
    """The parameters of an optimizer: `id`, shape and, where the optimizer was made with `named_parameters()`, name.

    Examples
    --------
    >>> import copy, torch
    >>> net = torch.nn.Linear(2, 1)
    >>> trained = TrainedParameters.of(torch.optim.SGD(net.parameters(), lr=0.1))
    >>> other = copy.deepcopy(net)
    >>> how, values = trained.matched({id(net.weight): "w", id(net.bias): "b"}, other)
    >>> how, values[id(other.bias)]
    ('by order and shape', 'b')
    """

    ids: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]  # empty where they are not known
    one_group: bool

    @classmethod
    def of(cls, optimizer: Any) -> TrainedParameters:
        """The parameters of a `torch.optim.Optimizer`, in its order."""
        groups = optimizer.param_groups
        parameters = [p for group in groups for p in group["params"]]
        names = [_plain_name(name) for group in groups for name in group.get("param_names", ())]
        return cls(
            tuple(id(p) for p in parameters),
            tuple(tuple(p.shape) for p in parameters),
            tuple(names) if len(names) == len(parameters) else (),
            len(groups) == 1,
        )

    def matched(self, values: Mapping[int, _T], module: nn.Module) -> tuple[str, dict[int, _T]]:
        """Values by the optimizer's parameters as values by the network's, and how they were matched.

        How is `""` for the optimizer's own network; nothing is returned for a network that it cannot belong to.
        """
        own = dict(module.named_parameters())
        if {id(p) for p in own.values()} & set(self.ids):
            return "", dict(values)
        how, pairs = self._pairs(own)
        return how, {id(own[name]): values[key] for key, name in pairs.items() if key in values}

    def _pairs(self, own: Mapping[str, nn.Parameter]) -> tuple[str, dict[int, str]]:
        """`id` in the optimizer → name in the network."""
        shapes = {name: tuple(p.shape) for name, p in own.items()}
        if self.names:
            same = all(shapes.get(name) == shape for name, shape in zip(self.names, self.shapes, strict=True))
            return "by name", dict(zip(self.ids, self.names, strict=True)) if same else {}
        trainable = [name for name, p in own.items() if p.requires_grad]
        for names in (list(own), trainable):
            if self.one_group and tuple(shapes[name] for name in names) == self.shapes:
                return "by order and shape", dict(zip(self.ids, names, strict=True))
        return "", {}


def _plain_name(name: str) -> str:
    """Without what wrappers put before it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
