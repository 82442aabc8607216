"""`S⁻¹` from rows of the weighted Jacobian that were drawn at random, each example's own rows taken out exactly.

With drawn rows `a_j`, their weights `W_j` and the prior's precisions `D`,

    S̃ = D + Σ_j W_j a_j a_jᵀ,    U = √W A,    K = I + U D⁻¹Uᵀ,    S̃⁻¹ = D⁻¹ − D⁻¹Uᵀ K⁻¹ U D⁻¹

and for example `i`, whose own rows are `o`, with `X = J_i D⁻¹Uᵀ` and `Y = X K⁻¹`,

    Y_{−o} = Y − Y_o (K⁻¹)_oo⁻¹ (K⁻¹)_o,    J_i S̃_{−i}⁻¹ J_iᵀ = J_i D⁻¹J_iᵀ − X Y_{−o}ᵀ

A deleted row `j` changes this by exactly `y_j y_jᵀ/κ_j`, with `y_j` the column of `Y_{−o}` and `κ_j = (K_{−o}⁻¹)_jj`: a
jackknife over rows needs no second matrix, and the bias that the weights leave, `Σ_j β_j y_j y_jᵀ`, none either; it is
taken away. All in double precision.
"""

from __future__ import annotations

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
from memorymaps.nets.covariance.gram import GramCovariance, gram_matrix, group_rows, inverses_of
from memorymaps.nets.sampled.row_sampling import debiased_weights, log_determinant

_CHUNK = 512  # columns of an inverse found together
_ROUNDING, _TINY = 1e-14, 1e-300


@dataclass(frozen=True)
class Cavity:
    """A batch seen from the posterior without each of its examples.

    `variance [n, c, c]` is `J_i S̃_{−i}⁻¹J_iᵀ` without its bias; `moves = Y_{−o} [n, c, m]` and `kept = κ [n, m]` say
    what deleting one drawn row does: it grows by `moves_j moves_jᵀ/kept_j`. An example's own rows move nothing.
    """

    variance: Tensor
    moves: Tensor
    kept: Tensor


