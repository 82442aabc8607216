"""What projecting the rows changes: some training examples beside the same drawn rows as they are.

Rows as they are fit nowhere: they are made again, a piece at a time, for their products `A D⁻¹Aᵀ` and for those with
the examples. Weights, own rows taken out and bias are as everywhere (`covariance.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.chunking import chunk_slices
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.covariance.gram import group_rows, inverses_of
from memorymaps.nets.curvature.dual import rows_types
from memorymaps.nets.curvature.structure import prior_covariance
from memorymaps.nets.sampled.cost import PROJECTION_EXAMPLES, PROJECTION_NUMBERS, Kind, row_numbers
from memorymaps.nets.sampled.covariance import Cavities, Cavity, SampledCovariance
from memorymaps.nets.sampled.directions import Directions
from memorymaps.nets.sampled.errors.example_estimates import estimated
from memorymaps.nets.sampled.errors.probe import Probe
from memorymaps.nets.sampled.measures import magnitudes
from memorymaps.nets.sampled.rows.pool import RowPool, rows_at
from memorymaps.nets.sampled.rows.projection import ProjectionError

_PIECE = PROJECTION_NUMBERS
_TINY = 1e-300


@dataclass(frozen=True)
class RowPieces:
    """Rows at `places` as they are, made again each time that they are read."""

    pool: RowPool
    kinds: tuple[Kind, ...]
    places: Tensor

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return max(1, row_numbers(self.pool.problem, self.kinds))

    def parts(self, stop: int | None = None) -> Iterator[slice]:
        """Pieces of the first rows."""
        return chunk_slices(len(self.places) if stop is None else stop, self.width, _PIECE)

    def made(self, part: slice) -> list[Any]:
        """The rows of a piece, of every group."""
        return rows_at(self.pool.problem, list(self.kinds), self.places[part], self.pool.k)

    def gram(self, inverses: list[Tensor]) -> Tensor:
        """`A D⁻¹Aᵀ [m, m]`."""
        found = inverses[0].new_zeros(len(self.places), len(self.places))
        for part in self.parts():
            self._fill(found, part, inverses)
        return found

    def _fill(self, found: Tensor, part: slice, inverses: list[Tensor]) -> None:
        """Products of a piece with itself and with those before it, of which one at a time is in memory."""
        rows = self.made(part)
        found[part, part] = products(rows, rows, inverses)
        for other in self.parts(part.start):
            found[part, other] = products(rows, self.made(other), inverses)
            found[other, part] = found[part, other].T


def products(rows: list[Any], others: list[Any], inverses: list[Tensor]) -> Tensor:
    """`A D⁻¹A'ᵀ [n·k, n'·k']` over all groups."""
    each = zip(rows, others, inverses, strict=True)
    return sum((mine.cross_gram(theirs, inverse) for mine, theirs, inverse in each), start=torch.tensor(0.0))


@dataclass(frozen=True)
class UnprojectedCavities(Cavities):
    """Cavities by rows that are made again."""

    pieces: RowPieces
    weights: Tensor

    def of(self, batch: LinearizedBatch, positions: Tensor) -> Iterator[tuple[slice, Cavity]]:
        """The examples at `positions [n]` of the training data, all at once."""
        seen = group_rows(batch, self.groups, self.pieces.kinds)
        each = zip(seen, self.inverses, strict=True)
        own = sum((mine.example_gram(inverse) for mine, inverse in each), start=torch.tensor(0.0))
        crossed = (products(seen, self.pieces.made(part), self.inverses) for part in self.pieces.parts())
        cross = torch.cat(list(crossed), dim=1)
        yield slice(0, len(positions)), self.cavity(own, cross * self.weights.sqrt(), positions)


def projection_error(pool: RowPool, covariance: SampledCovariance, rows: int, probe: Probe) -> ProjectionError:
    """Root mean squares over at most 64 of the probe's examples, beside a sample of `rows` rows as they are."""
    problem, step = pool.problem, max(1, len(probe.positions) // PROJECTION_EXAMPLES)
    positions, share = probe.positions[::step], probe.share[::step].to(problem.network.device)
    pieces = RowPieces(pool, tuple(rows_types(problem)), pool.drawn(rows))
    prior = prior_covariance(problem, problem.prior)
    matrix = pieces.gram(inverses_of(prior.precisions))
    drawn = (covariance.owners, covariance.q, covariance.chance)
    whole = SampledCovariance.of_products(prior, (), matrix, *drawn)  # its rows are made again
    same = whole.cavities(torch.float64)
    fields = {name: getattr(same, name) for name in same.__dataclass_fields__}
    plain = UnprojectedCavities(**fields, pieces=pieces, weights=whole.weights)
    some = max(1, _PIECE // (problem.num_outputs * pieces.width))
    parts = [positions[start : start + some] for start in range(0, len(positions), some)]
    exact, size = (torch.cat(each, dim=1) for each in zip(*(_values(pool, plain, part) for part in parts), strict=True))
    found, _ = _values(pool, replace(covariance, projected=None).cavities(torch.float64), positions)
    off, scale = (found - exact).square() @ share, ProjectionError.scale_of_error(size)
    relative, spread = ((off / (each.square() @ share).clamp(min=_TINY)).sqrt().tolist() for each in (size, scale))
    return ProjectionError(relative, spread)


def _values(pool: RowPool, source: Cavities, positions: Array) -> tuple[Tensor, Tensor]:
    """The measures `[3, n]` of examples, and what errors of them are relative to."""
    problem = pool.problem
    places = torch.as_tensor(np.asarray(positions), device=problem.network.device)
    batch = problem.examples.take(positions)
    found = [
        (here, each.value, magnitudes(problem.network.likelihood, data, each.value))
        for here, data, each in estimated(problem, source, batch, places, Directions.all_of(problem))
    ]
    order = torch.cat([here for here, *_ in found]).argsort()
    value, size = (torch.cat([each[n] for each in found], dim=1)[:, order] for n in (1, 2))
    return value, size
