"""`retrain_check`: agreement of a map with retraining without some of its examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr

from memorymaps.analysis.journal import Journal
from memorymaps.analysis.recipe_fingerprint import fingerprint_of_function
from memorymaps.analysis.refinement import averaged_over_refits, require_origin
from memorymaps.analysis.refitting import refit_settings, require_refit
from memorymaps.analysis.retraining_verdict import with_verdict
from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.settings import as_count
from memorymaps.core.wording import counted
from memorymaps.files.executors.ordered_map import map_as_completed
from memorymaps.files.executors.workers import ExecutorArgument, Workers, opened
from memorymaps.files.progress import ProgressBar
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.result_table import SummarisedTable
from memorymaps.posteriors.capabilities import Refit, capabilities_of
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.refit_tasks import RefitTask, check_threads

Retrain = Callable[[Array, Array], Array]
_RUN_KIND = {"memorymaps": "retrain_check"}


class RetrainingError(RuntimeError):
    """The user's `retrain` raised an error or returned invalid outputs."""


@dataclass(frozen=True, repr=False)
class RetrainCheck(SummarisedTable):
    """Estimated and true changes of each chosen example's prediction when it is left out.

    Columns: `id`, `row`; `estimate`, `truth` (sensitivities `Σ_c |Δμ_c|`); `loss`, `loo_loss`, `true_loo_loss`.
    `drift` is the largest change `Σ_c |Δμ_c|` of these predictions by retraining with nothing left out: smaller
    changes cannot be compared. `map` is the map that was checked, with the result in its `trust`.
    """

    drift: float
    map: MemoryMap | None = None

    def _finite_pairs(self) -> tuple[Array, Array]:
        finite = np.isfinite(self["estimate"])
        return self["estimate"][finite], self["truth"][finite]

    @property
    def slope(self) -> float:
        """Slope of the regression of estimate on truth through the origin; 1 if sizes agree."""
        s, t = self._finite_pairs()
        return float(s @ t / (t @ t)) if np.any(t) else float("nan")

    @property
    def relative_error(self) -> float:
        """`‖estimate − truth‖/‖truth‖`."""
        s, t = self._finite_pairs()
        return float(np.linalg.norm(s - t) / np.linalg.norm(t)) if np.any(t) else float("nan")

    @property
    def spearman(self) -> float:
        """Rank correlation of estimate and truth."""
        return float(spearmanr(*self._finite_pairs()).statistic)

    def _text(self) -> str:
        undefined = len(self) - len(self._finite_pairs()[0])
        return (
            f"{counted(len(self), 'example')} retrained without: slope {self.slope:.2f}, "
            f"relative error {self.relative_error:.3f}, rank correlation {self.spearman:.3f}; "
            f"{undefined} without an estimate; drift of retraining {self.drift:.2g}"
        )


def retrain_check(
    m: MemoryMap, retrain: Retrain | None = None, *, ids: Any = None, k: int = 50, path: str | Path | None = None,
    executor: ExecutorArgument = None, progress: bool | None = None,
) -> RetrainCheck:  # fmt: skip
    """Retrain without some examples, one at a time, and compare with the map.

    The result's `map` is the same map with the agreement in its `trust`: `m = retrain_check(m, …).map`.

    Parameters
    ----------
    retrain : `retrain(removed, wanted) → f`: train with your own code (best from the trained weights) without the
        rows `removed` and return the outputs (logits, linear predictor) `[len(wanted), c]` of the rows `wanted`.
        Called once with nothing removed, to measure the drift. Default, for networks: the posterior's `refit`,
        which minimises the training loss from the trained weights.
    ids : the examples; default: the `k // 2` most sensitive ones and as many at random from the others.
    path : file to which each result is appended when it is finished; a second call resumes from it.
    executor : number of processes, or any `concurrent.futures.Executor` (Dask's `client.get_executor()`, …), to
        retrain in parallel. The function, with the data that it uses, is sent to each worker once.

    Raises
    ------
    RetrainingError
        `retrain` raised, or returned another shape or numbers that are not finite; finished results remain in `path`.
    TypeError
        No `retrain`, and the posterior cannot refit its model; an argument is of another kind; or `retrain` cannot be
        sent to other processes (`NotPicklableError`).
    ValueError
        The map was read from disk, the executor is one of threads and the model's own refits use all cores, or `path`
        is no journal or that of another map, model or recipe (`JournalError`).
    WorkerLostError
        A worker was killed; finished results are kept in `path`.
    InUseError
        Another process computes the results of `path`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from memorymaps import memory_map
    >>> X, y = load_diabetes(return_X_y=True)
    >>> def retrain(removed, wanted):
    ...     model = Ridge(alpha=0.1).fit(np.delete(X, removed, axis=0), np.delete(y, removed))
    ...     return model.predict(X[wanted])
    >>> retrain_check(memory_map(Ridge(alpha=0.1).fit(X, y), X, y), retrain, k=6).slope
    1.0
    """
    origin = require_origin(m)
    _check_callable(retrain)
    origin.check_unchanged()
    chosen = _choose_examples(m, k) if ids is None else m.select(ids)
    batch = origin.examples.take(chosen["row"])
    settings = {**_RUN_KIND, **(_retrain_settings(retrain) if retrain else refit_settings(m))}
    if retrain is None:
        retrain = _RefitAsRetrain(require_refit(origin.posterior))
        check_threads(retrain.source, executor)
    f = origin.batch_statistics(batch).f
    journal_of = Journal.resume(path, m, dict(zip(chosen["row"].tolist(), f, strict=True)), settings)
    with journal_of as journal, opened(executor) as workers:
        _run(chosen, retrain, journal, workers, progress)
        return _comparison(m, chosen, f, journal)


