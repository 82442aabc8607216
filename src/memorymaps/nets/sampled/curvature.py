"""The structure `"sampled"`: curvature by drawn rows, for all examples or a share of them, and its notes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path

from memorymaps.core.wording import counted
from memorymaps.nets.curvature.dual import rows_types
from memorymaps.nets.curvature.structure import CurvatureEstimate, Deltas
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.prior import evidence_prior
from memorymaps.nets.sampled.budget import multiplications_of
from memorymaps.nets.sampled.cost import (
    CALIBRATION_EXAMPLES,
    MOST_OUTPUTS,
    PROJECTION_EXAMPLES,
    Kind,
    SampledCost,
    kinds_within,
)
from memorymaps.nets.sampled.covariance import SampledCovariance
from memorymaps.nets.sampled.directions import Directions
from memorymaps.nets.sampled.errors.probe import Probe
from memorymaps.nets.sampled.errors.projection import projection_error
from memorymaps.nets.sampled.forecast import Forecast
from memorymaps.nets.sampled.measures import MEASURES
from memorymaps.nets.sampled.rows.bases import projected_kinds, sketch_multiplications
from memorymaps.nets.sampled.rows.leverages import drawn_by_leverage
from memorymaps.nets.sampled.rows.pool import RowPool
from memorymaps.nets.sampled.rows.projection import LayerProjection
from memorymaps.nets.sampled.rows.work import PassWork, counted_work, timed_work
from memorymaps.nets.sampled.sample_size import Costs, RowSample, SampleSize, row_sample
from memorymaps.nets.sampled.solving import FOR_EACH, RowsForSolving

Estimate = CurvatureEstimate[SampledCovariance]

_SHARE = 0.05  # of many examples, mapped by sampled rows where the budget is too short for all
_MORE, _DIRECTIONS = 4, 32  # times as many directions, and at least so many, where too few were kept
_OF_SIZES = 0.2  # of the budget, that may be spent on rows' leverages by a first sample
_MIN_REPORTED = 5e-4  # of a value, what undrawn rows may change, from which it is stated
_OF_EVIDENCE = 2048  # rows by which a prior by evidence is found
_FOR_EVIDENCE = 2  # rows an effective parameter, from which that prior is off by a few percent (measured)


@dataclass(frozen=True)
class DrawnRows:
    """The curvature by the rows that were drawn, whether they are `enough` for the asked error, the `share` of the
    examples that the budget allows to be mapped by it, along how many directions of each, rows for `solving`, and what
    the map will cost.
    """

    estimate: Estimate
    enough: bool
    share: float
    directions: Directions
    solving: RowsForSolving
    forecast: Forecast


def sampled(problem: LaplaceProblem, recipe: SampleSize) -> DrawnRows:
    """Rows drawn until the asked error, the budget or memory is reached, or as many as were asked for.

    Raises
    ------
    ValueError
        A Fisher other than the exact one, or leading directions; the message says what to type.
    """
    _check(problem)
    pool, work = _pool_and_work(problem, recipe)
    share = 1.0 if recipe.share is None else recipe.share
    costs = Costs.of(pool, recipe, share, work)
    probe = Probe.of(pool.by_example, recipe.seed)
    _check_memory(costs.whole, recipe, pool.total)
    evidence = _Evidence.of(pool, costs.few, recipe) if problem.prior_by_evidence else None
    if evidence is not None:
        pool = replace(pool, problem=replace(problem, prior=evidence.prior))
    sample = row_sample(pool, recipe, costs, probe)
    if recipe.share is None and _short_of_budget(sample, recipe, costs.few, len(problem.examples)):
        share = _SHARE
        sample = row_sample(pool, recipe, Costs.of(pool, recipe, share, work), probe)
    sample = _compared(pool, sample, probe)
    rows = len(sample.covariance.q)
    forecast = Forecast.of(sample.cost, rows, sample.stated.worst)

    def build(deltas: Deltas) -> SampledCovariance:
        if deltas is pool.problem.prior:
            return sample.covariance
        found = pool.covariance(sample.rows, deltas)
        return replace(found, projected=sample.covariance.projected, undrawn=sample.covariance.undrawn)

    exact = rows >= pool.total and sample.directions.exact and sample.covariance.projected is None
    error, *sizes = sample.stated.error
    cautions = _too_few(sample, pool.total, recipe)
    estimate = CurvatureEstimate(build, _notes(pool, sample, recipe.seed, forecast), 1.0, cautions=cautions)
    if evidence is not None:
        estimate = evidence.added_to(estimate, sample.covariance, pool.total)
    if not exact:
        estimate = replace(estimate, relative_error=error, size_errors=(sizes[0], sizes[1]))
    solving = RowsForSolving.of(pool, sample.cost, sample.covariance, work)
    enough = exact or sample.stated.worst <= recipe.error
    return DrawnRows(estimate, enough, share, sample.directions, solving, forecast)


def _notes(pool: RowPool, sample: RowSample, seed: int, forecast: Forecast) -> tuple[str, ...]:
    """What the map's description says of its rows, their errors and its cost."""
    return (
        f"{forecast.rows:,} of {pool.total:,} rows of the weighted Jacobian, drawn by {pool.measure} (seed {seed}): "
        f"{sample.why}. Each example's own rows are taken out of its posterior.",
        f"Relative standard errors, of the draw of the rows and of half the bias removed: {sample.stated}.",
        f"Forecast of the map's work: {forecast}",
        *_of_undrawn_rows(sample),
        *sample.directions.notes,
        *_of_projection(pool, sample),
    )


