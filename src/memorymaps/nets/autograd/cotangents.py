"""Cotangents of several directions: one lane for each reverse pass, put side by side only for examples asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cotangents:
    """Cotangents `[n, …]` of `k` directions.

    Of a convolution's `[n, t, o]`, positions `t` are the last axis in memory; every product here keeps it so.
    """

    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, rows: slice) -> Tensor:
        """Side by side `[n', k, …]`, in the order in which a lane lies in memory."""
        pieces = [cotangent[rows] for cotangent in self.tensors]
        if len(pieces) == 1:
            return pieces[0][:, None]
        if pieces[0].is_contiguous() or pieces[0].ndim < 3:
            return torch.stack(pieces, 1)
        return torch.stack([piece.mT for piece in pieces], 1).mT

    @property
    def shape(self) -> torch.Size:
        """Of one lane."""
        return self.tensors[0].shape

    def map(self, function: Callable[[Tensor], Tensor]) -> Cotangents:
        """The same act on every lane."""
        return Cotangents(tuple(function(cotangent) for cotangent in self.tensors))

    def combine(self, coefficients: Tensor) -> Cotangents:
        """The one direction `Σ_k s_k g_k`, for shares `s [n, k]`."""
        weights = coefficients.T.reshape(*coefficients.T.shape, *[1] * (len(self.shape) - 1))
        products = (cotangent * s for cotangent, s in zip(self.tensors, weights, strict=True))
        found = next(products)
        for product in products:
            found += product
        return Cotangents((found,))


def layout_preserving_matmul(y: Tensor, q: Tensor) -> Tensor:
    """`y Q [n, …, t, o]`, in the order in which `y` lies in memory: a product of matrices either way."""
    if y.is_contiguous():
        return (y.reshape(-1, y.shape[-1]) @ q).view(*y.shape[:-1], q.shape[1])
    return torch.matmul(q.T, y.mT).mT
