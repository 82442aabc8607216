"""Does the map agree with retraining? The same scores, measured by really leaving examples out."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr
from tqdm.auto import tqdm

from memorymaps._types import Array
from memorymaps.maps import MemoryMap

if TYPE_CHECKING:
    import pandas as pd

Retrain = Callable[[Array, Array], Array]
_ANOTHER = "holds the retrainings of another map or model, or an older version's: give this one its own file, path="


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
    m: MemoryMap, retrain: Retrain, *, ids: Any = None, k: int = 50, path: str | Path | None = None,
    executor: Executor | None = None, progress: bool | None = None,
) -> RetrainCheck:  # fmt: skip
    """Retrain without some examples, one at a time, and compare with the map.

    Parameters
    ----------
    retrain : `retrain(removed, wanted) → f`: train by your own recipe (best from the trained weights on) without the
        rows `removed` and return the outputs (logits, linear predictor) `[len(wanted), c]` of the rows `wanted`.
        Called once with nothing removed, to see how far the recipe itself drifts.
    ids : which examples; default: the `k // 2` most sensitive ones and as many at random from the rest.
    path : file that each result is appended to as soon as it is there; a second call goes on where it was stopped.
    executor : any `concurrent.futures.Executor`, to retrain in parallel.

    Raises
    ------
    RetrainingError
        `retrain` raised, or returned another shape or numbers that are not finite; finished examples stay in `path`.
    ValueError
        The map was read from disk, or `path` belongs to another map or to a model with other outputs.

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
    chosen = _chosen(m, k) if ids is None else m.select(ids)
    batch = m.origin.examples.take(chosen["row"])
    at = m.origin.local(batch).f
    with _Journal.opened(path, m, dict(zip(chosen["row"].tolist(), at, strict=True))) as journal:
        _run(chosen, retrain, journal, executor, progress)
        return _compared(m, chosen, at, {row: np.asarray(line["f"]) for row, line in journal.found.items()})


def _chosen(m: MemoryMap, k: int) -> MemoryMap:
    if k < 2:
        raise ValueError(f"k = {k}: expected at least 2 examples")
    ranked = m.top(len(m))["id"]
    rest = np.random.default_rng(0).permutation(ranked[k // 2 :])
    return m.select(np.concatenate([ranked[: k // 2], rest[: k - k // 2]]).tolist())


@dataclass
class _Journal:
    """Results so far by row (−1: nothing removed), each on disk as soon as it is there.

    A line holds the rows `wanted`, the outputs `at` them of the model that is left behind, and `f` after retraining.
    """

    at: Mapping[int, Array]
    found: dict[int, dict[str, Any]]
    file: Any = None

    @classmethod
    def opened(cls, path: str | Path | None, m: MemoryMap, at: Mapping[int, Array]) -> _Journal:
        """Read what an earlier run left, cut off a line it was killed in, and go on."""
        if path is None:
            return cls(at, {})
        head = {"memorymaps": "retrain_check", "version": 2, "fingerprint": m.provenance.fingerprint}
        lines = Path(path).read_bytes().splitlines(keepends=True) if Path(path).exists() else []
        whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
        if whole and whole[0] != head:
            raise ValueError(f"{path} {_ANOTHER}")
        with open(path, "wb") as file:
            file.writelines(json.dumps(line).encode() + b"\n" for line in (whole or [head]))
        return cls(at, {line["row"]: line for line in whole[1:]}, open(path, "ab"))

    def knows(self, row: int, wanted: Array) -> bool:
        """Whether this was asked before, and answered for the same model.

        Raises
        ------
        ValueError
            It was answered for a model with other outputs.
        """
        line = self.found.get(row)
        if line is None or line["wanted"] != wanted.tolist():
            return False
        was, now = np.asarray(line["at"]), self._outputs(wanted)
        if was.shape != now.shape or not np.allclose(was, now, rtol=1e-3, atol=1e-3 * float(np.abs(now).max())):
            raise ValueError(f"{self.file.name} {_ANOTHER}")
        return True

    def add(self, row: int, wanted: Array, f: Array) -> None:
        """Keep one result."""
        line = {"row": row, "wanted": wanted.tolist(), "at": self._outputs(wanted).tolist(), "f": f.tolist()}
        self.found[row] = line
        if self.file is not None:
            self.file.write(json.dumps(line).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())

    def _outputs(self, wanted: Array) -> Array:
        return np.stack([np.asarray(self.at[row]) for row in wanted.tolist()])

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.file is not None:
            self.file.close()


def _run(chosen: MemoryMap, retrain: Retrain, journal: _Journal, executor: Executor | None, bar: bool | None) -> None:
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


def _compared(m: MemoryMap, chosen: MemoryMap, at: Array, found: Mapping[int, Array]) -> RetrainCheck:
    assert m.origin is not None
    likelihood = m.origin.posterior.likelihood
    y, before = np.asarray(m.origin.examples.take(chosen["row"]).target), found[-1]
    after = np.stack([found[int(row)][0] for row in chosen["row"]])
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
