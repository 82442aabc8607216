"""What a map by sampled rows costs, known before anything is spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from memorymaps.nets.covariance.gram import DenseRows, RowsType
from memorymaps.nets.curvature.dual import rows_types
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.budget import PASSES_PER_EPOCH, PER_SECOND, Budget, multiplications_of
from memorymaps.nets.sampled.rows.files import FiledRows
from memorymaps.nets.sampled.rows.projection import LayerProjection
from memorymaps.nets.sampled.rows.work import PassWork, products_of_rows

MOST_OUTPUTS = 32  # outputs beyond which all C × C variances of an example are not asked for unasked
NUMBERS = 4e8  # held at once: 3.2 GB in double precision, 4 GB with the process, its data and a batch (measured)
PROJECTION_EXAMPLES = 64  # examples beside which projected rows are compared with rows as they are …
PROJECTION_NUMBERS = 2**25  # … so many numbers of these in a piece: 0.3 GB in double precision; two are held
CALIBRATION_EXAMPLES = 512  # examples drawn at random that have both curvatures, where only a share has sampled rows
_READS = 4  # passes over the data beside those for the rows' sizes: checks, ids, gradient and the map itself
_EKFAC_PASSES = 3  # over the data: factors, eigenvalues, variances
FIRST = 256  # rows of the first sample
PROBE_EXAMPLES = 256  # examples whose standard errors decide whether rows are enough
PRECISION_EXAMPLES = 32  # of these, on which what single precision changes is found
_CHECKS = 4  # forward passes that are worth the curvature of the outputs and the gradient, checked to be zero
_PROBED = 3  # times that an example whose errors decide is mapped: by all rows, by half, in single precision
_SIZES = 1.8  # work in proportion to m², with that of the smaller samples before the last one (measured)
_FACTORS = 6.0  # of m³: Cholesky factors and inverses for weights, with those of smaller samples (measured)
_ENTRY = 3500.0  # multiplications that take as long as reading and writing an entry for its errors (measured)
_COPIES = 4  # of a row's numbers at a time: as it is, weighted, in single precision, of the sample before (measured)
_SINGLE = 0.5  # of the work of a product in double precision
_PASSES_A_ROW = 2.0  # reverse passes for a drawn row: as many for all examples of a part as one of them has rows
UNASKED = 120.0  # seconds of a core that "auto" may spend


@dataclass(frozen=True)
class SampledCost:
    """What a map by sampled rows costs: `n` examples of `k` outputs, `product` multiplications an entry of `X`.

    `written` numbers are held for each drawn row beside the `m × m` matrices, with its copies; `passes` are the
    multiplications of the passes over all data, forward and back, with the rows that are made, `epoch` those of an
    epoch of training. The map is along `directions` of each example's outputs, on average; a product of its rows
    counts `per_product`, half in single precision. Projected rows are compared with rows as they are, of `wide`
    numbers, `unprojected` multiplications an entry. The product of two drawn rows takes `pair`, making a row of one
    direction in double precision `made`. The data are read so many times, `reads`. An epoch that was
    not `timed` is one of counted multiplications, far less than small networks train.
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
    wide: int = 0
    pair: float = 0.0
    made: float = 0.0
    reads: int = _READS
    timed: bool = False

    def multiplications(self, rows: int) -> float:
        """`passes + n r m (product + m + 3500) + 6 m³`, about: products with the drawn rows, their systems, the errors;
        the factor with its weights. To it come products of drawn rows, the examples whose errors decide, by half of the
        rows, too, and what projecting changes.
        """
        entry = self.product + rows + _ENTRY
        systems = self.per_product * (self.n * self.directions * rows * entry + rows**3 / 2)
        half = rows / 4 + _ENTRY / 2
        probed = _SIZES * min(self.n, PROBE_EXAMPLES) * self.k * rows * (entry + half)
        made = self.made * self._rows_made(rows)
        return self.passes + systems + self._factors(rows) + probed + made + self._compared(rows)

    def drawing(self, rows: int) -> float:
        """Of the multiplications, those for the rows themselves: made in double precision, their products, the factor
        with its weights.
        """
        return self._factors(rows) + self.made * self._drawn(rows)

    def _factors(self, rows: int) -> float:
        return _FACTORS * rows**3 + _SIZES * self.pair * rows**2

    def _rows_made(self, rows: int) -> float:
        """Of one direction: those drawn, all of the examples whose errors decide, at each size, and of those on which
        single precision is compared.
        """
        sizes = 1 if rows <= FIRST else 1 + math.ceil(math.log2(rows / FIRST))
        compared = 2 * PRECISION_EXAMPLES * self.directions / self.k * (self.per_product != 1)
        return self._drawn(rows) + self.k * (min(self.n, PROBE_EXAMPLES) * sizes + compared)

    def _drawn(self, rows: int) -> float:
        return min(_PASSES_A_ROW * rows, self.k * self.n)

    def _compared(self, rows: int) -> float:
        """Products of rows as they are, and making them again for every part of them and of the examples."""
        parts = self.wide * (rows / 2 + PROJECTION_EXAMPLES * self.k) / PROJECTION_NUMBERS
        products = self.unprojected * rows * (rows / 2 + PROJECTION_EXAMPLES * self.k)
        return products + self.made * self._drawn(rows) * parts

    def in_double_precision(self) -> SampledCost:
        """The same map."""
        return replace(self, per_product=1.0)

    def seconds(self, rows: int) -> float:
        """The same in seconds of a core."""
        return self.multiplications(rows) / PER_SECOND

    def gigabytes(self, rows: int) -> float:
        """Memory of the matrices and the rows."""
        return 8e-9 * rows * (3 * rows + self.written)

    def fits(self, rows: int) -> bool:
        """Whether three matrices of `m × m` and the rows stay within memory."""
        return rows * (3 * rows + self.written) <= NUMBERS

    def most(self, work: float) -> int:
        """The most rows with a map within so many multiplications and memory; 0 if not one is."""
        return self._most(lambda rows: self.multiplications(rows) <= work)

    def most_drawn(self, work: float) -> int:
        """The same of rows that no map is drawn with."""
        return self._most(lambda rows: self.drawing(rows) <= work)

    def _most(self, within: Callable[[int], bool]) -> int:
        low, high = 0, max(1, self.n * self.k)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(middle) and within(middle) else (low, middle - 1)
        return low


