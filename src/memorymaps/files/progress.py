"""Progress bars whose lock ends with its process.

tqdm's own lock is shared by forked processes: after one of them is killed while it holds the lock, all others wait for
ever, whether their bars are shown or not.
"""

from __future__ import annotations

import os
import threading
from typing import Any, ClassVar

from tqdm.auto import tqdm


class ProgressBar(tqdm):  # type: ignore[misc]  # tqdm is not read by mypy
    """`tqdm.auto.tqdm` with a lock of this process alone, and without its thread, which takes that lock too.

    Examples
    --------
    >>> with ProgressBar(total=2, disable=True) as bar:
    ...     bar.update(2)
    """

    _lock: ClassVar[Any] = threading.RLock()
    monitor_interval = 0

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **{"miniters": 1, **options})  # without the thread each update looks at the clock


def _renew_lock() -> None:
    """A forked process has a lock of its own: a thread that holds this one is not in it."""
    ProgressBar._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
