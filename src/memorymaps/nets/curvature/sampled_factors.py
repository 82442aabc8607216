"""EKFAC from a sample of the examples, drawn by their curvature: a forward pass and few reverse passes.

Factors of few examples give leverages that scatter and are too large: both in the error that is stated, by two quarters
of the sample against each other and against the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from memorymaps.data.views import Subset
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.covariance.block_diagonal import MAX_FACTORED_PARAMETERS, BlockDiagonalCovariance
from memorymaps.nets.curvature.structure import CurvatureEstimate, root_directions
from memorymaps.nets.distributed.shares import shared_subset
from memorymaps.nets.laplace.leading import MakePosterior, OutputCurvature, along_leading_directions
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import MOST_OUTPUTS
from memorymaps.nets.sampled.rows.sampling import drawn, given_count, probabilities, uniform_numbers
from memorymaps.nets.sampled.rows.traces import curvature_traces

_PROBED = 256  # examples whose leverages say what the sample leaves open
READ_OF_SAMPLE = 4.5  # times that its examples are taken: for weights and two passes, by the whole and two quarters
_FLOOR = 0.1  # part of the mean added to every size, so that no weight is very large

Fit = Callable[[LaplaceProblem], CurvatureEstimate[BlockDiagonalCovariance]]


def from_sample(problem: LaplaceProblem, fit: Fit, examples: int, seed: int) -> CurvatureEstimate[Any]:
    """`fit` on examples drawn with `q_i ∝ tr Λ_i`, of weight `w_i/q_i`; its error by two quarters of the sample.

    Sums over the data are unbiased, with weights given how many were drawn; factors of layer inputs, means over
    examples, are weighted by curvature. The error is that of leverages over some examples drawn likewise. Of a large
    network the map takes variances along leading directions (`laplace/leading.py`), unless told otherwise.
    """
    leading = OutputCurvature.of(problem) if _takes_leading_directions(problem) else None
    size = curvature_traces(problem).sum(1) if leading is None else leading.trace
    q = probabilities(size + _FLOOR * size.mean(), examples)
    places = drawn(q, uniform_numbers(len(q), seed))
    q = given_count(q, len(places))
    estimate = fit(_part(problem, places, q))
    quarters = [fit(_part(problem, places[k::4], q / 4)).build(problem.prior) for k in (0, 2)]
    whole = estimate.build(problem.prior)
    chance = probabilities(size, _PROBED)
    some = drawn(chance, uniform_numbers(len(q), seed + 1))
    chance = given_count(chance, len(some))
    error = error_by_quarters(*(_leverages(problem, each, some) for each in (whole, *quarters)))
    note = (
        f"Curvature from {len(places):,} of {len(q):,} examples, drawn by curvature (seed {seed}): relative error of "
        f"leverages beside that of all examples about {error:.1%}, scatter and bias by two quarters of the sample. "
        "examples='all': from all of them."
    )
    make = _posterior(leading, some, 1 / chance[some])
    return replace(estimate, notes=(*estimate.notes, note), relative_error=error, posterior=make)


def error_by_quarters(whole: Tensor, first: Tensor, second: Tensor) -> float:
    """Relative error of leverages `h [n]` from those `h′`, `h″` by two quarters of the sample.

    `√(‖h′ − h″‖²/8 + ‖(h′ + h″)/2 − h‖²/9)/‖h‖`: the standard deviation, and the bias, which falls as one over the
    number of examples and is four times as large of a quarter.

    Examples
    --------
    >>> h = torch.ones(3)
    >>> round(error_by_quarters(h, 1.3 * h, 1.3 * h), 3)
    0.1
    """
    scatter, bias = (first - second).norm() / 8**0.5, ((first + second) / 2 - whole).norm() / 3
    return float(torch.hypot(scatter, bias) / whole.norm().clamp(min=1e-300))


def _takes_leading_directions(problem: LaplaceProblem) -> bool:
    """Whether nothing else was asked for, the network is large, and all `C × C` variances would be usual."""
    asked = problem.options.directions is not None
    return not asked and problem.num_outputs <= MOST_OUTPUTS and problem.num_parameters > MAX_FACTORED_PARAMETERS


def _posterior(leading: OutputCurvature | None, places: Tensor, share: Tensor) -> MakePosterior | None:
    return None if leading is None else along_leading_directions(leading, places, share)


def _part(problem: LaplaceProblem, places: Tensor, q: Tensor) -> LaplaceProblem:
    """Some examples, with weights `w/q`."""
    rows = places.numpy()
    given = torch.cat([problem.weights(batch).cpu() for batch in Subset(problem.examples, rows)])
    return replace(problem, examples=shared_subset(problem.examples, rows, given / q[places]))


def _leverages(problem: LaplaceProblem, covariance: BlockDiagonalCovariance, places: Tensor) -> Tensor:
    """`tr ΛV [n]` of training examples."""
    batch = problem.examples.take(places.numpy())
    directions = root_directions(problem, batch, problem.weights(batch))

    def work(x: Any, part: slice) -> Tensor:
        seen = linearize(problem.network, problem.owners, x, part, directions)
        return covariance.variance(seen, len(seen.g[0])).diagonal(dim1=1, dim2=2).sum(-1).double()

    return torch.cat(list(problem.batch_size.run(batch.inputs, work)))
