"""Saving and loading of maps: one Parquet file with provenance as JSON in its schema metadata; no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memorymaps.files.atomic_files import replacing
from memorymaps.files.safe_text import printable
from memorymaps.maps.provenance import Provenance, upgraded
from memorymaps.maps.schema import check_provenance, check_table

SCHEMA_VERSION = 1
_METADATA_KEY = b"memorymaps"
_MAX_METADATA_BYTES = 2**26  # largest size of a provenance in bytes


class MapFileError(ValueError):
    """A file that is not a readable memory map."""


def save(table: pa.Table, provenance: Provenance, path: str | Path) -> Path:
    """Write table and provenance atomically, with page checksums."""
    path = Path(path)
    note = json.dumps({"schema": SCHEMA_VERSION, "provenance": provenance.to_dict()}, allow_nan=True)
    stamped = table.replace_schema_metadata({_METADATA_KEY: note.encode()})
    with replacing(path) as partial:
        pq.write_table(stamped, partial, compression="zstd", write_page_checksum=True)
    return path


def load(path: str | Path) -> tuple[pa.Table, Provenance]:
    """Read table and provenance.

    Raises
    ------
    FileNotFoundError
        No such file.
    MapFileError
        Not Parquet, damaged, without a map's metadata or columns, or of a newer schema.
    """
    try:
        return _loaded(path)
    except MapFileError as error:
        raise MapFileError(printable(str(error))) from error


def _loaded(path: str | Path) -> tuple[pa.Table, Provenance]:
    table = _read(Path(path))
    note = _metadata(table, path)
    version = note.get("schema")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise MapFileError(
            f"{path} has map schema {str(version)[:20]}, this version reads up to {SCHEMA_VERSION}: pip install -U "
            "memorymaps"
        )
    try:
        values = upgraded(note.get("provenance"))
        check_provenance(values)
        provenance = Provenance.from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise MapFileError(f"{path} has a damaged provenance: {error}") from error
    try:
        check_table(table)
    except (ValueError, pa.ArrowException) as error:
        raise MapFileError(f"{path} is damaged: {error}") from error
    return table.replace_schema_metadata(None), provenance


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
