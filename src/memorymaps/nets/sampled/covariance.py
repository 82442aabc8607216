"""`S⁻¹` from rows of the weighted Jacobian that were drawn at random, each example's own rows taken out exactly.

With drawn rows `a_j`, their weights `W_j` and the prior's precisions `D`,

    S̃ = D + Σ_j W_j a_j a_jᵀ,    U = √W A,    K = I + U D⁻¹Uᵀ,    S̃⁻¹ = D⁻¹ − D⁻¹Uᵀ K⁻¹ U D⁻¹

and for example `i`, whose own rows are `o`, with `X = J_i D⁻¹Uᵀ` and `Y = X K⁻¹`,

    Y_{−o} = Y − Y_o (K⁻¹)_oo⁻¹ (K⁻¹)_o,    J_i S̃_{−i}⁻¹ J_iᵀ = J_i D⁻¹J_iᵀ − X Y_{−o}ᵀ

A deleted row `j` changes this by exactly `y_j y_jᵀ/κ_j`, with `y_j` the column of `Y_{−o}` and `κ_j = (K_{−o}⁻¹)_jj`: a
jackknife over rows needs no second matrix, and the bias that the weights leave, `Σ_j β_j y_j y_jᵀ`, none either; it is
taken away.

`K = L Lᵀ` and its factor are in double precision, the products with `L⁻¹` in double or in single: with `Z = X L⁻ᵀ`,
`X K⁻¹Xᵀ = Z Zᵀ` is a sum of squares of at most `J_i D⁻¹J_iᵀ`, and rounding stays in proportion to this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.covariance.block_precision import BlockPrecision
from memorymaps.nets.covariance.gram import GramCovariance, GroupRows, gram_matrix, inverses_of, products_with
from memorymaps.nets.covariance.rounding import OF_DIFFERENCES, WORTH_A_PRODUCT, cholesky
from memorymaps.nets.sampled.rows.projection import ProjectedRows, ProjectionError
from memorymaps.nets.sampled.rows.sampling import (
    FEWEST_OPEN,
    debiased_weights,
    effective_count,
    given_weight,
    log_determinant,
)

_CHUNK = 512  # columns of an inverse found together
_ROUNDING, _TINY = 1e-14, 1e-200  # their product is a number, too


@dataclass(frozen=True)
class Cavity:
    """A batch seen from the posterior without each of its examples.

    `variance [n, r, r]` is `J_i S̃_{−i}⁻¹J_iᵀ` without its bias, along the directions of the batch, in double precision,
    and `removed [n, r, r]` that bias; `moves = Y_{−o} [n, r, m]` and `kept = κ [n, m]` say what deleting one drawn row
    does: it grows by `moves_j moves_jᵀ/kept_j`. An example's own rows move nothing. `prior [n, r, r]` is `J_i D⁻¹J_iᵀ`,
    and `chance [n]` the largest probability that a row of the example is drawn with.
    """

    variance: Tensor
    removed: Tensor
    moves: Tensor
    kept: Tensor
    prior: Tensor
    chance: Tensor


@dataclass(frozen=True)
class SampledCovariance:
    """`S̃⁻¹`, and `S̃_{−i}⁻¹` for the training examples; a `PosteriorCovariance` for all that asks no example's place.

    `owners [m]` are the positions of the examples that the drawn rows belong to, ascending; `q [m]` the probabilities
    they were drawn with, `weights [m]` their weights, `inverse [m, m]` is `L⁻¹` and `kept [m]` the diagonal of `K⁻¹`;
    `chance [N]` is the largest probability of a row of each example.
    `projected` is what projecting the rows changes (`errors/projection.py`); None where they are as they are. Rows that
    were not drawn may change so many times the size of each measure, `undrawn` (`errors/half.py`).
    """

    gram: GramCovariance
    owners: Tensor
    q: Tensor
    weights: Tensor
    inverse: Tensor
    kept: Tensor
    chance: Tensor
    projected: ProjectionError | None = None
    undrawn: tuple[float, ...] = (0.0, 0.0, 0.0)

    @classmethod
    def of(
        cls, prior: BlockDiagonalCovariance, rows: Sequence[Any], owners: Tensor, q: Tensor, chance: Tensor
    ) -> SampledCovariance:
        """From drawn rows, one example and direction each, and the probabilities that they were drawn with."""
        inverses = inverses_of(prior.precisions)
        matrix = gram_matrix(rows, inverses)
        for each, inverse in zip(rows, inverses, strict=True):
            if isinstance(each, ProjectedRows):
                matrix.diagonal().add_(each.own_outside(inverse))
        return cls.of_products(prior, rows, matrix, owners, q, chance)

    @classmethod
    def of_products(
        cls,
        prior: BlockDiagonalCovariance,
        rows: Sequence[Any],
        matrix: Tensor,
        owners: Tensor,
        q: Tensor,
        chance: Tensor,
    ) -> SampledCovariance:
        """From drawn rows and their products `A D⁻¹Aᵀ [m, m]`."""
        weights = debiased_weights(q, lambda weight: inverse_diagonal(_lower(matrix, weight)))
        lower = _lower(matrix, weights)
        scaled = tuple(each.scaled(weights.sqrt()) for each in rows)
        inverse = inverse_of(lower)
        gram, kept = GramCovariance(prior, scaled, lower), inverse.square().sum(0)
        return cls(gram, owners, q, weights, inverse, kept, chance)

    @property
    def groups(self) -> tuple[ParameterGroup, ...]:
        """The prior's."""
        return self.gram.groups

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.gram.size

    @property
    def is_block_diagonal(self) -> bool:
        """False: the drawn rows couple all layers."""
        return False

    def items(self) -> Iterator[tuple[ParameterGroup, BlockPrecision]]:
        """Every group with its prior."""
        return self.gram.items()

    def variance(self, batch: LinearizedBatch, k: int) -> Tensor:
        """`J S̃⁻¹Jᵀ [n, k, k]` of examples that were not in training."""
        return self.gram.variance(batch, k)

    def solve(self, v: Tensor) -> Tensor:
        """`S̃⁻¹v [..., P]`, in the order of the groups."""
        return self.gram.solve(v)

    def without(self, groups: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
        """`v_g ↦ S̃_{−g}⁻¹v_g [g, P]`, without the drawn rows of the examples at each group's positions."""
        owned = [torch.nonzero(torch.isin(self.owners, positions)).flatten() for positions in groups]
        columns = [self._inverse_columns(own) for own in owned]

        def solve(v: Tensor) -> Tensor:
            base, answers = self.gram.project(v)
            x = torch.cholesky_solve(answers.T, self.gram.cholesky_factor).T
            parts = [
                each - column @ torch.linalg.solve(column[own], each[own])
                for each, own, column in zip(x, owned, columns, strict=True)
            ]
            return self.gram.expand(base, torch.stack(parts)).to(v.dtype)

        return solve

    def _inverse_columns(self, places: Tensor) -> Tensor:
        """Columns `[m, r]` of `K⁻¹`."""
        units = torch.zeros(len(self.owners), len(places), dtype=self.q.dtype, device=self.q.device)
        units[places, torch.arange(len(places), device=places.device)] = 1
        return torch.cholesky_solve(units, self.gram.cholesky_factor)

    @property
    def log_determinant(self) -> float:
        """`log det S` of the exact matrix, estimated: `Σ log δ` and what the rows add to it."""
        prior = -sum(float(each.log().sum()) for each in inverses_of(self.gram.prior.precisions))
        return prior + log_determinant(self.gram.cholesky_factor, self.q, self.weights, self.kept)

    def inverse_trace(self, prior: Sequence[Tensor]) -> float:
        """`tr(D S̃⁻¹) = P − Σ_j (1 − κ_j)` for the prior that it holds."""
        return self.size - float((1 - self.kept).sum())

    @property
    def rounding(self) -> float:
        """`10 ε Σ_j min(a_j D⁻¹a_jᵀ, 10 Σ_l (K⁻¹)_jl² K_ll)/q_j`: a leverage is `1 − κ` of a system with all rows,
        whose inverse is small and exact where they share nothing.
        """
        gains = self.gram.gains
        alone = OF_DIFFERENCES * gains / self.weights / self.q
        if float(alone.sum()) < WORTH_A_PRODUCT:
            return float(alone.sum())
        together = (self.inverse.T @ self.inverse).square() @ gains
        return float(torch.minimum(alone, 10 * OF_DIFFERENCES * together / self.q).sum())

    @property
    def bias(self) -> Tensor:
        """`β [m]` with `E[J S̃⁻¹Jᵀ] − J S⁻¹Jᵀ ≈ Σ_j β_j y_j y_jᵀ`; zero where a row's weight is the debiased one.

        Of row `j` over its draw, `q W/(1 + W g)` takes the place of `1/(1 + g)`; each drawn row stands for `1/q`. What
        the number of rows drawn adds is none of it (`given_weight`).
        """
        gain = 1 / self.kept - 1  # W g
        drawn = self.q * self.weights
        return (given_weight(self.q) - drawn + gain * (1 - self.q)) / ((1 + gain / self.weights) * drawn * self.kept)

    @property
    def shortfall(self) -> float:
        """The part of the effective parameters that drawn rows stand for, `Σ h_j/q_j`, but do not determine,
        `Σ (1 − κ_j)`: near one where there are much fewer rows than effective parameters, near zero from two for each.
        """
        lost = torch.where(self.q < 1, self._stood_for - (1 - self.kept), 0).sum()
        return max(0.0, float(lost / self._stood_for.sum().clamp(min=_TINY)))

    @property
    def effective_parameters(self) -> float:
        """`Σ_j h_j/q_j` over the drawn rows: the estimate of `Σ h` of all rows."""
        return float(self._stood_for.sum())

    @property
    def effective_parameters_and_error(self) -> tuple[float, float]:
        """The same and its standard error, of the draw given how many rows were drawn [Hájek 1964]."""
        open_part, found = 1 - self.q, self._stood_for
        count, mean, factor = effective_count(open_part), 0.0, 1.0
        if count >= FEWEST_OPEN:
            mean, factor = float(open_part @ found / open_part.sum()), count / (count - 1)
        return self.effective_parameters, math.sqrt(factor * float(open_part @ (found - mean).square()))

    @property
    def _stood_for(self) -> Tensor:
        """`h_j/q_j [m]`, `h = g/(1 + g)` a row's own leverage."""
        gain = 1 / self.kept - 1  # W g
        return gain / (self.weights + gain) / self.q

    def cavities(self, dtype: torch.dtype) -> Cavities:
        """The training examples' posteriors, by products in double or in single precision."""
        rows = tuple(each.to(dtype) for each in self.gram.rows)
        inverses = inverses_of(self.gram.prior.precisions)
        root, kept, bias = (each.to(dtype) for each in (self.inverse, self.kept, self.bias))
        drawn = (self.owners, self.q, root, kept, bias, self.chance, self.shortfall, self.projected, self.undrawn)
        return Cavities(self.groups, rows, inverses, *drawn)


@dataclass(frozen=True)
class Cavities:
    """`S̃_{−i}⁻¹` for the training examples, by products in the precision of `root = L⁻¹`."""

    groups: tuple[ParameterGroup, ...]
    rows: tuple[Any, ...]
    inverses: list[Tensor]
    owners: Tensor
    q: Tensor
    root: Tensor
    kept: Tensor
    bias: Tensor
    chance: Tensor
    shortfall: float
    projected: ProjectionError | None
    undrawn: tuple[float, ...]

    def of(self, batch: LinearizedBatch, positions: Tensor) -> Iterator[tuple[slice, Cavity]]:
        """The examples at `positions [n]` of the training data, some at a time."""
        for part, own, cross in self.products(batch):
            yield part, self.cavity(own, cross, positions[part])

    def products(self, batch: LinearizedBatch) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """`J_i D⁻¹J_iᵀ [n, r, r]` and `J_i D⁻¹Uᵀ [n·r, m]` of a batch's examples, some at a time."""
        seen = GroupRows.of_batch(batch, self.groups, self.rows)
        k = len(batch.g[0])
        for part in chunk_slices(len(batch.f), 4 * (k + 1) * len(self.owners)):
            yield part, *products_with(seen, self.rows, self.inverses, part, self.root.dtype)

    def cavity(self, own: Tensor, cross: Tensor, positions: Tensor) -> Cavity:
        """From `J_i D⁻¹J_iᵀ [n, r, r]` and `J_i D⁻¹Uᵀ [n·r, m]` of the examples at `positions [n]`."""
        return self._cavity(own, cross, positions, *self._own(positions))

    def without_alike(self, own: Tensor, cross: Tensor, positions: Tensor, count: int) -> Cavity:
        """The same, also without so many other rows of each example: those whose deletion adds most to its variance."""
        places, there = self._own(positions)
        found = self._cavity(own, cross, positions, places, there)
        added = found.moves.square().sum(1) / found.kept
        rows, columns = torch.nonzero(there, as_tuple=True)
        added[rows, places[rows, columns]] = 0
        most, others = added.topk(min(count, added.shape[1]), dim=1)
        both = torch.cat([places, others], dim=1), torch.cat([there, most > 0], dim=1)
        return self._cavity(own, cross, positions, *both)

    def _cavity(self, own: Tensor, cross: Tensor, positions: Tensor, places: Tensor, there: Tensor) -> Cavity:
        whitened = _whitened(cross, self.root)
        moves = _coloured(whitened, self.root).view(*own.shape[:2], -1)
        whitened = whitened.view(moves.shape)
        variance = own - torch.matmul(whitened, whitened.mT)
        moves, kept, more = self._without(moves, places, there)
        plain = variance + more
        if not bool(self.bias.any()):
            return Cavity(plain, torch.zeros_like(plain), moves, kept, own, self.chance[positions])
        variance = _less(plain, torch.matmul(moves * self.bias, moves.mT).double())
        removed = (plain + plain.mT) / 2 - variance
        return Cavity(variance, removed, moves, kept, own, self.chance[positions])

    def _own(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Places `[n, r]` of the examples' own rows among those drawn, and which of the `n × r` there are."""
        first, last = (torch.searchsorted(self.owners, positions, right=right) for right in (False, True))
        most = int((last - first).max()) if len(positions) else 0
        places = first[:, None] + torch.arange(most, device=first.device)
        there = places < last[:, None]
        return torch.where(there, places, 0), there

    def _without(self, moves: Tensor, places: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`Y_{−o} [n, k, m]`, `κ [n, m]` and what the variance grows by from `Y`, without own rows."""
        n, k, _ = moves.shape
        kept, more = self.kept.expand(n, -1), moves.new_zeros(n, k, k)
        own = torch.nonzero(there.any(1)).flatten() if there.numel() else there.new_zeros(0, dtype=torch.long)
        if not len(own):
            return moves, kept, more
        places, there = places[own], there[own]
        columns = moves.new_zeros(*places.shape, moves.shape[2])
        columns[there] = _coloured(self.root[:, places[there]].T, self.root)
        within = columns.gather(2, places[:, None].expand(-1, places.shape[1], -1))
        both = there[:, :, None] & there[:, None]
        within = torch.where(both, within, torch.eye(places.shape[1], dtype=within.dtype, device=within.device))
        turned = torch.linalg.solve(within, columns)
        mine = moves[own].gather(2, places[:, None].expand(-1, moves.shape[1], -1)) * there[:, None]
        left = self.kept - (turned * columns).sum(1)
        left[torch.nonzero(there)[:, 0], places[there]] = 1  # nothing is left of an example's own rows
        kept = kept.clone()
        kept[own], more[own] = left, torch.matmul(mine, torch.linalg.solve(within, mine.mT))
        moves[own] -= mine @ turned
        return moves, kept, more


def _whitened(x: Tensor, root: Tensor) -> Tensor:
    """`X L⁻ᵀ [n, m]`, by blocks of the triangular `L⁻¹`."""
    found = torch.empty_like(x)
    for part in chunk_slices(len(root), 1, _CHUNK):
        found[:, part] = x[:, : part.stop] @ root[part, : part.stop].T
    return found


def _coloured(z: Tensor, root: Tensor) -> Tensor:
    """`Z L⁻¹ [n, m]`, by blocks of the triangular `L⁻¹`."""
    found = torch.empty_like(z)
    for part in chunk_slices(len(root), 1, _CHUNK):
        found[:, part] = z[:, part.start :] @ root[part.start :, part]
    return found


def _less(variance: Tensor, bias: Tensor) -> Tensor:
    """`V − B` to first order in `B`, and never negative: `V(V + B)⁻¹V [n, k, k]`."""
    variance = (variance + variance.mT) / 2
    sizes = [each.diagonal(dim1=1, dim2=2).abs().mean(1) for each in (variance, bias)]
    scale = torch.stack(sizes).sum(0).clamp(min=_TINY)
    eye = _ROUNDING * scale[:, None, None] * torch.eye(variance.shape[1], dtype=bias.dtype, device=bias.device)
    return torch.matmul(variance, torch.linalg.solve(variance + bias + eye, variance))


def _lower(matrix: Tensor, weights: Tensor) -> Tensor:
    """The Cholesky factor of `I + √W A D⁻¹Aᵀ √W`."""
    root = weights.sqrt()
    scaled = matrix * root[:, None] * root
    scaled.diagonal().add_(1)
    return cholesky(scaled)


def inverse_of(lower: Tensor) -> Tensor:
    """`L⁻¹` of a triangular `L`, some columns at a time.

    Examples
    --------
    >>> inverse_of(torch.tensor([[2.0, 0.0], [0.0, 4.0]])).diagonal().tolist()
    [0.5, 0.25]
    """
    found = torch.zeros_like(lower)
    for start, columns in _inverse_columns(lower):
        found[start:, start : start + columns.shape[1]] = columns
    return found


def inverse_diagonal(lower: Tensor) -> Tensor:
    """The diagonal of `(L Lᵀ)⁻¹`, some columns of `L⁻¹` at a time.

    Examples
    --------
    >>> inverse_diagonal(torch.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [0.25, 0.0625]
    """
    return torch.cat([columns.square().sum(0) for _, columns in _inverse_columns(lower)])


def _inverse_columns(lower: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Columns of `L⁻¹` from the diagonal down, and the first one's number."""
    for start in range(0, len(lower), _CHUNK):
        rest = lower[start:, start:]
        units = torch.eye(len(rest), min(_CHUNK, len(rest)), dtype=lower.dtype, device=lower.device)
        yield start, torch.linalg.solve_triangular(rest, units, upper=False)
