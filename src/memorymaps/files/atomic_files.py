"""Files and folders that appear whole or not at all: written under another name beside, flushed to disk, renamed.

A partial name is `.NAME.MACHINE.PID.RANDOM.partial`: unique to the writer, so that threads and processes that save one
path at once each leave one whole file, the last one's; and hidden, so that readers of `*.parquet` never see it. What a
killed writer leaves behind is deleted by the next writer of the same path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from memorymaps.files.processes import is_running, machine_tag

_PARTIAL = re.compile(r"\.([0-9a-f]{8})\.(\d{1,10})\.[0-9a-f]{8}\.partial")
_DAY = 86_400.0  # seconds after which a partial file of another machine is taken for abandoned
_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """The path of a partial file to write; it takes the place of `path` when the block ends without an exception.

    Parent folders are made. After an exception, and after a kill, `path` is what it was before.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
    >>> with replacing(path) as partial:
    ...     _ = partial.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    partial = partial_path(path)
    try:
        yield partial
        flush_file(partial)
        os.replace(partial, path)
    except BaseException:
        discard(partial)
        raise
    flush_folder(path.parent)


def partial_path(path: Path) -> Path:
    """A new hidden name beside `path`."""
    own = f"{machine_tag()}.{os.getpid()}.{secrets.token_hex(4)}.partial"
    return path.with_name(f"{_prefix(path)}.{own}")


def _prefix(path: Path) -> str:
    """Short enough that the whole name fits into 255 bytes."""
    return f".{path.name[:40]}"


def sweep(path: Path) -> None:
    """Delete partial files and folders of `path` whose writer no longer runs."""
    prefix = _prefix(path)
    with os.scandir(path.parent) as entries:
        found = [entry for entry in entries if entry.name.startswith(prefix)]
    for entry in found:
        name = _PARTIAL.fullmatch(entry.name[len(prefix) :])
        if name and _is_abandoned(entry, name[1], int(name[2])):
            discard(Path(entry.path))


def _is_abandoned(entry: os.DirEntry[str], machine: str, pid: int) -> bool:
    if machine == machine_tag() and not is_running(pid):
        return True
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _DAY
    except FileNotFoundError:  # its writer has just renamed it
        return False


def discard(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # another process may delete the same one
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def flush_file(path: Path) -> None:
    """Have a file's content on the disk before its name is."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Have a folder's names on the disk, on systems where a folder can be opened."""
    if os.name != "posix":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:  # some network file systems flush files only
            raise
    finally:
        os.close(folder)
