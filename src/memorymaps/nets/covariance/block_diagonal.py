"""`S⁻¹` of a network's parameters: independent parts, and exact rows that may tie them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import parts_of
from memorymaps.nets.autograd.parameter_blocks import Group
from memorymaps.nets.autograd.per_example_gradients import Batch
from memorymaps.nets.covariance.block_precision import Dense, Joined, Part
from memorymaps.nets.covariance.woodbury import Woodbury

FACTORED = 20_000  # parameters up to which an example's Z is written out


class Spreading(Protocol):
    """What a network's posterior asks of its covariance `S⁻¹`."""

    @property
    def groups(self) -> tuple[Group, ...]:
        """Blocks whose curvature is held together."""

    @property
    def size(self) -> int:
        """Number of parameters."""

    @property
    def independent(self) -> bool:
        """Whether `S⁻¹` is a sum over the groups."""

    def pairs(self) -> Iterator[tuple[Group, Part]]:
        """Every group with what holds its precision."""

    def variance(self, batch: Batch, k: int) -> Tensor:
        """`V [n, k, k]`, in double precision."""

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., P]`, in the order of the groups."""

    def trace_inverse(self, prior: Sequence[Tensor]) -> float:
        """`tr(diag(δ) S⁻¹)`, with the prior packed for each group."""


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

    @property
    def independent(self) -> bool:
        """Whether no exact rows tie the parts together."""
        return self.exact is None

    def variance(self, batch: Batch, k: int) -> Tensor:
        """`V [n, k, k]`, in double precision."""
        n = len(batch.f)
        if self.exact is None:
            pieces = (part.variance(gradient(batch, group), n, k).detach().double() for group, part in self.pairs())
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
        return torch.cat([part.whiten(gradient(batch, group).dense(rows)) for group, part in self.pairs()], dim=-1)

    def pairs(self) -> Iterator[tuple[Group, Part]]:
        """Every group with what holds its precision."""
        return zip(self.groups, self.parts, strict=True)


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
