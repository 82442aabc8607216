"""A map in a folder: Parquet files of its rows, which any reader of Parquet data sets reads, and `_map.json`.

`_map.json` is written last: a folder without it is no map.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memorymaps.files.atomic_files import discard, flush_folder, partial_path, replacing, sweep
from memorymaps.files.batch_journal import BatchJournal, batch_name
from memorymaps.files.writing_parquet import parquet_options
from memorymaps.maps.on_disk.disk_table import DiskTable

NOTE = "_map.json"
ROWS = 1_000_000  # of a file
_TRIES = 3  # to find a folder while others replace it


def is_folder(path: str | Path) -> bool:
    """Whether a map is written to a folder there: it is one already, or its name ends with a slash."""
    return readable_folder(Path(path)).is_dir() or str(path).endswith(("/", os.sep))


def write_note(folder: Path, note: dict[str, Any]) -> None:
    """What makes a folder of rows a map."""
    with replacing(folder / NOTE) as partial:
        partial.write_text(json.dumps(note, allow_nan=True), encoding="utf-8")


def read_note(folder: Path) -> dict[str, Any] | None:
    """What was written with the map; `None` where there is none."""
    file = folder / NOTE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def opened_table(folder: Path) -> DiskTable:
    """The rows of the map in a folder; nothing but footers is read."""
    return DiskTable.of(sorted(folder.glob("[0-9]*-[0-9]*.parquet")))


def write_folder(table: pa.Table | DiskTable, note: dict[str, Any], folder: Path) -> None:
    """Write a map's rows and note; the folder appears whole, in place of one that is there."""
    check_replaceable(folder)
    made = partial_path(folder)
    made.mkdir(parents=True)
    try:
        for start, part in _parts(table):
            with replacing(made / batch_name(start, start + len(part))) as partial:
                pq.write_table(part, partial, **parquet_options(part.schema))
        write_note(made, note | {"rows": table.num_rows})
        replace_folder(made, folder)
    except BaseException:
        discard(made)
        raise


def _parts(table: pa.Table | DiskTable) -> Iterator[tuple[int, pa.Table]]:
    if isinstance(table, DiskTable):
        return table.parts()
    return ((start, table.slice(start, ROWS)) for start in range(0, max(1, len(table)), ROWS))


def check_replaceable(folder: Path) -> None:
    """Raise `FileExistsError` for a folder that has anything but a map."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    if names and NOTE not in names:
        raise FileExistsError(
            f"{folder} is a folder with other files: give the map a name of its own, path={str(folder / 'map/')!r} for "
            f"a folder of files, path={str(folder / 'map.parquet')!r} for one file"
        )


def replace_folder(made: Path, folder: Path) -> None:
    """Give a finished folder its name; the map that was there is deleted afterwards.

    Two folders cannot change places at once: a writer that is killed in between leaves the old one under a name that
    `readable_folder` finds.
    """
    check_replaceable(folder)
    while True:
        _set_aside(folder)
        earlier = _set_aside_folders(folder)
        try:
            os.replace(made, folder)
            break
        except OSError as error:  # another writer's folder has come in between
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    flush_folder(folder.parent)
    for each in earlier:
        discard(each)
    sweep(folder)


def readable_folder(folder: Path) -> Path:
    """The folder, or the one that was there before a writer was killed."""
    for _ in range(_TRIES):
        if folder.exists():
            return folder
        before = _set_aside_folders(folder)
        if before:
            return before[-1]
    return folder


def _set_aside(folder: Path) -> None:
    """Make room for another folder."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder, folder.with_name(f"{_prefix(folder)}{time.time_ns():020}.{secrets.token_hex(4)}"))


def _set_aside_folders(folder: Path) -> list[Path]:
    """Those that made room, the latest last."""
    return sorted(folder.parent.glob(f"{glob.escape(_prefix(folder))}*"))


def _prefix(folder: Path) -> str:
    return f".{folder.name}.before."


def publish(journal: BatchJournal, note: dict[str, Any], folder: Path) -> None:
    """Make the finished batches of a run, as they are, the map in `folder`: no row is written twice."""
    write_note(journal.folder, note)
    replace_folder(journal.folder, folder)
    journal.forget(folder)
