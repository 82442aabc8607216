"""How a part of the posterior covariance is held, and what it gives for gradients.

    Rotated   S = (Q_G ⊗ Q_A) diag(s) (Q_G ⊗ Q_A)ᵀ    diagonal (no Q), KFAC, EKFAC
    Dense     S⁻¹ = W Wᵀ                               full, block

Both answer `variance(G) = G S⁻¹ Gᵀ [n, k, k]`, `whiten(G) = G S^{-1/2}` and `solve(v) = S⁻¹v`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import parts_of
from memorymaps.nets.autograd.outer_product import Outer
from memorymaps.nets.autograd.parameter_blocks import Block
from memorymaps.nets.autograd.per_example_gradients import Gradient
from memorymaps.nets.covariance import kronecker_quadratic as outer


@dataclass(frozen=True)
class Rotated:
    """A precision that is diagonal in a Kronecker basis; `precision [o, d]` or `[q]`, bases `None` for the identity."""

    precision: Tensor
    left: Tensor | None = None
    right: Tensor | None = None

    def variance(self, gradient: Gradient, n: int, k: int) -> Tensor:
        """`V [n, k, k]`."""
        if isinstance(gradient, Outer):
            return outer.variance(gradient, self.precision, self.left, self.right)
        pieces = [_gram(self.whiten(gradient.dense(part))) for part in parts_of(n, k * self.precision.numel())]
        return torch.cat(pieces)

    def whiten(self, dense: Tensor) -> Tensor:
        """`G S^{-1/2} [n, k, q]`, in the rotated basis."""
        return self._turn(dense) * self.precision.rsqrt().reshape(-1)

    def unwhiten(self, z: Tensor) -> Tensor:
        """`z S^{-1/2}ᵀ`, back in the parameters' basis: `whiten(G) · unwhiten(z)` pairs give `G S⁻¹ …`."""
        return self._turn_back(z * self.precision.rsqrt().reshape(-1))

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., q]`."""
        return self.unwhiten(self.whiten(v))

    def trace_inverse(self, prior: Tensor) -> float:
        """`tr(diag(δ) S⁻¹)`; with bases, `δ` is taken constant."""
        delta = prior if self.left is None else prior.mean()
        return float((delta / self.precision).sum())

    def _turn(self, dense: Tensor) -> Tensor:
        if self.left is None or self.right is None:
            return dense
        matrix = dense.reshape(*dense.shape[:-1], *self.precision.shape)
        return (self.left.T @ matrix @ self.right).reshape(dense.shape)

    def _turn_back(self, dense: Tensor) -> Tensor:
        if self.left is None or self.right is None:
            return dense
        matrix = dense.reshape(*dense.shape[:-1], *self.precision.shape)
        return (self.left @ matrix @ self.right.T).reshape(dense.shape)


@dataclass(frozen=True)
class Dense:
    """A dense precision, held as `W` with `S⁻¹ = W Wᵀ`; `root [q, q]` in double precision."""

    root: Tensor

    def variance(self, gradient: Gradient, n: int, k: int) -> Tensor:
        """`V [n, k, k]`."""
        pieces = [_gram(self.whiten(gradient.dense(part))) for part in parts_of(n, 2 * k * len(self.root))]
        return torch.cat(pieces)

    def whiten(self, dense: Tensor) -> Tensor:
        """`G W [n, k, q]`."""
        return dense.to(self.root.dtype) @ self.root

    def unwhiten(self, z: Tensor) -> Tensor:
        """`z Wᵀ`."""
        return z @ self.root.T

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., q]`."""
        return self.unwhiten(self.whiten(v)).to(v.dtype)

    def trace_inverse(self, prior: Tensor) -> float:
        """`tr(diag(δ) S⁻¹)`."""
        return float((prior.reshape(-1, 1).to(self.root.dtype) * self.root.square()).sum())


Part = Rotated | Dense


def _gram(z: Tensor) -> Tensor:
    return torch.matmul(z, z.transpose(1, 2))


@dataclass(frozen=True)
class Joined:
    """Several blocks' gradients side by side."""

    gradients: tuple[Gradient, ...]
    blocks: tuple[Block, ...]

    def dense(self, part: slice) -> Tensor:
        """`G [n', k, Σ q]`."""
        return torch.cat([gradient.dense(part) for gradient in self.gradients], dim=2)

    def moved(self, moves: Tensor, part: slice) -> list[Any]:
        """What moves `[n', Σ q]` do to every block's outputs."""
        pieces = torch.split(moves, [block.size for block in self.blocks], dim=-1)
        return [found.moved(piece, part) for found, piece in zip(self.gradients, pieces, strict=True)]
