"""`refit`: deviations of the most sensitive examples measured by refits without them, one at a time."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from memorymaps.analysis.journal import Journal
from memorymaps.analysis.refinement import as_number_of_examples, replace_deviations, require_origin, top_positions
from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.core.settings import as_count, check_positive_number
from memorymaps.core.wording import counted
from memorymaps.files.executors.ordered_map import map_as_completed
from memorymaps.files.executors.workers import ExecutorArgument, Workers, opened
from memorymaps.files.progress import ProgressBar
from memorymaps.maps.loo_averages import weights_of
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.posteriors.approximation import SPLITS_CAUTION, Approximation
from memorymaps.posteriors.capabilities import Refit, Undetermined, capabilities_of
from memorymaps.posteriors.contract import Posterior
from memorymaps.posteriors.cross_fitting import cross_fitted_outputs
from memorymaps.posteriors.refit_tasks import RefitSettings, check_threads, refit_without

_FOLDS = 5  # of examples that are alone in their leaves
_ENSEMBLE = 100  # trees from which sizes by folds were within 0.18 of refits without one example (docs/models/trees.md)


def refit(
    m: MemoryMap, top: int = 20, *, by: str = "sensitivity", steps: int = 200, tolerance: float = 0.05,
    jobs: int = 1, executor: ExecutorArgument = None, path: str | Path | None = None, progress: bool | None = None,
) -> MemoryMap:  # fmt: skip
    """A map whose `top` examples have deviations from refits without each; others unchanged.

    `Δf_i = f_i(θ^{\\i}) − f_i(θ°)`, `θ^{\\i} = argmin L(θ) − w_iℓ_i(θ)`, and `θ°` the minimum with all examples, to
    which a model is trained first if its training stopped early. Preprocessing is held fixed, hyperparameters too.

    - linear models and GLMs: damped Newton steps from the fit, until a step is at most 1e-6 of the first
    - Gaussian processes and kernel ridge: closed form; of classes, Newton's method
    - support vector machines, L1 penalties, tree ensembles: the estimator is cloned and fitted, its splits are free
    - networks: L-BFGS with the posterior covariance as initial inverse Hessian, one pass over the data a step, until
      the gradient is at most `tolerance` of what it was when the example was removed (deviations then differ from those
      at the minimum by one to three percent; predictions that stand still may be on a plateau)

    The column `refitted` marks these rows; one that has not converged after `steps` has the warning `NOT_CONVERGED`.
    Leverage is unchanged.

    Parameters
    ----------
    top : how many examples, those with the largest `by`; for chosen ones `refit(m.select(ids), top=len(ids))`.
    jobs : refits at a time, in threads; for networks 1, as each of their passes uses all cores.
    executor : number of processes, or any `concurrent.futures.Executor` (Dask's `client.get_executor()`, …), to refit
        in parallel. Model and data are sent to each worker once.
    path : file that each result is appended to as soon as it is there; a second call goes on where it was stopped.

    Raises
    ------
    ValueError
        The map was read from disk; `top`, `steps`, `tolerance` or `jobs` is not positive; `jobs` > 1 for a network, or
        with an executor; `path` is no journal or that of another map, model or recipe (`JournalError`).
    InUseError
        Another process computes the results of `path`.
    TypeError
        The posterior cannot refit its model, an argument is of another kind, or model or data cannot be sent to other
        processes (`NotPicklableError`).
    WorkerLostError
        A worker was killed; finished results are kept in `path`.

    Examples
    --------
    >>> import torch, memorymaps as mm
    >>> x, y = torch.randn(40, 3), torch.arange(40) % 2
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    >>> m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(prior=1.0))
    >>> int(mm.refit(m, top=5)["refitted"].sum())
    5
    """
    steps, jobs = as_count("steps", steps), as_count("jobs", jobs)
    check_positive_number("tolerance", tolerance)
    origin, rows = require_origin(m), top_positions(m, as_number_of_examples(top, by, "refit"), by)
    source, where = require_refit(origin.posterior), m["row"][rows]
    origin.check_unchanged()
    _check_parallel(source, jobs, executor)
    f = origin.batch_statistics(origin.examples.take(where)).f
    settings = {"memorymaps": "refit", "steps": steps, "tolerance": tolerance, **refit_settings(m)}
    journal_of = Journal.resume(path, m, dict(zip(where.tolist(), f, strict=True)), settings)
    with journal_of as journal, _workers(jobs, executor) as workers:
        _run((source, steps, tolerance), where, journal, workers, progress)
        rest, found = (
            journal.result(-1, where)[0],
            [journal.result(row, where[k : k + 1]) for k, row in enumerate(where)],
        )
    deviation = np.stack([output[0] for output, _ in found]) - rest
    remaining_change = np.asarray([change for _, change in found])
    warning = np.where(remaining_change > tolerance, int(Warn.NOT_CONVERGED), 0)
    mean = origin.posterior.likelihood.mean
    drift = float(np.max(np.sum(np.abs(mean(rest) - mean(f)), axis=-1)))
    note = (
        f"{counted(len(rows), 'example')} (largest {by}) refitted without each, column 'refitted'; training to the "
        f"minimum first changed their predictions by up to {drift:.2g}"
    )
    return replace_deviations(m, rows, deviation, warning, "refitted", note)


def refit_undetermined(m: MemoryMap, source: Refit, undetermined: Undetermined) -> MemoryMap:
    """The map with examples of whose predictions too little is left without them refitted.

    Each alone, where that many refits are affordable unasked, the other examples too if they are. Else, if one is, all
    examples of the map are predicted by refits without a fifth of the data, with the code `Warn.CROSS_FITTED` where
    the model averages so few trees that these were measured to differ (docs/models/trees.md).
    """
    places, affordable = np.flatnonzero(np.isin(m["row"], undetermined.rows)), source.max_automatic_refits()
    if not len(places) or not affordable:
        return m
    everyone = np.flatnonzero(weights_of(m) > 0)
    places = everyone if len(everyone) <= affordable else places
    if len(places) > affordable:
        return _cross_fitted(m, undetermined.models)
    origin, where = require_origin(m), m["row"][places]
    found = [source.refit(where[k : k + 1], where[k : k + 1])[0] for k in range(len(where))]
    deviation = np.concatenate(found) - origin.batch_statistics(origin.examples.take(where)).f
    known = np.isfinite(deviation).all(axis=1)
    words = counted(int(np.count_nonzero(known)), "example was", "examples were")
    note = f"{words} refitted without each, column 'refitted': some were alone in leaves"
    codes = np.full(np.count_nonzero(known), int(Warn.NONE))
    refitted = replace_deviations(m, places[known], deviation[known], codes, "refitted", note)
    every = np.count_nonzero(known) == len(everyone)
    return _without_held(refitted, m.provenance.description.approximation) if every else refitted


def _cross_fitted(m: MemoryMap, models: int) -> MemoryMap:
    """The map of held-out predictions of a mean of `models` models: each example by a refit without its fold."""
    places, origin = np.flatnonzero(weights_of(m) > 0), require_origin(m)
    where = m["row"][places]
    found = cross_fitted_outputs(origin, _FOLDS, bool(m.provenance.description.classes))[where]
    deviation = found - origin.batch_statistics(origin.examples.take(where)).f
    known = np.isfinite(deviation).all(axis=1)
    words = counted(int(np.count_nonzero(known)), "example was", "examples were")
    note = f"{words} predicted by {_FOLDS} refits without a fold of them"
    kind, code = Approximation.CROSS_FITTED, Warn.CROSS_FITTED
    if models >= _ENSEMBLE:
        kind, code = Approximation.CROSS_FITTED_ENSEMBLE, Warn.NONE
    codes = np.full(np.count_nonzero(known), int(code))
    return _without_held(replace_deviations(m, places[known], deviation[known], codes, "", note), kind)


def _without_held(m: MemoryMap, approximation: str) -> MemoryMap:
    """The map, whose sizes hold no splits any more."""
    description = m.provenance.description
    cautions = tuple(caution for caution in description.cautions if caution != SPLITS_CAUTION)
    description = dataclasses.replace(description, held_fixed="", cautions=cautions, approximation=approximation)
    return dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, description=description))


def require_refit(source: Posterior) -> Refit:
    """The posterior's capability `refit`.

    Raises
    ------
    TypeError
        The posterior does not offer it.
    """
    found = capabilities_of(source).refit
    if found is None:
        raise TypeError(
            f"{type(source).__name__} cannot refit its model: use retrain_check(m, retrain), where "
            "retrain(removed, wanted) fits it without the rows `removed` and returns the outputs of the rows `wanted`"
        )
    return found


def refit_settings(m: MemoryMap) -> dict[str, str]:
    """Settings besides the data on which refits depend, for the journal: model, likelihood and prior."""
    d = m.provenance.description
    return {"recipe": "refit", "model": d.model, "likelihood": d.likelihood, "prior": d.prior}


def _check_parallel(source: Refit, jobs: int, executor: ExecutorArgument) -> None:
    """Raise `ValueError` for threads and an executor at once, or threads where a refit uses all cores."""
    if jobs > 1 and executor is not None:
        raise ValueError(f"jobs = {jobs} threads and an executor: pass one of them, executor={jobs} for processes")
    check_threads(source, executor, jobs > 1)


@contextlib.contextmanager
def _workers(jobs: int, executor: ExecutorArgument) -> Iterator[Workers | None]:
    """The workers of an executor, or `jobs` threads."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(opened(executor if jobs == 1 else stack.enter_context(ThreadPoolExecutor(jobs))))


def _run(
    settings: RefitSettings, rows: Array, journal: Journal, workers: Workers | None, progress: bool | None
) -> None:
    """Run all refits that are missing in the journal; first the one with nothing removed."""
    tasks = [(-1, rows[:0], rows), *((int(row), rows[k : k + 1], rows[k : k + 1]) for k, row in enumerate(rows))]
    missing = [task for task in tasks if not journal.has_result(task[0], task[2])]
    hidden = None if progress is None else not progress
    with ProgressBar(total=len(missing), desc="refitting", unit="model", delay=1.0, disable=hidden) as bar:
        first = 1 if workers is not None and workers.in_this_process else 0  # what threads share is computed once
        for part, where in ((missing[:first], None), (missing[first:], workers)):
            for (row, _, wanted), found in map_as_completed(where, refit_without, settings, part, "the model"):
                journal.add(row, wanted, *found)
                bar.update()
