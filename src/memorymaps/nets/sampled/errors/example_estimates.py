"""Estimates of training examples from the drawn rows, with their errors, some examples at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.hooks import one_hot_directions
from memorymaps.nets.autograd.per_example_gradients import LinearizedBatch
from memorymaps.nets.autograd.pytree import take_rows
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.covariance import Cavities
from memorymaps.nets.sampled.directions import Data, Directions, ordered_directions
from memorymaps.nets.sampled.errors.jackknife import Estimates, estimates

_Found = TypeVar("_Found", covariant=True)


class Source(Protocol[_Found]):
    """What finds posteriors without each example."""

    def of(self, batch: LinearizedBatch, positions: Tensor) -> Iterator[tuple[slice, _Found]]:
        """Of the examples at `positions [n]` of the training data, some at a time."""


def estimated(
    problem: LaplaceProblem, source: Cavities, batch: Batch, positions: Tensor, directions: Directions
) -> Iterator[tuple[Tensor, Data, Estimates]]:
    """Estimates of training examples at these positions, some at a time: their places in the batch, their data, and
    what the drawn rows say of them along their directions.
    """
    for here, data, basis, cavity in left_out_posteriors(problem, source, batch, positions, directions):
        yield here, data, estimates(problem.network.likelihood, data, cavity, basis, source, directions)


def left_out_posteriors(
    problem: LaplaceProblem, source: Source[_Found], batch: Batch, positions: Tensor, directions: Directions
) -> Iterator[tuple[Tensor, Data, Tensor, _Found]]:
    """Training examples at these positions, some at a time: their places in the batch, their data, their directions
    `[n, c, r]`, and the posteriors without them.
    """
    y, w = problem.target(batch), problem.weights(batch)
    for count, places in directions.groups(positions):
        chosen = functools.partial(_chosen, problem, count, y[places], w[places])
        work = functools.partial(_linearized, problem, chosen)
        rows = places.cpu().numpy()
        start = 0
        for seen, data, basis in problem.batch_size.run(take_rows(batch.inputs, rows), work):
            here = places[start : start + len(basis)]
            for part, found in source.of(seen, positions[here]):
                yield here[part], tuple(each[part] for each in data), basis[part], found
            start += len(here)


def _chosen(problem: LaplaceProblem, count: int, y: Tensor, w: Tensor, f: Tensor, part: slice) -> tuple[Data, Tensor]:
    """The data of some examples, and `count` directions of each, `[n, c, count]`."""
    data = f.double(), y[part], w[part]
    if count == f.shape[1]:
        return data, one_hot_directions(data[0]).permute(1, 2, 0)
    return data, ordered_directions(problem.network.likelihood, *data)[0][:, :, :count]


def _linearized(problem: LaplaceProblem, chosen: Any, x: Any, part: slice) -> tuple[Any, Data, Tensor]:
    found: list[tuple[Data, Tensor]] = []

    def directions(f: Tensor, rows: slice) -> Tensor:
        found.append(chosen(f, rows))
        return found[0][1].permute(2, 0, 1)

    seen = linearize(problem.network, problem.owners, x, part, directions)
    return seen, *found[0]
