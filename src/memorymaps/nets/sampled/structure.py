"""The structure `"sampled"` as the user asks for it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from memorymaps.core.settings import as_count
from memorymaps.files.progress_plan import Step
from memorymaps.nets.curvature.structure import CurvatureEstimate, CurvatureStructure
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.budget import Budget, multiplications_of
from memorymaps.nets.sampled.cost import FIRST
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.curvature import DrawnRows, sampled
from memorymaps.nets.sampled.forecast import say
from memorymaps.nets.sampled.partly import partly_sampled
from memorymaps.nets.sampled.posterior import sampled_posterior

_TAKEN = 4096  # examples that are taken for rows and their errors until there are enough, or thereabouts
_REVERSE = 2.0  # times a forward pass


@dataclass(frozen=True)
class Sampled(CurvatureStructure):
    """Rows of the weighted Jacobian drawn at random, each example's own rows left out of its own posterior.

    `S̃ = diag δ + Σ_{drawn} W a aᵀ`, `a_ij = L_ijᵀJ_i`, `Λ_i = L_iL_iᵀ`. No leverage can pass its bound, however few
    rows are drawn; four rows an effective parameter give sizes to a tenth or so, and the map states its own error.
    For networks that `"full"` and `"dual"` cannot hold.

    Parameters
    ----------
    rows : how many rows to draw. Default: 256, and twice as many until the map's own standard error is at most `error`
        or the next step would pass `budget` or 4 GB; the map says which.
    error : relative standard error asked of leverage and sensitivity over the training examples, and of the mean
        left-out loss.
    seed : of the draw; the same seed, data and network give the same map.
    budget : what the map may cost. Seconds of a core: multiplications, counted before and not timed, so that the map
        does not depend on the machine. `"30 epochs"` of training with Adam in batches of 128: a batch, rows of some
        examples and a matrix product are timed before, so that rows may be a few percent more or less on another day;
        `rows=` repeats a map.
        The forecast is printed where progress is shown: before rows are drawn where their number is known, and with its
        error before the map is drawn with them; epochs only where these were timed.
        Where it is too short for all outputs of every example, each has its error and the leading directions of its
        curvature, and products are in single precision; what this adds is measured and part of the standard errors.
    share : of the examples, the most sensitive ones, whose posterior is by sampled rows; the others have EKFAC's,
        calibrated by a monotone fit on 512 at random that have both, and the column `sampled` says which. Default: all,
        or 5 % of many where that is what the budget allows.
    projection : directions of each layer's inputs, and of its outputs' gradients, that rows are kept along, where rows
        as they are fit nowhere: 64, say. The leading ones, by a random projection of 512 rows; each row keeps its
        length. What this changes is measured on 64 examples beside rows as they are and part of the standard errors;
        layers that it does not make smaller, and those whose prior differs between parameters, stay as they are.
    folder : for rows beyond memory, in single precision, in files without a name that end with the map. Default: the
        system's folder for temporary files.

    Raises
    ------
    ValueError
        Numbers that are not positive, a seed below zero, a folder that does not exist.

    Examples
    --------
    >>> Sampled(rows=4000).rows
    4000
    """

    rows: int | None = None
    error: float = 0.1
    seed: int = 0
    budget: Budget = 600.0
    share: float | None = None
    folder: str | Path | None = None
    projection: int | None = None
    name = "sampled"
    shared = True

    def __post_init__(self) -> None:
        if self.rows is not None and (not _is_whole(self.rows) or self.rows < 1):
            raise ValueError(f"rows = {self.rows!r}: expected a whole number of rows ≥ 1, or None: as many as needed")
        if self.projection is not None:
            as_count("projection", self.projection, instead=" of directions, projection=64, or None")
        if not _is_number(self.error) or not 0 < self.error < float("inf"):
            raise ValueError(f"error = {self.error!r}: expected a positive number")
        if self.share is not None and (not _is_number(self.share) or not 0 < self.share <= 1):
            raise ValueError(f"share = {self.share!r}: expected a part of the examples, 0.05 for 5 %, or None")
        multiplications_of(self.budget, 1.0)
        if not _is_whole(self.seed) or self.seed < 0:
            raise ValueError(f"seed = {self.seed!r}: expected a whole number ≥ 0")
        if self.folder is not None and not (isinstance(self.folder, (str, os.PathLike)) and Path(self.folder).is_dir()):
            raise ValueError(
                f"folder = {self.folder!r}: expected the path of a folder that exists, or None: the system's for "
                "temporary files"
            )

    def steps(self, problem: LaplaceProblem) -> tuple[Step, ...]:
        """A forward pass, a first sample of rows, a pass along all outputs by it, and samples of rows, as if these took
        as long as half of such a pass.
        """
        n = len(problem.examples)
        first = Step("first rows", FIRST, is_pass=False)
        rows = Step("rows", _TAKEN, n * problem.num_outputs / _TAKEN, is_pass=False)
        return Step("curvature of outputs", n), first, Step("leverages", n, _REVERSE * problem.num_outputs), rows

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[SampledCovariance]:
        """Rows drawn until the requested error, the budget or memory is reached, or as many as were requested."""
        return _announced(problem, sampled(problem, self))

    def within_budget(self, problem: LaplaceProblem) -> Sampled | None:
        """Itself with its rows drawn, if they are enough for the requested error; `None` where the budget ends before.

        Costs what the rows cost, not what the map does.
        """
        found = sampled(problem, self)
        if not found.enough:
            return None
        given = (self.rows, self.error, self.seed, self.budget, self.share, self.folder, self.projection)
        return SampledAlready(*given, _announced(problem, found))


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _announced(problem: LaplaceProblem, found: DrawnRows) -> CurvatureEstimate[SampledCovariance]:
    """The estimate, for all examples or for a share of them, once its forecast was printed."""
    say(problem, found.forecast)
    make = sampled_posterior(found.directions, found.solving)
    return replace(found.estimate, posterior=make if found.share == 1 else partly_sampled(found.share, make))


@dataclass(frozen=True)
class SampledAlready(Sampled):
    """`Sampled` whose rows were drawn in order to see whether they are enough."""

    estimate: CurvatureEstimate[SampledCovariance] | None = None

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[SampledCovariance]:
        """The rows that were drawn."""
        return super().fit(problem) if self.estimate is None else self.estimate
