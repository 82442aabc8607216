"""Rows of the weighted Jacobian: those that are drawn, made and kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.covariance.gram import DenseRows, GroupRows
from memorymaps.nets.curvature.structure import Deltas, prior_covariance, root_directions
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import Kind
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.rows.files import FiledRows, RowFile
from memorymaps.nets.sampled.rows.projection import LayerProjection
from memorymaps.nets.sampled.rows.sampling import drawn, given_count, probabilities, uniform_numbers
from memorymaps.nets.sampled.rows.traces import curvature_traces

_PIECE = 1024  # examples read together, of those that have drawn rows: a loader is read once for each piece


class HalfSample(NamedTuple):
    """Of the rows of a sample those of one of half its size: `places [m']` among them, and the probabilities `q [m']`
    that these were drawn with, given how many were.
    """

    places: Tensor
    q: Tensor


@dataclass
class RowPool:
    """All rows of a problem by their sizes, and those that were drawn so far.

    `size [N·k]` by example and direction, `measure` what it is; `numbers [N·k]` decide the draw; `held` are the rows of
    every group at `places`, ascending.
    """

    problem: LaplaceProblem
    size: Tensor
    measure: str
    k: int
    numbers: Tensor
    kinds: list[Kind]
    folder: Path | None = None
    places: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    held: list[Any] | None = None

    @classmethod
    def of(cls, problem: LaplaceProblem, kinds: list[Kind], seed: int, folder: Path | None) -> RowPool:
        """All rows by the trace of their curvature: a forward pass over the data."""
        size = curvature_traces(problem)
        numbers = uniform_numbers(size.numel(), seed)
        return cls(problem, size.flatten(), "curvature", size.shape[1], numbers, kinds, folder)

    @property
    def total(self) -> int:
        """How many rows there are that are not zero."""
        return int((self.size > 0).sum())

    @property
    def projected(self) -> bool:
        """Whether rows of some layers are kept within a subspace."""
        return any(isinstance(kind, LayerProjection) for kind in self.kinds)

    @property
    def by_example(self) -> Tensor:
        """`[N]`: the sum of each example's sizes."""
        return self.size.view(-1, self.k).sum(1)

    def without_rows(self) -> RowPool:
        """The same pool before any rows were made."""
        return replace(self, places=self.places.new_zeros(0), held=None)

    def drawn(self, rows: int) -> Tensor:
        """Places of the rows of such a sample."""
        return drawn(probabilities(self.size, rows), self.numbers)

    def half(self, rows: int) -> HalfSample:
        """Of the rows of such a sample."""
        q = probabilities(self.size, (rows + 1) // 2)
        some, device = drawn(q, self.numbers), self.problem.network.device
        places = torch.searchsorted(self.drawn(rows), some)
        return HalfSample(places.to(device), given_count(q, len(some))[some].to(device))

    def covariance(self, rows: int, deltas: Deltas) -> SampledCovariance:
        """With about `rows` rows; a smaller sample is part of a larger one."""
        q = probabilities(self.size, rows)
        wanted = drawn(q, self.numbers)
        q, held, device = given_count(q, len(wanted)), self._hold(wanted), self.problem.network.device
        owners, chance = (wanted // self.k).to(device), q.view(-1, self.k).max(1).values.to(device)
        return SampledCovariance.of(prior_covariance(self.problem, deltas), held, owners, q[wanted].to(device), chance)

    def _hold(self, wanted: Tensor) -> list[Any]:
        """The rows at places `wanted`: those that are new are made, the others were kept."""
        new = wanted[~torch.isin(wanted, self.places)]
        if self.held is None:
            self.held = self._made(new)
        else:
            self.held = self._joined(wanted, new)
        self.places = wanted
        return self.held

    def _joined(self, wanted: Tensor, new: Tensor) -> list[Any]:
        kept = torch.nonzero(torch.isin(self.places, wanted)).flatten()
        order = torch.cat([self.places[kept], new]).argsort()
        old = [rows.take(kept) for rows in self.held or ()]
        if not len(new):
            return old
        each = zip(self.kinds, old, self._made(new), strict=True)
        return [kind.concatenate(both).take(order) for kind, *both in each]

    def _made(self, places: Tensor) -> list[Any]:
        return rows_at(self.problem, self.kinds, places, self.k, self.folder)


def rows_at(
    problem: LaplaceProblem, kinds: list[Kind], places: Tensor, k: int, folder: Path | None = None
) -> list[Any]:
    """Rows `a_ij` of every group at places `i·k + j`, ascending: one example and direction each; files in `folder`."""
    examples, which = torch.unique_consecutive(places // k, return_inverse=True)
    stores = _stores_for(problem, kinds, len(places), folder)
    for first in range(0, len(examples), problem.ranks.size * _PIECE):
        found: Iterable[list[Any]] = ()
        own = problem.ranks.part(min(len(examples) - first, problem.ranks.size * _PIECE))
        start, stop = first + own.start, first + own.stop
        if start < stop:
            here = (which >= start) & (which < stop)
            batch = problem.examples.take(examples[start:stop].numpy())
            found = _piece(problem, kinds, batch, which[here] - start, places[here] % k)
        for each in problem.ranks.stream(found):
            for rows, store in zip(each, stores, strict=True):
                store.add(rows)
    device = problem.network.device
    return [FiledRows.of_file(each, device) if isinstance(each, RowFile) else each.joined() for each in stores]


@dataclass
class _InMemory:
    """Rows of one group as they are made."""

    kind: Any
    pieces: list[Any] = field(default_factory=list)

    def add(self, rows: Any) -> None:
        """Keep rows."""
        self.pieces.append(rows)

    def joined(self) -> Any:
        """All of them; the pieces are let go, so that of all groups only one is in memory twice."""
        pieces, self.pieces = self.pieces, []
        return self.kind.concatenate(pieces)


def _stores_for(
    problem: LaplaceProblem, kinds: list[Kind], rows: int, folder: Path | None
) -> list[_InMemory | RowFile]:
    """Where so many rows of every group are kept: in memory, or in one file for all groups whose rows are filed."""
    widths = [group.size for kind, group in zip(kinds, problem.block_groups, strict=True) if kind is FiledRows]
    files = iter(RowFile.of_groups(rows, widths, folder) if widths else ())
    return [next(files) if kind is FiledRows else _InMemory(kind) for kind in kinds]


def _piece(
    problem: LaplaceProblem, kinds: list[Kind], batch: Batch, which: Tensor, column: Tensor
) -> Iterator[list[Any]]:
    """The rows of a few examples: row `r` is direction `column[r]` of example `which[r]`, ascending in both.

    There are as many reverse passes of a part as one of its examples has rows.
    """
    roots = root_directions(problem, batch, problem.weights(batch))
    made = [DenseRows if kind is FiledRows else kind for kind in kinds]

    def work(x: Any, part: slice) -> list[Any]:
        here = (which >= part.start) & (which < part.stop)
        example, wanted = which[here] - part.start, column[here]
        turn = torch.arange(len(example)) - torch.searchsorted(example, example)  # the first of its example's, the next

        def directions(f: Tensor, rows: slice) -> Tensor:
            found = roots(f, rows)
            some = found.new_zeros(int(turn.max()) + 1, *found.shape[1:])
            some[turn, example] = found[wanted, example]
            return some

        seen = linearize(problem.network, problem.owners, x, part, directions)
        return [rows.single(example, turn) for rows in GroupRows.of_batch(seen, problem.block_groups, made)]

    return problem.batch_size.run(batch.inputs, work)
