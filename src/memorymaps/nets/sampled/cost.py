"""What a map by sampled rows costs, known before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.cost_model import MACS_PER_MINUTE, forward_macs
from memorymaps.nets.covariance.gram import RankOneRows, RowsType
from memorymaps.nets.laplace_problem import LaplaceProblem

MANY = 32  # outputs beyond which all C × C variances of an example are not asked for unasked
NUMBERS = 5e8  # held at once: 4 GB in double precision
UNASKED = 2.0  # what "auto" may spend


@dataclass(frozen=True)
class SampledCost:
    """What a map by sampled rows costs: `n` examples of `k` outputs, `product` multiplications an entry of `X`.

    `written` numbers are held for each drawn row beside the `m × m` matrices, as it is and with its weight; `passes`
    are the multiplications of the network itself, forward and back.
    """

    n: int
    k: int
    product: float
    written: int
    passes: float

    def multiplications(self, rows: int) -> float:
        """`passes + n k m (product + m) + 2 m³`: the rows' products, their systems, the factor with its weights."""
        return self.passes + self.n * self.k * rows * (self.product + rows) + 2 * rows**3

    def minutes(self, rows: int) -> float:
        """The same in minutes of a core."""
        return self.multiplications(rows) / MACS_PER_MINUTE

    def fits(self, rows: int) -> bool:
        """Whether three matrices of `m × m` and the rows stay within memory."""
        return rows * (3 * rows + self.written) <= NUMBERS

    def most(self, minutes: float) -> int:
        """The most rows within a budget and memory; 0 if not one is."""
        low, high = 0, max(1, self.n * self.k)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(middle) and self.minutes(middle) <= minutes else (low, middle - 1)
        return low


def cost_of(problem: LaplaceProblem, kinds: Sequence[RowsType]) -> SampledCost:
    """Of a problem whose groups' rows are held by these kinds: a reverse pass for each output, worth two forward."""
    pairs, k = list(zip(kinds, problem.block_groups, strict=True)), problem.num_outputs
    product = sum(_product(kind, group, k) for kind, group in pairs)
    written = sum(sum(group.blocks[0].shape) if kind is RankOneRows else group.size for kind, group in pairs)
    return SampledCost(len(problem.examples), k, product, 2 * written, (1 + 2 * k) * forward_macs(problem))


def affordable(problem: LaplaceProblem, kinds: Sequence[RowsType]) -> bool:
    """Whether "auto" can have a row for each example, which are four an effective parameter of most networks."""
    options = problem.options
    many = problem.num_outputs > MANY if options.directions is None else options.directions > 0
    if options.fisher != "exact" or many or problem.prior_by_evidence:
        return False
    n = len(problem.examples)
    return cost_of(problem, kinds).most(UNASKED) >= n


def _product(kind: RowsType, group: ParameterGroup, k: int) -> float:
    """Multiplications an entry of `A D⁻¹A'ᵀ`: `(a·a')(g·g')` of a layer in factors, whose inputs directions share."""
    if kind is not RankOneRows:
        return group.size
    o, d = group.blocks[0].shape
    return d / k + o
