"""Which parameter of an optimizer belongs to which of a network: the same objects, or those of a copy.

A copy is an averaged model (`AveragedModel`), a reloaded or a deep-copied one: its parameters are other objects than
those in the optimizer, with the same names, in the same order and of the same shapes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from memorymaps.nets.distributed.unsharding import whole

_PREFIXES = ("_orig_mod.", "module.")  # of torch.compile, and of DataParallel and AveragedModel
# Cosine between the matrices of a network and of its copy from which on it is taken for one. Measured over 1,000 steps
# of 15 trainings (benchmarks/networks/copied.py): averages with decay 0.9 to 0.999 at least 0.45, checkpoints from half
# of the steps on 0.78; networks of another seed at most 0.08, and with vectors 0.68: gains of norms start as ones. Of
# few numbers P, chance has a standard deviation of 1/√P.
_SIMILAR, _DEVIATIONS, _SURE = 0.3, 4.0, 0.9
_T = TypeVar("_T")


@dataclass(frozen=True)
class TrainedParameters:
    """The parameters of an optimizer and, where it was made with `named_parameters()`, their names.

    A network of the same shapes is taken for a copy if its matrices (all parameters, if it has none) point the same
    way, `cos > 0.3` (of less than 178 numbers `4/√P`, at most 0.9). Averages and checkpoints of a run do, networks from
    other first weights do not, and those from the same first weights that were trained apart may.

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

    parameters: tuple[Tensor, ...] = field(repr=False, compare=False)
    names: tuple[str, ...]  # empty where they are not known
    one_group: bool

    @classmethod
    def of(cls, optimizer: Any) -> TrainedParameters:
        """The parameters of a `torch.optim.Optimizer`, in its order."""
        groups = optimizer.param_groups
        parameters = [p for group in groups for p in group["params"]]
        names = [_plain_name(name) for group in groups for name in group.get("param_names", ())]
        return cls(tuple(parameters), tuple(names) if len(names) == len(parameters) else (), len(groups) == 1)

    def matched(self, values: Mapping[int, _T], module: nn.Module) -> tuple[str, dict[int, _T]]:
        """Values by the optimizer's parameters as values by the network's, and how they were matched.

        How is `""` for the optimizer's own network; nothing is returned for a network that it cannot belong to.
        """
        own = dict(module.named_parameters())
        if {id(p) for p in own.values()} & {id(p) for p in self.parameters}:
            return "", dict(values)
        how, names = self._names(own)
        if not names or not self._similar([own[name] for name in names]):
            return "", {}
        pairs = zip(self.parameters, names, strict=True)
        return how, {id(own[name]): values[id(theirs)] for theirs, name in pairs if id(theirs) in values}

    def _names(self, own: Mapping[str, nn.Parameter]) -> tuple[str, list[str]]:
        """Names in the network of the optimizer's parameters, in its order; none where they cannot belong to it."""
        shapes, wanted = {name: p.shape for name, p in own.items()}, [p.shape for p in self.parameters]
        if self.names:
            same = [shapes.get(name) for name in self.names] == wanted
            return "by name", list(self.names) if same else []
        trainable = [name for name, p in own.items() if p.requires_grad]
        for names in (list(own), trainable):
            if self.one_group and [shapes[name] for name in names] == wanted:
                return "by order and shape", names
        return "", []

    def _similar(self, own: list[nn.Parameter]) -> bool:
        axes = min(2, max((p.ndim for p in own), default=0))
        a, b = (
            torch.cat([whole(p.detach()).double().cpu().flatten() for p in each if p.ndim >= axes])
            for each in (self.parameters, own)
        )
        least = min(_SURE, max(_SIMILAR, _DEVIATIONS / math.sqrt(max(1, len(a)))))
        return bool(torch.dot(a, b) > least * a.norm() * b.norm())


def _plain_name(name: str) -> str:
    """Without what wrappers put before it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
