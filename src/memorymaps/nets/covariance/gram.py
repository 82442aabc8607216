"""Exact posterior covariance in its Gram (dual) form, layer by layer, with gradients in factored form where possible.

With the rows `A_i = √w L_iᵀJ_i` of all `N` examples and the diagonal prior precision `D`,

    K = A D⁻¹Aᵀ = Σ_layers (a_i·a_j/δ)(g_i·g_j),      S⁻¹ = D⁻¹ − D⁻¹Aᵀ(I + K)⁻¹A D⁻¹

`K [R, R]` has a row for each example and direction, `R = N·k`. Layers used at several positions (convolutions), norms,
embeddings, and layers whose prior differs between outputs (AdamW's) have their rows materialised. All in double
precision.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.outer_product import OuterProductGradient
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch, PerExampleGradient
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance, group_gradient
from memorymaps.nets.covariance.block_precision import BlockPrecision, EigenbasisPrecision
from memorymaps.nets.covariance.rounding import OF_DIFFERENCES, cholesky

_ALL = slice(None)
_PIECE = 2**21  # numbers of one group's rows made together: 16 MB in double precision, which allocators reuse
_BLOCK, _FEW = 2**23, 32  # of rows multiplied together by more than a few others


class GradientRows(Protocol):
    """Gradients of one group for `n` examples and `k` directions (protocol).

    `inverse` is `1/δ` in the group's shape.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, k)`."""

    def to(self, dtype: torch.dtype) -> Self:
        """In another precision."""

    def take(self, examples: slice | Tensor) -> Self:
        """Some examples."""

    def single(self, examples: Tensor, directions: Tensor) -> Self:
        """Single gradients `G[i_j, k_j]` as `m` examples of one direction each."""

    def scaled(self, by: Tensor) -> Self:
        """Every example's gradients multiplied by a number, `by [n]`."""

    def cross_gram(self, others: Any, inverse: Tensor) -> Tensor:
        """`G D⁻¹G'ᵀ [n·k, n'·k']`."""

    def example_gram(self, inverse: Tensor) -> Tensor:
        """`G_i D⁻¹G_iᵀ [n, k, k]`."""

    def matvec(self, v: Tensor) -> Tensor:
        """`G v [..., n·k]` for `v [..., q]`."""

    def rmatvec(self, x: Tensor) -> Tensor:
        """`Gᵀx [..., q]` for `x [..., n·k]`."""


