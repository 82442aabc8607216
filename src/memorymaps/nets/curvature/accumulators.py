"""Accumulators of curvature over the data, and the block of the posterior precision that each gives.

    DiagonalCurvature    Σ (Q_Gᵀ G Q_A)²    in the identity's or a given Kronecker basis (EKFAC's second pass)
    KroneckerCurvature   A = Σ w a aᵀ/(t Σ w),  B = Σ g gᵀ   [Martens & Grosse 2015; Eschenhagen et al. 2023]
    DenseCurvature       Σ Gᵀ G

`G` are gradients along root directions of the output curvature: `Σ_k G_k G_kᵀ = J_iᵀ Λ_i J_i`. `contribution(gradient)`
changes nothing and `accumulate(contribution)` adds it, so that a batch that ran out of memory can be retried. `combine`
adds up what several processes have accumulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.finite_checks import check_factors
from memorymaps.nets.autograd.outer_product import OuterProductGradient
from memorymaps.nets.autograd.per_example_gradients import PerExampleGradient
from memorymaps.nets.covariance.block_precision import BlockPrecision, CholeskyPrecision, EigenbasisPrecision
from memorymaps.nets.covariance.rounding import cholesky, of_cholesky, of_kronecker_eigenvalues
from memorymaps.posteriors.processes.ranks import Ranks

_CACHE_NUMBERS = 2**20  # numbers in one temporary that fit in the processor's cache
_STRIP = 128  # rows of a symmetric product computed at once


class CurvatureAccumulator(Protocol):
    """Curvature of one group, accumulated over batches (protocol)."""

    def contribution(self, gradient: PerExampleGradient, weight: Tensor, k: int) -> Any:
        """Contribution of a batch with weights `[n]`, which its gradients contain, and `k` directions."""

    def accumulate(self, contribution: Any) -> None:
        """Add a contribution."""

    def precision(self, prior: Tensor) -> BlockPrecision:
        """Block of the posterior precision, for prior precisions `δ` in the group's shape."""


@runtime_checkable
class SharedAccumulator(Protocol):
    """An accumulator that several processes fill, each from its part of the examples (protocol)."""

    def combine(self, ranks: Ranks) -> None:
        """Replace the sums by those over all processes."""


def combine(curvature: CurvatureAccumulator, ranks: Ranks) -> None:
    """Add up what several processes have accumulated; nothing to do for one.

    Raises
    ------
    TypeError
        An accumulator that does not say how.
    """
    if ranks.size == 1:
        return
    if not isinstance(curvature, SharedAccumulator):
        raise TypeError(
            f"{type(curvature).__name__} has no method combine(ranks), by which several processes add up their sums: "
            "write def combine(self, ranks): self.total = ranks.total(self.total), for each of its sums"
        )
    curvature.combine(ranks)


@dataclass
class DiagonalCurvature:
    """Diagonal `Σ_i Σ_k G_ik²` in a Kronecker basis (None: the identity)."""

    total: Tensor
    output_basis: Tensor | None = None
    input_basis: Tensor | None = None

    def contribution(self, gradient: PerExampleGradient, weight: Tensor, k: int) -> Tensor:
        """Sum of squared gradients, `[o, d]` or `[q]`."""
        if isinstance(gradient, OuterProductGradient):
            rotated = gradient.rotate(self.output_basis, self.input_basis)
            if rotated.positions == 1:
                squares = sum((cotangent[:, 0].square() for cotangent in rotated.g.tensors), start=torch.tensor(0.0))
                return squares.T @ rotated.a[:, 0].square()
            gradient = rotated
        slices = chunk_slices(len(weight), k * self.total.numel(), _CACHE_NUMBERS)
        return sum((gradient.materialize(rows).square_().sum((0, 1)) for rows in slices), start=torch.tensor(0.0))

    def accumulate(self, contribution: Tensor) -> None:
        """Add in double precision."""
        self.total += contribution.reshape(self.total.shape).to(self.total)

    def combine(self, ranks: Ranks) -> None:
        """The sum over processes."""
        self.total = ranks.total(self.total)

    def precision(self, prior: Tensor) -> EigenbasisPrecision:
        """`diag(s + δ)`, in the network's precision."""
        check_factors(self.total)
        delta = prior.double() if self.output_basis is None else prior.double().mean()
        return EigenbasisPrecision((self.total + delta).to(prior.dtype), self.output_basis, self.input_basis)