@dataclass(frozen=True)
class SampledCovariance:
    """`S̃⁻¹`, and `S̃_{−i}⁻¹` for the training examples; a `PosteriorCovariance` for all that asks no example's place.

    `owners [m]` are the positions of the examples that the drawn rows belong to, ascending; `q [m]` the probabilities
    they were drawn with, `weights [m]` their weights, `kept [m]` the diagonal of `K⁻¹`.
    """

    gram: GramCovariance
    owners: Tensor
    q: Tensor
    weights: Tensor
    kept: Tensor

    @classmethod
    def of(cls, prior: BlockDiagonalCovariance, rows: Sequence[Any], owners: Tensor, q: Tensor) -> SampledCovariance:
        """From drawn rows, one example and direction each, and the probabilities that they were drawn with."""
        matrix = gram_matrix(rows, inverses_of(prior.precisions))
        weights = debiased_weights(q, lambda weight: inverse_diagonal(_lower(matrix, weight)))
        lower = _lower(matrix, weights)
        scaled = tuple(each.scaled(weights.sqrt()) for each in rows)
        return cls(GramCovariance(prior, scaled, lower), owners, q, weights, inverse_diagonal(lower))

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
    def bias(self) -> Tensor:
        """`β [m]` with `E[J S̃⁻¹Jᵀ] − J S⁻¹Jᵀ ≈ Σ_j β_j y_j y_jᵀ`; zero where a row's weight is the debiased one.

        Of row `j` over its draw, `q W/(1 + W g)` takes the place of `1/(1 + g)`; each drawn row stands for `1/q`.
        """
        grown = 1 / self.kept - 1  # W g
        drawn = self.q * self.weights
        return (1 - drawn + grown * (1 - self.q)) / ((1 + grown / self.weights) * drawn * self.kept)

    def cavities(self, batch: LinearizedBatch, positions: Tensor) -> Iterator[tuple[slice, Cavity]]:
        """The examples at `positions [n]` of the training data, some at a time."""
        seen = group_rows(batch, self.groups, [type(rows) for rows in self.gram.rows])  # type: ignore[misc]
        k = len(batch.g[0])
        for part in chunk_slices(len(positions), 4 * (k + 1) * len(self.owners)):
            yield part, self._cavity([rows.take(part) for rows in seen], positions[part])

    def _cavity(self, seen: list[Any], positions: Tensor) -> Cavity:
        triples = list(zip(seen, self.gram.rows, inverses_of(self.gram.prior.precisions), strict=True))
        alone = sum((mine.example_gram(inverse) for mine, _, inverse in triples), start=torch.tensor(0.0))
        x = sum((mine.cross_gram(rows, inverse) for mine, rows, inverse in triples), start=torch.tensor(0.0))
        places, there = self._own(positions)
        n, k = alone.shape[:2]
        units = torch.zeros(len(self.owners), int(there.sum()), dtype=x.dtype, device=x.device)
        units[places[there], torch.arange(units.shape[1], device=x.device)] = 1
        solved = torch.cholesky_solve(torch.cat([x.T, units], dim=1), self.gram.cholesky_factor).T
        moves = solved[: n * k].view(n, k, -1)
        columns = x.new_zeros(*places.shape, len(self.owners))
        columns[there] = solved[n * k :]
        moves, kept = _without(moves, columns, places, there, self.kept)
        variance = alone - torch.matmul(x.view(n, k, -1), moves.mT)
        return Cavity(_less(variance, torch.matmul(moves * self.bias, moves.mT)), moves, kept)

    def _own(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Places `[n, r]` of the examples' own rows among those drawn, and which of the `n × r` there are."""
        first, last = (torch.searchsorted(self.owners, positions, right=right) for right in (False, True))
        most = int((last - first).max()) if len(positions) else 0
        places = first[:, None] + torch.arange(most, device=first.device)
        there = places < last[:, None]
        return torch.where(there, places, 0), there


def _without(moves: Tensor, columns: Tensor, places: Tensor, there: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """`Y_{−o} [n, k, m]` and `κ [n, m]` from `Y`, the columns `(K⁻¹)_o [n, r, m]` and the diagonal of `K⁻¹`."""
    if not there.any():
        return moves, kept.expand(len(moves), -1)
    own = columns.gather(2, places[:, None].expand(-1, places.shape[1], -1))
    both = there[:, :, None] & there[:, None]
    own = torch.where(both, own, torch.eye(places.shape[1], dtype=own.dtype, device=own.device))
    turned = torch.linalg.solve(own, columns)
    mine = moves.gather(2, places[:, None].expand(-1, moves.shape[1], -1)) * there[:, None]
    left = kept - (turned * columns).sum(1)
    left[torch.nonzero(there)[:, 0], places[there]] = 1  # nothing is left of an example's own rows
    return moves - mine @ turned, left


def _less(variance: Tensor, bias: Tensor) -> Tensor:
    """`V − B` to first order in `B`, and never negative: `V(V + B)⁻¹V [n, k, k]`."""
    if not bool(bias.any()):
        return variance
    variance = (variance + variance.mT) / 2
    scale = variance.diagonal(dim1=1, dim2=2).mean(1).clamp(min=_TINY)
    eye = _ROUNDING * scale[:, None, None] * torch.eye(variance.shape[1], dtype=bias.dtype, device=bias.device)
    return torch.matmul(variance, torch.linalg.solve(variance + bias + eye, variance))


def _lower(matrix: Tensor, weights: Tensor) -> Tensor:
    """The Cholesky factor of `I + √W A D⁻¹Aᵀ √W`."""
    root = weights.sqrt()
    scaled = matrix * root[:, None] * root
    scaled.diagonal().add_(1)
    return torch.linalg.cholesky(scaled)


def inverse_diagonal(lower: Tensor) -> Tensor:
    """The diagonal of `(L Lᵀ)⁻¹`, some columns of `L⁻¹` at a time.

    Examples
    --------
    >>> inverse_diagonal(torch.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [0.25, 0.0625]
    """
    found = []
    for start in range(0, len(lower), _CHUNK):
        rest = lower[start:, start:]
        units = torch.eye(len(rest), min(_CHUNK, len(rest)), dtype=lower.dtype, device=lower.device)
        found.append(torch.linalg.solve_triangular(rest, units, upper=False).square().sum(0))
    return torch.cat(found)
