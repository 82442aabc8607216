"""Results of retrainings, each on disk as soon as it is there: a killed run goes on where it was.

A journal is a file of JSON lines that only grows. Each line ends in a checksum of itself. The first line, the header,
names the recipe, the data and the model; every other line is one result. A last line that was cut by a kill or a full
disk is dropped when the next result is appended; nothing before it is ever written again.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.files.atomic_files import replacing
from memorymaps.files.locks import WriterLock
from memorymaps.maps.memory_map import MemoryMap

_VERSION = 3
_OTHER_MAP = "holds the retrainings of another map or model"
_USE_OTHER_FILE = "give this run its own file, path="
_MAX_HEADER_BYTES = 2**26  # bytes a header may take
_HEADER_NUMBERS = 4096  # outputs in a header that tell one model from another


class JournalError(ValueError):
    """A file that is not a journal, or that of another run."""


class JournalWarning(RuntimeWarning):
    """Lines of a journal are damaged; their results are computed again."""


@dataclass
class Journal:
    """Results so far, by the row that was left out (−1: none) and the rows `wanted`.

    A line has the rows `wanted`, the original model's outputs there (`at`), the outputs `f` after the refit, and
    `moving`, their relative change in its second half (0 if unknown). `outputs[row]` are the original model's outputs;
    `whole` is the length in bytes of the file's complete lines.
    """

    outputs: Mapping[int, Array]
    results: dict[tuple[int, ...], dict[str, Any]] = field(default_factory=dict)
    path: Path | None = None
    whole: int = 0
    lock: WriterLock | None = None
    file: Any = None

    @classmethod
    def resume(
        cls, path: str | Path | None, m: MemoryMap, outputs: Mapping[int, Array], settings: Mapping[str, Any]
    ) -> Journal:
        """Read what an earlier run left, and go on; `settings` was run, and how. Nothing is written but a new header.

        Raises
        ------
        JournalError
            The file is no journal, or another map's, model's or recipe's.
        InUseError
            Another process computes this journal.
        """
        if path is None:
            return cls(outputs)
        path = Path(path).resolve()
        if _has_content(path):
            _read_header(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(path, path.with_name(f".{path.name}.lock"))
        lock.acquire()
        try:
            return cls._read(path, outputs, _header(m, settings), lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _read(cls, path: Path, outputs: Mapping[int, Array], header: dict[str, Any], lock: WriterLock) -> Journal:
        if not _has_content(path):
            with replacing(path) as partial:
                partial.write_bytes(_encoded(header))
        _check_header(path, _read_header(path), header)
        return cls(outputs, *_read_results(path), lock=lock)

    def has_result(self, row: int, wanted: Array) -> bool:
        """Whether a result for this row and these `wanted` rows exists, for the same model.

        Raises
        ------
        JournalError
            It was answered for a model with other outputs.
        """
        line = self.results.get(_key(row, wanted))
        if line is None:
            return False
        if not _agree(np.asarray(line["at"], dtype=float), self._outputs(wanted)):
            raise JournalError(
                f"{self.path} {_OTHER_MAP}: the outputs of rows {wanted.tolist()[:5]} differ; {_USE_OTHER_FILE}"
            )
        return True

    def result(self, row: int, wanted: Array) -> tuple[Array, float]:
        """Outputs `[len(wanted), c]` after retraining without `row`, and `remaining_change`."""
        line = self.results[_key(row, wanted)]
        return np.asarray(line["f"], dtype=float), float(line["moving"])

    def add(self, row: int, wanted: Array, f: Array, remaining_change: float = 0.0) -> None:
        """Keep one result: it is on the disk when this returns.

        Raises
        ------
        OSError
            The disk is full, or the file has gone; earlier results are as they were.
        """
        outputs = self._outputs(wanted).tolist()
        line = {"row": row, "wanted": wanted.tolist(), "at": outputs, "f": f.tolist(), "moving": remaining_change}
        if self.path is not None:
            self._append(_encoded(line))
        self.results[_key(row, wanted)] = line

    def _append(self, line: bytes) -> None:
        if self.file is None:
            self.file = open(self.path, "r+b", buffering=0)  # type: ignore[arg-type]  # noqa: SIM115  # closed at exit
        if os.fstat(self.file.fileno()).st_size < self.whole:
            raise OSError(f"{self.path} has become shorter than it was: another program has changed it")
        self.file.truncate(self.whole)  # what a kill or a full disk left of a line
        self.file.seek(self.whole)
        written = 0
        while written < len(line):
            written += self.file.write(line[written:])
        os.fsync(self.file.fileno())
        self.whole += len(line)

    def _outputs(self, wanted: Array) -> Array:
        return np.stack([np.asarray(self.outputs[row]) for row in wanted.tolist()])

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.file is not None:
            self.file.close()
        if self.lock is not None:
            self.lock.release()


def _key(row: int, wanted: Array) -> tuple[int, ...]:
    return (row, *wanted.tolist())


# --- lines ---------------------------------------------------------------------------------------------------------


def _encoded(line: Mapping[str, Any]) -> bytes:
    """JSON whose last member is a checksum of all before it."""
    head = json.dumps(line)[:-1].encode()
    return head + _checksum_member(head)


def _checksum_member(head: bytes) -> bytes:
    return b', "check": "%s"}\n' % hashlib.blake2b(head, digest_size=8).hexdigest().encode()


_CHECKSUM_LENGTH = len(_checksum_member(b""))


def _decoded(line: bytes) -> dict[str, Any] | None:
    """The line, or None if it is not whole."""
    head = line[:-_CHECKSUM_LENGTH]
    if line[-_CHECKSUM_LENGTH:] != _checksum_member(head):
        return None
    try:
        found = json.loads(head + b"}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _read_results(path: Path) -> tuple[dict[tuple[int, ...], dict[str, Any]], Path, int]:
    """Results, the path, and the length of the whole lines; the last line is dropped if it is cut."""
    results, whole, damaged = {}, 0, []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            found = _decoded(line)
            if found is not None and _is_result(found):
                results[(found["row"], *found["wanted"])] = found
            elif number > 1:
                damaged.append(number)
    if damaged:
        words = f"{path}: {len(damaged)} damaged line(s), the first is line {damaged[0]}: computed again"
        warnings.warn(words, JournalWarning, stacklevel=5)
    return results, path, whole


def _is_result(line: Mapping[str, Any]) -> bool:
    """Whether a line has the members of a result, of the right kinds and shapes."""
    wanted = line.get("wanted")
    if not isinstance(wanted, list) or not all(type(value) is int for value in [line.get("row"), *wanted]):
        return False
    try:
        outputs, f = (np.asarray(line.get(name), dtype=float) for name in ("at", "f"))
        finite = bool(np.isfinite(outputs).all() and np.isfinite(line["moving"]))
    except (KeyError, TypeError, ValueError):
        return False
    return finite and outputs.shape == f.shape and outputs.ndim == 2 and len(outputs) == len(wanted)


# --- the header ----------------------------------------------------------------------------------------------------


def _header(m: MemoryMap, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe, the data's fingerprint, and the model's: its outputs at a few rows."""
    assert m.origin is not None  # the callers have asked
    n, c = m.provenance.n, m.provenance.outputs
    rows = np.unique(np.linspace(0, n - 1, max(1, min(8, _HEADER_NUMBERS // c))).astype(int))
    outputs = m.origin.batch_statistics(m.origin.examples.take(rows)).f
    model = {"rows": rows.tolist(), "outputs": np.asarray(outputs, dtype=float).tolist()}
    return {**settings, "version": _VERSION, "n": n, "data": m.provenance.fingerprint, "fingerprint": model}


def _has_content(path: Path) -> bool:
    """Whether there is a file with something in it."""
    return path.exists() and not (path.is_file() and path.stat().st_size == 0)


def _read_header(path: Path) -> dict[str, Any]:
    """The first line.

    Raises
    ------
    JournalError
        It is not a journal's.
    """
    if not path.is_file():
        raise JournalError(f"{path} is not a file: {_USE_OTHER_FILE}")
    with open(path, "rb") as file:
        found = _decoded(file.readline(_MAX_HEADER_BYTES))
    if found is None or "memorymaps" not in found or found.get("version") != _VERSION:
        raise JournalError(
            f"{path} is not a journal that this version can read, and is left as it is: {_USE_OTHER_FILE}"
        )
    return found


def _check_header(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise `JournalError` with what differs between two headers."""
    names = [name for name in {**here, **there} if name not in ("fingerprint", "data", "check")]
    differ = [
        f"{name} {there.get(name)!r} there, {here.get(name)!r} here" for name in names if _differs(name, there, here)
    ]
    if _differs("data", there, here):
        differ.append("ids, targets or weights of the data differ")
    elif not differ and not _same_model(there.get("fingerprint"), here["fingerprint"]):
        differ.append("the model's outputs differ")
    if differ:
        raise JournalError(
            f"{path} {_OTHER_MAP}, or of another recipe: {'; '.join(differ)}. To go on: {_USE_OTHER_FILE}"
        )


def _differs(name: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    return bool(there.get(name) != here.get(name))


def _same_model(there: Any, here: Mapping[str, Any]) -> bool:
    if not isinstance(there, dict) or there.get("rows") != here["rows"]:
        return False
    try:
        was = np.asarray(there.get("outputs"), dtype=float)
    except (TypeError, ValueError):
        return False
    return _agree(was, np.asarray(here["outputs"]))


def _agree(was: Array, now: Array) -> bool:
    """Equal up to what another machine or number of threads changes."""
    return was.shape == now.shape and bool(np.allclose(was, now, rtol=1e-3, atol=1e-3 * float(np.abs(now).max())))
