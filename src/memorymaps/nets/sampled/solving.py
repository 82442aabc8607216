"""Rows for solving with the exact curvature: more than a map has where it has few for each effective parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import SampledCost, cost_of, kinds_within
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.rows.pool import RowPool
from memorymaps.nets.sampled.rows.work import PassWork

FOR_EACH = 4  # rows an effective parameter: conjugate gradients take about 5 steps, at 2 about 15 (measured)
_TIMES = 4  # as many rows as the sample before, at most: few rows tell too few effective parameters
_ENOUGH = 1.2  # times as many rows that are not worth drawing them
_EPOCHS = 100  # of training, as counted, that drawing may take: as long as two steps for 20 right-hand sides (measured)


@dataclass(frozen=True)
class RowsForSolving:
    """The rows of a problem that a map's were drawn from, as they are, and what they cost."""

    pool: RowPool
    cost: SampledCost

    @classmethod
    def of(cls, pool: RowPool, cost: SampledCost, covariance: SampledCovariance, work: PassWork) -> RowsForSolving:
        """Of a map; for one by projected rows, which leave all outside of a subspace to the prior, rows as they are, in
        files where memory does not hold enough of them.
        """
        if not pool.projected:
            return cls(pool.without_rows(), cost)
        problem, rows = pool.problem, math.ceil(FOR_EACH * covariance.effective_parameters)
        kinds = kinds_within(problem, math.inf, rows, work)
        return cls(replace(pool.without_rows(), kinds=kinds), cost_of(problem, kinds, work))

    def preconditioner(self, problem: LaplaceProblem, covariance: SampledCovariance) -> SampledCovariance:
        """`S̃⁻¹` of about four rows for each effective parameter, as far as memory allows beside a map's own rows and
        drawing them takes no longer than the map did, or 100 epochs of training; the map's own where that has nearly as
        many, unless they are projected.

        Of Gaussian rows, `M > Σh`, the spectrum of `S̃⁻¹S` would be within about `(1 ± √(Σh/M))^{-2}`, and each step of
        conjugate gradients with it would reduce the error by `√(Σh/M)`.
        """
        held = len(covariance.q)
        drawn = held if covariance.projected is None else 0
        work = max(self.cost.multiplications(held), _EPOCHS * self.cost.epoch)
        most = min(self.cost.most_drawn(math.inf) - held, self.cost.most_drawn(work), self.pool.total)
        pool = replace(self.pool, problem=problem).without_rows()  # of this process alone, after a map by several
        while (rows := _wanted(covariance, most)) > _ENOUGH * drawn:  # their number, asked for: that drawn is random
            covariance, drawn = pool.covariance(rows, problem.prior), rows
        return covariance


def _wanted(covariance: SampledCovariance, most: int) -> int:
    """Rows for as many effective parameters as are known by now."""
    return min(math.ceil(FOR_EACH * covariance.effective_parameters), _TIMES * len(covariance.q), most)
