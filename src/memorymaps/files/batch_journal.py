"""Batches of a table, each on disk when it is finished, so that what a killed run has computed is not lost.

A folder beside the file that is being made, `.NAME.batches`: `header.json` says what is computed, and every finished
batch is a Parquet file of its own, written under another name and renamed, named by its rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memorymaps.files.atomic_files import discard, replacing
from memorymaps.files.locks import WriterLock
from memorymaps.files.safe_text import printable
from memorymaps.files.writing_parquet import parquet_options

_DIGEST = b"digest"


class BatchJournalError(ValueError):
    """Finished batches of another computation, or damaged ones."""


@dataclass(frozen=True)
class BatchJournal:
    """The finished batches in `folder`; one writer at a time.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "table.parquet"
    >>> with BatchJournal.resume(path, {"seed": 0}) as journal:
    ...     journal.add(slice(0, 2), "of the inputs", pa.record_batch({"x": [1, 2]}))
    >>> with BatchJournal.resume(path, {"seed": 0}) as journal:
    ...     journal.read(slice(0, 2), "of the inputs")["x"].to_pylist()
    [1, 2]
    """

    folder: Path
    lock: WriterLock

    @classmethod
    def resume(cls, path: str | Path, header: Mapping[str, Any]) -> BatchJournal:
        """Go on with what an earlier run towards `path` left, or begin; `header` is what is computed, as JSON.

        Raises
        ------
        BatchJournalError
            The earlier run computed something else; the message says what differs.
        InUseError
            Another process is at it.
        """
        path = Path(path).resolve()
        return cls._opened(path, path.with_name(f".{path.name}.batches"), header)

    @classmethod
    def kept_in(cls, folder: str | Path, header: Mapping[str, Any]) -> BatchJournal:
        """The same in a folder of its own, which stays when all is finished.

        Raises
        ------
        BatchJournalError
            The folder has files of something else, or of another computation.
        InUseError
            Another process is at it.
        """
        folder = Path(folder).resolve()
        others = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        if others and not (folder / ".lock").exists():
            raise BatchJournalError(f"{folder} is there, and has no finished batches: choose another path=")
        return cls._opened(folder, folder, header)

    @classmethod
    def _opened(cls, path: Path, folder: Path, header: Mapping[str, Any]) -> BatchJournal:
        folder.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(path, folder / ".lock")
        lock.acquire()
        try:
            _check_header(folder, json.loads(json.dumps(header)))
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock)

    def finished(self) -> frozenset[tuple[int, int]]:
        """First and last row of the batches that are there."""
        names = (file.stem.split("-") for file in self.folder.glob("[0-9]*-[0-9]*.parquet"))
        return frozenset((int(start), int(stop)) for start, stop in names)

    def read(self, rows: slice, digest: str) -> pa.RecordBatch | None:
        """The batch of these rows, if it is finished; `digest` is that of what it was computed from.

        Raises
        ------
        BatchJournalError
            It was computed from something else, or its file is damaged.
        """
        file = self._file(rows)
        if not file.exists():
            return None
        try:
            found, batch = _read_batch(file)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise BatchJournalError(f"{file} is damaged ({printable(str(error))}): delete it, and run again") from error
        if found != digest:
            raise BatchJournalError(
                f"{self.folder} has rows {rows.start} to {rows.stop} of other inputs, targets, ids or weights. "
                f"{_remedy(self.folder)}"
            )
        return batch

    def add(self, rows: slice, digest: str, batch: pa.RecordBatch) -> None:
        """Keep a finished batch; it is on disk when this returns."""
        self.add_file(rows, file_content(batch, digest))

    def add_file(self, rows: slice, content: bytes) -> None:
        """Keep a finished batch by its `file_content`, which another process may have made."""
        with replacing(self._file(rows)) as partial:
            partial.write_bytes(content)

    def keep_only(self, batches: Collection[tuple[int, int]]) -> None:
        """Delete the batches whose first and last row are not among these."""
        for start, stop in self.finished() - frozenset(batches):
            discard(self._file(slice(start, stop)))

    def delete(self) -> None:
        """Delete the batches: what they were for is done."""
        self.lock.release()
        discard(self.folder)

    def forget(self, folder: Path) -> None:
        """End the journal whose batches have become the files of `folder`: only these are left there."""
        self.lock.release()
        for extra in (folder / "header.json", *folder.glob(".lock*")):
            discard(extra)

    def __enter__(self) -> BatchJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def _file(self, rows: slice) -> Path:
        return self.folder / batch_name(rows.start, rows.stop)


def file_content(batch: pa.RecordBatch, digest: str) -> bytes:
    """The Parquet file of a finished batch; `digest` is that of what it was computed from."""
    notes = {**(batch.schema.metadata or {}), _DIGEST: digest.encode()}
    table = pa.Table.from_batches([batch]).replace_schema_metadata(notes)
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, **parquet_options(table.schema))
    return bytes(stream.getvalue().to_pybytes())


def batch_name(start: int, stop: int) -> str:
    """The file of the rows `start … stop − 1`; the order of names is that of rows."""
    return f"{start:012d}-{stop:012d}.parquet"


def _read_batch(file: Path) -> tuple[str, pa.RecordBatch]:
    """Digest of what a batch was computed from, and the batch.

    Raises
    ------
    ArrowException, OSError, ValueError, KeyError
        The file is damaged.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as source:
        table = source.read()
    notes = dict(table.schema.metadata or {})
    digest = notes.pop(_DIGEST).decode()
    (batch,) = table.replace_schema_metadata(notes).combine_chunks().to_batches()
    return digest, batch


def _check_header(folder: Path, header: Mapping[str, Any]) -> None:
    file = folder / "header.json"
    if not file.exists():
        with replacing(file) as partial:
            partial.write_text(json.dumps(header), encoding="utf-8")
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        differ = [name for name in {**found, **header} if found.get(name) != header.get(name)]
    except (ValueError, TypeError, AttributeError) as error:
        raise BatchJournalError(f"{file} is damaged ({printable(str(error))}). {_remedy(folder)}") from error
    if differ:
        name = differ[0]
        raise BatchJournalError(
            f"{folder} is of another run: {printable(', '.join(differ))} "
            f"differ{'s' * (len(differ) == 1)}; {printable(name)} {_difference(found.get(name), header.get(name))}. "
            f"{_remedy(folder)}"
        )


def _difference(was: Any, now: Any) -> str:
    """Two values that differ; of lists of one length the first items that do; long ones from where they do."""
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        was, now = next((pair for pair in zip(was, now, strict=True) if pair[0] != pair[1]), (was, now))
    texts = str(was), str(now)
    same = next((place for place, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    start = max(0, same - 40) if max(map(len, texts)) > 100 else 0
    first, second = (("…" if start else "") + text[start : start + 100] for text in texts)
    return f"was {first!r}, is {second!r}"


def _remedy(folder: Path) -> str:
    return "To begin anew delete that folder, or choose another path=; to go on, run the same again"
