"""Maps on disk: one Parquet file, provenance as JSON in its schema, a version, no pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from memorymaps.maps.provenance import Provenance

SCHEMA_VERSION = 1
_KEY = b"memorymaps"


class MapFileError(ValueError):
    """A file that is not a readable memory map."""


def save(table: pa.Table, provenance: Provenance, path: str | Path) -> Path:
    """Write table and provenance; the file appears whole or not at all."""
    path = Path(path)
    note = json.dumps({"schema": SCHEMA_VERSION, "provenance": provenance.to_dict()}, allow_nan=True)
    stamped = table.replace_schema_metadata({_KEY: note.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    pq.write_table(stamped, partial, compression="zstd")
    partial.replace(path)
    return path


def load(path: str | Path) -> tuple[pa.Table, Provenance]:
    """Read table and provenance.

    Raises
    ------
    FileNotFoundError
        No such file.
    MapFileError
        Not Parquet, damaged, without a map's note, or of a newer schema.
    """
    table = _read(Path(path))
    note = _note(table, path)
    version = note.get("schema")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise MapFileError(
            f"{path} has map schema {version}, this version reads up to {SCHEMA_VERSION}: pip install -U memorymaps"
        )
    try:
        provenance = Provenance.from_dict(note["provenance"])
    except (KeyError, TypeError) as error:
        raise MapFileError(f"{path} has a damaged provenance: {error}") from error
    return table.replace_schema_metadata(None), provenance


def _read(path: Path) -> pa.Table:
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise MapFileError(f"{path} is not a readable Parquet file: {error}") from error


def _note(table: pa.Table, path: str | Path) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_KEY)
    if raw is None:
        raise MapFileError(f"{path} is a Parquet file but not a memory map: expected one written by MemoryMap.save")
    try:
        note = json.loads(raw)
    except ValueError as error:
        raise MapFileError(f"{path} has a damaged provenance: {error}") from error
    if not isinstance(note, dict):
        raise MapFileError(f"{path} has a damaged provenance: expected an object, got {type(note).__name__}")
    return note
