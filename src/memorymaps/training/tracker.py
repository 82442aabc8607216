"""Memory maps while a model trains: one line in anybody's loop, a folder that survives being killed.

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

from memorymaps.build import memory_map
from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.files.atomic_files import discard, flush_folder, partial_path, replacing
from memorymaps.files.locks import WriterLock
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.trajectory import MAP, SCALARS, Trajectory, recorded_steps, step_folder
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.registry import examples_for

_ASIDE = ".aside"  # ending of a step that is being replaced
Schedule = Callable[[int], bool]
Log = Callable[[int, MemoryMap, Mapping[str, float]], None]


def schedule(every: int | str | Collection[int] | Schedule | None) -> Schedule:
    """When to record: a number of steps (an epoch: `len(loader)`), `"log"` (1, 2, 5, 10, 20, 50, …), the steps
    themselves, a function of the step, or `None` for `tracker.record()` alone.

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
    """Records maps of a network in training.

    Parameters
    ----------
    model, optimizer : what is being trained; the posterior is read from the optimiser's state (`FromOptimizer`), or
        made by `posterior`, a recipe such as `Laplace(...)`.
    data, target : the training data, as for `memory_map`; ids join it with the loader, whatever that shuffles.
    every : see `schedule`.
    likelihood : as for `memory_map`.
    path : folder of the run. A step appears there whole or not at all.
    test : `(X, y)` or a data set whose loss is recorded beside the leave-one-out loss.
    subset : how many examples (drawn once, seed 0), or which rows, to map; default: all. The posterior is that of
        all the data.
    start : the step that training stands at; on a resumed run that of the checkpoint: steps recorded after it are
        dropped and recorded again.
    prior : precision added to the optimiser's own, as for `FromOptimizer`.
    directions : how many leading directions of each `Λ` (default 1) the leverage is asked along, with one signed random
        direction for the rest (deviations and all that follows from them stay exact); `0`: along every output, which
        maps of optimisers that average over `q` always are.
    log : called with step, map and scalars after each record: a logger of `memorymaps.callbacks`, or any function.

    Raises
    ------
    ValueError
        The folder holds a run already and no `start` was given, or a run of other data.
    InUseError
        Another Tracker, of this process or another, writes to the folder.
    RunFolderError
        The folder holds something named like a step that is none.
    DataError
        The data set has changed between two records.
    """

    def __init__(
        self, model: Any, optimizer: Any, data: Any, target: Any = None, *, likelihood: Any, path: str | Path,
        every: Any = None, posterior: Any = None, test: Any = None, subset: int | Array | None = None, start: int = 0,
        prior: float = 0.0, directions: int | None = None, log: Log | None = None,
    ):  # fmt: skip
        self.run, self.steps = Path(path), start
        self._due, self._model = schedule(every), model
        self._examples = _examples(model, data, target)
        self._likelihood = likelihood
        if posterior is not None and (prior or directions is not None):
            raise ValueError(
                "prior= and directions= are of the optimiser's posterior, and posterior= was given: say them there, as "
                "in FromOptimizer(optimizer, n, prior=…, directions=…)"
            )
        along = 1 if directions is None else directions
        self._posterior = posterior or _from_optimizer(optimizer, len(self._examples), prior, along)
        self._rows, self._log = _rows(subset, len(self._examples)), log
        self._test = None if test is None else _examples(model, *(test if isinstance(test, tuple) else (test, None)))
        self._began, self._spent = time.perf_counter(), 0.0
        self.run.mkdir(parents=True, exist_ok=True)
        self._lock = WriterLock(self.run, self.run / ".lock")
        self._lock.acquire()
        try:
            self._fingerprint = _open(self.run, start)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: Any) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Let another Tracker write to the folder; every record is complete on disk already."""
        self._lock.release()

    def step(self) -> MemoryMap | None:
        """Count one optimiser step; record if one is due. Returns the map that was recorded."""
        self.steps += 1
        return self.record() if self._due(self.steps) else None

    def record(self) -> MemoryMap:
        """Record a map now.

        Raises
        ------
        InUseError
            This Tracker was closed, and another one writes to the folder.
        """
        self._lock.acquire()
        start = time.perf_counter()
        m = memory_map(
            self._model, self._examples, likelihood=self._likelihood, posterior=self._posterior, rows=self._rows,
            progress=False,
        )  # fmt: skip
        self._check_same(m)
        scalars = self._scalars(m) | {"seconds": time.perf_counter() - start}
        _write(self.run, self.steps, m, scalars)
        if self._log is not None:
            self._log(self.steps, m, scalars)
        self._spent += time.perf_counter() - start
        return m

    def _check_same(self, m: MemoryMap) -> None:
        if self._fingerprint not in (None, m.provenance.fingerprint):
            raise DataError(
                "ids, targets or weights differ from those of this run's earlier records: a trajectory is of one data "
                "set. Give the new data a path of its own"
            )
        self._fingerprint = m.provenance.fingerprint

    def _scalars(self, m: MemoryMap) -> dict[str, float]:
        loo = m.leave_one_out()
        return {
            "loss": loo.loss,
            "loo_loss": loo.loo_loss,
            "test_loss": self._test_loss(m),
            "effective": float(np.mean(m["leverage"]) * m.provenance.n),
        }

    def _test_loss(self, m: MemoryMap) -> float:
        if self._test is None or m.origin is None:
            return float("nan")
        return sum(float(np.sum(_losses(m.origin, batch))) for batch in self._test) / len(self._test)

    @property
    def overhead(self) -> float:
        """Seconds spent recording for each second of everything else, since this tracker was made."""
        return self._spent / max(1e-9, time.perf_counter() - self._began - self._spent)

    def trajectory(self) -> Trajectory:
        """What has been recorded so far."""
        return Trajectory.load(self.run)


def _losses(origin: Origin, batch: Batch) -> Array:
    """Losses of unseen examples, averaged over the posterior where those of training are."""
    source: Any = origin.posterior
    if isinstance(source.likelihood, ExpectedLikelihood):
        at = origin.batch_statistics(batch)
        return at.likelihood.nll(at.f, at.y)
    return source.likelihood.nll(source.outputs(batch.inputs), batch.target)


def _examples(model: Any, data: Any, target: Any) -> Examples:
    if target is not None:
        return ArrayExamples.of(data, target)
    found: Examples = examples_for(model, data)
    return found


def _from_optimizer(optimizer: Any, n: int, prior: float, directions: int) -> Any:
    from memorymaps.nets.optimizers.from_optimizer import FromOptimizer

    return FromOptimizer(optimizer, n, prior=prior, directions=directions)


def _rows(subset: int | Array | None, n: int) -> Array | None:
    """Which examples to map: the posterior is that of all of them."""
    if isinstance(subset, int):
        return np.random.default_rng(0).permutation(n)[:subset]
    return subset


def _open(run: Path, start: int) -> str | None:
    """Tidy up after a run that was killed; the fingerprint of its data, if it has recorded any."""
    _tidy(run)
    found = recorded_steps(run)
    if found and start == 0:
        raise ValueError(f"{run} holds a run up to step {max(found)}: go on with start=…, or choose another path")
    for step, folder in found.items():
        if step > start:
            _drop(folder)
    kept = [step for step in found if step <= start]
    return Trajectory(run).at(kept[-1]).provenance.fingerprint if kept else None


def _tidy(run: Path) -> None:
    """Delete what a killed run left half done; a step that it was about to replace gets its name back."""
    for unfinished in run.glob(".step=*"):
        final = run / unfinished.name[1:].removesuffix(_ASIDE)
        if unfinished.name.endswith(_ASIDE) and not final.exists():
            unfinished.rename(final)
        else:
            discard(unfinished)


def _drop(folder: Path) -> None:
    """Delete a step: first its name, so that no half-deleted one is ever read."""
    partial = partial_path(folder)
    folder.rename(partial)
    discard(partial)


def _write(run: Path, step: int, m: MemoryMap, scalars: dict[str, float]) -> None:
    """All of a step, then its name: a folder without a leading dot is whole.

    A step that is recorded again is put aside until the new one has its name (`_tidy` puts it back after a kill).
    """
    final, aside = step_folder(run, step), run / f".{step_folder(run, step).name}{_ASIDE}"
    partial = partial_path(final)
    try:
        m.save(partial / MAP)
        with replacing(partial / SCALARS) as file:
            file.write_text(json.dumps(scalars), encoding="utf-8")
        if final.exists():
            final.rename(aside)
        partial.rename(final)
    except BaseException:
        discard(partial)
        _tidy(run)
        raise
    flush_folder(run)
    discard(aside)
