"""Losses without curvature (L1, quantile) have no Gauss–Newton posterior."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from memorymaps.core.arrays import Batch
from memorymaps.data.examples import DataError
from memorymaps.nets.autograd.pytree import take_rows
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.posteriors.gate import NO_CURVATURE

_FEW = 16


def check_curvature(problem: LaplaceProblem) -> None:
    """Raise if `Λ = 0` for every training example; reads no further than the first one with curvature.

    Raises
    ------
    DataError
        It is.
    """
    if not has_curvature(problem):
        raise DataError(NO_CURVATURE)


def has_curvature(problem: LaplaceProblem) -> bool:
    """Whether an example with `Λ ≠ 0` exists."""
    found = any(_has_curvature(problem, part) for batch in problem.examples for part in _few_first(batch))
    return any(problem.ranks.gathered([found]))


def _few_first(batch: Batch) -> Iterator[Batch]:
    """The first examples alone, which are enough for almost every loss, then all of them."""
    yield batch.take_slice(slice(0, _FEW), take_rows(batch.inputs, slice(0, _FEW)))
    if len(batch) > _FEW:
        yield batch


def _has_curvature(problem: LaplaceProblem, batch: Batch) -> bool:
    y, likelihood = problem.target(batch), problem.network.likelihood

    def work(x: object, rows: slice) -> bool:
        f = problem.network.outputs(problem.network.to_device(x)).double()
        return bool((likelihood.fisher_diagonal(f, y[rows]) != 0).any())

    with torch.no_grad():
        return any(problem.batch_size.run(batch.inputs, work))
