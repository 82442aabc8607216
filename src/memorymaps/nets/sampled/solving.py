"""Rows for solving with the exact curvature: more than a map has where it has few for each effective parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.cost import SampledCost
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.rows.pool import RowPool

_FOR_EACH = 4  # rows an effective parameter: conjugate gradients take about 5 steps, at 2 about 15 (measured)
_MOST = 4  # times as many as the map has, so that what they cost stays in proportion to the map


@dataclass(frozen=True)
class RowsForSolving:
    """The rows of a problem that a map's were drawn from, and what they cost in memory."""

    pool: RowPool
    cost: SampledCost

    def preconditioner(self, problem: LaplaceProblem, covariance: SampledCovariance) -> SampledCovariance:
        """`S̃⁻¹` of at least four rows for each effective parameter as far as memory allows, beside a map's own.

        The map's own where that has enough. Of Gaussian rows the spectrum of `S̃⁻¹S` would be within about
        `(1 ± √(Σh/M))^{-2}`, and the steps of conjugate gradients with it in proportion to `1/(1 − √(Σh/M))`.
        """
        rows = len(covariance.q)
        room = self.cost.most(math.inf) - rows  # both are held
        wanted = min(math.ceil(_FOR_EACH * covariance.effective_parameters), _MOST * rows, room, self.pool.total)
        if wanted <= rows:
            return covariance
        pool = replace(self.pool, problem=problem)  # of this process alone, after a map by several
        return pool.without_rows().covariance(wanted, problem.prior)
