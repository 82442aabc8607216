"""Products of `S⁻¹` with a batch's gradients: variances along its directions, posterior tangents of outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.hooks import OwnerCall
from memorymaps.nets.autograd.outer_product import OuterProductGradient
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.covariance.block_diagonal import PosteriorCovariance, group_gradient
from memorymaps.nets.covariance.block_precision import BlockPrecision, ConcatenatedGradients, EigenbasisPrecision
from memorymaps.nets.covariance.kronecker_quadratic import RotatedGradients

CallTangents = list[tuple[OwnerCall, Tensor]]  # tangents of the calls' outputs


@dataclass(frozen=True)
class PreconditionedBatch:
    """Per-example gradients of a batch, rotated once into each group's eigenbasis for repeated products.

    `rotated` has one entry per group; None where there is no eigenbasis or the gradients are not in factored form.
    """

    covariance: PosteriorCovariance
    batch: LinearizedBatch
    rotated: tuple[RotatedGradients | None, ...]

    @classmethod
    def of(cls, covariance: PosteriorCovariance, batch: LinearizedBatch) -> PreconditionedBatch:
        """Rotate the gradients of every group for which that is possible."""
        return cls(covariance, batch, tuple(_rotate_group(covariance, batch, *pair) for pair in covariance.items()))

    def variance(self) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]`, in double precision."""
        n, k = len(self.batch.f), len(self.batch.g[0])
        if not self.covariance.is_block_diagonal:
            return self.covariance.variance(self.batch, k)
        pieces = (
            precision.variance(group_gradient(self.batch, group), n, k) if rotated is None else rotated.variance()
            for (group, precision), rotated in self._items()
        )
        return torch.stack([piece.detach().double() for piece in pieces]).sum(0)

    def posterior_tangents(self, coefficients: Tensor) -> CallTangents:
        """Tangents of the calls' outputs for the parameter change `S⁻¹J_iᵀD_i s_i`, for coefficients `s [n, k]`."""
        if not self.covariance.is_block_diagonal:
            return _joint_tangents(self.covariance, self.batch.combine(coefficients))
        found: CallTangents = []
        for (group, precision), rotated in self._items():
            if rotated is None:
                found += _group_tangents(self.batch.combine(coefficients), group, precision)
            else:
                found += self.batch.tangents_by_call(group.blocks[0], rotated.posterior_tangents(coefficients))
        return found

    def _items(self) -> Any:
        return zip(self.covariance.items(), self.rotated, strict=True)


def _rotate_group(
    covariance: PosteriorCovariance, batch: LinearizedBatch, group: ParameterGroup, precision: BlockPrecision
) -> RotatedGradients | None:
    """Rotated gradients in factored form under a precision with an eigenbasis; None otherwise."""
    if not covariance.is_block_diagonal or not isinstance(precision, EigenbasisPrecision):
        return None
    found = group_gradient(batch, group)
    return (
        RotatedGradients.rotate(found, precision.eigenvalues, precision.output_basis, precision.input_basis)
        if isinstance(found, OuterProductGradient)
        else None
    )


def _group_tangents(batch: LinearizedBatch, group: ParameterGroup, precision: BlockPrecision) -> CallTangents:
    """Posterior tangents through one group, for a batch restricted to one direction."""
    each = group_gradient(batch, group)
    rows = chunk_slices(len(batch.f), 4 * group.size)
    return _tangents_by_call(
        batch, (group,), [[_block_jvps(each, precision.solve(each.materialize(r)[:, 0]), r)] for r in rows]
    )


def _joint_tangents(covariance: PosteriorCovariance, batch: LinearizedBatch) -> CallTangents:
    """Posterior tangents for a covariance that is not block-diagonal."""
    gradients = [group_gradient(batch, group) for group in covariance.groups]
    found: list[list[Any]] = []
    for rows in chunk_slices(len(batch.f), 4 * covariance.size):
        tangents = covariance.solve(torch.cat([each.materialize(rows)[:, 0] for each in gradients], dim=-1))
        pieces = torch.split(tangents, [group.size for group in covariance.groups], dim=-1)
        found.append([_block_jvps(each, piece, rows) for each, piece in zip(gradients, pieces, strict=True)])
    return _tangents_by_call(batch, covariance.groups, found)


def _block_jvps(each: Any, tangents: Tensor, rows: slice) -> list[Any]:
    """Tangents of each block's outputs for tangents `[n', q]` of a group's parameters."""
    found = each.jvp(tangents, rows)
    return found if isinstance(each, ConcatenatedGradients) else [found]


def _tangents_by_call(
    batch: LinearizedBatch, groups: Sequence[ParameterGroup], found: list[list[list[Any]]]
) -> CallTangents:
    """Concatenate tangents of chunks, block by block, in the shape of the calls' outputs."""
    blocks = [block for group in groups for block in group.blocks]
    flat = [[tangent for group in slices for tangent in group] for slices in found]
    return [
        call_tangent for block, parts in zip(blocks, zip(*flat, strict=True), strict=True)
        for call_tangent in batch.tangents_by_call(block, _concatenate_chunks(parts))
    ]  # fmt: skip


def _concatenate_chunks(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return [torch.cat(list(each)) for each in zip(*parts, strict=True)]
