"""Does the map agree with retraining? The same scores, measured by really leaving examples out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr
from tqdm.auto import tqdm

from memorymaps.analysis.journal import Journal
from memorymaps.analysis.refitting import own_recipe, refits_of
from memorymaps.core.arrays import Array
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.posteriors.capabilities import Refit

if TYPE_CHECKING:
    import pandas as pd

Retrain = Callable[[Array, Array], Array]
_WHAT = {"memorymaps": "retrain_check"}


class RetrainingError(RuntimeError):
    """The user's retraining failed or answered with something else than outputs."""


@dataclass(frozen=True)
class RetrainCheck:
    """Estimated and true changes of each chosen example's own prediction.

    Columns: `id`, `row`; `estimate`, `truth` (sensitivities `Σ_c |Δμ_c|`); `loo_loss`, `true_loo_loss`.
    `drift` is how far the recipe moves the same predictions when nothing is left out (the largest `Σ_c |Δμ_c|`):
    agreement cannot be read below it.
    """

    table: pa.Table
    drift: float

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self.table.column(name).combine_chunks())

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas data frame."""
        return self.table.to_pandas()

    def _pairs(self) -> tuple[Array, Array]:
        known = np.isfinite(self["estimate"])
        return self["estimate"][known], self["truth"][known]

    @property
    def slope(self) -> float:
        """Estimate on truth, a regression through the origin; 1 is right."""
        s, t = self._pairs()
        return float(s @ t / (t @ t)) if np.any(t) else float("nan")

    @property
    def relative_error(self) -> float:
        """`‖estimate − truth‖/‖truth‖`."""
        s, t = self._pairs()
        return float(np.linalg.norm(s - t) / np.linalg.norm(t)) if np.any(t) else float("nan")

    @property
    def spearman(self) -> float:
        """Rank correlation."""
        return float(spearmanr(*self._pairs()).statistic)

    def __str__(self) -> str:
        lost = len(self) - len(self._pairs()[0])
        return (
            f"{len(self)} examples retrained without: slope {self.slope:.2f}, relative error "
            f"{self.relative_error:.3f}, "
            f"rank correlation {self.spearman:.3f}; {lost} without an estimate; drift of the recipe {self.drift:.2g}"
        )

    __repr__ = __str__


def retrain_check(
    m: MemoryMap, retrain: Retrain | None = None, *, ids: Any = None, k: int = 50, path: str | Path | None = None,
    executor: Executor | None = None, progress: bool | None = None,
) -> RetrainCheck:  # fmt: skip
    """Retrain without some examples, one at a time, and compare with the map.

    Parameters
    ----------
    retrain : `retrain(removed, wanted) → f`: train by your own recipe (best from the trained weights on) without the
        rows `removed` and return the outputs (logits, linear predictor) `[len(wanted), c]` of the rows `wanted`.
        Called once with nothing removed, to see how far the recipe itself drifts. Default, for networks: the
        posterior's own `refit`, which minimises the training loss again from the trained weights.
    ids : which examples; default: the `k // 2` most sensitive ones and as many at random from the rest.
    path : file that each result is appended to as soon as it is there; a second call goes on where it was stopped.
    executor : any `concurrent.futures.Executor`, to retrain in parallel.

    Raises
    ------
    RetrainingError
        `retrain` raised, or returned another shape or numbers that are not finite; finished examples stay in `path`.
    TypeError
        No `retrain`, and the posterior cannot refit its model itself.
    ValueError
        The map was read from disk, an `executor` is given without `retrain`, or `path` is no journal or that of
        another map, model or recipe (`JournalError`).
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
    if m.origin is None:
        raise ValueError("the check needs the likelihood, and a map read from disk has none: use memory_map's own map")
    m.origin.check_unchanged()
    chosen = _chosen(m, k) if ids is None else m.select(ids)
    batch = m.origin.examples.take(chosen["row"])
    if retrain is None and executor is not None:
        raise ValueError("executor= runs your own retrain(removed, wanted): the network's own refit goes one by one")
    what = {**_WHAT, "recipe": "retrain"} if retrain else {**_WHAT, **own_recipe(m)}
    retrain, at = retrain or _own(refits_of(m.origin.posterior)), m.origin.local(batch).f
    with Journal.opened(path, m, dict(zip(chosen["row"].tolist(), at, strict=True)), what) as journal:
        _run(chosen, retrain, journal, executor, progress)
        return _compared(m, chosen, at, journal)


