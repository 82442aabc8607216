"""Rows of matrix layers within a Kronecker subspace, each with the length that it has outside.

With orthonormal `Q [o, s]` and `R [d, r]` of a layer, its gradient `G [o, d]` is kept as `QᵀG R [s, r]`, and of the
rest `G − QQᵀG RRᵀ` only products between directions of the same example,

    G_i·G_j ≈ (QᵀG_iR)·(QᵀG_jR)    for different examples,    G_i·G_i exactly

as if what is left out of two examples' rows were orthogonal [FITC, Snelson & Ghahramani 2006]. `Q` and `R` come from a
random projection of rows that were drawn, `Y = Σ GᵀGΩ` with `Ω` Gaussian, whose leading left singular vectors are `R`
[randomised range finder, Halko et al. 2011]. LoGra [Choe et al. 2024] and TRAK [Park et al. 2023] multiply
rows by `Ω` itself, for which the same number of dimensions says less (benchmarks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.outer_product import OuterProductGradient
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.covariance.gram import DenseRows, RankOneRows

_ALL = slice(None)
_TINY = 1e-300
MORE = 2  # times as many random vectors as directions that are kept


@dataclass(frozen=True)
class LayerProjection:
    """Makes the rows of one matrix layer: `outputs = Q [o, s]` and `inputs = R [d, r]`, orthonormal columns.

    `at_one` says whether each example uses the layer at one position: rows stay in factors then.
    """

    outputs: Tensor
    inputs: Tensor
    at_one: bool

    @property
    def shape(self) -> tuple[int, int]:
        """`(s, r)`."""
        return self.outputs.shape[1], self.inputs.shape[1]

    def of(self, found: OuterProductGradient, examples: slice = _ALL) -> ProjectedRows:
        """From the gradients of a batch, of some of its examples."""
        return self._factored(found, examples) if self.at_one else self._materialized(found, examples)

    def numbers(self, group: ParameterGroup) -> int:
        """In one row while it is made."""
        return RankOneRows.numbers(group) if self.at_one else DenseRows.numbers(group)

    def held(self, group: ParameterGroup) -> int:
        """Numbers in memory of a row that is kept."""
        return 1 + (sum(self.shape) if self.at_one else math.prod(self.shape))

    def product_work(self, group: ParameterGroup, k: float) -> float:
        """Multiplications for the product of two rows of examples with `k` directions."""
        o, d = self.shape
        return d / k + o if self.at_one else o * d

    def concatenate(self, each: Sequence[ProjectedRows]) -> ProjectedRows:
        """Concatenate along the examples."""
        kept: Any = RankOneRows if self.at_one else DenseRows
        inside = kept.concatenate([rows.inside for rows in each])
        return ProjectedRows(self, inside, torch.cat([rows.outside for rows in each]))

    def _factored(self, found: OuterProductGradient, examples: slice) -> ProjectedRows:
        whole = RankOneRows.of(found, examples)
        inside = RankOneRows(whole.a @ self.inputs, whole.g @ self.outputs)
        other_a = whole.a - inside.a @ self.inputs.T
        other_g = whole.g - inside.g @ self.outputs.T
        outside = _length(other_a) * torch.matmul(whole.g, whole.g.mT)
        return ProjectedRows(self, inside, outside + _length(inside.a) * torch.matmul(other_g, other_g.mT))

    def _materialized(self, found: OuterProductGradient, examples: slice) -> ProjectedRows:
        whole = DenseRows.of(found, examples).rows.unflatten(2, (len(self.outputs), len(self.inputs)))
        inside = torch.matmul(self.outputs.T, torch.matmul(whole, self.inputs))
        other = (whole - torch.matmul(self.outputs, torch.matmul(inside, self.inputs.T))).flatten(2)
        return ProjectedRows(self, DenseRows(inside.flatten(2)), torch.matmul(other, other.mT))


def _length(a: Tensor) -> Tensor:
    return a.square().sum(1)[:, None, None]


@dataclass(frozen=True)
class ProjectedRows:
    """Gradients of `n` examples and `k` directions in the subspace, `inside`, and `outside [n, k, k]`: products of what
    is left out, within each example. The layer has one prior precision.
    """

    projection: LayerProjection
    inside: RankOneRows | DenseRows
    outside: Tensor

    def of(self, found: OuterProductGradient, examples: slice = _ALL) -> ProjectedRows:
        """Of a batch, in the same subspace."""
        return self.projection.of(found, examples)

    def numbers(self, group: ParameterGroup) -> int:
        """In one row while it is made."""
        return self.projection.numbers(group)

    @staticmethod
    def concatenate(each: Sequence[ProjectedRows]) -> ProjectedRows:
        """Concatenate along the examples."""
        return each[0].projection.concatenate(each)

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, k)`."""
        return self.inside.shape

    def to(self, dtype: torch.dtype) -> ProjectedRows:
        """In another precision."""
        return replace(self, inside=self.inside.to(dtype), outside=self.outside.to(dtype))

    def take(self, examples: slice | Tensor) -> ProjectedRows:
        """Some examples."""
        return replace(self, inside=self.inside.take(examples), outside=self.outside[examples])

    def single(self, examples: Tensor, directions: Tensor) -> ProjectedRows:
        """Single gradients as examples of one direction each."""
        outside = self.outside[examples, directions, directions][:, None, None]
        return replace(self, inside=self.inside.single(examples, directions), outside=outside)

    def scaled(self, by: Tensor) -> ProjectedRows:
        """Every example's gradients multiplied by a number."""
        return replace(self, inside=self.inside.scaled(by), outside=self.outside * by.square()[:, None, None])

    def cross_gram(self, others: ProjectedRows, inverse: Tensor) -> Tensor:
        """`(QᵀG R)·(QᵀG'R)/δ [n·k, n'·k']`: of different examples, their products as far as they are kept."""
        inside: Any = self.inside
        return inside.cross_gram(others.inside, self._inside(inverse))

    def example_gram(self, inverse: Tensor) -> Tensor:
        """`G_i·G_i/δ [n, k, k]`, with what is left out of the subspace."""
        return self.inside.example_gram(self._inside(inverse)) + self.outside * inverse.reshape(-1)[0]

    def own_outside(self, inverse: Tensor) -> Tensor:
        """What `cross_gram` with themselves lacks on its diagonal, of rows of one direction each, `[n]`."""
        return self.outside[:, 0, 0] * inverse.reshape(-1)[0]

    def matvec(self, v: Tensor) -> Tensor:
        """`(QᵀG R)·(Qᵀv R) [..., n·k]` for `v [..., o·d]`."""
        p = self.projection
        whole = v.unflatten(-1, (len(p.outputs), len(p.inputs)))
        return self.inside.matvec(torch.matmul(p.outputs.T, torch.matmul(whole, p.inputs)).flatten(-2))

    def rmatvec(self, x: Tensor) -> Tensor:
        """`Σ x QQᵀG RRᵀ [..., o·d]`."""
        p = self.projection
        inside = self.inside.rmatvec(x).unflatten(-1, p.shape)
        return torch.matmul(p.outputs, torch.matmul(inside, p.inputs.T)).flatten(-2)

    def _inside(self, inverse: Tensor) -> Tensor:
        return inverse.reshape(-1)[:1].expand(self.projection.shape)


