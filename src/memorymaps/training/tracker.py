"""Memory maps recorded while a network is trained: one line in the training loop, one folder per run.

with Tracker(net, optimizer, data, every=100, likelihood="categorical", path="run") as tracker:
    for x, y in loader:
        ...
        optimizer.step()
        tracker.step()
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps.build.draw import memory_map
from memorymaps.core.arrays import Array, Batch
from memorymaps.core.averages import standard_error, weighted_mean
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.loading import Loading
from memorymaps.files.atomic_files import discard, flush_folder, partial_path, replacing
from memorymaps.files.locks import WriterLock
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.provenance import Provenance
from memorymaps.maps.trajectory import LOO_TRUST, MAP, SCALARS, Trajectory, recorded_steps, step_folder
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.processes.ranks import single_process
from memorymaps.posteriors.registry import examples_for
from memorymaps.training.recordable import check_recordable, some_of

_BACKUP = ".aside"  # suffix of a step's folder while the step is recorded again
Schedule = Callable[[int], bool]
Log = Callable[[int, MemoryMap, Mapping[str, float]], None]


def schedule(every: int | str | Collection[int] | Schedule | None) -> Schedule:
    """The function `step → bool` that decides whether a step is recorded.

    `every` is a number of steps (an epoch: `len(loader)`), `"log"` (1, 2, 5, 10, 20, 50, …), a collection of steps, a
    function of the step, or None: recording only by `tracker.record()`.

    Examples
    --------
    >>> [step for step in range(60) if schedule("log")(step)]
    [1, 2, 5, 10, 20, 50]
    """
    if every is None:
        return lambda step: False
    if callable(every):
        return every
    if every == "log":
        return lambda step: step > 0 and step in {int(d * 10 ** (len(str(step)) - 1)) for d in (1, 2, 5)}
    if isinstance(every, int) and every > 0:
        return lambda step: step % every == 0
    if isinstance(every, Collection) and not isinstance(every, str):
        wanted = frozenset(every)
        return lambda step: step in wanted
    raise ValueError(f"every = {every!r}: expected a positive number of steps, 'log', steps, a function or None")


class Tracker:
    """Records memory maps of a network during training, in a folder.

    Parameters
    ----------
    model, optimizer : the network and its optimiser; the posterior is read from the optimiser's state
        (`FromOptimizer`), or computed by `posterior`, a recipe such as `Laplace(...)`.
    data, target : the training data, as for `memory_map`; examples are identified by id, so the loader may shuffle.
    every : see `schedule`.
    likelihood : as for `memory_map`.
    path : folder of the run. Each step is written atomically.
    test : `(X, y)` or a data set whose mean loss is recorded in addition to the leave-one-out loss.
    subset : number of examples to map (drawn once, seed 0), or their rows; default: all. The posterior is always that
        of all the data.
    start : current training step; for a resumed run that of the checkpoint: records of later steps are deleted.
    prior : precision added to the optimiser's own, as for `FromOptimizer`.
    directions : number of leading eigenvectors of each `Λ` (default 1) used for the leverage, with one random signed
        direction for the remainder (deviations, and all columns computed from them, are exact); `0`: all outputs, as
        always for optimisers whose curvature is an average over `q`.
    log : called with step, map and scalars after each record: a logger of `memorymaps.training.callbacks`, or any
        function.
    collate, batch_size : as for `memory_map`; of the test data too.
    device : as for `memory_map`: the network stays where it is trained.

    Raises
    ------
    ValueError
        The folder contains a run already and no `start` was given, or a run of other data.
    InUseError
        Another tracker, of this process or another one, writes to the folder.
    RunFolderError
        The folder contains something that is named like a step and is not one.
    DataError
        The data set has changed between two records.
    """

    def __init__(
        self, model: Any, optimizer: Any, data: Any, target: Any = None, *, likelihood: Any, path: str | Path,
        every: Any = None, posterior: Any = None, test: Any = None, subset: int | Array | None = None, start: int = 0,
        prior: float = 0.0, directions: int | None = None, log: Log | None = None,
        collate: Callable[[list[Any]], Any] | None = None, batch_size: int | None = None,
        device: Any = None,
    ):  # fmt: skip
        self.run, self.steps = Path(path), start
        self._is_due, self._model = schedule(every), model
        loading = Loading(collate, batch_size)
        reader = posterior(model, likelihood) if callable(posterior) else model  # which knows how it is called
        self._examples = _as_examples(reader, data, target, loading)
        self._likelihood, self._device = likelihood, device
        if posterior is not None and (prior or directions is not None):
            raise ValueError(
                "prior= and directions= belong to the optimiser's posterior, but posterior= was given: pass them to the"
                " recipe, for instance FromOptimizer(optimizer, n, prior=…, directions=…)"
            )
        directions = 1 if directions is None else directions
        self._posterior = posterior or _optimizer_posterior(
            optimizer, _number_with_target(self._examples, likelihood), prior, directions
        )
        self._mapped_rows, self._log = _subset_rows(subset, len(self._examples)), log
        inputs, labels = test if isinstance(test, tuple) else (test, None)
        self._test = None if test is None else _as_examples(reader, inputs, labels, loading)
        self._start_time, self._recording_seconds = time.perf_counter(), 0.0
        self.run.mkdir(parents=True, exist_ok=True)
        self._lock = WriterLock(self.run, self.run / ".lock")
        self._lock.acquire()
        try:
            self._earlier = _open_run(self.run, start)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: Any) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Release the folder for other trackers; all records are on disk already."""
        self._lock.release()

    def check(self) -> None:
        """Raise, before training, what `record` would raise of network, data, test data and optimiser at any step.

        Some examples are mapped with `Laplace("diag")`; the optimiser takes some steps on numbers of its own.

        Raises
        ------
        DataError, ValueError, TypeError
            As for `memory_map`; an optimiser whose state will contain no precision.
        """
        m = check_recordable(self._model, self._examples, self._likelihood, self._posterior, self._device)
        if self._test is not None and m.origin is not None:
            for batch in some_of(self._test):
                _test_losses(m.origin, batch)

    def step(self) -> MemoryMap | None:
        """Count one optimiser step and record a map if the schedule says so; returns that map, else None."""
        self.steps += 1
        return self.record() if self._is_due(self.steps) else None

    def record(self) -> MemoryMap:
        """Record and return a map at the current step.

        Raises
        ------
        InUseError
            This tracker was closed, and another one writes to the folder.
        """
        self._lock.acquire()
        start = time.perf_counter()
        with single_process():  # of a distributed training, one process records
            m = memory_map(
                self._model, self._examples, likelihood=self._likelihood, posterior=self._posterior,
                rows=self._mapped_rows, device=self._device, progress=False,
            )  # fmt: skip
        self._check_same(m)
        scalars = self._scalars(m) | {"seconds": time.perf_counter() - start}
        _write_step(self.run, self.steps, m, scalars)
        if self._log is not None:
            self._log(self.steps, m, scalars)
        self._recording_seconds += time.perf_counter() - start
        return m

    def _check_same(self, m: MemoryMap) -> None:
        if self._earlier is not None:
            _check_same_run(self._earlier, m.provenance)
        self._earlier = m.provenance

    def _scalars(self, m: MemoryMap) -> dict[str, float]:
        loo, test = m.leave_one_out(), self._test_losses(m)
        return {
            "loss": loo.loss,
            "loo_loss": loo.loo_loss,
            "test_loss": weighted_mean(test, np.ones(len(test))),
            "effective": float(np.mean(m["leverage"]) * m.provenance.n),
            "loo_loss_se": loo.loo_loss_se,
            "test_loss_se": standard_error(test, np.ones(len(test))),
        }

    def _test_losses(self, m: MemoryMap) -> Array:
        """`[n]` of the test data; empty without."""
        if self._test is None or m.origin is None:
            return np.zeros(0)
        return np.concatenate([_test_losses(m.origin, batch) for batch in self._test])

    @property
    def overhead(self) -> float:
        """Ratio of the time spent recording to all other time since this tracker was created."""
        return self._recording_seconds / max(1e-9, time.perf_counter() - self._start_time - self._recording_seconds)

    def trajectory(self) -> Trajectory:
        """The trajectory of all steps recorded so far."""
        return Trajectory.load(self.run)