def _pool_and_work(problem: LaplaceProblem, recipe: SampleSize) -> tuple[RowPool, PassWork]:
    """All rows, projected where that was asked for, and what passes over them cost: timed for a budget in epochs."""
    folder = None if recipe.folder is None else Path(recipe.folder)
    work_of = timed_work if isinstance(recipe.budget, str) else counted_work
    kinds: list[Kind] = [*rows_types(problem)]
    work = problem.ranks.agreed(work_of(problem, kinds))
    if recipe.projection is None:
        kinds = kinds_within(problem, recipe.budget, recipe.rows, work)
    pool = RowPool.of(problem, kinds, recipe.seed, folder)
    if recipe.rows is None or recipe.rows < pool.total:
        pool, work = drawn_by_leverage(pool, work, _OF_SIZES * multiplications_of(recipe.budget, work.epoch))
    if recipe.projection is None:
        return pool, work
    sketched = sketch_multiplications(problem, pool.kinds, recipe.projection)
    pool = replace(pool.without_rows(), kinds=projected_kinds(pool, recipe.projection, recipe.seed))
    projected = problem.ranks.agreed(work_of(problem, pool.kinds))
    return pool, replace(projected, before=projected.before + work.before + sketched, reads=work.reads)


def _compared(pool: RowPool, sample: RowSample, probe: Probe) -> RowSample:
    """With what projecting changes among its errors."""
    problem = pool.problem
    if not pool.projected:
        return sample
    error = problem.ranks.agreed(projection_error(pool, sample.covariance, sample.rows, probe))
    covariance = replace(sample.covariance, projected=error)
    found = problem.ranks.agreed(probe.state(problem, covariance, sample.directions, pool.half(sample.rows)))
    return replace(
        sample, covariance=replace(covariance, undrawn=found.undrawn), stated=found.stated, excess=found.excess
    )


def _of_undrawn_rows(sample: RowSample) -> tuple[str, ...]:
    """What the map says where rows that were not drawn matter; nothing where the stated errors held."""
    undrawn = sample.covariance.undrawn
    parts = ", ".join(f"{name} {each:.1%}" for name, each in zip(MEASURES, undrawn, strict=True))
    half = (
        "Half of the rows was off by more than it stated, beside all of them: rows that were not drawn matter. In the "
        f"standard errors, of each value: {parts}."
    )
    beyond = (
        f"Of the leverages {sample.excess:.1%} is of directions in which no row was drawn: values may be so much too "
        "large. In the relative errors, not in those of each example."
    )
    return tuple(note for note, size in ((half, max(undrawn)), (beyond, sample.excess)) if size >= _MIN_REPORTED)


