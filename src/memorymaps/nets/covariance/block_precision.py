"""How a part of the posterior covariance is held, and what it gives for gradients.

    Rotated   S = (Q_G ⊗ Q_A) diag(s) (Q_G ⊗ Q_A)ᵀ    diagonal (no Q), KFAC, EKFAC
    Dense     S⁻¹ = W Wᵀ                               full, block

Both answer `variance(G) = G S⁻¹ Gᵀ [n, k, k]`, `inv_sqrt_rmatvec(G) = G S^{-1/2}` and `solve(v) = S⁻¹v`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.outer_product import OuterProductGradient
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.autograd.per_example_gradients import PerExampleGradient
from memorymaps.nets.covariance import kronecker_quadratic as outer


@dataclass(frozen=True)
class EigenbasisPrecision:
    """A precision that is diagonal in a Kronecker basis; `eigenvalues [o, d]` or `[q]`, bases `None` for the identity."""

    eigenvalues: Tensor
    output_basis: Tensor | None = None
    input_basis: Tensor | None = None

    def variance(self, gradient: PerExampleGradient, n: int, k: int) -> Tensor:
        """`V [n, k, k]`."""
        if isinstance(gradient, OuterProductGradient):
            return outer.variance(gradient, self.eigenvalues, self.output_basis, self.input_basis)
        pieces = [
            _gram(self.inv_sqrt_rmatvec(gradient.materialize(rows)))
            for rows in chunk_slices(n, k * self.eigenvalues.numel())
        ]
        return torch.cat(pieces)

    def inv_sqrt_rmatvec(self, v: Tensor) -> Tensor:
        """`G S^{-1/2} [n, k, q]`, in the rotated basis."""
        return self._to_eigenbasis(v) * self.eigenvalues.rsqrt().reshape(-1)

    def inv_sqrt_matvec(self, z: Tensor) -> Tensor:
        """`z S^{-1/2}ᵀ`, back in the parameters' basis: `inv_sqrt_rmatvec(G) · inv_sqrt_matvec(z)` pairs give `G S⁻¹ …`."""
        return self._from_eigenbasis(z * self.eigenvalues.rsqrt().reshape(-1))

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., q]`."""
        return self.inv_sqrt_matvec(self.inv_sqrt_rmatvec(v))

    def inverse_trace(self, prior: Tensor) -> float:
        """`tr(diag(δ) S⁻¹)`; with bases, `δ` is taken constant."""
        delta = prior if self.output_basis is None else prior.mean()
        return float((delta / self.eigenvalues).sum())

    def _to_eigenbasis(self, v: Tensor) -> Tensor:
        if self.output_basis is None or self.input_basis is None:
            return v
        matrix = v.reshape(*v.shape[:-1], *self.eigenvalues.shape)
        return (self.output_basis.T @ matrix @ self.input_basis).reshape(v.shape)

    def _from_eigenbasis(self, v: Tensor) -> Tensor:
        if self.output_basis is None or self.input_basis is None:
            return v
        matrix = v.reshape(*v.shape[:-1], *self.eigenvalues.shape)
        return (self.output_basis @ matrix @ self.input_basis.T).reshape(v.shape)


@dataclass(frozen=True)
class CholeskyPrecision:
    """A dense precision, held as `W` with `S⁻¹ = W Wᵀ`; `inv_sqrt [q, q]` in double precision."""

    inv_sqrt: Tensor

    def variance(self, gradient: PerExampleGradient, n: int, k: int) -> Tensor:
        """`V [n, k, k]`."""
        pieces = [
            _gram(self.inv_sqrt_rmatvec(gradient.materialize(rows)))
            for rows in chunk_slices(n, 2 * k * len(self.inv_sqrt))
        ]
        return torch.cat(pieces)

    def inv_sqrt_rmatvec(self, v: Tensor) -> Tensor:
        """`G W [n, k, q]`."""
        return v.to(self.inv_sqrt.dtype) @ self.inv_sqrt

    def inv_sqrt_matvec(self, z: Tensor) -> Tensor:
        """`z Wᵀ`."""
        return z @ self.inv_sqrt.T

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., q]`."""
        return self.inv_sqrt_matvec(self.inv_sqrt_rmatvec(v)).to(v.dtype)

    def inverse_trace(self, prior: Tensor) -> float:
        """`tr(diag(δ) S⁻¹)`."""
        return float((prior.reshape(-1, 1).to(self.inv_sqrt.dtype) * self.inv_sqrt.square()).sum())


BlockPrecision = EigenbasisPrecision | CholeskyPrecision


def _gram(z: Tensor) -> Tensor:
    return torch.matmul(z, z.transpose(1, 2))


@dataclass(frozen=True)
class ConcatenatedGradients:
    """Several blocks' gradients side by side."""

    gradients: tuple[PerExampleGradient, ...]
    blocks: tuple[ParameterBlock, ...]

    def materialize(self, rows: slice) -> Tensor:
        """`G [n', k, Σ q]`."""
        return torch.cat([gradient.materialize(rows) for gradient in self.gradients], dim=2)

    def jvp(self, tangents: Tensor, rows: slice) -> list[Any]:
        """What moves `[n', Σ q]` do to every block's outputs."""
        pieces = torch.split(tangents, [block.size for block in self.blocks], dim=-1)
        return [found.jvp(piece, rows) for found, piece in zip(self.gradients, pieces, strict=True)]
