"""Which process writes: names that tell the machine and the process apart, and whether a process still runs."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache


@cache
def machine_tag() -> str:
    """Eight hexadecimal digits of the machine (host name and, on Linux, the namespace that process numbers live in)."""
    namespace = os.readlink("/proc/self/ns/pid") if os.path.islink("/proc/self/ns/pid") else ""
    return hashlib.blake2b(f"{platform.node()}\0{namespace}".encode(), digest_size=4).hexdigest()


def is_running(pid: int) -> bool:
    """Whether a process of this machine with this number exists; always true where that cannot be asked (Windows)."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)  # signal 0 is never delivered: only the number is looked up
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
