"""One dense matrix per output unit of a layer: finer than one per layer, coarser than a diagonal [Ollivier 2015].

A unit's parameters are a row of the layer's weight matrix and its bias, `w_u [d]`. Its curvature is
`Σ_i Σ_k G_ik[u] G_ik[u]ᵀ [d, d]`, exact; curvature between units, and between layers, is left out. A layer `[o, d]`
costs `o·d²` numbers, where one dense matrix would cost `o²d²`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorymaps.files.progress_plan import Step
from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.finite_checks import check_factors
from memorymaps.nets.autograd.parameter_blocks import ParameterBlock
from memorymaps.nets.autograd.per_example_gradients import PerExampleGradient
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.covariance.block_precision import CholeskyPrecision
from memorymaps.nets.covariance.rounding import cholesky, of_cholesky
from memorymaps.nets.curvature.accumulators import CurvatureAccumulator, DiagonalCurvature
from memorymaps.nets.curvature.structure import (
    CurvatureEstimate,
    CurvatureStructure,
    accumulate_over_data,
    curvature_pass,
    estimate_of,
)
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.posteriors.processes.ranks import Ranks

_MAX_NUMBERS = 1_600_000_000  # numbers of all units' matrices: 13 GB


@dataclass(frozen=True)
class UnitBlock(CurvatureStructure):
    """One dense matrix per output unit of a matrix layer, a diagonal for all other parameters."""

    name = "unit_block"
    shared = True

    def steps(self, problem: LaplaceProblem) -> tuple[Step, ...]:
        """One pass."""
        return (curvature_pass(problem),)

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[BlockDiagonalCovariance]:
        """The units' diagonal blocks of the Gauss–Newton matrix, one pass over the data.

        Raises
        ------
        ValueError
            Matrices larger than 13 GB together.
        """
        _check_size(problem.blocks)
        curvatures: list[CurvatureAccumulator] = [_start(problem, block) for block in problem.blocks]
        accumulate_over_data(problem, problem.block_groups, curvatures)
        one = len(problem.blocks) == 1 and problem.blocks[0].is_matrix and problem.blocks[0].shape[0] == 1
        return estimate_of(problem.block_groups, curvatures, float(one))

    def representation(self, block: ParameterBlock) -> str:
        """A matrix per row of a matrix block, a diagonal of anything else."""
        return self.name if block.is_matrix else "diagonal"


def _start(problem: LaplaceProblem, block: ParameterBlock) -> CurvatureAccumulator:
    if not block.is_matrix:
        return DiagonalCurvature(problem.zeros(*block.shape))
    o, d = block.shape
    return UnitCurvature(problem.zeros(o, d, d))


def _check_size(blocks: tuple[ParameterBlock, ...]) -> None:
    numbers = sum(block.size * block.shape[1] for block in blocks if block.is_matrix)
    if numbers > _MAX_NUMBERS:
        raise ValueError(
            f"structure='unit_block' needs a matrix per output unit, {8e-9 * numbers:,.0f} GB together: "
            f"expected at most {8e-9 * _MAX_NUMBERS:,.0f} GB. Use 'ekfac' or 'diag', or a subset"
        )


@dataclass
class UnitCurvature:
    """`Σ_i G_i[u]ᵀ G_i[u]` of every unit `u`: `[o, d, d]`, in double precision."""

    total: Tensor

    def contribution(self, gradient: PerExampleGradient, weight: Tensor, k: int) -> Tensor:
        """`GᵀG [o, d, d]` of a batch, unit by unit."""
        found = torch.zeros_like(self.total)
        o, d, _ = self.total.shape
        for rows in chunk_slices(len(weight), 2 * k * o * d):
            g = gradient.materialize(rows).reshape(-1, o, d).transpose(0, 1).to(found)
            found.baddbmm_(g.mT, g)
        return found

    def accumulate(self, contribution: Tensor) -> None:
        """Add a contribution."""
        self.total += contribution

    def combine(self, ranks: Ranks) -> None:
        """The sum over processes."""
        self.total = ranks.total(self.total)

    def precision(self, prior: Tensor) -> UnitPrecision:
        """`W_u` with `W_u W_uᵀ = (total_u + diag δ_u)⁻¹`, by Cholesky factorisations with unit diagonal scaling."""
        check_factors(self.total)
        precision = self.total + torch.diag_embed(prior.to(self.total))
        scale = precision.diagonal(dim1=1, dim2=2).rsqrt()
        lower = cholesky(precision * scale[:, :, None] * scale[:, None])
        eye = torch.eye(scale.shape[1], dtype=scale.dtype, device=scale.device).expand_as(lower)
        inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
        rounding = of_cholesky(inverse, prior.to(scale) * scale.square())
        return UnitPrecision(scale[:, :, None] * inverse.mT, rounding)


@dataclass(frozen=True)
class UnitPrecision(CholeskyPrecision):
    """A precision with one dense matrix per unit, stored as `inv_sqrt` `W [o, d, d]` with `S_u⁻¹ = W_u W_uᵀ`."""

    def variance(self, gradient: PerExampleGradient, n: int, k: int) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]`, summed over units."""
        o, d, _ = self.inv_sqrt.shape
        pieces = (self.inv_sqrt_rmatvec(gradient.materialize(rows)) for rows in chunk_slices(n, 2 * k * o * d))
        return torch.cat([z @ z.mT for z in pieces])

    def inv_sqrt_rmatvec(self, v: Tensor) -> Tensor:
        """`W_uᵀ v_u [..., o·d]`."""
        return self._each_unit(v.to(self.inv_sqrt.dtype), self.inv_sqrt)

    def inv_sqrt_matvec(self, z: Tensor) -> Tensor:
        """`W_u z_u [..., o·d]`."""
        return self._each_unit(z, self.inv_sqrt.mT)

    def inverse_trace(self, prior: Tensor) -> float:
        """`tr(diag(δ) S⁻¹)`."""
        return float((prior[..., None].to(self.inv_sqrt.dtype) * self.inv_sqrt.square()).sum())

    def _each_unit(self, v: Tensor, matrices: Tensor) -> Tensor:
        """`v_u M_u [..., o·d]`: a product with the matrix of each unit."""
        o, d, _ = matrices.shape
        units = v.reshape(-1, o, d).transpose(0, 1)
        return torch.bmm(units, matrices).transpose(0, 1).reshape(v.shape)
