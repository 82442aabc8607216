"""Cross-fitting: every example predicted by a model that was fitted without its fold."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.settings import as_count
from memorymaps.data.fingerprint import digest_of, digest_of_batch
from memorymaps.files.batch_journal import BatchJournal
from memorymaps.files.executors.ordered_map import map_as_completed
from memorymaps.files.executors.workers import ExecutorArgument, Workers, opened
from memorymaps.posteriors.capabilities import Refit, capabilities_of
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.refit_tasks import check_threads, refit_without

_STEPS, _TOLERANCE = 500, 1e-3


def fold_of(target: Array, folds: int, classes: bool, seed: int = 0) -> Array:
    """The fold of each example `[n]`: equal sizes, drawn at random; with `classes`, equal shares of every class.

    Examples
    --------
    >>> fold_of(np.array([0, 1, 0, 1]), 2, classes=True).tolist()
    [1, 0, 0, 1]
    """
    order = np.random.default_rng(seed).permutation(len(target))
    if classes:
        order = order[np.argsort(np.asarray(target)[order], kind="stable")]
    found = np.empty(len(target), dtype=np.intp)
    found[order] = np.arange(len(target)) % folds
    return found


def cross_fitted_outputs(
    origin: Origin, folds: int, classes: bool, executor: ExecutorArgument = None, path: str | Path | None = None
) -> Array:
    """Outputs `f [n, c]` of all training examples, each from the refit without its fold; folds in parallel, if asked.

    `path`: a folder that keeps each fold when it is finished; the same call goes on from there.

    Raises
    ------
    TypeError
        The posterior cannot refit its model.
    ValueError
        `folds` is below 2 or above the number of examples; a class of fewer than two examples.
    BatchJournalError
        The folder has folds of another model, of other data or settings.
    """
    source, n = capabilities_of(origin.posterior).refit, len(origin.examples)
    if source is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} cannot refit its model: leave cross_fit out, or cross-validate the "
            "model itself"
        )
    if as_count("number of folds", folds, least=2) > n:
        raise ValueError(f"number of folds = {folds}: expected one from 2 to {n}, the number of examples")
    whole = origin.examples.take(np.arange(n))
    target = np.asarray(whole.target)
    fold = fold_of(target, folds, classes and target.ndim == 1)
    check_threads(source, executor)
    rows = [np.flatnonzero(fold == k) for k in range(folds)]
    journal = None if path is None else BatchJournal.kept_in(path, _header(origin, whole, folds, classes))
    with journal or contextlib.nullcontext(), opened(executor) as workers:
        found = _refits(source, rows, workers, journal)
    f = np.full((n, found[0].shape[1]), np.nan)
    for k, part in enumerate(rows):
        f[part] = found[k]
    return f


def _refits(
    source: Refit, rows: Sequence[Array], workers: Workers | None, journal: BatchJournal | None
) -> dict[int, Array]:
    """Outputs `[n_k, c]` of each fold by its number: those of an earlier run, and new ones, which are kept."""
    found = {} if journal is None else _finished(journal, rows)
    tasks = [(k, part, part) for k, part in enumerate(rows) if k not in found]
    settings = (source, _STEPS, _TOLERANCE)
    for (k, part, _), (f, _) in map_as_completed(workers, refit_without, settings, tasks, "the model"):
        found[k] = np.asarray(f)
        if journal is not None:
            columns = {f"output_{j}": column for j, column in enumerate(found[k].T)}
            journal.add(slice(k, k + 1), digest_of(part), pa.record_batch({"row": part, **columns}))
    return found


def _finished(journal: BatchJournal, rows: Sequence[Array]) -> dict[int, Array]:
    records = {k: journal.read(slice(k, k + 1), digest_of(part)) for k, part in enumerate(rows)}
    return {k: np.column_stack(batch.columns[1:]) for k, batch in records.items() if batch is not None}


def _header(origin: Origin, whole: Batch, folds: int, classes: bool) -> dict[str, Any]:
    """What the folds follow from: the model and its posterior, the data, the number of folds."""
    d, own = origin.posterior.description, capabilities_of(origin.posterior).fingerprint
    return {
        "model": [d.model, "" if origin.model is None else origin.model.parameters, "" if own is None else own()],
        "posterior": [d.posterior, d.likelihood, d.prior, d.algorithm, *d.notes],
        "data": [len(whole), digest_of_batch(whole)],
        "folds": [folds, classes],
        "memorymaps": metadata.version("memorymaps"),
    }


def check_folds(folds: int | None, path: str | Path | None, instead: str) -> None:
    """Raise `ValueError` for a path without folds; `instead` is the call with both."""
    if folds is None and path is not None:
        raise ValueError(
            f"path = {str(path)!r} keeps the refits of cross-fitting, and there are none: pass both, {instead}"
        )
