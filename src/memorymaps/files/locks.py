"""One writer at a time: a lock that the operating system takes back when its holder dies, and who holds it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import weakref
from pathlib import Path

from filelock import FileLock, Timeout

from memorymaps.files.atomic_files import replacing
from memorymaps.files.processes import is_running


class InUseError(RuntimeError):
    """Another process, or another object of this process, writes there at present."""


class WriterLock:
    """An exclusive lock on what is written to `target`, held from `acquire` to `release`, or to the process's end.

    The lock is the operating system's on an empty file `path` (which stays); beside it, in `path` + `.holder`, stands
    who holds it. A lock whose holder was killed is free.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with WriterLock(folder, folder / ".lock"):
    ...     WriterLock(folder, folder / ".lock").acquire()
    Traceback (most recent call last):
    memorymaps.files.locks.InUseError: ... is written by this process already ...
    """

    def __init__(self, target: Path, path: Path):
        self.target, self._holder = target, path.with_name(f"{path.name}.holder")
        self._lock = FileLock(path, timeout=0, thread_local=False)
        self._release = weakref.finalize(self, _release, self._lock, self._holder, os.getpid())

    def acquire(self) -> None:
        """Take the lock; nothing, if this object holds it.

        Raises
        ------
        InUseError
            Another one holds it; the message names the process.
        OSError
            The lock's file cannot be written.
        """
        if self._lock.is_locked:
            return
        try:
            self._lock.acquire()
        except Timeout as error:
            raise InUseError(f"{self.target} is written by {self._described()}") from error
        own = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        try:
            with replacing(self._holder) as partial:
                partial.write_text(json.dumps(own), encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise

    def release(self) -> None:
        """Give the lock back."""
        _release(self._lock, self._holder, os.getpid())

    def __enter__(self) -> WriterLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _described(self) -> str:
        """The holder, as it wrote itself down; it may not have done so yet."""
        try:
            held = json.loads(self._holder.read_text(encoding="utf-8"))
            pid, host, since = int(held["pid"]), str(held["host"]), str(held["since"])
        except (OSError, ValueError, KeyError, TypeError):
            return "another process: wait for it, or choose another path"
        if host != platform.node() or is_running(pid):
            return _message(pid, host, since)
        return f"a child of process {pid} on {host!r}, which itself is gone: end that child, or choose another path"


def _message(pid: int, host: str, since: str) -> str:
    if pid == os.getpid() and host == platform.node():
        return f"this process already (since {since}): close() the other writer first, or choose another path"
    return f"process {pid} on {host!r} (since {since}): wait for it, end it, or choose another path"


def _release(lock: FileLock, holder: Path, owner: int) -> None:
    if lock.is_locked and os.getpid() == owner:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()
