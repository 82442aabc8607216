"""Posterior covariance `S⁻¹` of a block-diagonal precision plus an optional low-rank term that couples the blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.covariance.block_precision import (
    BlockPrecision,
    CholeskyPrecision,
    ConcatenatedGradients,
    EigenbasisPrecision,
)
from memorymaps.nets.covariance.woodbury import Woodbury

MAX_FACTORED_PARAMETERS = 20_000  # largest number of parameters for which an example's Z is materialised


class PosteriorCovariance(Protocol):
    """Covariance `S⁻¹` of a network's parameters (protocol): variances of outputs, solves, and traces."""

    @property
    def groups(self) -> tuple[ParameterGroup, ...]:
        """Parameter groups, in the order of the coordinates."""

    @property
    def size(self) -> int:
        """Number of parameters `P`."""

    @property
    def is_block_diagonal(self) -> bool:
        """Whether `S⁻¹` is block-diagonal over the groups."""

    def items(self) -> Iterator[tuple[ParameterGroup, BlockPrecision]]:
        """Every group with its block of the precision."""

    def variance(self, batch: LinearizedBatch, k: int) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]` along the batch's `k` directions, in double precision."""

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., P]`, in the order of the groups."""

    def inverse_trace(self, prior: Sequence[Tensor]) -> float:
        """`tr(diag(δ) S⁻¹)`, with the prior packed for each group."""

    @property
    def rounding(self) -> float:
        """What rounding changes of the leverages of all examples together, about (`rounding.py`)."""


@dataclass(frozen=True)
class BlockDiagonalCovariance:
    """Covariance `S⁻¹` for `S = S_D + AᵀA`: `S_D` block-diagonal, `low_rank` the term `AᵀA` (None: `S = S_D`).

    With `S_D⁻¹ = W Wᵀ`, `block_inv_sqrt_matvec` is the product with `W`, `block_inv_sqrt_rmatvec` with `Wᵀ`.
    """

    groups: tuple[ParameterGroup, ...]
    precisions: tuple[BlockPrecision, ...]
    low_rank: Woodbury | None = None

    @property
    def size(self) -> int:
        """Number of parameters `P`."""
        return sum(group.size for group in self.groups)

    @property
    def is_block_diagonal(self) -> bool:
        """Whether there is no low-rank term."""
        return self.low_rank is None

    def variance(self, batch: LinearizedBatch, k: int) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]`, in double precision."""
        n = len(batch.f)
        if self.low_rank is None:
            pieces = (
                precision.variance(group_gradient(batch, group), n, k).detach().double()
                for group, precision in self.items()
            )
            return torch.stack(list(pieces)).sum(0)
        slices = chunk_slices(n, 4 * k * self.size)
        return torch.cat([self.low_rank.variance(self._whitened_gradients(batch, rows)) for rows in slices])

    def covariance_root(self, batch: LinearizedBatch) -> Tensor:
        """Whitened gradients `Z [n, k, P]` with `V_ij = Z_i Z_jᵀ`."""
        z = self._whitened_gradients(batch, slice(None))
        return z.double() if self.low_rank is None else self.low_rank.inv_sqrt_matvec(z)

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., P]`, in the order of the groups."""
        z = self.block_inv_sqrt_rmatvec(v)
        return self.block_inv_sqrt_matvec(z if self.low_rank is None else self.low_rank.solve(z)).to(v.dtype)

    def block_inv_sqrt_rmatvec(self, v: Tensor) -> Tensor:
        """`Wᵀv [..., P]` with `S_D⁻¹ = W Wᵀ`, without the low-rank term."""
        pieces = torch.split(v, [group.size for group in self.groups], dim=-1)
        return torch.cat(
            [precision.inv_sqrt_rmatvec(piece) for precision, piece in zip(self.precisions, pieces, strict=True)],
            dim=-1,
        )

    def block_inv_sqrt_matvec(self, z: Tensor) -> Tensor:
        """`W z [..., P]` with `S_D⁻¹ = W Wᵀ`, without the low-rank term."""
        pieces = torch.split(z, [group.size for group in self.groups], dim=-1)
        pairs = zip(self.precisions, pieces, strict=True)
        return torch.cat([precision.inv_sqrt_matvec(piece.to(precision.dtype)) for precision, piece in pairs], dim=-1)

    def inv_sqrt_matvec(self, u: Tensor) -> Tensor:
        """`W (I + UᵀU)^{-1/2} u [..., P]`, parameters for whitened coordinates `u`."""
        return self.block_inv_sqrt_matvec(u if self.low_rank is None else self.low_rank.inv_sqrt_matvec(u))

    def inverse_trace(self, prior: Sequence[Tensor]) -> float:
        """`tr(diag(δ) S⁻¹)`, with the prior packed for each group."""
        if self.low_rank is None:
            return sum(precision.inverse_trace(delta) for precision, delta in zip(self.precisions, prior, strict=True))
        pairs = zip(self.precisions, prior, strict=True)
        return self.low_rank.inverse_trace(
            torch.cat([precision.prior_over_precision(delta) for precision, delta in pairs])
        )

    @property
    def rounding(self) -> float:
        """Of blocks of the package's forms, and of the difference that the low-rank term makes."""
        known = (CholeskyPrecision, EigenbasisPrecision)
        blocks = sum(each.rounding for each in self.precisions if isinstance(each, known))
        return blocks if self.low_rank is None else blocks + self.low_rank.rounding

    def _whitened_gradients(self, batch: LinearizedBatch, rows: slice) -> Tensor:
        """`G W [n', k, P]` of some examples."""
        return torch.cat(
            [
                precision.inv_sqrt_rmatvec(group_gradient(batch, group).materialize(rows))
                for group, precision in self.items()
            ],
            dim=-1,
        )

    def items(self) -> Iterator[tuple[ParameterGroup, BlockPrecision]]:
        """Every group with its block of the precision."""
        return zip(self.groups, self.precisions, strict=True)


@dataclass(frozen=True)
class HessianCovariance(BlockDiagonalCovariance):
    """Covariance `S⁻¹` of a dense Hessian, whose products are not those of the Gauss–Newton matrix."""

    def matvec(self, v: Tensor) -> Tensor:
        """`S v [v, P]`, in the order of the groups."""
        pieces = torch.split(v, [group.size for group in self.groups], dim=-1)
        pairs = zip(self.precisions, pieces, strict=True)
        return torch.cat([cast(CholeskyPrecision, each).matvec(piece) for each, piece in pairs], dim=-1)


def group_gradient(batch: LinearizedBatch, group: ParameterGroup) -> Any:
    """Per-example gradients of a group's parameters in a batch."""
    found = tuple(batch.gradient(block) for block in group.blocks)
    return found[0] if len(found) == 1 else ConcatenatedGradients(found, group.blocks)
