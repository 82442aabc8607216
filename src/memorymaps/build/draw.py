"""`memory_map`: from a model and its training data to a memory map, in streamed passes with bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps.analysis.long_steps import refit_unasked
from memorymaps.build.arguments import (
    as_examples,
    check_resumable,
    requested_estimator,
    sorted_positions,
    training_examples,
    with_recipe,
)
from memorymaps.build.batches import BatchDrawing
from memorymaps.build.tables import all_records, part_saved, saved, table_in_memory, table_on_disk
from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.estimators import Estimator
from memorymaps.data.coercion import check_unique
from memorymaps.data.examples import Examples
from memorymaps.data.fingerprint import digest_of
from memorymaps.data.library_errors import explained_errors
from memorymaps.data.loading import Loading
from memorymaps.data.repeated import Fingerprint, RepeatedExamples
from memorymaps.data.views import Subset
from memorymaps.files.batch_journal import BatchJournal
from memorymaps.files.executors.workers import ExecutorArgument, opened
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.on_disk.folders import check_replaceable, is_folder
from memorymaps.maps.provenance import Provenance, versions
from memorymaps.posteriors import registry as posteriors
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.gate import Gate
from memorymaps.posteriors.model_state import ModelState
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.polish import polished
from memorymaps.posteriors.processes.ranks import Ranks, ranks_for
from memorymaps.posteriors.registry import on_device


def memory_map(
    model: Any,
    data: Any = None,
    target: Any = None,
    *,
    ids: Any = None,
    sample_weight: Any = None,
    offset: Any = None,
    likelihood: Any = None,
    posterior: Any = None,
    estimator: str | None = None,
    change: str | None = None,
    rows: Any = None,
    polish: bool = False,
    collate: Callable[[list[Any]], Any] | None = None,
    batch_size: int | None = None,
    device: Any = None,
    executor: ExecutorArgument = None,
    progress: bool | None = None,
    path: str | Path | None = None,
) -> MemoryMap:
    """Draw the memory map of a fitted model over its training data.

    For every example: leverage `h = tr(ΛV)`, prediction error, and the effect of leaving it out: the deviation
    `Δf = V(I − ΛV)⁻¹e`, the changes of prediction and loss. Inside a process group of `torch.distributed` all processes
    call this with the same network and data, share the work, and return the same map
    (docs/use/more_than_one_process.md).

    Parameters
    ----------
    model : a fitted scikit-learn estimator or pipeline, a statsmodels result, or any model registered with
        `memorymaps.posterior.register`.
    data : inputs `[n, p]` as the model was fitted on (array, data frame, sparse; for networks also a mapping or tuple
        of arrays), or `ParquetExamples`, or any `Examples`; for networks a dataset, a loader or batches, which contain
        the targets; nothing for statsmodels results, which contain their data.
    target : `[n]` or `[n, c]`, as passed to `fit`.
    ids : `[n]` unique identifiers of the examples; default: a data frame's index, else row numbers. Without `data`, for
        models that contain their training data.
    sample_weight : `[n]`, as passed to `fit`.
    offset : `[n]`, added to the model's output.
    likelihood : for models without a likelihood of their own: `"categorical"`, `"gaussian"`, … or a `Likelihood`.
    posterior : recipe for a posterior, for models without one of their own: `Laplace(...)` for networks.
    estimator : how deviations are estimated: `"diagonal"`, `"first_order"`, `"cavity"`, `"bounded_cavity"`,
        `"implicit"`; default: the posterior's recommendation, plus `refit` of the most sensitive examples if deviations
        may be inaccurate and the model is small (networks with `Laplace("auto")`). The papers' codes (`"R-sm"`) are
        accepted.
    change : how the change of the mean is computed from the deviation: `"exact"` (default) or `"linearised"`.
    rows : positions of the examples in the map; the posterior is that of all examples. Default: all.
    polish : for solvers that stopped early: make the remaining Newton steps on a copy, and map that (linear models).
    collate, batch_size : for a network's data set, how examples are put together in batches that are read, as in
        `DataLoader(collate_fn=…, batch_size=…)`.
    device : for networks, where the map is computed: a copy of the network is made there (`"cuda"`, `"mps"`, `"cpu"`).
        Default: where the network is.
    executor : number of processes, or any `concurrent.futures.Executor` (Dask's `client.get_executor()`, …), by which
        the passes over the data are shared. Of `ParquetExamples` workers are sent paths, of arrays batches.
    progress : show a progress bar; default: on a terminal, after one second.
    path : file for the finished map. Until then every finished batch is kept beside it: after an interruption or a
        kill, the same call goes on from there, and its map is the same. With a slash at its end (`"map/"`), a folder
        of files, of several processes one each: for maps larger than memory, of which columns and rows are read when
        they are used.

    Raises
    ------
    BatchJournalError
        Batches of another model, data or recipe are kept beside `path`.
    UnsupportedModelError
        No adapter for this class of models.
    ValueError
        Values that are out of range; `path` with a budget that is timed, `"30 epochs"`.
    DataError, TargetError
        Invalid data; the message has what was given and what is expected.
    NotPicklableError, WorkerLostError
        With an executor: the model cannot be sent to other processes; a worker was killed. Finished batches are kept.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    >>> m = memory_map(model, X, y)
    >>> m.top(3)["id"].tolist()
    [213, 68, 190]
    """
    requested = requested_estimator(estimator, change)
    check_resumable(posterior, path)
    model = with_recipe(model, likelihood, posterior)
    model = model if device is None else on_device(model, device)
    with ranks_for(model) as ranks, opened(executor) as workers:
        given = as_examples(model, data, target, (ids, sample_weight, offset), Loading(collate, batch_size))
        examples = _repeated(ranks.share(training_examples(model, given, ids)), ranks, progress)
        with examples.shared_by(workers):
            gate = _checked_posterior(model, examples, polish)
            used = requested or Estimator(gate.posterior.description.estimator)
            origin = Origin(gate.posterior, examples, ModelState.of(model))
            where = None if rows is None else sorted_positions(rows, len(examples))
            m, journal = _drawn(ranks, origin, gate, used, where, path, progress)
        m = m if requested else refit_unasked(m, ranks.progress(progress))
        if path is not None and journal is not None:
            m = saved(m, journal, path) if ranks.size == 1 else part_saved(m, path, ranks)
        m = dataclasses.replace(m, origin=ranks.independent(m.origin or origin))
    if journal is not None:
        journal.delete()
    return m


def _drawn(
    ranks: Ranks, origin: Origin, gate: Gate, estimator: Estimator, rows: Array | None, path: Any, progress: bool | None
) -> tuple[MemoryMap, BatchJournal | None]:
    """The map of the examples at the positions `rows` (`None`: all), and the journal that its batches were kept in."""
    examples = origin.examples
    assert isinstance(examples, RepeatedExamples)  # `memory_map` has made it
    positions = ranks.own(np.arange(len(examples)) if rows is None else rows)
    drawn = examples if rows is None else _repeated(Subset(examples, positions), ranks, progress)
    drawn.plan = examples.plan
    if drawn.plan is not None:
        drawn.plan.begin_last()
    journal = _journal(path, ranks, _header(origin, estimator, positions))
    work = BatchDrawing.of(origin, gate, estimator, positions, journal)
    with journal or contextlib.nullcontext(), drawn.shared_by(examples.workers):
        if journal is not None and path is not None and ranks.size == 1 and is_folder(path):
            check_replaceable(Path(path))
            table, outputs = table_on_disk(drawn, work, journal)
        else:
            table, outputs = table_in_memory(ranks, list(all_records(drawn, work, journal)), journal)
    gate.check_curvature(ranks.all_of(examples), np.asarray(table.column("leverage")))
    check_unique(np.asarray(table.column("id")))
    provenance = _provenance(origin, ranks.fingerprint(drawn), estimator, outputs)
    return MemoryMap(table, ranks.agreed(provenance), origin), journal


def _journal(path: str | Path | None, ranks: Ranks, header: dict[str, Any]) -> BatchJournal | None:
    """This process' finished batches beside the path."""
    return None if path is None else BatchJournal.resume(ranks.journal_path(Path(path)), header)


def _repeated(examples: Examples, ranks: Ranks, progress: bool | None) -> RepeatedExamples:
    """The examples, checked in every pass; what their fingerprint takes is kept if other processes read a part."""
    return RepeatedExamples(examples, ranks.progress(progress), content=None if ranks.size == 1 else [])


def _provenance(origin: Origin, fingerprint: Fingerprint, estimator: Estimator, outputs: int) -> Provenance:
    """Where the numbers of a map come from."""
    source, state = origin.posterior, origin.model
    assert state is not None  # `memory_map` has it
    return Provenance(
        description=source.description,
        estimator=estimator,
        n=len(origin.examples),
        outputs=outputs,
        fingerprint=fingerprint.columns,
        versions=versions(state.model),
        weights_are_precisions=source.likelihood.weights_are_precisions,
        loss_is_density=source.likelihood.is_density,
        inputs=fingerprint.inputs,
        model_state=state.parameters,
    )


def _header(origin: Origin, estimator: Estimator, rows: Array) -> dict[str, Any]:
    """What the batches of a map follow from: the data, the model and its posterior, the estimator."""
    d, examples, own = origin.posterior.description, origin.examples, capabilities_of(origin.posterior).fingerprint
    return {
        "model": [d.model, "" if origin.model is None else origin.model.parameters, "" if own is None else own()],
        "posterior": [d.posterior, d.likelihood, d.prior, d.algorithm, *d.notes],
        "estimator": [estimator.name, estimator.change],
        "data": [len(examples), digest_of(np.asarray(rows))],
        "memorymaps": metadata.version("memorymaps"),
    }


def _checked_posterior(model: Any, examples: Examples, polish: bool) -> Gate:
    """The gate with the model's posterior, or with that at the optimum of its objective where `polish`."""
    with explained_errors(model):
        gate = Gate(model, posteriors.posterior(model, examples))
    gate.check_posterior()
    if not polish:
        return gate
    gate.check_outputs(examples)
    at_optimum = Gate(None, polished(gate.posterior, examples))
    at_optimum.check_posterior()
    return at_optimum
