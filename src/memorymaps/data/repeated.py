"""Examples that must come the same in every complete pass: checked, never assumed."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import as_array, take_rows
from memorymaps.data.examples import DataError, Examples, Total
from memorymaps.data.fingerprint import BlockSums, ContentHash, block_sums, digest_of
from memorymaps.data.indexed import InputsWithRows
from memorymaps.data.streamed.pieces import Piece
from memorymaps.files.executors.ordered_map import map_in_order
from memorymaps.files.executors.pairwise_sum import tree_sum
from memorymaps.files.executors.workers import Workers
from memorymaps.files.progress import ProgressBar
from memorymaps.files.progress_plan import PlannedPass, ProgressPlan, Step

BatchTask: TypeAlias = Callable[[Any, Batch, slice], Iterable[Any]]
PieceTask: TypeAlias = Callable[[Any, Iterator[tuple[Batch, slice]]], Any]

_CHANGED = "To go on, draw the map again: memory_map(…)"
_SMALL = 2**20  # bytes that are compared as they are
_HEAD = 1024  # first rows whose inputs are compared in every pass: random augmentation shows there


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of a complete pass: `columns` of ids, targets and weights, `inputs` of inputs and offsets.

    `inputs` is empty where they do not repeat (random augmentation).
    """

    columns: str
    inputs: str = ""


@dataclass(frozen=True)
class BatchContent:
    """What a fingerprint takes of a batch: bytes of ids, targets and weights, sums of inputs and offsets.

    `inputs` is `None` in passes after the first one, which compare the others only.
    """

    columns: tuple[bytes, ...]
    inputs: tuple[BlockSums, ...] | None


@dataclass
class RepeatedExamples(Examples):
    """The examples, with a progress bar for each pass, read by the workers of an executor where there are some.

    `content`: what the fingerprint takes of every batch, kept if several processes read a part of the examples each.
    `plan`: one bar for all passes, where they were announced.

    Raises
    ------
    DataError
        A pass with other ids, targets, weights, or in another order than the first one.
    """

    source: Examples
    progress: bool | None = None
    first: Fingerprint | None = None
    head: Any = None
    passes: int = 0
    content: list[BatchContent] | None = None  # of the first complete pass, where a list is given
    workers: Workers | None = None
    plan: ProgressPlan | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the workers and the bar, which are this process's."""
        return {**self.__dict__, "workers": None, "plan": None}

    def __len__(self) -> int:
        return len(self.source)

    @property
    def share(self) -> slice:
        """Positions that a pass reads."""
        return self.source.share

    def __iter__(self) -> Iterator[Batch]:
        with self._pass() as note:
            complete, first = self.first is None, True
            for batch in self.source:
                note(evidence_of(batch, complete, first))
                yield batch
                first = False

    @contextlib.contextmanager
    def shared_by(self, workers: Workers | None) -> Iterator[None]:
        """Passes inside the block are shared by these workers; after it, which ends them, by none."""
        self.workers = workers
        try:
            yield
        finally:
            self.workers = None

    @contextlib.contextmanager
    def _pass(self) -> Iterator[Callable[[BatchEvidence], None]]:
        """A pass over the data: a function that is told of every batch; at its end the pass is compared."""
        found = _PassHash()
        content: list[BatchContent] | None = [] if self.content is not None and self.first is None else None
        with self._bar() as bar:

            def note(evidence: BatchEvidence) -> None:
                self._compare_head(evidence.head)
                found.add(evidence.content)
                if content is not None:
                    content.append(evidence.content)
                bar.update(evidence.rows)

            yield note
        self._compare(found.fingerprint())
        self.content = self.content if content is None else content

    def flat_map(self, task: BatchTask, shared: Any) -> Iterator[Any]:
        """Results of `task(shared, batch, rows)` for each batch in order, of which each call returns any number.

        `rows` are the batch's positions. Workers are sent `shared` once, without the data that it holds.
        """
        if self.workers is not None:
            for results in self._map_pieces(_results_of_piece, (task, shared)):
                yield from results
            return
        start = 0
        for batch in self:
            yield from task(shared, batch, slice(start, start + len(batch)))
            start += len(batch)

    def fold(
        self, start: Callable[[], Total], add: Callable[[Total, Batch], None], merge: Callable[[Total, Total], Total]
    ) -> Total:
        """A sum over all batches, of pieces by the workers."""
        if self.workers is None:
            return super().fold(start, add, merge)
        totals: Iterator[Total] = self._map_pieces(_total_of_piece, (start, add))
        return tree_sum(totals, merge)

    def _map_pieces(self, task: PieceTask, shared: Any) -> Iterator[Any]:
        """`task(shared, batches with their rows)` of each piece by a worker, in order."""
        given, pieces = (task, shared, self.first is None), self.source.pieces()
        with self._pass() as note:
            done = map_in_order(self.workers, _piece_with_evidence, given, pieces, "the model", (Examples,))
            for result, evidence in done:
                for each in evidence:
                    note(each)
                yield result

    def _compare_head(self, head: Any) -> None:
        """Whether the first rows of a pass, `None` after them, are those of the passes before."""
        if head is None:
            return
        if self.head not in (None, head) and self.first is not None:
            self.first = Fingerprint(self.first.columns)
        self.head = head

    def announce(self, steps: Sequence[Step]) -> None:
        """What the passes to come are and cost: one bar for all of them, with a known end."""
        self.plan = ProgressPlan(steps, "memory map", self._hidden)

    @property
    def _hidden(self) -> bool | None:
        """Whether there is no bar; `None`: tqdm shows itself on a terminal only."""
        return None if self.progress is None else not self.progress

    def _bar(self) -> Any:
        self.passes += 1
        if self.plan is not None and not self.plan.is_over:
            return PlannedPass(self.plan)
        return ProgressBar(
            total=self.share.stop - self.share.start,
            unit="ex",
            desc=f"memory map, pass {self.passes}",
            delay=1.0,
            disable=self._hidden,
        )

    def say(self, words: str) -> None:
        """Print a line beside the progress bars, where these are shown."""
        if self.progress or (self.progress is None and sys.stderr.isatty()):
            ProgressBar.write(words, file=sys.stderr)

    def _compare(self, now: Fingerprint) -> None:
        if self.first is None:
            self.first = now
        elif now.columns != self.first.columns:
            raise DataError(
                "the data came in another order or with other targets on the second pass: "
                "pass arrays, or a loader that does not shuffle"
            )

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the first complete pass.

        Raises
        ------
        DataError
            There was none: no rows.
        """
        if self.first is None:
            raise DataError("the data has no rows")
        return self.first

    def take(self, rows: Any) -> Batch:
        """The examples at these positions."""
        found = self.source.take(rows)
        if self.plan is not None:
            self.plan.takes(len(found))
        return found

    def sample(self, size: int) -> Batch:
        """Some of the source's examples."""
        return self.source.sample(size)

    def sample_rows(self, size: int) -> Array:
        """Those of the source."""
        return self.source.sample_rows(size)

    def check_unchanged(self) -> None:
        """One more pass; raise `DataError` with what is not as it was when the map was drawn."""
        if self.first is None:
            return
        found = _PassHash()
        for batch in self.source:
            found.add(content_of(batch, complete=True))
        now = found.fingerprint()
        if now.columns != self.first.columns:
            raise DataError(f"ids, targets or weights of the data have changed since the map was drawn. {_CHANGED}")
        if self.first.inputs and now.inputs != self.first.inputs:
            raise DataError(f"the inputs have changed since the map was drawn, perhaps in place. {_CHANGED}")


