"""Saving and loading of maps: one Parquet file with provenance as JSON in its schema metadata; no pickle.

A map in a folder is `on_disk`; or, of several processes, in parts, `part-00000-of-00003.parquet`: each has some rows,
and the provenance of all of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memorymaps.files.atomic_files import replacing
from memorymaps.files.safe_text import printable
from memorymaps.files.writing_parquet import parquet_options
from memorymaps.maps.on_disk.disk_table import DiskTable
from memorymaps.maps.on_disk.folders import NOTE, is_folder, opened_table, read_note, readable_folder, write_folder
from memorymaps.maps.provenance import Provenance, upgraded
from memorymaps.maps.schema import check_provenance, check_table

SCHEMA_VERSION = 1
_METADATA_KEY = b"memorymaps"
_MAX_METADATA_BYTES = 2**26  # largest size of a provenance in bytes


class MapFileError(ValueError):
    """A file that is not a readable memory map."""


def note_of(provenance: Provenance) -> dict[str, Any]:
    """What is written with a map's rows."""
    return {"schema": SCHEMA_VERSION, "provenance": provenance.to_dict()}


def save(table: pa.Table | DiskTable, provenance: Provenance, path: str | Path) -> Path:
    """Write table and provenance atomically, with page checksums: a file, or a folder of files."""
    note = note_of(provenance)
    if is_folder(path):
        write_folder(table, note, Path(path))
        return Path(path)
    stamp = {_METADATA_KEY: json.dumps(note, allow_nan=True).encode()}
    parts = table.parts() if isinstance(table, DiskTable) else iter([(0, table)])
    schema = table.schema.with_metadata(stamp)
    with replacing(path) as partial, pq.ParquetWriter(partial, schema, **parquet_options(schema)) as writer:
        for _, part in parts:
            writer.write_table(part.replace_schema_metadata(stamp))
        writer.close()  # before the file takes its place
    return Path(path)


def save_part(table: pa.Table, provenance: Provenance, folder: str | Path, part: int, parts: int) -> Path:
    """Write one of the parts of a map: its rows, and the provenance of all of them."""
    return save(table, provenance, Path(folder) / f"part-{part:05}-of-{parts:05}.parquet")


def load(path: str | Path) -> tuple[pa.Table | DiskTable, Provenance]:
    """Read table and provenance; of a folder the provenance only, and rows when they are used.

    Raises
    ------
    FileNotFoundError
        No such file.
    MapFileError
        Not Parquet, damaged, without a map's metadata or columns, or of a newer schema; a part that is missing, or is
        of another map.
    """
    try:
        folder = readable_folder(Path(path))
        return _of_folder(folder) if folder.is_dir() else _loaded(path)
    except MapFileError as error:
        raise MapFileError(printable(str(error))) from error


def _of_folder(folder: Path) -> tuple[pa.Table | DiskTable, Provenance]:
    """A map that one process wrote, or several, each a part."""
    parts = any(folder.glob("part-*-of-*.parquet")) and not (folder / NOTE).exists()
    return _joined(folder) if parts else _opened(folder)


def _joined(folder: Path) -> tuple[pa.Table, Provenance]:
    """The parts of a map in a folder, in their order."""
    names = sorted(file.name for file in folder.glob("part-*-of-*.parquet"))
    counts = {name.removesuffix(".parquet").rpartition("-")[2] for name in names}
    if len(counts) != 1 or {f"part-{k:05}-of-{len(names):05}.parquet" for k in range(len(names))} != set(names):
        raise MapFileError(
            f"{folder} has {len(names)} part(s) of a map, {', '.join(names[:3])}: expected the files of all processes "
            "that drew one map, from part-00000 on, and of no other map"
        )
    tables, provenances = zip(*(_loaded(folder / name) for name in names), strict=True)
    if len({json.dumps(each.to_dict(), default=str) for each in provenances}) > 1:
        raise MapFileError(
            f"{folder} has parts of different maps: expected the files that one call of memory_map wrote"
        )
    return pa.concat_tables(tables).combine_chunks(), provenances[0]


def _loaded(path: str | Path) -> tuple[pa.Table, Provenance]:
    table = _read(Path(path))
    provenance = _provenance(_metadata(table, path), path)
    try:
        check_table(table)
    except (ValueError, pa.ArrowException) as error:
        raise MapFileError(f"{path} is damaged: {error}") from error
    return table.replace_schema_metadata(None), provenance


def _opened(folder: Path) -> tuple[DiskTable, Provenance]:
    """The map in a folder: its files' footers are read, no rows."""
    try:
        note = read_note(folder)
        if not isinstance(note, dict):
            raise MapFileError(f"{folder} is a folder but not a memory map: expected one with the file {NOTE}")
        table = opened_table(folder)
        check_table(table.schema.empty_table())
    except (ValueError, OSError, pa.ArrowException) as error:
        raise error if isinstance(error, MapFileError) else MapFileError(f"{folder} is damaged: {error}") from error
    if table.num_rows != note.get("rows", table.num_rows):
        raise MapFileError(f"{folder} is damaged: it has {table.num_rows:,} rows, expected {note['rows']:,}")
    return table, _provenance(note, folder)


def _provenance(note: dict[str, Any], path: str | Path) -> Provenance:
    version = note.get("schema")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise MapFileError(
            f"{path} has map schema {str(version)[:20]}, this version reads up to {SCHEMA_VERSION}: pip install -U "
            "memorymaps"
        )
    try:
        values = upgraded(note.get("provenance"))
        check_provenance(values)
        return Provenance.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise MapFileError(f"{path} has a damaged provenance: {error}") from error


def _read(path: Path) -> pa.Table:
    """The table; the file is opened once, so that a concurrent replacement cannot mix two files."""
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    try:
        with pa.OSFile(str(path)) as file:
            return pq.ParquetFile(file, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise MapFileError(f"{path} is not a readable Parquet file: {error}") from error


def _metadata(table: pa.Table, path: str | Path) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_METADATA_KEY)
    if raw is None:
        raise MapFileError(f"{path} is a Parquet file but not a memory map: expected one written by MemoryMap.save")
    if len(raw) > _MAX_METADATA_BYTES:
        raise MapFileError(f"{path} has a provenance of {len(raw):,} bytes: expected {_MAX_METADATA_BYTES:,} at most")
    try:
        note = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MapFileError(f"{path} has a damaged provenance: {error}") from error
    if not isinstance(note, dict):
        raise MapFileError(f"{path} has a damaged provenance: expected an object, got {type(note).__name__}")
    return note