def _own(source: Refit) -> Retrain:
    return lambda removed, wanted: source.refit(removed, wanted)[0]


def _chosen(m: MemoryMap, k: int) -> MemoryMap:
    if k < 2:
        raise ValueError(f"k = {k}: expected at least 2 examples")
    ranked = m.top(len(m))["id"]
    rest = np.random.default_rng(0).permutation(np.array(ranked[k // 2 :]))
    return m.select(np.concatenate([ranked[: k // 2], rest[: k - k // 2]]).tolist())


def _run(chosen: MemoryMap, retrain: Retrain, journal: Journal, executor: Executor | None, bar: bool | None) -> None:
    """Everything that the journal lacks."""
    rows = np.array(chosen["row"])  # a copy: the recipe may hand it to torch, which wants to write
    none = (-1, np.asarray([], dtype=np.int64), rows)
    tasks = [none, *((int(row), np.asarray([row]), np.asarray([row])) for row in rows)]
    lacking = [task for task in tasks if not journal.knows(task[0], task[2])]
    hidden = None if bar is None else not bar
    with tqdm(total=len(lacking), desc="retraining", unit="model", delay=1.0, disable=hidden) as shown:
        for row, wanted, f in _results(lacking, retrain, executor):
            journal.add(row, wanted, _checked(row, wanted, f, chosen.provenance.outputs))
            shown.update()


def _results(tasks: list[Any], retrain: Retrain, executor: Executor | None) -> Iterator[tuple[int, Array, Any]]:
    if executor is None:
        for row, removed, wanted in tasks:
            yield row, wanted, _guarded(row, functools.partial(retrain, removed, wanted))
        return
    pending = {executor.submit(retrain, removed, wanted): (row, wanted) for row, removed, wanted in tasks}
    try:
        for done in as_completed(pending):
            row, wanted = pending[done]
            yield row, wanted, _guarded(row, done.result)
    finally:
        for rest in pending:
            rest.cancel()


def _guarded(row: int, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        what = "with nothing removed" if row < 0 else f"without row {row}"
        raise RetrainingError(f"retraining {what} failed: {type(error).__name__}: {error}") from error


def _checked(row: int, wanted: Array, f: Any, c: int) -> Array:
    """Outputs `[len(wanted), c]`."""
    found = np.asarray(f.detach().cpu() if hasattr(f, "detach") else f, dtype=float)
    shaped = found[:, None] if found.ndim == 1 else found
    if shaped.shape != (len(wanted), c) or not np.all(np.isfinite(shaped)):
        raise RetrainingError(
            f"retrain without row {row} returned {found.shape}, finite: {bool(np.all(np.isfinite(found)))}; expected "
            f"the outputs (link scale) of {len(wanted)} example(s), ({len(wanted)}, {c}) finite numbers"
        )
    return shaped


def _compared(m: MemoryMap, chosen: MemoryMap, at: Array, journal: Journal) -> RetrainCheck:
    assert m.origin is not None
    likelihood, rows = m.origin.posterior.likelihood, chosen["row"]
    y, before = np.asarray(m.origin.examples.take(rows).target), journal.result(-1, rows)[0]
    after = np.stack([journal.result(int(row), rows[k : k + 1])[0][0] for k, row in enumerate(rows)])
    moved = at + (after - before)  # the recipe's own drift is not the example's doing
    mean = likelihood.mean
    table = {
        "id": chosen["id"],
        "row": chosen["row"],
        "estimate": chosen["sensitivity"],
        "truth": np.sum(np.abs(mean(moved) - mean(at)), axis=-1),
        "loo_loss": chosen["loo_loss"],
        "true_loo_loss": likelihood.nll(moved, y),
    }
    drift = float(np.max(np.sum(np.abs(mean(before) - mean(at)), axis=-1)))
    return RetrainCheck(pa.table(table), drift)
