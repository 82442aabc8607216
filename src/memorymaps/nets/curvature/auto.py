"""Choice of the most accurate curvature structure for a problem's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memorymaps.core.wording import counted
from memorymaps.nets.cost_model import MACS_PER_MINUTE
from memorymaps.nets.curvature.active_set import ActiveSet
from memorymaps.nets.curvature.dense import Full
from memorymaps.nets.curvature.dual import (
    MAX_EIGH_ROWS,
    MAX_GRAM_ROWS,
    MAX_ROW_NUMBERS,
    Dual,
    gram_fits,
    num_dense_row_parameters,
    rows_fit,
    rows_types,
)
from memorymaps.nets.curvature.kronecker import EKFAC
from memorymaps.nets.curvature.structure import CurvatureEstimate, CurvatureStructure
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.budget import Budget, multiplications_of
from memorymaps.nets.sampled.cost import UNASKED, possible
from memorymaps.nets.sampled.structure import Sampled

_MAX_FULL_PARAMETERS = 4_000  # parameters: a dense float64 precision of 128 MB


@dataclass(frozen=True)
class Auto(CurvatureStructure):
    """The most accurate of full, dual, sampled, active set and EKFAC that costs about a minute or two of one core.

    `budget` is that of sampled rows: they are taken where their own standard error within it is at most a tenth.
    """

    rows: int = 400
    budget: Budget = UNASKED
    name = "auto"
    chosen_by_size = True

    def __post_init__(self) -> None:
        multiplications_of(self.budget, 1.0)

    def resolve(self, problem: LaplaceProblem) -> tuple[CurvatureStructure, tuple[str, ...]]:
        """The structure for this problem's size, and the reason."""
        n, c, p = len(problem.examples), problem.num_outputs, problem.num_parameters
        chosen, remark = self._choice(problem, n * c, p)
        size = f"{counted(n, 'example')} × {counted(c, 'output')}, {counted(p, 'parameter')}"
        return chosen, (f"auto chose {chosen.name}: {size}.{remark}",)

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[Any]:
        """The estimate of the structure that is selected."""
        return self.resolve(problem)[0].fit(problem)

    def _choice(self, problem: LaplaceProblem, r: int, p: int) -> tuple[CurvatureStructure, str]:
        if p <= _MAX_FULL_PARAMETERS and r * p**2 <= MACS_PER_MINUTE:
            return Full(), ""
        types = rows_types(problem)
        written = num_dense_row_parameters(problem, types)
        if rows_fit(problem) or (r <= MAX_GRAM_ROWS and r * written <= MAX_ROW_NUMBERS):
            return Dual(), ""
        exact = " 'dual' would be exact and take minutes." if gram_fits(r, 0) and gram_fits(r, written) else ""
        drawn = Sampled(budget=self.budget).within_budget(problem) if possible(problem) else None
        if drawn is not None:
            return drawn, exact
        m = self.rows * problem.num_outputs
        if m <= MAX_EIGH_ROWS and m * p <= MAX_ROW_NUMBERS and m * p * (m + r) <= MACS_PER_MINUTE:
            return ActiveSet(self.rows), ""
        short = f" Sampled rows miss an error of a tenth within budget={self.budget!r}: Laplace(budget=…) is more."
        return EKFAC(), exact + (short if possible(problem) else "")
