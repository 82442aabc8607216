"""One block `S` of the posterior precision: the protocol `BlockPrecision`, and two representations.

    EigenbasisPrecision   S = (Q_G ⊗ Q_A) diag(s) (Q_G ⊗ Q_A)ᵀ    diagonal (no Q), KFAC, EKFAC
    CholeskyPrecision     S⁻¹ = W Wᵀ                               full, block

All give `variance(G) = G S⁻¹Gᵀ [n, k, k]`, `solve(v) = S⁻¹v`, and with `S⁻¹ = W Wᵀ` the products
`inv_sqrt_matvec(z) = W z` and `inv_sqrt_rmatvec(v) = Wᵀv`, on the last axis (as SciPy's `LinearOperator`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.outer_product import OuterProductGradient
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.autograd.per_example_gradients import PerExampleGradient
from memorymaps.nets.covariance import kronecker_quadratic


class BlockPrecision(Protocol):
    """One block `S [q, q]` of the posterior precision (protocol); any class with these methods can be a block."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the numbers that represent it, in which `inv_sqrt_matvec` takes its argument."""

    def variance(self, gradient: PerExampleGradient, n: int, k: int) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]` of the gradients of `n` examples in `k` directions."""

    def inv_sqrt_rmatvec(self, v: Tensor) -> Tensor:
        """`Wᵀv [..., q]` with `S⁻¹ = W Wᵀ`."""

    def inv_sqrt_matvec(self, z: Tensor) -> Tensor:
        """`W z [..., q]`."""

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., q]`."""

    def inverse_trace(self, prior: Tensor) -> float:
        """`tr(diag(δ) S⁻¹)`, with the prior in the block's shape."""

    def prior_over_precision(self, prior: Tensor) -> Tensor:
        """Diagonal of `Wᵀ diag(δ) W [q]`, in double precision, where this matrix is diagonal (with a low-rank term).

        Raises
        ------
        TypeError
            It is not diagonal for this form of precision, so that it cannot be combined with a low-rank term.
        """


@dataclass(frozen=True)
class EigenbasisPrecision:
    """A precision that is diagonal in a Kronecker basis: eigenvalues `s [o, d]`, bases `Q_G [o, o]` and `Q_A [d, d]`.

    Without bases (None: identity) `eigenvalues` may be `[q]`. Equals `KronDecomposed` of laplace-torch. `rounding` is
    what rounding changes of the leverages of all examples together, about.
    """

    eigenvalues: Tensor
    output_basis: Tensor | None = None
    input_basis: Tensor | None = None
    rounding: float = 0.0

    @property
    def dtype(self) -> torch.dtype:
        """That of the eigenvalues."""
        return self.eigenvalues.dtype

    def variance(self, gradient: PerExampleGradient, n: int, k: int) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]`."""
        if isinstance(gradient, OuterProductGradient):
            return kronecker_quadratic.variance(gradient, self.eigenvalues, self.output_basis, self.input_basis)
        pieces = [
            _gram(self.inv_sqrt_rmatvec(gradient.materialize(rows)))
            for rows in chunk_slices(n, k * self.eigenvalues.numel())
        ]
        return torch.cat(pieces)

    def inv_sqrt_rmatvec(self, v: Tensor) -> Tensor:
        """`Wᵀv [..., q]` with `W = (Q_G ⊗ Q_A) diag(s)^{-1/2}`: into the whitened eigenbasis."""
        return self._to_eigenbasis(v) * self.eigenvalues.rsqrt().reshape(-1)

    def inv_sqrt_matvec(self, z: Tensor) -> Tensor:
        """`W z [..., q]`: out of the whitened eigenbasis; after `inv_sqrt_rmatvec` it gives `S⁻¹v`."""
        return self._from_eigenbasis(z * self.eigenvalues.rsqrt().reshape(-1))

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., q]`."""
        return self.inv_sqrt_matvec(self.inv_sqrt_rmatvec(v))

    def inverse_trace(self, prior: Tensor) -> float:
        """`tr(diag(δ) S⁻¹)`; with bases, `δ` is replaced by its mean."""
        delta = prior if self.output_basis is None else prior.mean()
        return float((delta / self.eigenvalues).sum())

    def prior_over_precision(self, prior: Tensor) -> Tensor:
        """`δ/s [q]`, in double precision; with bases, `δ` is replaced by its mean."""
        delta = prior if self.output_basis is None else prior.mean().expand(self.eigenvalues.shape)
        return (delta / self.eigenvalues).reshape(-1).double()

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
    """A dense precision, stored as `inv_sqrt` `W [q, q]` with `S⁻¹ = W Wᵀ`, in double precision.

    `rounding` is what rounding changes of the leverages of all examples together, about.
    """

    inv_sqrt: Tensor
    rounding: float = 0.0

    @property
    def dtype(self) -> torch.dtype:
        """That of `W`."""
        return self.inv_sqrt.dtype

    def variance(self, gradient: PerExampleGradient, n: int, k: int) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]`."""
        pieces = [
            _gram(self.inv_sqrt_rmatvec(gradient.materialize(rows)))
            for rows in chunk_slices(n, 2 * k * len(self.inv_sqrt))
        ]
        return torch.cat(pieces)

    def inv_sqrt_rmatvec(self, v: Tensor) -> Tensor:
        """`Wᵀv [..., q]`."""
        return v.to(self.inv_sqrt.dtype) @ self.inv_sqrt

    def inv_sqrt_matvec(self, z: Tensor) -> Tensor:
        """`W z [..., q]`."""
        return z @ self.inv_sqrt.T

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., q]`."""
        return self.inv_sqrt_matvec(self.inv_sqrt_rmatvec(v)).to(v.dtype)

    def matvec(self, v: Tensor) -> Tensor:
        """`S v [..., q]`; `W` is upper triangular."""
        z = torch.linalg.solve_triangular(self.inv_sqrt, v.to(self.inv_sqrt.dtype).mT, upper=True)
        return torch.linalg.solve_triangular(self.inv_sqrt.mT, z, upper=False).mT.to(v.dtype)

    def inverse_trace(self, prior: Tensor) -> float:
        """`tr(diag(δ) S⁻¹)`."""
        return float((prior.reshape(-1, 1).to(self.inv_sqrt.dtype) * self.inv_sqrt.square()).sum())

    def prior_over_precision(self, prior: Tensor) -> Tensor:
        """Not available: `Wᵀ diag(δ) W` of a dense block is not diagonal.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            f"a low-rank term requires blocks that are diagonal in a basis, got a {type(self).__name__}, which is "
            "dense: give EigenbasisPrecision blocks to BlockDiagonalCovariance, or low_rank=None"
        )


def _gram(z: Tensor) -> Tensor:
    return torch.matmul(z, z.transpose(1, 2))


@dataclass(frozen=True)
class ConcatenatedGradients:
    """Gradients of several blocks, concatenated along the parameters."""

    gradients: tuple[PerExampleGradient, ...]
    blocks: tuple[ParameterBlock, ...]

    def materialize(self, rows: slice) -> Tensor:
        """Gradients `G [n', k, Σ q]` of some examples."""
        return torch.cat([gradient.materialize(rows) for gradient in self.gradients], dim=2)

    def jvp(self, tangents: Tensor, rows: slice) -> list[Any]:
        """Tangents of every block's outputs for parameter tangents `[n', Σ q]`."""
        pieces = torch.split(tangents, [block.size for block in self.blocks], dim=-1)
        return [found.jvp(piece, rows) for found, piece in zip(self.gradients, pieces, strict=True)]
