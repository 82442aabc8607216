"""Examples that must come the same in every complete pass: checked, never assumed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import as_array, take_rows
from memorymaps.data.examples import DataError, Examples
from memorymaps.data.fingerprint import BlockSums, ContentHash, block_sums, digest_of
from memorymaps.data.indexed import InputsWithRows
from memorymaps.files.progress import ProgressBar

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
    """What a fingerprint takes of a batch: bytes of ids, targets and weights, sums of inputs and offsets."""

    columns: tuple[bytes, ...]
    inputs: tuple[BlockSums, ...]


@dataclass
class RepeatedExamples(Examples):
    """The examples, with a progress bar for each pass.

    `content`: what the fingerprint takes of every batch, kept if several processes read a part of the examples each.

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

    def __len__(self) -> int:
        return len(self.source)

    @property
    def share(self) -> slice:
        """Positions that a pass reads."""
        return self.source.share

    def __iter__(self) -> Iterator[Batch]:
        columns, inputs, complete = _ColumnHash(), ContentHash(), self.first is None
        content: list[BatchContent] = []
        with self._bar() as bar:
            for batch in self.source:
                if not columns.rows:
                    self._compare_head(batch)
                columns.update(batch)
                if complete:
                    found = _input_sums(batch)
                    inputs.add(found)
                    if self.content is not None:
                        content.append(BatchContent(_column_bytes(batch), found))
                yield batch
                bar.update(len(batch))
        self._compare(Fingerprint(columns.hexdigest(), inputs.hexdigest() if complete else ""))
        if complete and self.content is not None:
            self.content = content

    def _bar(self) -> Any:
        self.passes += 1
        hidden = None if self.progress is None else not self.progress  # None: tqdm shows itself on a terminal only
        return ProgressBar(
            total=self.share.stop - self.share.start,
            unit="ex",
            desc=f"memory map, pass {self.passes}",
            delay=1.0,
            disable=hidden,
        )

    def say(self, words: str) -> None:
        """Print a line beside the progress bars, where these are shown."""
        if self.progress or (self.progress is None and sys.stderr.isatty()):
            ProgressBar.write(words, file=sys.stderr)

    def _compare_head(self, batch: Batch) -> None:
        found = _content(take_rows(_plain(batch.inputs), slice(0, _HEAD)))
        if self.head not in (None, found) and self.first is not None:
            self.first = Fingerprint(self.first.columns)
        self.head = found

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

    def check_unchanged(self) -> None:
        """One more pass; raise `DataError` with what is not as it was when the map was drawn."""
        if self.first is None:
            return
        columns, inputs = _ColumnHash(), ContentHash()
        for batch in self.source:
            columns.update(batch)
            inputs.add(_input_sums(batch))
        if columns.hexdigest() != self.first.columns:
            raise DataError(f"ids, targets or weights of the data have changed since the map was drawn. {_CHANGED}")
        if self.first.inputs and inputs.hexdigest() != self.first.inputs:
            raise DataError(f"the inputs have changed since the map was drawn, perhaps in place. {_CHANGED}")


def _content(rows: Any) -> Any:
    """What two passes are compared by: bytes of a small array of numbers, a hash of anything else."""
    if isinstance(rows, np.ndarray) and rows.dtype.kind in "biufc" and rows.nbytes <= _SMALL:
        return rows.dtype, rows.shape, rows.tobytes()
    return digest_of(rows)


def _plain(inputs: Any) -> Any:
    return inputs.inputs if isinstance(inputs, InputsWithRows) else inputs


def _input_sums(batch: Batch) -> tuple[BlockSums, ...]:
    both = {"inputs": batch.inputs} if batch.offset is None else {"inputs": batch.inputs, "o": batch.offset}
    return tuple(block_sums(both))


class _ColumnHash:
    """Ids, targets and weights; `rows` so far."""

    def __init__(self) -> None:
        self.rows = 0
        self._columns = [hashlib.blake2b(digest_size=8) for _ in range(3)]

    def update(self, batch: Batch) -> None:
        self.rows += len(batch)
        self.add(_column_bytes(batch))

    def add(self, columns: tuple[bytes, ...]) -> None:
        for column, content in zip(self._columns, columns, strict=True):
            column.update(content)

    def hexdigest(self) -> str:
        return "".join(column.hexdigest() for column in self._columns)


def fingerprint_of(batches: Iterable[BatchContent]) -> Fingerprint:
    """Fingerprint of examples by the content of all their batches, in order."""
    columns, inputs = _ColumnHash(), ContentHash()
    for batch in batches:
        columns.add(batch.columns)
        inputs.add(batch.inputs)
    return Fingerprint(columns.hexdigest(), inputs.hexdigest())


def _column_bytes(batch: Batch) -> tuple[bytes, ...]:
    return tuple(map(_bytes, (batch.ids, batch.target, batch.weight)))


def _bytes(values: Array | None) -> bytes:
    """A column's content, the same however it is cut into batches."""
    if values is None:
        return b""
    column = as_array(values)
    if column.dtype.kind in "biuf":
        return bytes(column.tobytes())
    return "".join(f"{value}\0" for value in column.tolist()).encode(errors="surrogatepass")
