"""How many rows are drawn: more until the map is as exact as requested, or the budget or memory is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.budget import Budget, multiplications_of
from memorymaps.nets.sampled.cost import CALIBRATION_EXAMPLES, FIRST, SampledCost, cost_of, directions_within
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.directions import Directions
from memorymaps.nets.sampled.errors.probe import Probe
from memorymaps.nets.sampled.errors.stated import Stated
from memorymaps.nets.sampled.forecast import Forecast, say
from memorymaps.nets.sampled.rows.pool import RowPool
from memorymaps.nets.sampled.rows.work import PassWork

_OF_LEAST = 1.25  # times the map by one row, which rows may take where the budget does not reach for that
_NOT_WORTH = 1.5  # times as many rows as the first sample, up to which it is not drawn before
_NEXT = 1.25  # times as many rows as the sample before, at least
_LAST = 3  # times as many rows as the sample before, at most
_OF_ROUNDING = 0.1  # of the asked error that single precision may add


class SampleSize(Protocol):
    """How many rows to draw: a number, or a relative error and a budget; and the draw's seed."""

    @property
    def rows(self) -> int | None:
        """Number of rows; `None`: as many as the error needs."""

    @property
    def error(self) -> float:
        """Relative standard error of leverage and sensitivity at which no more are drawn."""

    @property
    def seed(self) -> int:
        """Seed of the draw."""

    @property
    def share(self) -> float | None:
        """Of the examples that are mapped by sampled rows; `None`: all, or some percent where the budget is short."""

    @property
    def projection(self) -> int | None:
        """Directions of each layer's inputs and outputs that rows are kept along; `None`: all."""

    @property
    def folder(self) -> str | Path | None:
        """Where rows beyond memory are written."""

    @property
    def budget(self) -> Budget:
        """Of the map: seconds of a core, or epochs."""


@dataclass(frozen=True)
class Costs:
    """What a map costs along all directions of every example in double precision, `whole`, and along the leading ones
    of each in single precision, `few`, where the budget is too short for that.
    """

    whole: SampledCost
    few: SampledCost
    directions: Directions
    work: float

    @classmethod
    def of(cls, pool: RowPool, recipe: SampleSize, share: float, passes: PassWork) -> Costs:
        """Of a share of the examples, those of the largest curvature. One forward pass where the budget, not memory or
        the number of rows, says how many rows there may be.
        """
        problem, n = pool.problem, len(pool.problem.examples)
        examples = n if share == 1 else math.ceil(share * n) + CALIBRATION_EXAMPLES
        whole = cost_of(problem, pool.kinds, passes, examples=examples)
        work, most = multiplications_of(recipe.budget, passes.epoch), min(pool.total, whole.most(math.inf))
        if whole.most(work) >= min(most, recipe.rows or most):
            return cls(whole, whole, Directions.all_of(problem), work)
        directions = Directions.leading(problem, math.inf if recipe.rows else directions_within(whole, passes, work))
        largest = pool.by_example.argsort(descending=True)[:examples].to(directions.counts.device)
        mean = float(directions.counts[largest].double().mean())
        return cls(whole, cost_of(problem, pool.kinds, passes, mean, examples), directions, work)

    def forecast(self, pilot: tuple[int, float], requested: float, most: int) -> Forecast:
        """From a first sample of some rows and its error to that which is asked for."""
        found = Forecast.to_reach(self.few, pilot, requested, most)
        return Forecast.of(self.with_rows(found.rows)[0], found.rows, found.error)

    def with_rows(self, rows: int) -> tuple[SampledCost, Directions]:
        """All directions where so many rows allow it, else the leading ones."""
        if self.few is self.whole or self.whole.multiplications(rows) > self.work:
            return self.few, self.directions
        return self.whole, self.directions.all_again(self.whole.k)


@dataclass(frozen=True)
class RowSample:
    """The covariance by `rows` rows, the errors it states, `why` no more were drawn, the map's cost and directions; the
    part of the leverages that no drawn row stands for, `excess`.
    """

    covariance: SampledCovariance
    rows: int
    stated: Stated
    why: str
    cost: SampledCost
    directions: Directions
    excess: float


def row_sample(pool: RowPool, recipe: SampleSize, costs: Costs, probe: Probe) -> RowSample:
    """Samples of increasing size until the error is small enough or a limit is reached."""
    problem, cost = pool.problem, costs.few
    most = max(1, min(pool.total, cost.most(max(costs.work, _OF_LEAST * cost.multiplications(1)))))
    rows = min(recipe.rows or (most if most <= _NOT_WORTH * FIRST else FIRST), max(1, pool.total))
    if recipe.rows or rows == most:
        say(problem, Forecast.of(costs.with_rows(rows)[0], rows, None))
    while True:
        covariance = pool.covariance(rows, problem.prior)
        cost, directions = costs.with_rows(rows)
        found = problem.ranks.agreed(probe.state(problem, covariance, directions, pool.half(rows)))
        covariance, stated, directions = replace(covariance, undrawn=found.undrawn), found.stated, found.directions
        why = _enough(rows, recipe, pool, costs, stated, most)
        why += ", the exact posterior" if rows >= pool.total and directions.exact and not pool.projected else ""
        if why:
            sample = RowSample(covariance, rows, stated, why, cost, directions, found.excess)
            return _precise(sample, problem, probe, recipe.error)
        forecast = costs.forecast((rows, stated.worst), recipe.error, most)
        say(problem, forecast)
        rows = _next(rows, forecast.rows, most)


def _next(rows: int, wanted: int, most: int) -> int:
    """As many rows as are `wanted`, a quarter more at least and twice as many at most; where the most there may be are
    no more than three times as many, up to these, so that errors are not found twice of samples of about the same size.
    """
    larger = max(wanted, math.ceil(_NEXT * rows))
    return min(most, larger if most <= _LAST * rows else min(2 * rows, larger))


def _precise(sample: RowSample, problem: LaplaceProblem, probe: Probe, error: float) -> RowSample:
    """In double precision where single precision adds more than a tenth of the error that is asked for."""
    if sample.directions.precision == torch.float64:
        return sample
    rounding = problem.ranks.agreed(probe.rounding(problem, sample.covariance, sample.directions))
    if rounding <= _OF_ROUNDING * error:
        return replace(sample, directions=replace(sample.directions, rounding=rounding))
    return replace(
        sample, directions=replace(sample.directions, precision=torch.float64), cost=sample.cost.in_double_precision()
    )


def _enough(rows: int, recipe: SampleSize, pool: RowPool, costs: Costs, stated: Stated, most: int) -> str:
    """Why no more rows are drawn; empty where more should be."""
    if rows >= pool.total:
        return "all there are"
    if recipe.rows:
        return "as many as were asked for"
    if stated.worst <= recipe.error:
        return f"enough for the asked error of {recipe.error:.3g}"
    if rows < most:
        return ""
    if costs.few.multiplications(rows) > costs.work:
        return f"as many as add a quarter to the least map, together longer than budget={recipe.budget!r}"
    limit = f"budget={recipe.budget!r} allows" if costs.few.fits(rows + 1) else "memory allows"
    return f"as many as {limit}, not enough for the asked error of {recipe.error:.3g}"
