"""What all tasks of one run use, sent to each worker once: a file that workers of this machine read, bytes elsewhere.

A task that reaches a worker which has neither read the file nor can (another machine) returns `ContextMissing`; it is
submitted again with the bytes. A worker keeps the two contexts that it used last.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cloudpickle

from memorymaps.files.executors.errors import NotPicklableError

Task = Callable[[Any, Any], Any]  # (shared, item) → result

_KEPT = 2
_CONTEXTS: OrderedDict[str, tuple[Task, Any]] = OrderedDict()  # of a worker
_LOCK = threading.Lock()


@dataclass(frozen=True)
class ContextMissing:
    """The answer of a worker that has not got the context `key`."""

    key: str


class LeftOut:
    """Stands in a worker for what was not sent there, as no task needs it."""


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is not read by mypy
    """Leaves out the instances of some classes."""

    def __init__(self, file: io.BytesIO, left_out: tuple[type, ...]):
        super().__init__(file)
        self._left_out = left_out

    def reducer_override(self, obj: Any) -> Any:
        return (LeftOut, ()) if isinstance(obj, self._left_out) else super().reducer_override(obj)


def pickled(value: Any, what: str, left_out: tuple[type, ...] = ()) -> bytes:
    """The bytes of a value, without instances of `left_out`; functions of `__main__` and lambdas by their code.

    Raises
    ------
    NotPicklableError
        It holds what belongs to this process: an open file, a lock, a connection, a generator.
    """
    try:
        content = io.BytesIO()
        _Pickler(content, left_out).dump(value)
        return content.getvalue()
    except Exception as error:
        raise NotPicklableError(
            f"{what} cannot be sent to another process ({type(error).__name__}: {error}): open files, locks and "
            "connections stay where they are. Open them inside the function that uses them, or use threads, "
            "executor=ThreadPoolExecutor(4)"
        ) from error


class SharedContext:
    """A task and what it shares with all others of a run, in a file of this machine until the block ends."""

    def __init__(self, task: Task, shared: Any, what: str, left_out: tuple[type, ...] = ()):
        self.payload = pickled((task, shared), what, left_out)
        self.key = hashlib.blake2b(self.payload, digest_size=16).hexdigest()
        self._folder = tempfile.TemporaryDirectory(prefix="memorymaps-")
        self.path = Path(self._folder.name) / "context.pickle"
        self.path.write_bytes(self.payload)

    def __enter__(self) -> SharedContext:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._folder.cleanup()


def perform(key: str, path: str, payload: bytes | None, item: bytes) -> Any:
    """In a worker: the result of the task for one item, or `ContextMissing`."""
    found = _context(key, path, payload)
    if found is None:
        return ContextMissing(key)
    task, shared = found
    return task(shared, pickle.loads(item))


def _context(key: str, path: str, payload: bytes | None) -> tuple[Task, Any] | None:
    with _LOCK:
        if key not in _CONTEXTS:
            content = _read(path) if payload is None else payload
            if content is None:
                return None
            _CONTEXTS[key] = pickle.loads(content)
            while len(_CONTEXTS) > _KEPT:
                _CONTEXTS.popitem(last=False)
        _CONTEXTS.move_to_end(key)
        return _CONTEXTS[key]


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:  # a worker on another machine, or of another user
        return None
