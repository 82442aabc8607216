"""`memory_map`: from a model and its training data to a memory map, in streamed passes with bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.analysis.long_steps import refit_unasked
from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.estimators import Estimator, estimator_named, perturb
from memorymaps.data.coercion import as_array, check_unique, checked_ids
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.fingerprint import digest_of
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.library_errors import explained_errors
from memorymaps.data.loading import Loading
from memorymaps.data.repeated import Fingerprint, RepeatedExamples
from memorymaps.data.views import Subset, WithColumns
from memorymaps.files.batch_journal import BatchJournal, BatchJournalError
from memorymaps.files.executors.workers import ExecutorArgument, opened
from memorymaps.maps.columns import columns_of, to_record_batch
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.on_disk.disk_table import DiskTable
from memorymaps.maps.on_disk.folders import check_replaceable, is_folder, opened_table, publish
from memorymaps.maps.provenance import Provenance, versions
from memorymaps.maps.store import note_of, save_part
from memorymaps.posteriors import registry as posteriors
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.gate import Gate, undefined_warnings
from memorymaps.posteriors.model_state import ModelState
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.polish import polished
from memorymaps.posteriors.processes.ranks import Ranks, ranks_for
from memorymaps.posteriors.registry import examples_for, on_device, training_data

_OUTPUTS = b"outputs"


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
    call this with the same network and data, share the work, and return the same map (docs/more_than_one_process.md).

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
    requested = _parse_estimator(estimator, change)
    model = _with_recipe(model, likelihood, posterior)
    model = model if device is None else on_device(model, device)
    with ranks_for(model) as ranks, opened(executor) as workers:
        given = _as_examples(model, data, target, (ids, sample_weight, offset), Loading(collate, batch_size))
        examples = _repeated(ranks.share(_training_examples(model, given, ids)), ranks, progress)
        with examples.shared_by(workers):
            gate = _checked_posterior(model, examples, polish)
            used = requested or Estimator(gate.posterior.description.estimator)
            origin = Origin(gate.posterior, examples, ModelState.of(model))
            where = None if rows is None else _positions(rows, len(examples))
            m, journal = _drawn(ranks, origin, gate, used, where, path, progress)
        m = m if requested else refit_unasked(m, ranks.progress(progress))
        if path is not None and journal is not None:
            m = _saved(m, journal, path) if ranks.size == 1 else _part_saved(m, path, ranks)
        m = dataclasses.replace(m, origin=ranks.independent(m.origin or origin))
    if journal is not None:
        journal.delete()
    return m


def _saved(m: MemoryMap, journal: BatchJournal, path: str | Path) -> MemoryMap:
    """The map, which is on disk now; in a folder the finished batches have become its files."""
    if not isinstance(m.table, DiskTable):
        m.save(path)
        return m
    if m.table.changed:
        m.save(path)
    else:
        publish(journal, note_of(m.provenance) | {"rows": len(m)}, Path(path))
    return dataclasses.replace(m, table=opened_table(Path(path)))


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
    work = _drawing(origin, gate, estimator, positions, journal)
    with journal or contextlib.nullcontext(), drawn.shared_by(examples.workers):
        if journal is not None and path is not None and ranks.size == 1 and is_folder(path):
            check_replaceable(Path(path))
            table, outputs = _table_on_disk(drawn, work, journal)
        else:
            table, outputs = _table(ranks, list(_all_records(drawn, work, journal)), journal)
    gate.check_curvature(ranks.all_of(examples), np.asarray(table.column("leverage")))
    check_unique(np.asarray(table.column("id")))
    provenance = _provenance(origin, ranks.fingerprint(drawn), estimator, outputs)
    return MemoryMap(table, ranks.agreed(provenance), origin), journal


def _part_saved(m: MemoryMap, path: str | Path, ranks: Ranks) -> MemoryMap:
    """The map, of which the first process has written the file, or each its part of the rows, in a folder."""
    if is_folder(path):
        rows = ranks.part(len(m))
        own = m.table.slice(rows.start, rows.stop - rows.start)
        save_part(own, m.provenance, path, ranks.rank, ranks.size)
    elif ranks.is_first:
        m.save(path)
    return m


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


def _parse_estimator(estimator: str | None, change: str | None) -> Estimator | None:
    if estimator is None:
        if change is not None:
            raise ValueError(
                f"change = {change!r} without an estimator: pass both, estimator='cavity', change={change!r}"
            )
        return None
    return estimator_named(estimator, change)


def _positions(rows: Any, n: int) -> Array:
    """Sorted unique positions.

    Raises
    ------
    DataError
        No position, or one outside `0 … n − 1`.
    """
    found = np.unique(as_array(rows))
    if found.size == 0 or found.dtype.kind not in "iu" or found[0] < 0 or found[-1] >= n:
        raise DataError(f"rows = {rows!r}: expected positions from 0 to {n - 1}, at least one")
    return found


def _with_recipe(model: Any, likelihood: Any, recipe: Any) -> Any:
    if recipe is None and likelihood is None:
        return model
    if recipe is None:
        raise ValueError(
            f"likelihood = {likelihood!r} without posterior=…: a network needs both, posterior=Laplace(prior="
            "prior_from(optimizer, n)); any other model has its own likelihood: leave out likelihood="
        )
    if isinstance(recipe, type) or not callable(recipe):
        raise TypeError(
            f"posterior = {recipe!r}: expected a recipe, such as "
            f"posterior=Laplace({recipe if isinstance(recipe, str) else 'auto'!r}, prior=prior_from(optimizer, n))"
        )
    return recipe(model, likelihood)


def _as_examples(
    model: Any, data: Any, target: Any, columns: tuple[Any, Any, Any], loading: Loading
) -> Examples | None:
    has_columns = any(value is not None for value in (target, *columns))
    if loading.given and (data is None or target is not None or isinstance(data, Examples)):
        raise ValueError(
            f"{' and '.join(loading.options)}: for a network's data set, whose examples contain their targets; arrays "
            "are divided into batches as memory allows: leave it out"
        )
    if data is None:
        if any(value is not None for value in (target, *columns[1:])):
            raise ValueError("targets, weights or an offset without inputs: call memory_map(model, X, y, …)")
        return None
    if isinstance(data, Examples):
        if has_columns:
            raise ValueError(f"{type(data).__name__} has its own targets, ids, weights and offset: pass no others")
        return data
    if target is not None:
        return ArrayExamples.of(data, target, *columns)
    found: Examples = examples_for(model, data, loading)
    return WithColumns.of(found, *columns) if has_columns else found


def _training_examples(model: Any, given: Examples | None, ids: Any) -> Examples:
    """The examples as the model was trained on them; those contained in a model with the `ids` that were given."""
    with explained_errors(model):
        found: Examples = training_data(model, given)
    if given is None and ids is not None:
        return WithColumns(found, checked_ids(ids, None, len(found)))
    return found


def _with_extra_columns(columns: dict[str, Array], source: Any, batch: Batch, stats: Any) -> dict[str, Array]:
    """The map's columns plus the posterior's `extra_columns`; warnings are combined."""
    add = capabilities_of(source).extra_columns
    if add is None:
        return columns
    extra = dict(add(batch, stats))
    warning = np.asarray(extra.pop("warning", 0), dtype=np.int16)
    return {**columns, "warning": columns["warning"] | warning, **extra}


def _drawing(origin: Origin, gate: Gate, estimator: Estimator, rows: Array, journal: BatchJournal | None) -> _Drawing:
    """What every batch of a map needs; `rows` are the positions of the drawn examples."""
    finished = None if journal is None else journal.finished()
    first = int(rows[0]) if len(rows) else 0
    consecutive = len(rows) > 0 and int(rows[-1]) - first == len(rows) - 1
    return _Drawing(origin, gate, estimator, first if consecutive else rows, finished)


def _all_records(drawn: RepeatedExamples, work: _Drawing, journal: BatchJournal | None) -> Iterator[pa.RecordBatch]:
    """The rows of every batch."""
    for part, digest, record in drawn.flat_map(_records, work):
        yield record if journal is None else _kept(journal, part, digest, record)


def _table_on_disk(drawn: RepeatedExamples, work: _Drawing, journal: BatchJournal) -> tuple[DiskTable, int]:
    """The table whose parts are the batches on disk, none of which is held in memory, and the number of outputs."""
    outputs, drawn_parts = 0, set()
    for part, digest, record in drawn.flat_map(_records, work):
        outputs = int(_kept(journal, part, digest, record).schema.metadata[_OUTPUTS])
        drawn_parts.add((part.start, part.stop))
    journal.keep_only(drawn_parts)  # an earlier run may have cut the rows into other batches
    try:
        return opened_table(journal.folder), outputs
    except ValueError as error:
        raise _other_columns(journal) from error


def _other_columns(journal: BatchJournal) -> BatchJournalError:
    return BatchJournalError(f"{journal.folder} has batches with other columns: delete it, and run again")


def _kept(journal: BatchJournal, part: slice, digest: str, record: pa.RecordBatch | None) -> pa.RecordBatch:
    """A record that was made now, on disk; or that of an earlier run, where there is none."""
    if record is not None:
        journal.add(part, digest, record)
        return record
    found = journal.read(part, digest)
    if found is None:
        raise BatchJournalError(f"{journal.folder} has lost rows {part.start} to {part.stop}: run again")
    return found


@dataclass(frozen=True)
class _Drawing:
    """What every batch of a map needs; `finished` batches (first and last row) are not made again.

    `rows` are the positions of the drawn examples in the training data, or the first of consecutive ones.
    """

    origin: Origin
    gate: Gate
    estimator: Estimator
    rows: Array | int
    finished: frozenset[tuple[int, int]] | None

    def positions(self, part: slice) -> Array:
        """Of some of the drawn examples."""
        return self.rows + np.arange(part.start, part.stop) if isinstance(self.rows, int) else self.rows[part]


def _records(work: _Drawing, batch: Batch, at: slice) -> Iterator[tuple[slice, str, pa.RecordBatch | None]]:
    """The parts of a batch, each with a digest and its rows of the map, `None` where they are finished."""
    start = at.start
    for chunk in work.origin.chunks(batch):
        part = slice(start, start + len(chunk))
        digest = "" if work.finished is None else _digest(chunk)
        if work.finished is not None and (part.start, part.stop) in work.finished:
            yield part, digest, None
        else:
            yield part, digest, _record(work.origin, work.gate, chunk, work.positions(part), work.estimator)
        start = part.stop


def _table(ranks: Ranks, own: list[pa.RecordBatch], journal: BatchJournal | None) -> tuple[pa.Table, int]:
    """The table with one row per example, those of all processes, and the number of outputs."""
    records = ranks.gathered(own)
    if not records:
        raise DataError("the data has no rows")
    try:
        table = pa.Table.from_batches(records).combine_chunks()
    except pa.ArrowInvalid as error:
        if journal is None:
            raise
        raise _other_columns(journal) from error
    return table.replace_schema_metadata(None), int(records[0].schema.metadata[_OUTPUTS])


def _record(origin: Origin, gate: Gate, batch: Batch, rows: Array, estimator: Estimator) -> pa.RecordBatch:
    """The rows of one batch, with the number of outputs as a note."""
    stats = origin.batch_statistics(batch)
    effect = perturb(stats, estimator)
    gate.check_batch(batch, rows, stats, effect)
    columns = columns_of(stats, effect, origin.posterior.description)
    columns["warning"] = columns["warning"] | undefined_warnings(effect, columns["loo_loss"]).astype(np.int16)
    named = {"id": batch.ids, "row": rows}
    record = to_record_batch(named | _with_extra_columns(columns, origin.posterior, batch, stats))
    return record.replace_schema_metadata({_OUTPUTS: str(stats.f.shape[1]).encode()})


def _digest(batch: Batch) -> str:
    """Of everything in a batch."""
    parts = {"inputs": batch.inputs, "target": batch.target, "ids": batch.ids}
    optional = {"weight": batch.weight, "offset": batch.offset}
    return digest_of(parts | {name: values for name, values in optional.items() if values is not None})