@dataclass(frozen=True)
class RankOneRows:
    """Gradients `G_i = g_i a_iᵀ` of a layer used at one position, in factored form: `a [n, d]`, `g [n, k, o]`.

    The layer's prior must be the same for all outputs.
    """

    at_one: ClassVar[bool] = True
    a: Tensor
    g: Tensor

    @classmethod
    def of(cls, found: OuterProductGradient, examples: slice = _ALL) -> RankOneRows:
        """From the factored gradients of a batch, of some of its examples."""
        return cls(found.inputs[examples][:, 0].double(), found.g[examples][:, :, 0].double())

    @staticmethod
    def numbers(group: ParameterGroup) -> int:
        """In one row while it is made."""
        return sum(group.blocks[0].shape)

    @staticmethod
    def held(group: ParameterGroup) -> int:
        """Numbers in memory of a row that is kept."""
        return RankOneRows.numbers(group)

    @staticmethod
    def product_work(group: ParameterGroup, k: float) -> float:
        """Multiplications for the product of two rows, `(a·a')(g·g')`, of examples whose `k` directions share `a`."""
        o, d = group.blocks[0].shape
        return d / k + o

    @classmethod
    def concatenate(cls, each: Sequence[RankOneRows]) -> RankOneRows:
        """Concatenate along the examples."""
        return cls(torch.cat([rows.a for rows in each]), torch.cat([rows.g for rows in each]))

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, k)`."""
        return self.g.shape[0], self.g.shape[1]

    def to(self, dtype: torch.dtype) -> RankOneRows:
        """In another precision."""
        return RankOneRows(self.a.to(dtype), self.g.to(dtype))

    def take(self, examples: slice | Tensor) -> RankOneRows:
        """Some examples."""
        return RankOneRows(self.a[examples], self.g[examples])

    def single(self, examples: Tensor, directions: Tensor) -> RankOneRows:
        """Single gradients as examples of one direction each."""
        return RankOneRows(self.a[examples], self.g[examples, directions][:, None])

    def scaled(self, by: Tensor) -> RankOneRows:
        """Every example's gradients multiplied by a number."""
        return RankOneRows(self.a, self.g * by[:, None, None])

    def cross_gram(self, others: RankOneRows, inverse: Tensor) -> Tensor:
        """`(a·a'/δ)(g·g') [n·k, n'·k']`."""
        input_gram = (self.a * inverse[0]) @ others.a.T
        cotangent_gram = self.g.flatten(0, 1) @ others.g.flatten(0, 1).T
        found = cotangent_gram.view(*self.shape, *others.shape).mul_(input_gram[:, None, :, None])
        return found.view(cotangent_gram.shape)

    def example_gram(self, inverse: Tensor) -> Tensor:
        """`(a·a/δ)(g·g) [n, k, k]`."""
        return (self.a.square() @ inverse[0])[:, None, None] * torch.matmul(self.g, self.g.mT)

    def matvec(self, v: Tensor) -> Tensor:
        """`g·(v a) [..., n·k]`."""
        outputs = v.unflatten(-1, (-1, self.a.shape[1])) @ self.a.T  # [..., o, n]
        return torch.matmul(self.g, outputs.mT[..., None])[..., 0].flatten(-2)

    def rmatvec(self, x: Tensor) -> Tensor:
        """`Σ x g aᵀ [..., o·d]`."""
        weighted = torch.matmul(x.unflatten(-1, self.shape)[..., None, :], self.g)[..., 0, :]  # [..., n, o]
        return (weighted.mT @ self.a).flatten(-2)


@dataclass(frozen=True)
class DenseRows:
    """Materialised gradients, `rows [n, k, q]`."""

    at_one: ClassVar[bool] = False
    rows: Tensor

    @classmethod
    def of(cls, found: PerExampleGradient, examples: slice = _ALL) -> DenseRows:
        """From the gradients of a batch, of some of its examples."""
        return cls(found.materialize(examples).detach().double())

    @staticmethod
    def numbers(group: ParameterGroup) -> int:
        """In one row while it is made."""
        return group.size

    @staticmethod
    def held(group: ParameterGroup) -> int:
        """Numbers in memory of a row that is kept."""
        return group.size

    @staticmethod
    def product_work(group: ParameterGroup, k: float) -> float:
        """Multiplications for the product of two rows."""
        return group.size

    @classmethod
    def concatenate(cls, each: Sequence[DenseRows]) -> DenseRows:
        """Concatenate along the examples."""
        return cls(torch.cat([rows.rows for rows in each]))

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, k)`."""
        return self.rows.shape[0], self.rows.shape[1]

    def to(self, dtype: torch.dtype) -> DenseRows:
        """In another precision."""
        return DenseRows(self.rows.to(dtype))

    def take(self, examples: slice | Tensor) -> DenseRows:
        """Some examples."""
        return DenseRows(self.rows[examples])

    def single(self, examples: Tensor, directions: Tensor) -> DenseRows:
        """Single gradients as examples of one direction each."""
        return DenseRows(self.rows[examples, directions][:, None])

    def scaled(self, by: Tensor) -> DenseRows:
        """Every example's gradients multiplied by a number."""
        return DenseRows(self.rows * by[:, None, None])

    def cross_gram(self, others: GradientRows, inverse: Tensor) -> Tensor:
        """`G D⁻¹G'ᵀ [n·k, n'·k']`."""
        return others.matvec((self.rows * inverse.reshape(-1)).flatten(0, 1))

    def example_gram(self, inverse: Tensor) -> Tensor:
        """`G_i D⁻¹G_iᵀ [n, k, k]`."""
        return torch.matmul(self.rows * inverse.reshape(-1), self.rows.mT)

    def matvec(self, v: Tensor) -> Tensor:
        """`G v [..., n·k]`."""
        return v @ self.rows.flatten(0, 1).T

    def rmatvec(self, x: Tensor) -> Tensor:
        """`Gᵀx [..., q]`."""
        return x @ self.rows.flatten(0, 1)


RowsType = type[RankOneRows] | type[DenseRows]


def rows_type(found: PerExampleGradient, prior: Tensor) -> RowsType:
    """`RankOneRows` if a group's gradients and prior precisions `δ` allow the factored form, else `DenseRows`."""
    single_position = isinstance(found, OuterProductGradient) and found.positions == 1
    return RankOneRows if single_position and bool((prior == prior[:1]).all()) else DenseRows


