"""The table of a map from its batches: in memory, or on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from memorymaps.build.batches import OUTPUTS, BatchDrawing, batch_files, batch_records
from memorymaps.data.examples import DataError
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.files.batch_journal import BatchJournal, BatchJournalError
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.on_disk.disk_table import DiskTable
from memorymaps.maps.on_disk.folders import is_folder, opened_table, publish
from memorymaps.maps.store import note_of, save_part
from memorymaps.posteriors.processes.ranks import Ranks


def all_records(drawn: RepeatedExamples, work: BatchDrawing, journal: BatchJournal | None) -> Iterator[pa.RecordBatch]:
    """The rows of every batch."""
    for part, digest, record in drawn.flat_map(batch_records, work):
        yield record if journal is None else _kept(journal, part, digest, record)


def table_in_memory(ranks: Ranks, own: list[pa.RecordBatch], journal: BatchJournal | None) -> tuple[pa.Table, int]:
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
    return table.replace_schema_metadata(None), int(records[0].schema.metadata[OUTPUTS])


def table_on_disk(drawn: RepeatedExamples, work: BatchDrawing, journal: BatchJournal) -> tuple[DiskTable, int]:
    """The table whose parts are the batches on disk, none of which is held in memory, and the number of outputs."""
    outputs = 0
    drawn_parts: set[tuple[int, int]] = set()
    for part, digest, content in drawn.flat_map(batch_files, work):
        if content is not None:
            journal.add_file(part, content)
        if content is None or not drawn_parts:
            outputs = int(_read(journal, part, digest).schema.metadata[OUTPUTS])
        drawn_parts.add((part.start, part.stop))
    journal.keep_only(drawn_parts)  # an earlier run may have cut the rows into other batches
    try:
        return opened_table(journal.folder), outputs
    except ValueError as error:
        raise _other_columns(journal) from error


def _kept(journal: BatchJournal, part: slice, digest: str, record: pa.RecordBatch | None) -> pa.RecordBatch:
    """A record that was made now, on disk; or that of an earlier run, where there is none."""
    if record is not None:
        journal.add(part, digest, record)
        return record
    return _read(journal, part, digest)


def _read(journal: BatchJournal, part: slice, digest: str) -> pa.RecordBatch:
    found = journal.read(part, digest)
    if found is None:
        raise BatchJournalError(f"{journal.folder} has lost rows {part.start} to {part.stop}: run again")
    return found


def _other_columns(journal: BatchJournal) -> BatchJournalError:
    return BatchJournalError(f"{journal.folder} has batches with other columns: delete it, and run again")


def saved(m: MemoryMap, journal: BatchJournal, path: str | Path) -> MemoryMap:
    """The map, which is on disk now; in a folder the finished batches have become its files."""
    if not isinstance(m.table, DiskTable):
        m.save(path)
        return m
    if m.table.changed:
        m.save(path)
    else:
        publish(journal, note_of(m.provenance) | {"rows": len(m)}, Path(path))
    return dataclasses.replace(m, table=opened_table(Path(path)))


def part_saved(m: MemoryMap, path: str | Path, ranks: Ranks) -> MemoryMap:
    """The map, of which the first process has written the file, or each its part of the rows, in a folder."""
    if is_folder(path):
        rows = ranks.part(len(m))
        own = m.table.slice(rows.start, rows.stop - rows.start)
        save_part(own, m.provenance, path, ranks.rank, ranks.size)
    elif ranks.is_first:
        m.save(path)
    return m
