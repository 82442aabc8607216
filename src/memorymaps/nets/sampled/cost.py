"""What a map by sampled rows costs, known before anything is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.cost_model import MACS_PER_MINUTE, forward_macs
from memorymaps.nets.covariance.gram import DenseRows, RankOneRows, RowsType
from memorymaps.nets.curvature.dual import rows_types
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.budget import PASSES_PER_EPOCH, Budget, multiplications_of
from memorymaps.nets.sampled.rows.files import FiledRows
from memorymaps.nets.sampled.rows.projection import LayerProjection

MANY = 32  # outputs beyond which all C × C variances of an example are not asked for unasked
NUMBERS = 5e8  # held at once: 4 GB in double precision
COMPARED = 64  # examples beside which projected rows are compared with rows as they are
CALIBRATED = 512  # examples drawn at random that have both curvatures, where only a share has sampled rows
_READS = 5  # passes over the data by a map along all directions, whatever it rests on
_EKFAC_PASSES = 3  # over the data: factors, eigenvalues, variances
_SINGLE = 0.5  # of the work of a product in double precision
UNASKED = 120.0  # seconds of a core that "auto" may spend


@dataclass(frozen=True)
class SampledCost:
    """What a map by sampled rows costs: `n` examples of `k` outputs, `product` multiplications an entry of `X`.

    `written` numbers are held for each drawn row beside the `m × m` matrices, as it is and with its weight; `passes`
    are the multiplications of the network itself, forward and back, `epoch` those of an epoch of training. The map is
    along `directions` of each example's outputs, on average; a product of its rows counts `per_product`, half in single
    precision. Projected rows are compared with rows as they are, `unprojected` multiplications an entry.
    """

    n: int
    k: int
    directions: float
    product: float
    written: int
    passes: float
    epoch: float
    per_product: float = 1.0
    unprojected: float = 0.0

    def multiplications(self, rows: int) -> float:
        """`passes + n r m (product + m) + 2 m³`: the rows' products, their systems, the factor with its weights; what
        projecting changes comes to it.
        """
        compared = self.unprojected * rows * (rows / 2 + COMPARED * self.k)
        systems = self.n * self.directions * self.per_product * rows * (self.product + rows)
        return self.passes + systems + 2 * rows**3 + compared

    @property
    def reads(self) -> int:
        """Passes over the data: sizes, checks, ids, gradient and the map itself; directions where they are chosen."""
        return _READS + (self.directions < self.k)

    def in_double_precision(self) -> SampledCost:
        """The same map."""
        return replace(self, per_product=1.0)

    def seconds(self, rows: int) -> float:
        """The same in seconds of a core."""
        return 60 * self.multiplications(rows) / MACS_PER_MINUTE

    def gigabytes(self, rows: int) -> float:
        """Memory of the matrices and the rows."""
        return 8e-9 * rows * (3 * rows + self.written)

    def fits(self, rows: int) -> bool:
        """Whether three matrices of `m × m` and the rows stay within memory."""
        return rows * (3 * rows + self.written) <= NUMBERS

    def most(self, work: float) -> int:
        """The most rows within so many multiplications and memory; 0 if not one is."""
        low, high = 0, max(1, self.n * self.k)
        while low < high:
            middle = (low + high + 1) // 2
            within = self.fits(middle) and self.multiplications(middle) <= work
            low, high = (middle, high) if within else (low, middle - 1)
        return low


def partly(cost: SampledCost, examples: int) -> SampledCost:
    """Of a map with so many examples by sampled rows and the others by EKFAC, worth three passes more."""
    return replace(cost, n=min(cost.n, examples), passes=(1 + _EKFAC_PASSES) * cost.passes)


Kind = RowsType | type[FiledRows] | LayerProjection


def kinds_within(problem: LaplaceProblem, budget: Budget, rows: int | None) -> list[Kind]:
    """How each group's rows are kept: in memory, or those of layers used more than once in files, where the budget
    allows more rows than memory does.
    """
    kinds = rows_types(problem)
    filed: list[Kind] = [FiledRows if kind is DenseRows else kind for kind in kinds]
    cost = cost_of(problem, kinds)
    most = len(problem.examples) * problem.num_outputs
    allowed = cost_of(problem, filed).most(multiplications_of(budget, cost.epoch))
    return [*kinds] if cost.fits(allowed if rows is None else min(rows, most)) else filed


def cost_of(problem: LaplaceProblem, kinds: Sequence[Kind], directions: float | None = None) -> SampledCost:
    """Of a problem whose groups' rows are held by these kinds: a reverse pass for each direction, worth two forward.

    `directions` of each example, on average, in single precision; by default all outputs, in double. Fewer take a
    forward pass to be chosen.
    """
    pairs, k = list(zip(kinds, problem.block_groups, strict=True)), problem.num_outputs
    r = k if directions is None else directions
    product = sum(_product(kind, group, r) for kind, group in pairs)
    written = sum(_written(kind, group) for kind, group in pairs)
    forward = forward_macs(problem)
    few, n = directions is not None, len(problem.examples)
    passes = (1 + 2 * r + few) * forward
    single, epoch = _SINGLE if few else 1.0, PASSES_PER_EPOCH * forward
    return SampledCost(n, k, r, product, 2 * written, passes, epoch, single, _unprojected(problem, kinds))


def possible(problem: LaplaceProblem) -> bool:
    """Whether the recipe's options are those of sampled rows."""
    options = problem.options
    many = problem.num_outputs > MANY if options.directions is None else options.directions > 0
    return options.fisher == "exact" and not many


def _unprojected(problem: LaplaceProblem, kinds: Sequence[Kind]) -> float:
    """Multiplications an entry of products of rows as they are; nothing where none is projected."""
    if not any(isinstance(kind, LayerProjection) for kind in kinds):
        return 0.0
    return sum(
        _product(*each, problem.num_outputs) for each in zip(rows_types(problem), problem.block_groups, strict=True)
    )


def _written(kind: Kind, group: ParameterGroup) -> int:
    """Numbers in memory for each row of a group."""
    if kind is FiledRows:
        return 0
    if isinstance(kind, LayerProjection):
        return 1 + (sum(kind.shape) if kind.at_one else math.prod(kind.shape))
    return sum(group.blocks[0].shape) if kind is RankOneRows else group.size


def _product(kind: Kind, group: ParameterGroup, k: float) -> float:
    """Multiplications an entry of `A D⁻¹A'ᵀ`: `(a·a')(g·g')` of a layer in factors, whose inputs directions share."""
    if isinstance(kind, LayerProjection):
        o, d = kind.shape
        return d / k + o if kind.at_one else o * d
    if kind is not RankOneRows:
        return group.size
    o, d = group.blocks[0].shape
    return d / k + o
