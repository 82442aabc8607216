"""Results of refits, each written to disk when it is finished, so that an interrupted run can be resumed.

A journal is an append-only file of JSON lines, each with a checksum as its last member. The first line, the header,
identifies recipe, data and model; every other line is one result. An incomplete last line (the process was killed, the
disk was full) is dropped when the next result is appended; earlier lines are never rewritten.
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

from memorymaps.analysis.recipe_fingerprint import same_function
from memorymaps.core.arrays import Array
from memorymaps.files.atomic_files import replacing
from memorymaps.files.locks import WriterLock
from memorymaps.maps.memory_map import MemoryMap

_VERSION = 3
_OTHER_MAP = "has results of another map or model"
_USE_OTHER_FILE = "use another file, path="
_MAX_HEADER_BYTES = 2**26  # largest size of a header
_HEADER_NUMBERS = 4096  # outputs in a header, which identify the model


class JournalError(ValueError):
    """A file that is not a journal, or belongs to another run."""


class JournalWarning(RuntimeWarning):
    """Damaged lines of a journal, whose results are computed again."""


@dataclass
class Journal:
    """Results by the removed row (−1: none) and the rows `wanted`, in memory and optionally in a file.

    A line has the rows `wanted`, the original model's outputs there (`at`), the outputs `f` after the refit, and
    `moving`, their relative change in its second half (0 if unknown). `outputs[row]` are the original model's outputs,
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
            The file is no journal, or belongs to another map, model or recipe.
        InUseError
            Another process writes to this journal.
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
        """Outputs `[len(wanted), c]` after the refit without `row`, and their remaining relative change."""
        line = self.results[_key(row, wanted)]
        return np.asarray(line["f"], dtype=float), float(line["moving"])

    def add(self, row: int, wanted: Array, f: Array, remaining_change: float = 0.0) -> None:
        """Store one result; it is on disk when this returns.

        Raises
        ------
        OSError
            The disk is full, or the file was removed; earlier results are unchanged.
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
            raise OSError(
                f"{self.path} has become shorter than it was: another program has changed it. To go on: "
                f"{_USE_OTHER_FILE}"
            )
        self.file.truncate(self.whole)  # drops an incomplete line
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
    """JSON whose last member is a checksum of the others."""
    head = json.dumps(line)[:-1].encode()
    return head + _checksum_member(head)


def _checksum_member(head: bytes) -> bytes:
    return b', "check": "%s"}\n' % hashlib.blake2b(head, digest_size=8).hexdigest().encode()


_CHECKSUM_LENGTH = len(_checksum_member(b""))


def _decoded(line: bytes) -> dict[str, Any] | None:
    """The line, or `None` if it is incomplete or damaged."""
    head = line[:-_CHECKSUM_LENGTH]
    if line[-_CHECKSUM_LENGTH:] != _checksum_member(head):
        return None
    try:
        found = json.loads(head + b"}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _read_results(path: Path) -> tuple[dict[tuple[int, ...], dict[str, Any]], Path, int]:
    """Results, the path, and the length of the complete lines; an incomplete last line is dropped."""
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
    """Whether a line has the members of a result, with the right types and shapes."""
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
    """The recipe, the fingerprint of the data, and that of the model (its outputs at a few rows)."""
    assert m.origin is not None  # checked by the callers
    n, c = m.provenance.n, m.provenance.outputs
    rows = np.unique(np.linspace(0, n - 1, max(1, min(8, _HEADER_NUMBERS // c))).astype(int))
    outputs = m.origin.batch_statistics(m.origin.examples.take(rows)).f
    model = {"rows": rows.tolist(), "outputs": np.asarray(outputs, dtype=float).tolist()}
    data = {"data": m.provenance.fingerprint, "inputs": m.provenance.inputs}
    return {**settings, "version": _VERSION, "n": n, **data, "fingerprint": model}


def _has_content(path: Path) -> bool:
    """Whether the file exists and is not empty."""
    return path.exists() and not (path.is_file() and path.stat().st_size == 0)


def _read_header(path: Path) -> dict[str, Any]:
    """The header.

    Raises
    ------
    JournalError
        The first line is not a journal's header.
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


_SINCE_0_2 = ("inputs", "function")  # missing in journals of earlier versions


def _check_header(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise `JournalError`, with the differences, unless two headers are of the same run."""
    names = [name for name in {**expected, **found} if name not in ("fingerprint", "check", "data", *_SINCE_0_2)]
    differ = [
        f"{name} {found.get(name)!r} there, {expected.get(name)!r} here"
        for name in names
        if _differs(name, found, expected)
    ]
    if _differs("data", found, expected):
        differ.append("ids, targets or weights of the data differ")
    if found.get("inputs") and expected.get("inputs") and _differs("inputs", found, expected):
        differ.append("inputs of the data differ")
    function = found.get("function", ":")
    if not isinstance(function, str) or not same_function(function, expected.get("function", ":")):
        differ.append("the function retrain differs (one that only logs around the same: functools.wraps(it))")
    if not differ and not _same_model(found.get("fingerprint"), expected["fingerprint"]):
        differ.append("the model's outputs differ")
    if differ:
        raise JournalError(
            f"{path} {_OTHER_MAP}, or of another recipe: {'; '.join(differ)}. To continue: {_USE_OTHER_FILE}"
        )


def _differs(name: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return bool(found.get(name) != expected.get(name))


def _same_model(found: Any, expected: Mapping[str, Any]) -> bool:
    if not isinstance(found, dict) or found.get("rows") != expected["rows"]:
        return False
    try:
        outputs = np.asarray(found.get("outputs"), dtype=float)
    except (TypeError, ValueError):
        return False
    return _agree(outputs, np.asarray(expected["outputs"]))


def _agree(old: Array, new: Array) -> bool:
    """Equal up to rounding differences between machines or numbers of threads."""
    return old.shape == new.shape and bool(np.allclose(old, new, rtol=1e-3, atol=1e-3 * float(np.abs(new).max())))