@dataclass
class KroneckerCurvature:
    """Kronecker factors `A ⊗ B` of a matrix block: input covariance `A [d, d]`, gradient covariance `B [o, o]`.

    Both are weighted, so that an example of weight `w` counts as `w` examples, one of weight 0 as none; `total` is the
    sum of the weights. `reduce` sums over positions first (KFAC-reduce); otherwise each position counts as an example
    (KFAC-expand).
    """

    input_covariance: Tensor
    gradient_covariance: Tensor
    reduce: bool = False
    total: float = 0.0

    def contribution(self, gradient: Any, weight: Tensor, k: int) -> tuple[Tensor, Tensor, float]:
        """`Σ w a aᵀ/t`, `Σ g gᵀ` (weighted already) and `Σ w` of a batch."""
        a, g = gradient.a, gradient.g
        if not bool((weight == 1).all()):
            a = a * weight.to(a).sqrt()[:, None, None]
        if self.reduce:
            a, g = a.mean(1, keepdim=True), g.map(lambda cotangent: cotangent.sum(1, keepdim=True))
        of_gradients = torch.stack([_second_moment(cotangent) for cotangent in g.tensors]).sum(0)
        return _second_moment(a) / a.shape[1], of_gradients, float(weight.sum())

    def accumulate(self, contribution: tuple[Tensor, Tensor, float]) -> None:
        """Add in double precision."""
        self.total += contribution[2]
        self.input_covariance += contribution[0].to(self.input_covariance)
        self.gradient_covariance += contribution[1].to(self.gradient_covariance)

    def combine(self, ranks: Ranks) -> None:
        """Both factors and the weights, summed over processes."""
        sums = self.input_covariance, self.gradient_covariance, self.total
        self.input_covariance, self.gradient_covariance, self.total = ranks.total(sums)

    def eigenbases(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """`Q_G`, `Q_A` and the products of eigenvalues `[o, d]`."""
        check_factors(self.gradient_covariance, self.input_covariance)
        (la, qa), (lb, qb) = (
            torch.linalg.eigh(self.input_covariance / max(self.total, 1e-300)),
            torch.linalg.eigh(self.gradient_covariance),
        )
        values = lb.clamp(min=0)[:, None] * la.clamp(min=0)
        return qb.to(dtype), qa.to(dtype), values

    def precision(self, prior: Tensor) -> EigenbasisPrecision:
        """Eigenvalues `λ_B λ_Aᵀ + δ` in the factors' eigenbases."""
        output_basis, input_basis, values = self.eigenbases(prior.dtype)
        precision = values + prior.double().mean()
        factors = (
            (self.gradient_covariance, output_basis),
            (self.input_covariance / max(self.total, 1e-300), input_basis),
        )
        rounding = of_kronecker_eigenvalues(values, precision, *factors)
        return EigenbasisPrecision(precision.to(prior.dtype), output_basis, input_basis, rounding)


def _second_moment(g: Tensor) -> Tensor:
    """`Σ g gᵀ [o, o]` over examples and positions of `g [n, t, o]`, in the memory layout of `g`."""
    n, t, o = g.shape
    if t <= o:
        return _gram(g.reshape(-1, o))
    parts = (g[rows] for rows in chunk_slices(n, t * o + o * o, _CACHE_NUMBERS))
    return torch.stack([torch.matmul(each.mT, each).sum(0) for each in parts]).sum(0)


def _gram(x: Tensor) -> Tensor:
    """`XᵀX [o, o]`; of a large product only the upper block triangle is computed."""
    found = x.new_empty(x.shape[1], x.shape[1])
    for start in range(0, x.shape[1], _STRIP):
        strip, after = slice(start, start + _STRIP), slice(start + _STRIP, None)
        found[strip, start:] = x[:, strip].T @ x[:, start:]
        found[after, strip] = found[strip, after].T
    return found


@dataclass
class DenseCurvature:
    """Dense `Σ_i G_iᵀ G_i`, in double precision."""

    total: Tensor

    def contribution(self, gradient: PerExampleGradient, weight: Tensor, k: int) -> Tensor:
        """`Gᵀ G [q, q]` of a batch."""
        found = torch.zeros_like(self.total)
        for rows in chunk_slices(len(weight), 2 * k * len(self.total)):
            g = gradient.materialize(rows).flatten(0, 1).to(found)
            found.addmm_(g.T, g)
        return found

    def accumulate(self, contribution: Tensor) -> None:
        """Add a contribution."""
        self.total += contribution

    def combine(self, ranks: Ranks) -> None:
        """The sum over processes."""
        self.total = ranks.total(self.total)

    def precision(self, prior: Tensor) -> CholeskyPrecision:
        """`W` with `W Wᵀ = (total + diag δ)⁻¹`, by a Cholesky factorisation with unit diagonal scaling."""
        check_factors(self.total)
        precision = self.total + torch.diag(prior.reshape(-1).to(self.total))
        scale = precision.diagonal().rsqrt()
        lower = cholesky(precision * scale[:, None] * scale)
        eye = torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
        inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
        rounding = of_cholesky(inverse, prior.reshape(-1).to(scale) * scale.square())
        return CholeskyPrecision(scale[:, None] * inverse.T, rounding)
