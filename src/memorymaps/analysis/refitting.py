"""`refit`: deviations of the most sensitive examples measured by refits without them, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps.analysis.journal import Journal
from memorymaps.analysis.refinement import as_number_of_examples, replace_deviations, require_origin, top_positions
from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.core.settings import as_count, check_positive_number
from memorymaps.files.progress import ProgressBar
from memorymaps.maps.loo_averages import weights_of
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.posteriors.approximation import SPLITS_CAUTION, Approximation
from memorymaps.posteriors.capabilities import Refit, Undetermined, capabilities_of
from memorymaps.posteriors.contract import Posterior
from memorymaps.posteriors.cross_fitting import cross_fitted_outputs

_FOLDS = 5  # of examples that are alone in their leaves
_ENSEMBLE = 100  # trees from which sizes by folds were within 0.18 of refits without one example (docs/trees.md)


def refit(
    m: MemoryMap, top: int = 20, *, by: str = "sensitivity", steps: int = 200, tolerance: float = 0.05,
    jobs: int = 1, path: str | Path | None = None, progress: bool | None = None,
) -> MemoryMap:  # fmt: skip
    """A map whose `top` examples have deviations from refits without each; others unchanged.

    `Δf_i = f_i(θ^{\\i}) − f_i(θ°)`, `θ^{\\i} = argmin L(θ) − w_iℓ_i(θ)`, and `θ°` the minimum with all examples, to
    which a model is trained first if its training stopped early. Preprocessing is held fixed, hyperparameters too.

    - linear models and GLMs: damped Newton steps from the fit, until a step is at most 1e-6 of the first
    - Gaussian processes and kernel ridge: closed form; of classes, Newton's method
    - support vector machines, L1 penalties, tree ensembles: the estimator is cloned and fitted, its splits are free
    - networks: L-BFGS with the posterior covariance as initial inverse Hessian, one pass over the data a step, until
      the example's prediction has changed in the second half of the steps by at most `tolerance` of its total change
      (deviations are then a few percent too small)

    The column `refitted` marks these rows; one that has not converged after `steps` has the warning `NOT_CONVERGED`.
    Leverage is unchanged.

    Parameters
    ----------
    top : how many examples, those with the largest `by`; for chosen ones `refit(m.select(ids), top=len(ids))`.
    jobs : refits at a time, in threads; for networks 1, as each of their passes uses all cores.
    path : file that each result is appended to as soon as it is there; a second call goes on where it was stopped.

    Raises
    ------
    ValueError
        The map was read from disk; `top`, `steps`, `tolerance` or `jobs` is not positive; `jobs` > 1 for a network;
        `path` is no journal or that of another map, model or recipe (`JournalError`).
    InUseError
        Another process computes the results of `path`.
    TypeError
        The posterior cannot refit its model, or an argument is of another kind.

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
    if jobs > 1 and not source.concurrent:
        raise ValueError(f"jobs = {jobs}: each refit of this model uses all cores: leave jobs out")
    f = origin.batch_statistics(origin.examples.take(where)).f
    settings = {"memorymaps": "refit", "steps": steps, "tolerance": tolerance, **refit_settings(m)}
    with Journal.resume(path, m, dict(zip(where.tolist(), f, strict=True)), settings) as journal:
        _run(source, where, journal, (steps, tolerance, jobs), progress)
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
        f"{len(rows):,} examples (largest {by}) refitted without each, column 'refitted'; training to the minimum "
        f"first changed their predictions by up to {drift:.2g}"
    )
    return replace_deviations(m, rows, deviation, warning, "refitted", note)


def refit_undetermined(m: MemoryMap, source: Refit, undetermined: Undetermined) -> MemoryMap:
    """The map with examples of whose predictions too little is left without them refitted.

    Each alone, where that many refits are affordable unasked, the other examples too if they are. Else, if one is, all
    examples of the map are predicted by refits without a fifth of the data, with the code `Warn.CROSS_FITTED` where
    the model averages so few trees that these were measured to differ (docs/trees.md).
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
    note = (
        f"{np.count_nonzero(known):,} examples were refitted without each, column 'refitted': some were alone in leaves"
    )
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
    note = f"{np.count_nonzero(known):,} examples were predicted by {_FOLDS} refits without a fold of them"
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


def _run(source: Refit, rows: Array, journal: Journal, settings: tuple[int, float, int], progress: bool | None) -> None:
    """Run all refits that are missing in the journal; first the one with nothing removed."""
    steps, tolerance, jobs = settings
    tasks = [(-1, rows[:0], rows), *((int(row), rows[k : k + 1], rows[k : k + 1]) for k, row in enumerate(rows))]
    missing = [task for task in tasks if not journal.has_result(task[0], task[2])]
    hidden = None if progress is None else not progress
    with ProgressBar(total=len(missing), desc="refitting", unit="model", delay=1.0, disable=hidden) as bar:
        for task in [task for task in missing if task[0] < 0]:
            journal.add(task[0], task[2], *source.refit(task[1], task[2], steps, tolerance))
            bar.update()
        others = [task for task in missing if task[0] >= 0]
        for (row, _, wanted), found in _each(
            lambda task: source.refit(task[1], task[2], steps, tolerance), others, jobs
        ):
            journal.add(row, wanted, *found)
            bar.update()


def _each(work: Callable[[Any], Any], tasks: list[Any], jobs: int) -> Iterator[tuple[Any, Any]]:
    """Tasks with their results, as they are done."""
    if jobs == 1:
        for task in tasks:
            yield task, work(task)
        return
    with ThreadPoolExecutor(jobs) as pool:
        pending = {pool.submit(work, task): task for task in tasks}
        try:
            for done in as_completed(pending):
                yield pending[done], done.result()
        finally:
            for rest in pending:
                rest.cancel()