Kind = RowsType | type[FiledRows] | LayerProjection


def kinds_within(problem: LaplaceProblem, budget: Budget, rows: int | None, work: PassWork) -> list[Kind]:
    """How each group's rows are kept: in memory, or those of layers used more than once in files, where the budget
    allows more rows than memory does.
    """
    kinds: list[Kind] = [*rows_types(problem)]
    filed: list[Kind] = [FiledRows if kind is DenseRows else kind for kind in kinds]
    if rows is not None:
        most = len(problem.examples) * problem.num_outputs
        return kinds if cost_of(problem, kinds, work).fits(min(rows, most)) else filed
    in_memory, in_files = (_most_rows(problem, each, budget, work) for each in (kinds, filed))
    return filed if in_files > in_memory else kinds


def _most_rows(problem: LaplaceProblem, kinds: Sequence[Kind], budget: Budget, work: PassWork) -> int:
    """The most rows within a budget and memory, along all directions or along as many as leave half of it for them."""
    whole, multiplications = cost_of(problem, kinds, work), multiplications_of(budget, work.epoch)
    few = min(float(whole.k), directions_within(whole, work, multiplications))
    return max(each.most(multiplications) for each in (whole, cost_of(problem, kinds, work, few)))


def directions_within(whole: SampledCost, work: PassWork, multiplications: float) -> float:
    """How many directions an example may have on average so that half of the multiplications are left for the rows."""
    along_none = whole.passes - whole.n * whole.k * work.direction
    return max(1.0, (multiplications / 2 - along_none) / max(1.0, whole.n * work.single))


def cost_of(
    problem: LaplaceProblem,
    kinds: Sequence[Kind],
    work: PassWork,
    directions: float | None = None,
    examples: int | None = None,
) -> SampledCost:
    """Of a problem whose groups' rows are held by these kinds, with passes over its examples that take `work`.

    `directions` of each example, on average, in single precision; by default all outputs, in double. Fewer take a
    forward pass to be chosen. Of so many `examples`, by default all; where that are less, all have EKFAC, three passes
    along all outputs.
    """
    whole, k, few = len(problem.examples), problem.num_outputs, directions is not None
    n = whole if examples is None else min(examples, whole)
    r = k if directions is None else directions
    product, pair = (products_of_rows(problem, kinds, count) for count in (r, 1.0))
    checks = (_CHECKS + few) * work.epoch / PASSES_PER_EPOCH
    passes = work.before + checks + n * (work.outputs + r * (work.single if few else work.direction))
    passes += work.example * (n + _PROBED * min(n, PROBE_EXAMPLES))
    passes += _EKFAC_PASSES * work.of_passes(whole, k) if n < whole else 0.0
    written, single = _COPIES * row_numbers(problem, kinds), _SINGLE if few else 1.0
    unprojected, wide = 0.0, 0
    if any(isinstance(kind, LayerProjection) for kind in kinds):
        whole_rows = rows_types(problem)
        unprojected, wide = products_of_rows(problem, whole_rows, k), row_numbers(problem, whole_rows)
    costs = (
        written,
        passes,
        work.epoch,
        single,
        unprojected,
        wide,
        pair,
        work.direction,
        _READS + work.reads + few,
        work.timed,
    )
    return SampledCost(n, k, r, work.product * product, *costs)


def row_numbers(problem: LaplaceProblem, kinds: Sequence[Kind]) -> int:
    """Numbers in memory for each row."""
    return sum(kind.held(group) for kind, group in zip(kinds, problem.block_groups, strict=True))


def possible(problem: LaplaceProblem) -> bool:
    """Whether the recipe's options are those of sampled rows."""
    options = problem.options
    many = problem.num_outputs > MOST_OUTPUTS if options.directions is None else options.directions > 0
    return options.fisher == "exact" and not many
