"""`S⁻¹` of a network's parameters: independent parts, and exact rows that may tie them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets import outer
from memorymaps.nets.gradients import Batch, Outer, parts_of
from memorymaps.nets.parts import Dense, Group, Joined, Part, Rotated
from memorymaps.nets.tape import Call
from memorymaps.nets.woodbury import Woodbury


@dataclass(frozen=True)
class Covariance:
    """`S⁻¹` over groups of blocks: independent parts, plus exact rows that may tie them together."""

    groups: tuple[Group, ...]
    parts: tuple[Part, ...]
    exact: Woodbury | None = None

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(group.size for group in self.groups)

    def variance(self, batch: Batch, k: int) -> Tensor:
        """`V [n, k, k]`, in double precision."""
        n = len(batch.f)
        if self.exact is None:
            pieces = (part.variance(gradient(batch, group), n, k).detach().double() for group, part in self._pairs())
            return torch.stack(list(pieces)).sum(0)
        slices = parts_of(n, 4 * k * self.size)
        return torch.cat([self.exact.variance(self._whitened(batch, rows)) for rows in slices])

    def factor(self, batch: Batch) -> Tensor:
        """`Z [n, k, P]` with `V_ij = Z_i Z_jᵀ`."""
        z = self._whitened(batch, slice(None))
        return z.double() if self.exact is None else self.exact.whiten(z)

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., P]`, in the order of the groups."""
        z = self.whiten(v)
        return self.unwhiten(z if self.exact is None else self.exact.solve(z)).to(v.dtype)

    def moved(self, batch: Batch) -> list[tuple[Call, Tensor]]:
        """`S⁻¹J_iᵀu_i` of every example, as moves of the calls' outputs (one direction a batch)."""
        if self.exact is not None:
            return self._moved_densely(batch)
        found = []
        for group, part in self._pairs():
            found += _moved(batch, group, part)
        return found

    def _moved_densely(self, batch: Batch) -> list[tuple[Call, Tensor]]:
        joined = [gradient(batch, group) for group in self.groups]
        found: list[list[Any]] = []
        for rows in parts_of(len(batch.f), 4 * self.size):
            moves = self.solve(torch.cat([each.dense(rows)[:, 0] for each in joined], dim=-1))
            pieces = torch.split(moves, [group.size for group in self.groups], dim=-1)
            found.append([_pushed(each, piece, rows) for each, piece in zip(joined, pieces, strict=True)])
        return _placed(batch, self.groups, found)

    def whiten(self, dense: Tensor) -> Tensor:
        """`G S_D^{-1/2}` of the independent parts."""
        pieces = torch.split(dense, [group.size for group in self.groups], dim=-1)
        return torch.cat([part.whiten(piece) for part, piece in zip(self.parts, pieces, strict=True)], dim=-1)

    def unwhiten(self, z: Tensor) -> Tensor:
        """Back to the parameters' own coordinates."""
        pieces = torch.split(z, [group.size for group in self.groups], dim=-1)
        named = zip(self.parts, pieces, strict=True)
        return torch.cat([part.unwhiten(piece.to(_dtype(part))) for part, piece in named], dim=-1)

    def shift(self, u: Tensor) -> Tensor:
        """`S^{-1/2} u`: the parameters' move for coordinates of `factor`."""
        return self.unwhiten(u if self.exact is None else self.exact.whiten(u))

    def trace_inverse(self, prior: Sequence[Tensor]) -> float:
        """`tr(diag(δ) S⁻¹)`, with the prior packed for each group."""
        if self.exact is None:
            return sum(part.trace_inverse(delta) for part, delta in zip(self.parts, prior, strict=True))
        pairs = zip(self.parts, prior, strict=True)
        return self.exact.trace_of_inverse(torch.cat([_relative(part, delta) for part, delta in pairs]))

    def _whitened(self, batch: Batch, rows: slice) -> Tensor:
        return torch.cat([part.whiten(gradient(batch, group).dense(rows)) for group, part in self._pairs()], dim=-1)

    def _pairs(self) -> Any:
        return zip(self.groups, self.parts, strict=True)


def _moved(batch: Batch, group: Group, part: Part) -> list[tuple[Call, Tensor]]:
    """The same for one independent part."""
    each = gradient(batch, group)
    if isinstance(part, Rotated) and isinstance(each, Outer):
        return batch.placed(group.blocks[0], outer.moved(each, part.precision, part.left, part.right))
    rows = parts_of(len(batch.f), 4 * group.size)
    return _placed(batch, (group,), [[_pushed(each, part.solve(each.dense(r)[:, 0]), r)] for r in rows])


def _pushed(each: Any, moves: Tensor, rows: slice) -> list[Any]:
    """Moves `[n', q]` of a group's parameters as moves of its blocks' outputs, one entry a block."""
    found = each.moved(moves, rows)
    return found if isinstance(each, Joined) else [found]


def _placed(batch: Batch, groups: Sequence[Group], found: list[list[list[Any]]]) -> list[tuple[Call, Tensor]]:
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


def _dtype(part: Part) -> torch.dtype:
    return part.root.dtype if isinstance(part, Dense) else part.precision.dtype


def _relative(part: Part, delta: Tensor) -> Tensor:
    """`δ/d` of a diagonal part, in its own coordinates."""
    if isinstance(part, Dense):
        raise TypeError("exact rows are held on top of diagonal parts only")
    flat = delta if part.left is None else delta.mean().expand(part.precision.shape)
    return (flat / part.precision).reshape(-1).double()


def gradient(batch: Batch, group: Group) -> Any:
    """The gradients of a group's parameters in a batch."""
    found = tuple(batch.gradient(block) for block in group.blocks)
    return found[0] if len(found) == 1 else Joined(found, group.blocks)
