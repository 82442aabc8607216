"""What passes over the examples cost, outputs and rows: counted, or timed where a budget is in epochs of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.autograd.pytree import length
from memorymaps.nets.cost_model import forward_macs, multiplications_like, training_step
from memorymaps.nets.covariance.gram import DenseRows, GroupRows, inverses_of, products_with
from memorymaps.nets.curvature.structure import prior_covariance
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.budget import PASSES_PER_EPOCH
from memorymaps.nets.sampled.rows.files import FiledRows

_EXAMPLES, _PART = 8, 40  # of the data that are timed: at least so many, at most a fortieth
_NUMBERS = 2**20  # of these examples' rows along one direction
_DIRECTIONS, _FEW_ROWS = 6, 8
_EXAMPLE, _OF_VARIANCES = 3e5, 1.2e4  # of an example beside passes, and for each of its C² variances (measured)
_ENTRY = 1200.0  # multiplications that take as long as what is done with a product of two rows afterwards (measured)
_MANY_ROWS, _MANY_NUMBERS = 256, 2**26  # other rows, as many as leave their numbers in main memory (0.3 GB)


@dataclass(frozen=True)
class PassWork:
    """Multiplications in double precision, or what takes as long as they: of an `epoch` of training; of an example's
    `outputs` and of one `direction` of it, a reverse pass, its row, the row's products with its other rows and with a
    few of other examples; the same in `single` precision; those spent `before` rows are drawn, on timing and on their
    sizes; how many times as long as a large matrix product a multiplication of an example's rows takes;
    how often the data are read for the rows' sizes; what an example takes for its variances and its line of the map,
    `example`, and a product with a drawn row of the first sample beside the multiplications themselves, `entry`, where
    that is known; whether all this was `timed`.
    """

    epoch: float
    outputs: float
    direction: float
    single: float
    before: float = 0.0
    product: float = 1.0
    reads: int = 1
    example: float = 0.0
    entry: float = 0.0
    timed: bool = False

    def of_passes(self, n: int, k: int) -> float:
        """A forward pass over `n` examples and `k` reverse passes."""
        return n * (self.outputs + k * self.direction)


def counted_work(problem: LaplaceProblem, kinds: Sequence[Any]) -> PassWork:
    """An epoch is three forward passes; a direction two, or four where gradients of matrix layers are materialised, in
    small products.
    """
    forward = forward_macs(problem)
    each = forward / len(problem.examples)
    direction = (2 + 2 * _materialised(problem, kinds)) * each
    return PassWork(PASSES_PER_EPOCH * forward, each, direction, direction)


def _materialised(problem: LaplaceProblem, kinds: Sequence[Any]) -> bool:
    """Whether a matrix layer is used at several positions."""
    pairs = zip(kinds, problem.block_groups, strict=True)
    matrices = [kind for kind, group in pairs if len(group.blocks) == 1 and group.blocks[0].is_matrix]
    return not all(kind.at_one for kind in matrices)


def timed_work(problem: LaplaceProblem, kinds: Sequence[Any]) -> PassWork:
    """A training step, and passes over some examples along one direction and along several, with their rows as the map
    makes them and products with a few others and with many.
    """
    makers = [DenseRows if kind is FiledRows else kind for kind in kinds]
    inputs, several = _some_inputs(problem, makers), min(problem.num_outputs, _DIRECTIONS)
    n, double, single = length(inputs), torch.float64, torch.float32
    few, many = _FEW_ROWS, max(2 * _FEW_ROWS, min(_MANY_ROWS, _MANY_NUMBERS // _width(problem, makers)))
    step, trained = training_step(problem)
    cases = ((1, few, double), (several, few, double), (several, few, single), (several, many, single))
    passes = [_row_pass(problem, makers, inputs, *each) for each in cases]
    with evaluation_mode(problem.network.module):
        (epoch, *found), before = multiplications_like((step, *passes), problem.network.device)
    one, *along, last = (work / n for work in found)
    direction = (along[0] - one) / (several - 1) if several > 1 else one
    outputs = max(0.0, one - direction)
    direction, in_single = max(0.0, direction), max(0.0, (along[1] - outputs) / several)
    counted = several * (many - few) * products_of_rows(problem, makers, several) / 2  # two in single precision are one
    product = max(1.0, (last - along[1]) / counted)
    whole = epoch * len(problem.examples) / trained
    example = _EXAMPLE + _OF_VARIANCES * problem.num_outputs**2
    measured = whole, outputs, direction, in_single, before, product
    return PassWork(*measured, example=example, entry=_ENTRY, timed=True)


def _some_inputs(problem: LaplaceProblem, makers: list[Any]) -> Any:
    """Of as many examples as the map takes together, fewer where their rows are long or the data few."""
    most = max(_EXAMPLES, min(_NUMBERS // _width(problem, makers), len(problem.examples) // _PART))
    count = min(len(problem.examples), problem.batch_size.size, most)
    return problem.network.to_device(problem.examples.take(np.arange(count)).inputs)


def _width(problem: LaplaceProblem, makers: list[Any]) -> int:
    """Numbers of a row of all groups while it is made."""
    return sum(maker.numbers(group) for maker, group in zip(makers, problem.block_groups, strict=True))


def _row_pass(
    problem: LaplaceProblem, makers: list[Any], inputs: Any, directions: int, count: int, dtype: torch.dtype
) -> Callable[[], Any]:
    """A forward pass, some reverse passes, the rows that are made of them, and their products with `count` others."""
    n = length(inputs)
    first = torch.arange(min(n, _FEW_ROWS), device=problem.network.device)
    places = torch.arange(count, device=first.device) % len(first)
    made = _made(problem, makers, inputs, 1)
    others = [each.single(first, torch.zeros_like(first)).to(dtype).take(places) for each in made]
    inverses = inverses_of(prior_covariance(problem, problem.prior).precisions)

    def work() -> None:
        products_with(_made(problem, makers, inputs, directions), others, inverses, slice(0, n), dtype)

    return work


def _made(problem: LaplaceProblem, makers: list[Any], inputs: Any, directions: int) -> list[GroupRows]:
    """Of a forward pass and reverse passes from all outputs at once."""

    def along(f: torch.Tensor, _: slice) -> torch.Tensor:
        return torch.ones(directions, *f.shape, dtype=f.dtype, device=f.device)

    batch = linearize(problem.network, problem.owners, inputs, slice(0, length(inputs)), along)
    return GroupRows.of_batch(batch, problem.block_groups, makers)


def products_of_rows(problem: LaplaceProblem, kinds: Sequence[Any], k: float) -> float:
    """Multiplications for the product of two rows, `a D⁻¹a'ᵀ`, of examples with `k` directions each."""
    pairs = zip(kinds, problem.block_groups, strict=True)
    return float(sum(kind.product_work(group, k) for kind, group in pairs))
