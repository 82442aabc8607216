"""Cotangents of several reverse passes through one layer call, stacked only for the examples that are used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cotangents:
    """Cotangents of `k` reverse passes at the output of one call, a tensor `[n, …]` each.

    Those of a convolution, `[n, t, o]`, have their positions `t` contiguous in memory; all products here preserve that.
    """

    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, rows: slice) -> Tensor:
        """Cotangents of some examples, stacked: `[n', k, …]`, in the memory layout of one cotangent."""
        pieces = [cotangent[rows] for cotangent in self.tensors]
        if len(pieces) == 1:
            return pieces[0][:, None]
        if pieces[0].is_contiguous() or pieces[0].ndim < 3:
            return torch.stack(pieces, 1)
        return torch.stack([piece.mT for piece in pieces], 1).mT

    @property
    def shape(self) -> torch.Size:
        """Shape `[n, …]` of one cotangent."""
        return self.tensors[0].shape

    def map(self, function: Callable[[Tensor], Tensor]) -> Cotangents:
        """Apply a function to every cotangent."""
        return Cotangents(tuple(function(cotangent) for cotangent in self.tensors))

    def combine(self, coefficients: Tensor) -> Cotangents:
        """Linear combination `Σ_k s_k g_k` with coefficients `s [n, k]`, as cotangents of one direction."""
        weights = coefficients.T.reshape(*coefficients.T.shape, *[1] * (len(self.shape) - 1))
        products = (cotangent * s for cotangent, s in zip(self.tensors, weights, strict=True))
        found = next(products)
        for product in products:
            found += product
        return Cotangents((found,))


def layout_preserving_matmul(y: Tensor, q: Tensor) -> Tensor:
    """`y Q [n, …, t, o]` in the memory layout of `y`, as one matrix product."""
    if y.is_contiguous():
        return (y.reshape(-1, y.shape[-1]) @ q).view(*y.shape[:-1], q.shape[1])
    return torch.matmul(q.T, y.mT).mT
