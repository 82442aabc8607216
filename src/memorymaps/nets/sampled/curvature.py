"""The structure `"sampled"`: rows are drawn until the map is as exact as asked, or the budget or memory is spent."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.nets.autograd.batch_size import linearize
from memorymaps.nets.autograd.hooks import one_hot_directions
from memorymaps.nets.autograd.pytree import take_rows
from memorymaps.nets.curvature.structure import CurvatureEstimate, Deltas
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.prior import evidence_prior
from memorymaps.nets.sampled.budget import Budget, multiplications_of
from memorymaps.nets.sampled.cost import CALIBRATED, MANY, SampledCost, cost_of, kinds_within, partly
from memorymaps.nets.sampled.covariance import Cavities, SampledCovariance
from memorymaps.nets.sampled.directions import Data, Directions, ordered_directions
from memorymaps.nets.sampled.forecast import Forecast
from memorymaps.nets.sampled.jackknife import Estimates, estimates
from memorymaps.nets.sampled.rows import RowPool

_FIRST = 256  # rows of the first sample
_PROBED = 256  # examples whose standard errors decide whether rows are enough
_SHARE = 0.05  # of many examples, mapped by sampled rows where the budget is too short for all
_OF_EVIDENCE = 2048  # rows by which a prior by evidence is found before they grow for it
_LEFT = 0.5  # part of a removed bias that may be left: what is removed is up to twice what is there (benchmarks)
_MIN_REPORTED_BIAS = 5e-4  # relative bias from which it is stated
_ROUNDED = 0.1  # of the asked error that single precision may add
_TINY = 1e-300


class SampleSize(Protocol):
    """How many rows to draw: a number, or a relative error and a budget; and the draw's seed."""

    @property
    def rows(self) -> int | None:
        """Number of rows; `None`: they grow."""

    @property
    def error(self) -> float:
        """Relative standard error of leverage and sensitivity at which they stop growing."""

    @property
    def seed(self) -> int:
        """Seed of the draw."""

    @property
    def share(self) -> float | None:
        """Of the examples that are mapped by sampled rows; `None`: all, or some percent where the budget is short."""

    @property
    def folder(self) -> str | Path | None:
        """Where rows beyond memory are written."""

    @property
    def budget(self) -> Budget:
        """Of the map: seconds of a core, or epochs."""


def estimated(
    problem: LaplaceProblem, source: Cavities, batch: Batch, positions: Tensor, directions: Directions
) -> Iterator[tuple[Tensor, Data, Estimates]]:
    """Estimates of training examples at these positions, some at a time: their places in the batch, their data, and
    what the drawn rows say of them along their directions.
    """
    y, w = problem.target(batch), problem.weights(batch)
    for count, places in directions.groups(positions):
        chosen = functools.partial(_chosen, problem, count, y[places], w[places])
        work = functools.partial(_linearized, problem, chosen)
        rows = places.cpu().numpy()
        start = 0
        for seen, data, basis in problem.batch_size.run(take_rows(batch.inputs, rows), work):
            here = places[start : start + len(basis)]
            for part, cavity in source.of(seen, positions[here]):
                some = tuple(each[part] for each in data)
                found = estimates(problem.network.likelihood, some, cavity, basis[part], source, directions)
                yield here[part], some, found
            start += len(here)


def _chosen(problem: LaplaceProblem, count: int, y: Tensor, w: Tensor, f: Tensor, part: slice) -> tuple[Data, Tensor]:
    """The data of some examples, and `count` directions of each, `[n, c, count]`."""
    data = f.double(), y[part], w[part]
    if count == f.shape[1]:
        return data, one_hot_directions(data[0]).permute(1, 2, 0)
    return data, ordered_directions(problem.network.likelihood, *data)[0][:, :, :count]


def _linearized(problem: LaplaceProblem, chosen: Any, x: Any, part: slice) -> tuple[Any, Data, Tensor]:
    found: list[tuple[Data, Tensor]] = []

    def directions(f: Tensor, rows: slice) -> Tensor:
        found.append(chosen(f, rows))
        return found[0][1].permute(2, 0, 1)

    seen = linearize(problem.network, problem.owners, x, part, directions)
    return seen, *found[0]