def _of_projection(pool: RowPool, sample: RowSample) -> tuple[str, ...]:
    """What the map says of it; nothing where rows are as they are."""
    if sample.covariance.projected is None:
        return ()
    chosen = [kind for kind in pool.kinds if isinstance(kind, LayerProjection)]
    kept = max(max(kind.shape) for kind in chosen)
    numbers = [math.prod(kind.shape) for kind in chosen], [len(kind.outputs) * len(kind.inputs) for kind in chosen]
    relative = zip(MEASURES, sample.covariance.projected.relative, strict=True)
    return (
        f"Rows of {len(chosen)} of {len(pool.kinds)} blocks of parameters along at most {kept} directions of their "
        f"inputs and of their outputs, {sum(numbers[0]):,} of {sum(numbers[1]):,} numbers: the leading ones of a "
        f"random projection. What this changes, beside the same rows as they are on {PROJECTION_EXAMPLES} examples, in "
        f"the standard errors: {', '.join(f'{name} {each:.1%}' for name, each in relative)}.",
    )


def _too_few(sample: RowSample, total: int, recipe: SampleSize) -> tuple[str, ...]:
    """The warning where an error is so large that sizes say nothing; how many rows or directions there should be."""
    rows, worst, projected = len(sample.covariance.q), sample.stated.worst, sample.covariance.projected
    if not sample.stated.ranks_only:
        return ()
    if projected is not None and max(projected.relative) > worst / 2:
        more = max(_DIRECTIONS, _MORE * (recipe.projection or 1))
        return (
            f"projection={recipe.projection} is too few directions for sizes, which are off by {worst:.0%} by their "
            f"own account: read ranks, or use Sampled(projection={more})",
        )
    most = min(total, sample.cost.most(math.inf))
    for_each = math.ceil(max(2.0 * rows, FOR_EACH * sample.covariance.effective_parameters))
    wanted = min(Forecast.to_reach(sample.cost, (rows, worst), recipe.error, most).rows, for_each)
    remedy = f"Sampled(rows={wanted})" if wanted > rows else "fewer parameters, Laplace(subset=[...])"
    readable = "not even ranks" if sample.stated.unusable else "ranks"
    return (
        f"{counted(rows, 'row is', 'rows are')} too few for sizes, which are off by {worst:.0%} by their own account: "
        f"read {readable}, or use {remedy}",
    )


@dataclass(frozen=True)
class _Evidence:
    """The prior that the marginal likelihood gives with `found`, a few thousand rows, also of a map by less."""

    prior: Deltas
    words: str
    found: SampledCovariance

    @classmethod
    def of(cls, pool: RowPool, cost: SampledCost, recipe: SampleSize) -> _Evidence:
        most = min(pool.total, max(1, cost.most(multiplications_of(recipe.budget, cost.epoch))))
        covariance = functools.partial(pool.covariance, max(recipe.rows or 1, min(_OF_EVIDENCE, most)))
        prior, words = evidence_prior(pool.problem.prior, pool.problem.covered, covariance)
        return cls(prior, words, covariance(prior))

    def added_to(self, estimate: Estimate, own: SampledCovariance, total: int) -> Estimate:
        """The estimate with this prior unless its own rows are more; and a warning where either are too few."""
        better = len(self.found.q) >= len(own.q)
        rows = self.found if better else own
        cautions = (*estimate.cautions, *_few_for_evidence(rows, total))
        return replace(estimate, cautions=cautions, evidence=(self.prior, self.words) if better else None)


def _few_for_evidence(found: SampledCovariance, total: int) -> tuple[str, ...]:
    rows, effective = len(found.q), found.effective_parameters
    if rows >= min(total, _FOR_EVIDENCE * effective):
        return ()
    return (
        f"the prior by the marginal likelihood is of {rows:,} drawn rows for {effective:,.0f} effective parameters: it "
        "may be several times too small, and leverages too large; their stated errors are given this prior",
    )


def _short_of_budget(sample: RowSample, recipe: SampleSize, cost: SampledCost, n: int) -> bool:
    """Whether a few percent of the examples could have more rows than all of them."""
    few = sample.rows < min(cost.most(math.inf), cost.n * cost.k) and sample.stated.worst > recipe.error
    return recipe.rows is None and few and n * _SHARE >= CALIBRATION_EXAMPLES


def _check(problem: LaplaceProblem) -> None:
    options = problem.options
    if problem.num_outputs > MOST_OUTPUTS and options.directions is None:
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
