"""What every curvature structure shares: a curvature before a prior, and the pass over the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.autograd.batch_size import look
from memorymaps.nets.autograd.parameter_blocks import Group
from memorymaps.nets.covariance.block_diagonal import Covariance, Spreading, gradient
from memorymaps.nets.covariance.block_precision import Rotated
from memorymaps.nets.covariance.woodbury import Woodbury
from memorymaps.nets.curvature.accumulators import Curvature
from memorymaps.nets.output_fisher import ROOTS
from memorymaps.nets.problem import Setting

Deltas = dict[str, Tensor]  # prior precisions by parameter


S = TypeVar("S", bound=Spreading)


@dataclass(frozen=True)
class Held(Generic[S]):
    """A structure's curvature before a prior: `build(δ)` is the covariance, `share` how much of its trace is exact.

    `bounded` says whether it holds each example's own `J_iᵀΛ_iJ_i` and nothing negative, so that `ΛV` stays below 1.
    """

    build: Callable[[Deltas], S]
    notes: tuple[str, ...] = ()
    share: float = 0.0
    bounded: bool = True


def _streamed(groups: tuple[Group, ...], made: list[Curvature], share: float = 0.0) -> Held[Covariance]:
    def build(deltas: Deltas) -> Covariance:
        parts = (c.part(group.pack(deltas)) for c, group in zip(made, groups, strict=True))
        return Covariance(groups, tuple(parts))

    return Held(build, (), share)


def _directions(setting: Setting, batch: Batch, weight: Tensor) -> Callable[[Tensor, slice], Tensor]:
    """Root directions of `wΛ` for the rows of a batch: `[k, n, c]`."""
    root, y = ROOTS[setting.recipe.fisher], setting.target(batch)

    def directions(f: Tensor, rows: slice) -> Tensor:
        return root(setting.network.likelihood, f, y[rows]) * weight[rows, None].sqrt()

    return directions


Weight = Callable[[Batch], Tensor]


def _stream(setting: Setting, groups: tuple[Group, ...], made: list[Curvature], weight: Weight | None = None) -> None:
    """One pass: every group's curvature takes in the data along the root directions of `wΛ`."""
    for batch in setting.examples:
        directions = _directions(setting, batch, (weight or setting.weights)(batch))

        def work(x: Any, part: slice, directions: Any = directions) -> list[Any]:
            seen = look(setting.network, setting.owners, x, part, directions)
            k = len(seen.g[0])
            return [c.measure(gradient(seen, g), len(seen.f), k) for c, g in zip(made, groups, strict=True)]

        for measured in setting.size.run(batch.inputs, work):
            for curvature, increment in zip(made, measured, strict=True):
                curvature.take_in(increment)


def _prior_only(setting: Setting, deltas: Deltas) -> Covariance:
    return Covariance(setting.separate, tuple(Rotated(group.pack(deltas)) for group in setting.separate))


def _with_rows(base: Covariance, rows: Tensor) -> Covariance:
    return Covariance(base.groups, base.parts, Woodbury.of(base.whiten(rows)))


def _exact_rows(setting: Setting, batch: Batch) -> Tensor:
    """Rows `√w L_iᵀ J_i [n·k, P]`."""
    directions = _directions(setting, batch, setting.weights(batch))

    def work(x: Any, part: slice) -> Tensor:
        seen = look(setting.network, setting.owners, x, part, directions)
        pieces = [gradient(seen, group).dense(slice(None)) for group in setting.separate]
        return torch.cat(pieces, dim=-1).flatten(0, 1).detach()

    return torch.cat(list(setting.size.run(batch.inputs, work)))