def _test_losses(origin: Origin, batch: Batch) -> Array:
    """Losses of test examples `[n]`, in nats; averaged over the posterior if the training loss is."""
    source: Any = origin.posterior
    if isinstance(source.likelihood, ExpectedLikelihood):
        statistics = origin.batch_statistics(batch)
        return statistics.likelihood.nll(statistics.f, statistics.y)
    f = source.outputs(batch.inputs)
    source.likelihood.check_target(batch.target, f.shape[1])
    return source.likelihood.nll(f, batch.target)


def _as_examples(model: Any, data: Any, target: Any, loading: Loading) -> Examples:
    if target is not None:
        return ArrayExamples.of(data, target)
    found: Examples = examples_for(model, data, loading)
    return found


def _number_with_target(examples: Examples, likelihood: Any) -> int:
    """Number of examples that have a target: all, but for losses with `ignore_index`, which are asked."""
    if not isinstance(likelihood, Likelihood) or type(likelihood).without_target is Likelihood.without_target:
        return len(examples)
    without = (likelihood.without_target(batch.target) for batch in examples)
    return len(examples) - sum(int(np.count_nonzero(found)) for found in without if found is not None)


def _optimizer_posterior(optimizer: Any, n: int, prior: float, directions: int) -> Any:
    from memorymaps.nets.optimizers.from_optimizer import FromOptimizer

    return FromOptimizer(optimizer, n, prior=prior, directions=directions)