def _piece_with_evidence(given: tuple[PieceTask, Any, bool], piece: Piece) -> tuple[Any, list[BatchEvidence]]:
    """In a worker: what the task makes of a piece, and what its batches were."""
    task, shared, complete = given
    evidence: list[BatchEvidence] = []

    def batches() -> Iterator[tuple[Batch, slice]]:
        start = piece.rows.start
        for batch in piece.batches():
            evidence.append(evidence_of(batch, complete, start == 0))
            yield batch, slice(start, start + len(batch))
            start += len(batch)

    return task(shared, batches()), evidence


def _results_of_piece(given: tuple[BatchTask, Any], batches: Iterator[tuple[Batch, slice]]) -> list[Any]:
    task, shared = given
    return [result for batch, rows in batches for result in task(shared, batch, rows)]


def _total_of_piece(given: tuple[Any, Any], batches: Iterator[tuple[Batch, slice]]) -> Any:
    start, add = given
    total = start()
    for batch, _ in batches:
        add(total, batch)
    return total


@dataclass(frozen=True)
class BatchEvidence:
    """What a pass is told by: number of rows and content of a batch, the first batch's first rows."""

    rows: int
    content: BatchContent
    head: Any = None


def evidence_of(batch: Batch, complete: bool, first: bool) -> BatchEvidence:
    """The evidence of one batch; `complete`: with the inputs, `first`: it is the first batch of a pass."""
    head = _content(take_rows(_plain(batch.inputs), slice(0, _HEAD))) if first else None
    return BatchEvidence(len(batch), content_of(batch, complete), head)


def content_of(batch: Batch, complete: bool) -> BatchContent:
    """What a fingerprint takes of a batch; `complete`: with the inputs."""
    columns = tuple(map(_bytes, (batch.ids, batch.target, batch.weight)))
    inputs = {"inputs": batch.inputs} if batch.offset is None else {"inputs": batch.inputs, "o": batch.offset}
    return BatchContent(columns, tuple(block_sums(inputs)) if complete else None)


def fingerprint_of(batches: Iterable[BatchContent]) -> Fingerprint:
    """Fingerprint of examples by the content of all their batches, in order."""
    found = _PassHash()
    for batch in batches:
        found.add(batch)
    return found.fingerprint()


class _PassHash:
    """A pass so far: hashes of ids, targets, weights and inputs."""

    def __init__(self) -> None:
        self._complete = True
        self._columns = [hashlib.blake2b(digest_size=8) for _ in range(3)]
        self._inputs = ContentHash()

    def add(self, content: BatchContent) -> None:
        """Take in a batch."""
        for column, values in zip(self._columns, content.columns, strict=True):
            column.update(values)
        if content.inputs is None:
            self._complete = False
        else:
            self._inputs.add(content.inputs)

    def fingerprint(self) -> Fingerprint:
        """Of everything taken in; without inputs where these were left out."""
        columns = "".join(column.hexdigest() for column in self._columns)
        return Fingerprint(columns, self._inputs.hexdigest() if self._complete else "")


def _content(rows: Any) -> Any:
    """What two passes are compared by: bytes of a small array of numbers, a hash of anything else."""
    if isinstance(rows, np.ndarray) and rows.dtype.kind in "biufc" and rows.nbytes <= _SMALL:
        return rows.dtype, rows.shape, rows.tobytes()
    return digest_of(rows)


def _plain(inputs: Any) -> Any:
    return inputs.inputs if isinstance(inputs, InputsWithRows) else inputs


def _bytes(values: Array | None) -> bytes:
    """A column's content, the same however it is cut into batches."""
    if values is None:
        return b""
    column = as_array(values)
    if column.dtype.kind in "biuf":
        return bytes(column.tobytes())
    return "".join(f"{value}\0" for value in column.tolist()).encode(errors="surrogatepass")
