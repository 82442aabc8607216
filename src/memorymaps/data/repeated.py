"""Examples that must come the same in every complete pass: checked, never assumed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import as_array, take_rows
from memorymaps.data.examples import DataError, Examples, Total
from memorymaps.data.fingerprint import ContentHash, ContentSums, content_sums, digest_of
from memorymaps.data.indexed import InputsWithRows
from memorymaps.data.streamed.pieces import Piece
from memorymaps.files.executors.ordered_map import map_in_order
from memorymaps.files.executors.pairwise_sum import tree_sum
from memorymaps.files.executors.workers import Workers
from memorymaps.files.progress import ProgressBar

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


@dataclass
class RepeatedExamples(Examples):
    """The examples, with a progress bar for each pass, read by the workers of an executor where there are some.

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
    workers: Workers | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the workers, who are this process's."""
        return {**self.__dict__, "workers": None}

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        found, complete = _PassHash(), self.first is None
        with self._bar() as bar:
            for batch in self.source:
                self._note(found, evidence_of(batch, complete, not found.rows))
                yield batch
                bar.update(len(batch))
        self._compare(found.fingerprint())

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
        found, given = _PassHash(), (task, shared, self.first is None)
        with self._bar() as bar:
            pieces = self.source.pieces()
            done = map_in_order(self.workers, _piece_with_evidence, given, pieces, "the model", (Examples,))
            for result, evidence in done:
                for each in evidence:
                    self._note(found, each)
                    bar.update(each.rows)
                yield result
        self._compare(found.fingerprint())

    def _note(self, found: _PassHash, evidence: BatchEvidence) -> None:
        if evidence.head is not None:
            if self.head not in (None, evidence.head) and self.first is not None:
                self.first = Fingerprint(self.first.columns)
            self.head = evidence.head
        found.add(evidence)

    def _bar(self) -> Any:
        self.passes += 1
        hidden = None if self.progress is None else not self.progress  # None: tqdm shows itself on a terminal only
        return ProgressBar(
            total=len(self), unit="ex", desc=f"memory map, pass {self.passes}", delay=1.0, disable=hidden
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
        return self.source.take(rows)

    def sample(self, size: int) -> Batch:
        """Some of the source's examples."""
        return self.source.sample(size)

    def check_unchanged(self) -> None:
        """One more pass; raise `DataError` with what is not as it was when the map was drawn."""
        if self.first is None:
            return
        found = _PassHash()
        for batch in self.source:
            found.add(evidence_of(batch, complete=True, first=False))
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
    """What a pass is told by: content of ids, targets and weights, sums of the inputs, the first batch's first rows."""

    rows: int
    columns: tuple[bytes, bytes, bytes]
    inputs: ContentSums | None = None
    head: Any = None


def evidence_of(batch: Batch, complete: bool, first: bool) -> BatchEvidence:
    """The evidence of one batch; `complete`: with the inputs, `first`: it is the first batch of a pass."""
    columns = (_bytes(batch.ids), _bytes(batch.target), _bytes(batch.weight))
    inputs = {"inputs": batch.inputs} if batch.offset is None else {"inputs": batch.inputs, "o": batch.offset}
    head = _content(take_rows(_plain(batch.inputs), slice(0, _HEAD))) if first else None
    return BatchEvidence(len(batch), columns, content_sums(inputs) if complete else None, head)


class _PassHash:
    """A pass so far: hashes of ids, targets, weights and inputs."""

    def __init__(self) -> None:
        self.rows, self._complete = 0, True
        self._columns = [hashlib.blake2b(digest_size=8) for _ in range(3)]
        self._inputs = ContentHash()

    def add(self, evidence: BatchEvidence) -> None:
        """Take in a batch."""
        self.rows += evidence.rows
        for column, content in zip(self._columns, evidence.columns, strict=True):
            column.update(content)
        if evidence.inputs is None:
            self._complete = False
        else:
            self._inputs.add(evidence.inputs)

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