@dataclass(frozen=True)
class Stated:
    """What a map may be off by, relative: of leverage and sensitivity over the training examples, `√Σ se²/√Σ x²` and
    `Σ bias x/Σ x²`, and of the mean left-out loss; biases are those that were removed.
    """

    error: tuple[float, float, float]
    bias: tuple[float, float, float]

    @property
    def worst(self) -> float:
        """The largest of the three errors, with what may be left of the bias."""
        return max(math.hypot(e, _LEFT * b) for e, b in zip(self.error, self.bias, strict=True))

    @property
    def of_leverage(self) -> float:
        """That of leverage."""
        return math.hypot(self.error[0], _LEFT * self.bias[0])

    def __str__(self) -> str:
        names = ("leverage", "sensitivity", "mean left-out loss")
        named = zip(names, self.error, self.bias, strict=True)
        return ", ".join(f"{name} {error:.1%}{_removed(bias)}" for name, error, bias in named)


def _removed(bias: float) -> str:
    return f" (bias of {bias:+.1%} removed)" if abs(bias) >= _MIN_REPORTED_BIAS else ""


@dataclass(frozen=True)
class Probe:
    """Training examples over which errors are averaged, drawn by curvature; each stands for `share [n]` of them."""

    positions: Array
    share: Tensor

    @classmethod
    def of(cls, size: Tensor, seed: int) -> Probe:
        """All where there are few, else some with replacement; `size [N]` is the examples' curvature."""
        n = len(size)
        if n <= _PROBED:
            return cls(np.arange(n), torch.ones(n, dtype=torch.float64))
        chance = (size + size.mean()).numpy()
        chance = chance / chance.sum() if chance.sum() > 0 else np.full(n, 1 / n)
        places = np.sort(np.random.default_rng([seed, 1]).choice(n, _PROBED, p=chance))
        return cls(places, torch.as_tensor(1 / (_PROBED * chance[places])))

    def state(
        self, problem: LaplaceProblem, covariance: SampledCovariance, directions: Directions
    ) -> tuple[Stated, Directions]:
        """The errors of a map by this covariance along these directions, and the directions as found on these examples,
        which have all.
        """
        places = torch.as_tensor(self.positions, device=problem.network.device)
        share, whole = self.share.to(places.device), Directions.all_of(problem)
        source = covariance.cavities(torch.float64)
        found = estimated(problem, source, problem.examples.take(self.positions), places, whole)
        pieces, each = [], []
        for here, data, one in found:
            pieces.append(_sums(one, share[here]))
            each.append((here, *data, one.cavity))
        here, f, y, w, cavity = map(torch.cat, zip(*each, strict=True))
        calibrated, off = directions.calibrated(
            problem.network.likelihood, (f, y, w), cavity, places[here], share[here]
        )
        square, error, bias, loss = (torch.stack(each).sum(0).cpu() for each in zip(*pieces, strict=True))
        square, mean = square.clamp(min=_TINY), loss[0].clamp(min=_TINY)
        left_out = (off.square() @ share[here]).cpu()
        return Stated(
            (*((error + left_out[:2]) / square).sqrt().tolist(), _length(loss[1:], off[2] @ share[here]) / float(mean)),
            (*(bias[:2] / square).tolist(), float(bias[2] / mean)),
        ), calibrated

    def rounding(self, problem: LaplaceProblem, covariance: SampledCovariance, directions: Directions) -> float:
        """What single precision changes of leverage, sensitivity and left-out loss, relative; the most of the three."""
        device, batch = problem.network.device, problem.examples.take(self.positions)
        places, share, values = torch.as_tensor(self.positions, device=device), self.share.to(device), []
        for dtype in (torch.float64, torch.float32):
            found = estimated(problem, covariance.cavities(dtype), batch, places, directions)
            here, value = zip(*((here, each.value) for here, _, each in found), strict=True)
            values.append(torch.cat(value, dim=1)[:, torch.cat(here).argsort()])
        exact, off = values[0], values[1] - values[0]
        return float(((off.square() @ share) / (exact.square() @ share).clamp(min=_TINY)).sqrt().max())


def _length(deleted: Tensor, left_out: Tensor) -> float:
    return math.hypot(float(deleted.norm()), float(left_out))


