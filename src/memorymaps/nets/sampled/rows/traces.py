"""The trace of every row's curvature, from a forward pass over the data."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from memorymaps.nets.curvature.structure import root_directions
from memorymaps.nets.laplace_problem import LaplaceProblem


def curvature_traces(problem: LaplaceProblem) -> Tensor:
    """`‖L_ij‖² [N, k]` of all examples, `w_iΛ_i = L_iL_iᵀ`."""
    return torch.cat(problem.ranks.gathered(list(_of_batches(problem))))


def _of_batches(problem: LaplaceProblem) -> Iterator[Tensor]:
    for batch in problem.examples:
        work = functools.partial(_trace, problem, root_directions(problem, batch, problem.weights(batch)))
        with torch.no_grad():
            yield torch.cat(list(problem.batch_size.run(batch.inputs, work)))


def _trace(problem: LaplaceProblem, directions: Any, x: Any, part: slice) -> Tensor:
    found = directions(problem.network.outputs(problem.network.to_device(x)), part)
    return found.double().square().sum(-1).T.cpu()
