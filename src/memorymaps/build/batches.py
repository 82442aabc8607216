"""The rows of a map, one batch of examples at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.estimators import Estimator, perturb
from memorymaps.data.fingerprint import digest_of_batch
from memorymaps.files.batch_journal import BatchJournal, file_content
from memorymaps.maps.columns import columns_of, to_record_batch
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.gate import Gate, undefined_warnings
from memorymaps.posteriors.origin import Origin

OUTPUTS = b"outputs"  # a note of each record


@dataclass(frozen=True)
class BatchDrawing:
    """What every batch of a map needs; `finished` batches (first and last row) are not made again.

    `rows` are the positions of the drawn examples in the training data, or the first of consecutive ones.
    """

    origin: Origin
    gate: Gate
    estimator: Estimator
    rows: Array | int
    finished: frozenset[tuple[int, int]] | None

    @classmethod
    def of(
        cls, origin: Origin, gate: Gate, estimator: Estimator, rows: Array, journal: BatchJournal | None
    ) -> BatchDrawing:
        """With the batches that the journal has; `rows` are the positions of the drawn examples."""
        finished = None if journal is None else journal.finished()
        first = int(rows[0]) if len(rows) else 0
        consecutive = len(rows) > 0 and int(rows[-1]) - first == len(rows) - 1
        origin = dataclasses.replace(origin, model=None)  # whether it has changed is no worker's question
        return cls(origin, gate, estimator, first if consecutive else rows, finished)

    def positions(self, part: slice) -> Array:
        """Of some of the drawn examples."""
        return self.rows + np.arange(part.start, part.stop) if isinstance(self.rows, int) else self.rows[part]


def batch_records(work: BatchDrawing, batch: Batch, at: slice) -> Iterator[tuple[slice, str, pa.RecordBatch | None]]:
    """The parts of a batch, each with a digest and its rows of the map, `None` where they are finished."""
    start = at.start
    for chunk in work.origin.chunks(batch):
        part = slice(start, start + len(chunk))
        digest = "" if work.finished is None else digest_of_batch(chunk)
        if work.finished is not None and (part.start, part.stop) in work.finished:
            yield part, digest, None
        else:
            yield part, digest, _record(work.origin, work.gate, chunk, work.positions(part), work.estimator)
        start = part.stop


def batch_files(work: BatchDrawing, batch: Batch, at: slice) -> Iterator[tuple[slice, str, bytes | None]]:
    """As `batch_records`, with the rows as the content of a file, compressed where they are computed."""
    for part, digest, record in batch_records(work, batch, at):
        yield part, digest, None if record is None else file_content(record, digest)


def _record(origin: Origin, gate: Gate, batch: Batch, rows: Array, estimator: Estimator) -> pa.RecordBatch:
    """The rows of one batch, with the number of outputs as a note."""
    stats = origin.batch_statistics(batch)
    effect = perturb(stats, estimator)
    gate.check_batch(batch, rows, stats, effect)
    columns = columns_of(stats, effect, origin.posterior.description)
    columns["warning"] = columns["warning"] | undefined_warnings(effect, columns["loo_loss"]).astype(np.int16)
    named = {"id": batch.ids, "row": rows}
    record = to_record_batch(named | _with_extra_columns(columns, origin.posterior, batch, stats))
    return record.replace_schema_metadata({OUTPUTS: str(stats.f.shape[1]).encode()})


def _with_extra_columns(columns: dict[str, Array], source: Any, batch: Batch, stats: Any) -> dict[str, Array]:
    """The map's columns plus the posterior's `extra_columns`; warnings are combined."""
    add = capabilities_of(source).extra_columns
    if add is None:
        return columns
    extra = dict(add(batch, stats))
    warning = np.asarray(extra.pop("warning", 0), dtype=np.int16)
    return {**columns, "warning": columns["warning"] | warning, **extra}