def _sums(found: Estimates, share: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`Σ x²`, `Σ se²` of leverage and sensitivity; `Σ bias x` of both and `Σ bias` of the left-out loss; the sum of
    that loss, and what the deletion of each row does to it.
    """
    x = found.value[:2]
    bias = torch.cat([(found.bias[:2] * x) @ share, (found.bias[2] @ share)[None]])
    loss = torch.cat([(found.value[2] @ share)[None], share @ found.deleted[2]])
    return x.square() @ share, found.standard_error[:2].square() @ share, bias, loss


@dataclass(frozen=True)
class DrawnRows:
    """The curvature by the rows that were drawn, whether they are `enough` for the asked error, the `share` of the
    examples that the budget allows to be mapped by it, and along how many directions of each.
    """

    estimate: CurvatureEstimate[SampledCovariance]
    enough: bool
    share: float
    directions: Directions


def sampled(problem: LaplaceProblem, recipe: SampleSize) -> DrawnRows:
    """Rows drawn until the asked error, the budget or memory is reached, or as many as were asked for.

    Raises
    ------
    ValueError
        A Fisher other than the exact one, or leading directions; the message says what to type.
    """
    _check(problem)
    folder = None if recipe.folder is None else Path(recipe.folder)
    pool = RowPool.of(problem, kinds_within(problem, recipe.budget, recipe.rows), recipe.seed, folder)
    share = 1.0 if recipe.share is None else recipe.share
    costs = Costs.of(problem, pool, recipe, share)
    probe = Probe.of(pool.by_example, recipe.seed)
    _check_memory(costs.whole, recipe, pool.total)
    if problem.prior_by_evidence:
        pool = _at_evidence(pool, costs.few, recipe)
    grown = _grown(pool, recipe, costs, probe)
    if recipe.share is None and _short_of_budget(grown, recipe, costs.few, len(problem.examples)):
        share = _SHARE
        grown = _grown(pool, recipe, Costs.of(problem, pool, recipe, share), probe)
    rows = len(grown.covariance.q)
    notes = (
        f"{rows:,} of {pool.total:,} rows of the weighted Jacobian, drawn by {pool.measure} (seed {recipe.seed}): "
        f"{grown.why}. Each example's own rows are taken out of its posterior.",
        f"Relative standard errors, of the draw of the rows alone: {grown.stated}.",
        f"Forecast of the map's work: {Forecast.of(grown.cost, rows, grown.stated.worst)}",
        *grown.directions.notes,
    )

    def build(deltas: Deltas) -> SampledCovariance:
        return grown.covariance if deltas is pool.problem.prior else pool.covariance(grown.rows, deltas)

    exact = rows >= pool.total and grown.directions.exact
    estimate = CurvatureEstimate(build, notes, 1.0, relative_error=None if exact else grown.stated.of_leverage)
    return DrawnRows(estimate, exact or grown.stated.worst <= recipe.error, share, grown.directions)


def _at_evidence(pool: RowPool, cost: SampledCost, recipe: SampleSize) -> RowPool:
    """The same pool with the prior that the marginal likelihood gives with a few thousand rows."""
    problem = pool.problem
    most = min(pool.total, max(1, cost.most(multiplications_of(recipe.budget, cost.epoch))))
    rows = recipe.rows or min(_OF_EVIDENCE, most)
    prior, _ = evidence_prior(problem.prior, problem.covered, functools.partial(pool.covariance, rows))
    return replace(pool, problem=replace(problem, prior=prior))


def _short_of_budget(grown: _Grown, recipe: SampleSize, cost: SampledCost, n: int) -> bool:
    """Whether a few percent of the examples could have more rows than all of them."""
    few = grown.rows < min(cost.most(math.inf), cost.n * cost.k) and grown.stated.worst > recipe.error
    return recipe.rows is None and few and n * _SHARE >= CALIBRATED


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
    def of(cls, problem: LaplaceProblem, pool: RowPool, recipe: SampleSize, share: float) -> Costs:
        """Of a share of the examples, those of the largest curvature. One forward pass where the budget, not memory or
        the number of rows, says how many rows there may be.
        """
        examples = len(problem.examples) if share == 1 else math.ceil(share * len(problem.examples)) + CALIBRATED
        whole = _of_some(cost_of(problem, pool.kinds), examples)
        work, most = multiplications_of(recipe.budget, whole.epoch), min(pool.total, whole.most(math.inf))
        if whole.most(work) >= min(most, recipe.rows or most):
            return cls(whole, whole, Directions.all_of(problem), work)
        directions = Directions.leading(problem)
        largest = pool.by_example.argsort(descending=True)[:examples].to(directions.counts.device)
        few = cost_of(problem, pool.kinds, float(directions.counts[largest].double().mean()))
        return cls(whole, _of_some(few, examples), directions, work)

    def forecast(self, pilot: tuple[int, float], requested: float, most: int) -> Forecast:
        """From a first sample of some rows and its error to that which is asked for."""
        found = Forecast.to_reach(self.few, pilot, requested, most)
        return Forecast.of(self.with_rows(found.rows)[0], found.rows, found.error)

    def with_rows(self, rows: int) -> tuple[SampledCost, Directions]:
        """All directions where so many rows allow it, else the leading ones."""
        if self.few is self.whole or self.whole.multiplications(rows) > self.work:
            return self.few, self.directions
        return self.whole, self.directions.all_again(self.whole.k)


def _of_some(cost: SampledCost, examples: int) -> SampledCost:
    return cost if examples >= cost.n else partly(cost, examples)


@dataclass(frozen=True)
class _Grown:
    covariance: SampledCovariance
    rows: int
    stated: Stated
    why: str
    cost: SampledCost
    directions: Directions


def _grown(pool: RowPool, recipe: SampleSize, costs: Costs, probe: Probe) -> _Grown:
    """From a first sample to one that is large enough, twice as large each time."""
    problem, cost = pool.problem, costs.few
    most = min(pool.total, max(1, cost.most(costs.work)))
    rows = recipe.rows or min(_FIRST, most)
    if recipe.rows:
        cost, _ = costs.with_rows(rows)
        _say(problem, f"{rows:,} rows, {cost.seconds(rows):.3g} seconds of a core, {cost.gigabytes(rows):.2g} GB")
    while True:
        covariance = pool.covariance(rows, problem.prior)
        cost, directions = costs.with_rows(rows)
        stated, directions = problem.ranks.agreed(probe.state(problem, covariance, directions))
        why = _enough(rows, recipe, pool, cost, stated, most)
        why += ", the exact posterior" if rows >= pool.total and directions.exact else ""
        if why:
            return _precise(_Grown(covariance, rows, stated, why, cost, directions), problem, probe, recipe.error)
        _say(problem, str(costs.forecast((rows, stated.worst), recipe.error, most)))
        rows = min(2 * rows, most)


def _precise(grown: _Grown, problem: LaplaceProblem, probe: Probe, error: float) -> _Grown:
    """In double precision where single precision adds more than a tenth of the error that is asked for."""
    if grown.directions.precision == torch.float64:
        return grown
    rounding = problem.ranks.agreed(probe.rounding(problem, grown.covariance, grown.directions))
    if rounding <= _ROUNDED * error:
        return replace(grown, directions=replace(grown.directions, rounding=rounding))
    return replace(
        grown, directions=replace(grown.directions, precision=torch.float64), cost=grown.cost.in_double_precision()
    )


def _say(problem: LaplaceProblem, words: str) -> None:
    """Print a forecast where the data's progress is shown."""
    if isinstance(problem.examples, RepeatedExamples):
        problem.examples.say(f"memory map by sampled rows, forecast: {words}")


def _enough(rows: int, recipe: SampleSize, pool: RowPool, cost: SampledCost, stated: Stated, most: int) -> str:
    """Why no more rows are drawn; empty where more should be."""
    if rows >= pool.total:
        return "all there are"
    if recipe.rows:
        return "as many as were asked for"
    if stated.worst <= recipe.error:
        return f"enough for the asked error of {recipe.error:.3g}"
    if rows < most:
        return ""
    limit = f"budget={recipe.budget!r} allows" if cost.fits(rows + 1) else "memory allows"
    return f"as many as {limit}, not enough for the asked error of {recipe.error:.3g}"


def _check(problem: LaplaceProblem) -> None:
    options = problem.options
    if problem.num_outputs > MANY and options.directions is None:
        raise ValueError(
            f"structure='sampled' holds all C × C variances, of {problem.num_outputs} outputs here: say so with "
            "Laplace('sampled', directions=0), or use 'ekfac', which answers along directions"
        )
    if options.fisher != "exact":
        raise ValueError(f"structure='sampled' with fisher={options.fisher!r}: expected fisher='exact'")
    if options.directions:
        raise ValueError(
            f"structure='sampled' with directions={options.directions}: it takes examples' own rows out of all C × C "
            "variances. Leave directions out, or use 'ekfac', which answers along directions"
        )


def _check_memory(cost: SampledCost, recipe: SampleSize, total: int) -> None:
    if recipe.rows and not cost.fits(min(recipe.rows, total)):
        most = cost.most(math.inf)
        raise ValueError(
            f"Sampled(rows={recipe.rows:,}) holds three matrices of that size and {cost.written:,} numbers a row: more "
            f"than 4 GB. Use Sampled(rows={most}), or fewer parameters: Laplace(subset=[...])"
        )
