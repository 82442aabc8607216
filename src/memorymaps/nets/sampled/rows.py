"""Rows of the weighted Jacobian: their sizes, from a pass over the data, and those that are drawn, made and kept."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.autograd.batch_size import look
from memorymaps.nets.covariance.gram import Kind, group_rows, inverses_of
from memorymaps.nets.curvature.dual import _kinds
from memorymaps.nets.curvature.structure import Deltas, _directions, _prior_only
from memorymaps.nets.problem import Setting
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.row_sampling import drawn, probabilities, uniform_numbers

_PIECE = 1024  # examples read together, of those that have drawn rows: a loader is read once for each piece
_CONSTANT = 1e-6  # relative range of the curvature's trace up to which it does not tell examples apart


@dataclass
class RowPool:
    """All rows of a problem by their sizes, and those that were drawn so far.

    `size [N·k]` by example and direction, `measure` what it is; `numbers [N·k]` decide the draw; `held` are the rows of
    every group at `places`, ascending.
    """

    setting: Setting
    size: Tensor
    measure: str
    k: int
    numbers: Tensor
    kinds: list[Kind]
    places: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    held: list[Any] | None = None

    @classmethod
    def of(cls, setting: Setting, seed: int) -> RowPool:
        """One pass over the data: forward only where the curvature tells examples apart, else with reverse passes."""
        size, plain = map(torch.cat, zip(*_traces(setting), strict=True))
        whole, measure = plain.sum(1), "curvature"
        if bool(whole.max() - whole.min() <= _CONSTANT * whole.max()):
            size, measure = torch.cat(list(_lengths(setting))), "squared length"
        numbers = uniform_numbers(size.numel(), seed)
        return cls(setting, size.flatten(), measure, size.shape[1], numbers, _kinds(setting))

    @property
    def total(self) -> int:
        """How many rows there are that are not zero."""
        return int((self.size > 0).sum())

    @property
    def by_example(self) -> Tensor:
        """`[N]`: the sum of each example's sizes."""
        return self.size.view(-1, self.k).sum(1)

    def covariance(self, rows: int, deltas: Deltas) -> SampledCovariance:
        """With about `rows` rows; a smaller sample is part of a larger one."""
        q = probabilities(self.size, rows)
        wanted = drawn(q, self.numbers)
        held, device = self._hold(wanted), self.setting.network.device
        owners, q = (wanted // self.k).to(device), q[wanted].to(device)
        return SampledCovariance.of(_prior_only(self.setting, deltas), held, owners, q)

    def _hold(self, wanted: Tensor) -> list[Any]:
        """The rows at places `wanted`: those that are new are made, the others were kept."""
        new = wanted[~torch.isin(wanted, self.places)]
        if self.held is None:
            self.held = rows_at(self.setting, self.kinds, new, self.k)
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
        made = rows_at(self.setting, self.kinds, new, self.k)
        return [kind.joined(each).take(order) for kind, *each in zip(self.kinds, old, made, strict=True)]


def _traces(setting: Setting) -> Iterator[tuple[Tensor, Tensor]]:
    """`‖L_ij‖² [n, k]` of every batch with and without weights, from forward passes."""
    for batch in setting.examples:
        directions = _directions(setting, batch, torch.ones_like(setting.weights(batch)))
        work = functools.partial(_trace, setting, directions)
        with torch.no_grad():
            plain = torch.cat(list(setting.size.run(batch.inputs, work)))
        yield plain * setting.weights(batch).cpu()[:, None], plain


def _trace(setting: Setting, directions: Any, x: Any, part: slice) -> Tensor:
    found = directions(setting.network.outputs(setting.network.place(x)), part)
    return found.double().square().sum(-1).T.cpu()


def _lengths(setting: Setting) -> Iterator[Tensor]:
    """`‖D^{-1/2}a_ij‖² [n, k]` of every batch."""
    length = functools.partial(
        _length, setting, _kinds(setting), inverses_of(_prior_only(setting, setting.prior).parts)
    )
    for batch in setting.examples:
        work = functools.partial(length, _directions(setting, batch, setting.weights(batch)))
        yield torch.cat(list(setting.size.run(batch.inputs, work)))


def _length(
    setting: Setting, kinds: list[Kind], inverses: list[Tensor], directions: Any, x: Any, part: slice
) -> Tensor:
    rows = group_rows(look(setting.network, setting.owners, x, part, directions), setting.separate, kinds)
    squares = (each.within(inverse) for each, inverse in zip(rows, inverses, strict=True))
    return sum((each.diagonal(dim1=1, dim2=2).cpu() for each in squares), start=torch.tensor(0.0))


def rows_at(setting: Setting, kinds: list[Kind], places: Tensor, k: int) -> list[Any]:
    """Rows `a_ij` of every group at places `i·k + j`, ascending: one example and direction each."""
    examples, which = torch.unique_consecutive(places // k, return_inverse=True)
    pieces: list[list[Any]] = []
    for start in range(0, len(examples), _PIECE):
        here = (which >= start) & (which < start + _PIECE)
        batch = setting.examples.take(examples[start : start + _PIECE].numpy())
        pieces += _piece(setting, kinds, batch, which[here] - start, places[here] % k)
    return [kind.joined(each) for kind, each in zip(kinds, zip(*pieces, strict=True), strict=True)]


def _piece(setting: Setting, kinds: list[Kind], batch: Batch, which: Tensor, column: Tensor) -> Iterator[list[Any]]:
    """The rows of a few examples: row `r` is direction `column[r]` of example `which[r]`."""
    directions = _directions(setting, batch, setting.weights(batch))

    def work(x: Any, part: slice) -> list[Any]:
        found = group_rows(look(setting.network, setting.owners, x, part, directions), setting.separate, kinds)
        here = (which >= part.start) & (which < part.stop)
        return [rows.single(which[here] - part.start, column[here]) for rows in found]

    return setting.size.run(batch.inputs, work)