@dataclass(frozen=True)
class GramCovariance:
    """Covariance `S⁻¹` of a diagonal prior conditioned on all curvature rows.

    Stored as the prior, the rows, and the Cholesky factor of `I + K`.
    """

    prior: BlockDiagonalCovariance
    rows: tuple[GradientRows, ...]
    cholesky_factor: Tensor

    @classmethod
    def from_rows(cls, prior: BlockDiagonalCovariance, rows: tuple[Any, ...]) -> GramCovariance:
        """Condition a diagonal prior on the curvature rows of its groups."""
        gram = gram_matrix(rows, inverses_of(prior.precisions))
        gram.diagonal().add_(1)
        return cls(prior, rows, cholesky(gram))

    @property
    def groups(self) -> tuple[ParameterGroup, ...]:
        """Parameter groups, in the order of the coordinates."""
        return self.prior.groups

    @property
    def size(self) -> int:
        """Number of parameters `P`."""
        return self.prior.size

    @property
    def is_block_diagonal(self) -> bool:
        """False: all layers are coupled through the Gram matrix `K`."""
        return False

    def items(self) -> Iterator[tuple[ParameterGroup, BlockPrecision]]:
        """Every group with its prior precision."""
        return self.prior.items()

    def variance(self, batch: LinearizedBatch, k: int) -> Tensor:
        """Variances `V = G S⁻¹Gᵀ [n, k, k]`, in chunks of examples."""
        batch_rows = group_rows(batch, self.groups, self.rows)
        parts = chunk_slices(len(batch.f), k * len(self.cholesky_factor))
        return torch.cat([self._variance([rows.take(examples) for rows in batch_rows]) for examples in parts])

    def _variance(self, batch_rows: list[Any]) -> Tensor:
        triples = list(zip(batch_rows, self.rows, inverses_of(self.prior.precisions), strict=True))
        own = sum((own_rows.example_gram(inverse) for own_rows, _, inverse in triples), start=torch.tensor(0.0))
        cross_gram = sum(
            (own_rows.cross_gram(rows, inverse) for own_rows, rows, inverse in triples), start=torch.tensor(0.0)
        )
        whitened = torch.linalg.solve_triangular(self.cholesky_factor, cross_gram.T, upper=False).T.view(
            *own.shape[:2], -1
        )
        return own - torch.matmul(whitened, whitened.mT)

    def solve(self, v: Tensor) -> Tensor:
        """`S⁻¹v [..., P]`, in the order of the groups."""
        base, products = self.project(v)
        x = torch.cholesky_solve(products.reshape(-1, len(self.cholesky_factor)).T, self.cholesky_factor).T.view(
            products.shape
        )
        return self.expand(base, x).to(v.dtype)

    def project(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """`D⁻¹v [..., P]` and `A D⁻¹v [..., R]`, in double precision."""
        base = v.double() * self._inverse
        pieces = zip(self.rows, torch.split(base, [group.size for group in self.groups], dim=-1), strict=True)
        return base, sum((rows.matvec(piece) for rows, piece in pieces), start=torch.tensor(0.0))

    def expand(self, base: Tensor, x: Tensor) -> Tensor:
        """`D⁻¹v − D⁻¹Aᵀx [..., P]` for `x [..., R]`; `S⁻¹v` where `x = (I + K)⁻¹A D⁻¹v`."""
        return base - torch.cat([rows.rmatvec(x) for rows in self.rows], dim=-1) * self._inverse

    @property
    def _inverse(self) -> Tensor:
        return torch.cat([each.reshape(-1) for each in inverses_of(self.prior.precisions)])

    @property
    def rounding(self) -> float:
        """`10 ε tr K`: variances are differences of `G D⁻¹Gᵀ` and the rest."""
        return OF_DIFFERENCES * float(self.gains.sum())

    @property
    def gains(self) -> Tensor:
        """The diagonal of `K [R]`."""
        return self.cholesky_factor.square().sum(1) - 1

    def inverse_trace(self, prior: Sequence[Tensor]) -> float:
        """`tr(D S⁻¹) = P − R + tr (I + K)⁻¹`, for the prior of this covariance.

        Raises
        ------
        ValueError
            The prior differs from that of this covariance.
        """
        precisions = [
            examples.eigenvalues for examples in self.prior.precisions if isinstance(examples, EigenbasisPrecision)
        ]
        if not all(map(torch.equal, precisions, prior)):
            raise ValueError("inverse_trace of a Gram covariance is available for its own prior only")
        return self.size - len(self.cholesky_factor) + float(torch.cholesky_inverse(self.cholesky_factor).trace())


def gram_matrix(rows: Sequence[Any], inverses: Sequence[Tensor]) -> Tensor:
    """`A D⁻¹Aᵀ [n·k, n·k]` of the rows of all groups, strip by strip."""
    n, k = rows[0].shape
    gram = inverses[0].new_zeros(n * k, n * k)
    for part in chunk_slices(n, k * n * k):
        strip = gram[part.start * k : part.stop * k]
        for each, inverse in zip(rows, inverses, strict=True):
            strip += each.take(part).cross_gram(each, inverse)
    return gram


def inverses_of(parts: Sequence[Any]) -> list[Tensor]:
    """`1/δ` of every group, in its shape and in double precision."""
    return [part.eigenvalues.double().reciprocal() for part in parts if isinstance(part, EigenbasisPrecision)]


def group_rows(batch: LinearizedBatch, groups: Sequence[ParameterGroup], makers: Sequence[Any]) -> list[Any]:
    """Gradient rows of every group in a batch, made by the `of` of a type of rows or of rows of the same type."""
    return [maker.of(group_gradient(batch, group)) for maker, group in zip(makers, groups, strict=True)]


@dataclass(frozen=True)
class GroupRows:
    """The rows of one group in a batch, made some examples at a time; `width` numbers an example."""

    gradient: Any
    maker: Any
    width: int

    @classmethod
    def of_batch(
        cls, batch: LinearizedBatch, groups: Sequence[ParameterGroup], makers: Sequence[Any]
    ) -> list[GroupRows]:
        """Of every group; `makers` as in `group_rows`."""
        k, pairs = len(batch.g[0]), zip(makers, groups, strict=True)
        return [cls(group_gradient(batch, group), maker, k * maker.numbers(group)) for maker, group in pairs]

    def single(self, examples: Tensor, directions: Tensor) -> Any:
        """Single gradients `G[i_j, k_j]` of examples in ascending order, as `m` examples of one direction each."""
        found = []
        for part in chunk_slices(int(examples[-1]) + 1, self.width, _PIECE):
            here = (examples >= part.start) & (examples < part.stop)
            if bool(here.any()):
                found.append(self.maker.of(self.gradient, part).single(examples[here] - part.start, directions[here]))
        return self.maker.concatenate(found)

    def pieces(self, examples: slice) -> Iterator[Any]:
        """Rows of so few of the examples at once that they stay in the processor's cache or near it."""
        for part in chunk_slices(examples.stop - examples.start, self.width, _PIECE):
            yield self.maker.of(self.gradient, slice(examples.start + part.start, examples.start + part.stop))

    def blocks(self, examples: slice, others: int) -> Iterator[list[Any]]:
        """The pieces, several together for products with many other rows, which are read once for each block."""
        step = max(1, _PIECE // self.width)
        most = max(1, _BLOCK // self.width // step) if others > _FEW else 1
        pieces = self.pieces(examples)
        while block := list(itertools.islice(pieces, most)):
            yield block


def products_with(
    seen: Sequence[GroupRows], rows: Sequence[Any], inverses: Sequence[Tensor], examples: slice, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """`G_i D⁻¹G_iᵀ [n, k, k]` in double precision and `G D⁻¹A'ᵀ [n·k, m]` of some examples of a batch with other rows,
    by products in `dtype`, group by group.
    """
    own, cross = torch.tensor(0.0), torch.tensor(0.0)
    for made, others, inverse in zip(seen, rows, inverses, strict=True):
        alone: list[Tensor] = []
        together: list[Tensor] = []
        for block in made.blocks(examples, others.shape[0]):
            alone += [mine.example_gram(inverse) for mine in block]
            mine = block[0].concatenate([piece.to(dtype) for piece in block]) if len(block) > 1 else block[0].to(dtype)
            together.append(mine.cross_gram(others, inverse.to(dtype)))
        own, cross = own + torch.cat(alone), cross + torch.cat(together)
    return own, cross