def _subset_rows(subset: int | Array | None, n: int) -> Array | None:
    """Rows to map; None: all."""
    if isinstance(subset, int):
        return np.random.default_rng(0).permutation(n)[:subset]
    return subset


def _check_same_run(earlier: Provenance, now: Provenance) -> None:
    """Raise `DataError` unless two records are of the same data and of networks of the same kind and size."""
    differ = ["ids, targets or weights differ"] if earlier.fingerprint != now.fingerprint else []
    if earlier.inputs and now.inputs and earlier.inputs != now.inputs:
        differ.append("inputs differ")
    if differ:
        raise DataError(
            f"{' and '.join(differ)} from those of this run's earlier records: expected one data set per "
            "trajectory. Use another path= for the new data"
        )
    if _architecture(earlier) != _architecture(now):
        raise DataError(
            f"the model is another than in this run's earlier records: {earlier.description.model} with "
            f"{earlier.outputs} output(s) there, {now.description.model} with {now.outputs} here. Use another path="
        )


def _architecture(provenance: Provenance) -> tuple[str, str, int]:
    """Class, number of all parameters (some may be trained later on), and number of outputs."""
    kind, _, counts = provenance.description.model.partition(",")
    return kind, counts.partition(" of ")[2], provenance.outputs


def _open_run(run: Path, start: int) -> Provenance | None:
    """Prepare a folder for recording from step `start` on; returns the latest record's provenance, if there is one."""
    _clean_up_run(run)
    found = recorded_steps(run)
    if found and start == 0:
        raise ValueError(
            f"{run} contains a run up to step {max(found)}: continue it with start=…, or choose another path"
        )
    for step, folder in found.items():
        if step > start:
            _delete_step(folder)
    earlier = [step for step in found if step <= start]
    return Trajectory(run).at(earlier[-1]).provenance if earlier else None


def _clean_up_run(run: Path) -> None:
    """Delete incomplete folders of a killed run; a step that it was replacing is restored."""
    for unfinished in run.glob(".step=*"):
        final = run / unfinished.name[1:].removesuffix(_BACKUP)
        if unfinished.name.endswith(_BACKUP) and not final.exists():
            unfinished.rename(final)
        else:
            discard(unfinished)


def _delete_step(folder: Path) -> None:
    """Delete a step: its folder is renamed first, so that no partly deleted step can be read."""
    partial = partial_path(folder)
    folder.rename(partial)
    discard(partial)


def _write_step(run: Path, step: int, m: MemoryMap, scalars: dict[str, float]) -> None:
    """Write a step into a folder with a leading dot, then rename it: folders without a dot are complete.

    A step that is recorded again is kept as a backup until the rename (`_clean_up_run` restores it after a kill).
    """
    final, backup = step_folder(run, step), run / f".{step_folder(run, step).name}{_BACKUP}"
    partial = partial_path(final)
    try:
        m.save(partial / MAP)
        with replacing(partial / SCALARS) as file:
            words = {LOO_TRUST: str(m.trust["loo_loss"].level)}
            file.write_text(json.dumps({**scalars, **words}), encoding="utf-8")
        if final.exists():
            final.rename(backup)
        partial.rename(final)
    except BaseException:
        discard(partial)
        _clean_up_run(run)
        raise
    flush_folder(run)
    discard(backup)