@dataclass(frozen=True)
class ProjectionError:
    """What projecting changes in leverage, sensitivity and how far left-out losses move: `relative` to these over some
    examples, and as so many times `spread` the scale of each example's error, `scale_of_error`.
    """

    relative: Sequence[float]
    spread: Sequence[float]

    @staticmethod
    def scale_of_error(size: Tensor) -> Tensor:
        """`√h`, `s/√h` and `|Δℓ|/√h [3, n]` of leverage, sensitivity and the loss's move `size [3, n]`: small leverages
        are less exact, relative; chosen by measuring.
        """
        root = size[0].clamp(min=_TINY).sqrt()
        return torch.stack([root, size[1] / root, size[2] / root])


@dataclass
class RangeSketch:
    """`Σ GᵀGΩ` and `Σ GGᵀΩ'` of a layer's gradients `G [m, o, d]`, as they come, and the subspaces found in them."""

    random: tuple[Tensor, Tensor]
    sums: tuple[Tensor, Tensor]
    kept: int

    @classmethod
    def of(cls, shape: tuple[int, int], kept: int, generator: torch.Generator, device: torch.device) -> RangeSketch:
        """Empty, for a layer of `o × d`."""
        draws = (torch.randn(n, min(n, MORE * kept), generator=generator, dtype=torch.float64) for n in shape)
        left, right = (each.to(device) for each in draws)
        return cls((left, right), (torch.zeros_like(left), torch.zeros_like(right)), kept)

    def add(self, rows: RankOneRows | DenseRows) -> None:
        """Gradients of single directions."""
        o, d = (len(each) for each in self.random)
        whole = rows.rows if isinstance(rows, DenseRows) else rows.g.mT * rows.a[:, None]
        g = whole.reshape(-1, o, d)
        for total, random, turned in zip(self.sums, self.random, (g.mT, g), strict=True):
            total += torch.matmul(turned.mT, torch.matmul(turned, random)).sum(0)

    def projection(self, at_one: bool) -> LayerProjection:
        """On the leading directions."""
        outputs, inputs = (_leading(each, min(self.kept, len(each))) for each in self.sums)
        return LayerProjection(outputs, inputs, at_one)


def _leading(sketch: Tensor, kept: int) -> Tensor:
    if kept == len(sketch):
        return torch.eye(kept, dtype=sketch.dtype, device=sketch.device)
    return torch.linalg.svd(sketch, full_matrices=False)[0][:, :kept].contiguous()