def _check_callable(retrain: Any) -> None:
    if retrain is not None and not callable(retrain):
        raise TypeError(
            f"retrain is a {type(retrain).__name__}: expected a function retrain(removed, wanted). To choose the "
            "examples: retrain_check(m, retrain, ids=ids)"
        )


def _retrain_settings(retrain: Retrain) -> dict[str, str]:
    """What the results depend on beside the map: a journal of another function is not read."""
    return {"recipe": "retrain", "function": fingerprint_of_function(retrain)}


@dataclass(frozen=True)
class _RefitAsRetrain:
    """The posterior's own refits in place of the user's function."""

    source: Refit

    def __call__(self, removed: Array, wanted: Array) -> Array:
        return self.source.refit(removed, wanted)[0]


def _choose_examples(m: MemoryMap, k: int) -> MemoryMap:
    k = as_count("k", k, 2, ": how many examples. For chosen ones: retrain_check(m, retrain, ids=ids)")
    ranked = m.top(len(m))["id"]
    rest = np.random.default_rng(0).permutation(np.array(ranked[k // 2 :]))
    return m.select(np.concatenate([ranked[: k // 2], rest[: k - k // 2]]).tolist())


def _run(chosen: MemoryMap, retrain: Retrain, journal: Journal, workers: Workers | None, progress: bool | None) -> None:
    """Run all retrainings that are missing in the journal."""
    rows = np.array(chosen["row"])  # a copy: torch needs writable arrays
    none = (-1, np.asarray([], dtype=np.int64), rows)
    tasks = [none, *((int(row), np.asarray([row]), np.asarray([row])) for row in rows)]
    missing = [task for task in tasks if not journal.has_result(task[0], task[2])]
    hidden = None if progress is None else not progress
    with ProgressBar(total=len(missing), desc="retraining", unit="model", delay=1.0, disable=hidden) as shown:
        for task, f in map_as_completed(workers, retrained_without, retrain, missing, "the function retrain"):
            row, _, wanted = task
            journal.add(row, wanted, _check_outputs(row, wanted, f, chosen.provenance.outputs))
            shown.update()


def retrained_without(retrain: Retrain, task: RefitTask) -> Array:
    """What `retrain` returns for one row, as an array where it is one; a worker's task."""
    row, removed, wanted = task
    try:
        return retrain(removed, wanted)
    except Exception as error:
        what = "with nothing removed" if row < 0 else f"without row {row}"
        raise RetrainingError(f"retraining {what} failed: {type(error).__name__}: {error}") from error


def _check_outputs(row: int, wanted: Array, f: Any, c: int) -> Array:
    """Outputs `[len(wanted), c]`."""
    found = np.asarray(f.detach().cpu() if hasattr(f, "detach") else f, dtype=float)
    shaped = found[:, None] if found.ndim == 1 else found
    if shaped.shape != (len(wanted), c) or not np.all(np.isfinite(shaped)):
        raise RetrainingError(
            f"retrain without row {row} returned {found.shape}, finite: {bool(np.all(np.isfinite(found)))}; expected "
            f"the outputs (link scale) of {len(wanted)} example(s), ({len(wanted)}, {c}) finite numbers"
        )
    return shaped


def _likelihoods(origin: Origin, rows: Array) -> tuple[Likelihood, Likelihood]:
    """Those of the rows' predictions with and without each, averaged over variances where a posterior has both."""
    likelihood = origin.posterior.likelihood
    if capabilities_of(origin.posterior).refitted_variance is None:
        return likelihood, likelihood
    stats: Any = origin.batch_statistics(origin.examples.take(rows))
    return stats.likelihood, averaged_over_refits(origin, stats, rows).likelihood


def _comparison(m: MemoryMap, chosen: MemoryMap, f: Array, journal: Journal) -> RetrainCheck:
    assert m.origin is not None
    rows = chosen["row"]
    likelihood, without = _likelihoods(m.origin, rows)
    y, baseline = np.asarray(m.origin.examples.take(rows).target), journal.result(-1, rows)[0]
    weight = np.asarray(chosen["weight"] if "weight" in chosen else np.ones(len(rows)), dtype=float)
    retrained = np.stack([journal.result(int(row), rows[k : k + 1])[0][0] for k, row in enumerate(rows)])
    f_without = f + (retrained - baseline)  # the recipe's own drift cancels
    mean = likelihood.mean
    table = {
        "id": chosen["id"],
        "row": chosen["row"],
        "estimate": chosen["sensitivity"],
        "truth": np.sum(np.abs(without.mean(f_without) - mean(f)), axis=-1),
        "loss": chosen["loss"],
        "loo_loss": chosen["loo_loss"],
        "true_loo_loss": without.example_loss(f_without, y, weight),
    }
    drift = float(np.max(np.sum(np.abs(mean(baseline) - mean(f)), axis=-1)))
    check = RetrainCheck(pa.table(table), drift)
    return dataclasses.replace(check, map=with_verdict(m, check))
