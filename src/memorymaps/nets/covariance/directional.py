"""A batch along directions: one forward pass and one turning of the gradients answer every question about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.batch_size import numpy
from memorymaps.nets.autograd.hooks import attached, record
from memorymaps.nets.autograd.network import evaluating
from memorymaps.nets.autograd.per_example_gradients import Batch
from memorymaps.nets.autograd.pytree import length
from memorymaps.nets.covariance.block_diagonal import Spreading
from memorymaps.nets.covariance.tangents import Spread
from memorymaps.nets.problem import Setting

Choose = Callable[[Array, slice], Array]


@dataclass(frozen=True)
class Sight:
    """A part of a batch along its directions.

    The cotangents `pull` of the first direction `lane` stay functions of it. As they are linear in it, their own
    reverse pass with moves `δ` put in at the calls is the forward-mode product `Σ J_call δ`, whatever the direction.
    """

    spread: Spread
    directions: Array
    lane: Tensor
    pull: dict[int, Tensor]

    @classmethod
    def of(cls, setting: Setting, covariance: Spreading, inputs: Any, choose: Callable[[Array], Array]) -> Sight:
        """One forward pass, and one reverse pass for each direction that is chosen at its outputs."""
        f, calls = record(setting.network, setting.network.place(inputs), setting.owners)
        chosen = choose(numpy(f))
        lane, *others = torch.as_tensor(chosen).permute(2, 0, 1).to(f)
        lane = lane.clone().requires_grad_()
        pull, g = attached(f, calls, lane, others)
        batch = Batch(setting.network, f.detach(), tuple(calls), tuple(g))
        named = {id(call): each for call, each in zip(calls, pull, strict=True)}
        return cls(Spread.of(covariance, batch), chosen, lane, named)

    @property
    def f(self) -> Array:
        """`f [n, c]`."""
        return numpy(self.spread.batch.f)

    def gram(self) -> Array:
        """`DᵀVD [n, k, k]`."""
        return numpy(self.spread.variance())

    def respond(self, share: Array) -> Array:
        """`V D s [n, c]`: one solve and the reverse pass of a reverse pass."""
        moved = self.spread.moved(torch.as_tensor(share).to(self.lane))
        pairs = [(self.pull[id(call)], move.to(self.lane.dtype)) for call, move in moved]
        found = torch.autograd.grad([a for a, _ in pairs], self.lane, [b for _, b in pairs], retain_graph=True)
        return numpy(found[0])


@dataclass(frozen=True)
class BatchAlong:
    """A batch along its directions; it keeps what it has seen of a batch that was looked at in one part."""

    setting: Setting
    covariance: Spreading
    inputs: Any
    f: Array
    directions: Array
    gram: Array
    _kept: list[Sight] = field(default_factory=list)

    @classmethod
    def of(cls, setting: Setting, covariance: Spreading, inputs: Any, choose: Choose) -> BatchAlong:
        """Outputs, directions and `DᵀVD`, part by part."""
        whole, kept = slice(0, length(inputs)), []

        def work(x: Any, part: slice) -> tuple[Array, Array, Array]:
            sight = Sight.of(setting, covariance, x, lambda f: choose(f, part))
            kept.extend([sight] * (part == whole))
            return sight.f, sight.directions, sight.gram()

        with evaluating(setting.network.module):
            found = zip(*setting.size.run(inputs, work), strict=True)
            f, directions, gram = map(_joined, found)
        return cls(setting, covariance, inputs, f, directions, gram, kept)

    def respond(self, share: Array) -> Array:
        """`V D s [n, c]` for shares `s [n, k]` of the directions."""

        def work(x: Any, part: slice) -> Array:
            return self._sight(x, part).respond(share[part])

        with evaluating(self.setting.network.module):
            return _joined(list(self.setting.size.run(self.inputs, work)))

    def _sight(self, x: Any, part: slice) -> Sight:
        """What was kept; a part of it, after memory ran out, is looked at anew."""
        if part != slice(0, len(self.f)):
            self._kept.clear()
        return (
            self._kept[0] if self._kept else Sight.of(self.setting, self.covariance, x, lambda _: self.directions[part])
        )


def _joined(pieces: Sequence[Array]) -> Array:
    """Parts one below the other; a single one as it is."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
