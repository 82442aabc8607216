"""Probabilities passed as logits, told by the loss at the optimum where the network does not show its sigmoid."""

from __future__ import annotations

import torch

from memorymaps.core.arrays import Batch
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.data.examples import DataError
from memorymaps.nets.checks.output_scale import (
    PROBABILITIES,
    are_in_unit_interval,
    losses_as_probabilities_and_logits,
)
from memorymaps.nets.laplace_problem import LaplaceProblem


def check_probabilities(problem: LaplaceProblem) -> None:
    """Raise if all outputs lie in [0, 1] and have a smaller loss as probabilities than as logits.

    At its optimum a network has the smaller loss with the reading it was trained with: with calibrated logits the loss
    of any other reading is larger, on average. Reads no further than the first output outside of [0, 1].

    Raises
    ------
    DataError
        They do.
    """
    if not isinstance(problem.network.likelihood, Bernoulli):
        return
    parts = problem.ranks.gathered([_sums(problem)])
    known = [part for part in parts if part is not None]
    if len(known) == len(parts) and sum(part[0] for part in known) < sum(part[1] for part in known):
        raise DataError(PROBABILITIES)


def _sums(problem: LaplaceProblem) -> tuple[float, float] | None:
    """Both losses over the data, read up to the first output that is not in [0, 1]; None if there is one."""
    as_probabilities, as_logits = 0.0, 0.0
    for batch in problem.examples:
        found = _losses(problem, batch)
        if found is None:
            return None
        as_probabilities, as_logits = as_probabilities + found[0], as_logits + found[1]
    return as_probabilities, as_logits


def _losses(problem: LaplaceProblem, batch: Batch) -> tuple[float, float] | None:
    """Sums of the losses of a batch read as probabilities and as logits; None if an output is not in [0, 1]."""
    y = problem.target(batch)

    def work(x: object, rows: slice) -> tuple[float, float] | None:
        f = problem.network.outputs(problem.network.to_device(x)).double()
        if not are_in_unit_interval(f):
            return None
        return losses_as_probabilities_and_logits(problem.network.likelihood, f, y[rows])

    total = (0.0, 0.0)
    with torch.no_grad():
        for found in problem.batch_size.run(batch.inputs, work):
            if found is None:
                return None
            total = total[0] + found[0], total[1] + found[1]
    return total
