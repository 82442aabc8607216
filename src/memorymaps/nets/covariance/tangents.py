"""What `S⁻¹` makes of a batch's gradients: variances along its directions, and the moves of every layer's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import parts_of
from memorymaps.nets.autograd.hooks import Call
from memorymaps.nets.autograd.outer_product import Outer
from memorymaps.nets.autograd.parameter_blocks import Group
from memorymaps.nets.autograd.per_example_gradients import Batch
from memorymaps.nets.covariance.block_diagonal import Spreading, gradient
from memorymaps.nets.covariance.block_precision import Joined, Part, Rotated
from memorymaps.nets.covariance.kronecker_quadratic import Turned

Moved = list[tuple[Call, Tensor]]  # moves of the calls' outputs


@dataclass(frozen=True)
class Spread:
    """A batch before `S⁻¹`; `turned` holds the gradients that are already in the basis of their group's precision."""

    covariance: Spreading
    batch: Batch
    turned: tuple[Turned | None, ...]

    @classmethod
    def of(cls, covariance: Spreading, batch: Batch) -> Spread:
        """Turn what is asked about twice."""
        return cls(covariance, batch, tuple(_turned(covariance, batch, *pair) for pair in covariance.pairs()))

    def variance(self) -> Tensor:
        """`V [n, k, k]`, in double precision."""
        n, k = len(self.batch.f), len(self.batch.g[0])
        if not self.covariance.independent:
            return self.covariance.variance(self.batch, k)
        pieces = (
            part.variance(gradient(self.batch, group), n, k) if turned is None else turned.variance()
            for (group, part), turned in self._pairs()
        )
        return torch.stack([piece.detach().double() for piece in pieces]).sum(0)

    def moved(self, share: Tensor) -> Moved:
        """`S⁻¹J_iᵀD_i s_i` as moves of the calls' outputs, for every example's shares `s [n, k]` of its directions."""
        if not self.covariance.independent:
            return _moved_densely(self.covariance, self.batch.shared(share))
        found: Moved = []
        for (group, part), turned in self._pairs():
            if turned is None:
                found += _moved(self.batch.shared(share), group, part)
            else:
                found += self.batch.placed(group.blocks[0], turned.moved(share))
        return found

    def _pairs(self) -> Any:
        return zip(self.covariance.pairs(), self.turned, strict=True)


def _turned(covariance: Spreading, batch: Batch, group: Group, part: Part) -> Turned | None:
    """Sums of outer products under a precision that is diagonal in a basis; `None` for all that is made anew."""
    if not covariance.independent or not isinstance(part, Rotated):
        return None
    found = gradient(batch, group)
    return Turned.of(found, part.precision, part.left, part.right) if isinstance(found, Outer) else None


def _moved(batch: Batch, group: Group, part: Part) -> Moved:
    """The moves of one independent part, for a batch along one direction."""
    each = gradient(batch, group)
    rows = parts_of(len(batch.f), 4 * group.size)
    return _placed(batch, (group,), [[_pushed(each, part.solve(each.dense(r)[:, 0]), r)] for r in rows])


def _moved_densely(covariance: Spreading, batch: Batch) -> Moved:
    joined = [gradient(batch, group) for group in covariance.groups]
    found: list[list[Any]] = []
    for rows in parts_of(len(batch.f), 4 * covariance.size):
        moves = covariance.solve(torch.cat([each.dense(rows)[:, 0] for each in joined], dim=-1))
        pieces = torch.split(moves, [group.size for group in covariance.groups], dim=-1)
        found.append([_pushed(each, piece, rows) for each, piece in zip(joined, pieces, strict=True)])
    return _placed(batch, covariance.groups, found)


def _pushed(each: Any, moves: Tensor, rows: slice) -> list[Any]:
    """Moves `[n', q]` of a group's parameters as moves of its blocks' outputs, one entry a block."""
    found = each.moved(moves, rows)
    return found if isinstance(each, Joined) else [found]


def _placed(batch: Batch, groups: Sequence[Group], found: list[list[list[Any]]]) -> Moved:
    """Slices of a batch joined again, block by block, in the shape of the calls."""
    blocks = [block for group in groups for block in group.blocks]
    flat = [[moved for group in slices for moved in group] for slices in found]
    return [
        placed for block, parts in zip(blocks, zip(*flat, strict=True), strict=True)
        for placed in batch.placed(block, _joined_rows(parts))
    ]  # fmt: skip


def _joined_rows(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return [torch.cat(list(each)) for each in zip(*parts, strict=True)]
