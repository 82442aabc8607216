"""The argument `executor=`: any `concurrent.futures.Executor`, or a number of processes."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from memorymaps.core.settings import as_count

ExecutorArgument: TypeAlias = Executor | int | None

_WATCHED = 1.0  # seconds between looks at whether the process that started a worker is there
_QUEUED = 2  # tasks submitted for each worker: one that it works at, one that waits
_MOST_PROCESSES, _MOST_A_CORE = 64, 8  # more processes are taken for a mistake
_NO_LIMIT = "1e18"  # bytes


@dataclass(frozen=True)
class Workers:
    """An executor that runs tasks, and how many are submitted at a time."""

    executor: Executor
    in_flight: int

    @property
    def in_this_process(self) -> bool:
        """Whether workers are threads, which share this process's memory."""
        return isinstance(self.executor, ThreadPoolExecutor)


@contextmanager
def opened(executor: ExecutorArgument) -> Iterator[Workers | None]:
    """The workers of the argument `executor=`; `None` where there is none, for work in this process.

    A number is that of processes, started here and ended with the block; each has its share of the cores for linear
    algebra. They do not run the main script again, so that it needs no `if __name__ == "__main__":`. Executors that
    are passed in stay open.

    Raises
    ------
    TypeError
        Neither an executor nor a number.
    """
    if executor is None:
        yield None
    elif isinstance(executor, Executor):
        yield Workers(executor, _QUEUED * _number_of_workers(executor))
    else:
        with _process_pool(_as_number(executor)) as pool:
            yield pool


def _as_number(executor: Any) -> int:
    instead = ": a number of processes, or an executor such as ProcessPoolExecutor(4) or Dask's client.get_executor()"
    number = as_count("executor", executor, instead=instead)
    cores = os.cpu_count() or 1
    most = max(_MOST_PROCESSES, _MOST_A_CORE * cores)
    if number > most:
        raise ValueError(
            f"executor = {number} processes, each of which imports the libraries anew: expected at most {most} with "
            f"{cores} cores"
        )
    return number


def _number_of_workers(executor: Any) -> int:
    client: Any = getattr(executor, "_client", None)  # Dask's
    if callable(getattr(client, "nthreads", None)):
        return max(1, int(sum(client.nthreads().values())))
    known = getattr(executor, "_max_workers", None)
    return known if isinstance(known, int) and known > 0 else os.cpu_count() or 1


@contextmanager
def _process_pool(processes: int) -> Iterator[Workers]:
    from loky import ProcessPoolExecutor  # lazy: only here

    threads = str(max(1, (os.cpu_count() or 1) // processes))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    # else loky replaces a worker whose memory has grown by 300 MB (a few batches), and each one imports everything anew
    limit = {"LOKY_MAX_MEMORY_LEAK_SIZE": os.environ.get("LOKY_MAX_MEMORY_LEAK_SIZE", _NO_LIMIT)}
    settings = limit | {name: os.environ.get(name, threads) for name in names}
    pool = ProcessPoolExecutor(processes, env=settings, initializer=_begin, initargs=(os.getpid(), _imported()))
    finished = False
    try:
        pool.submit(os.getpid)  # starts all workers, while this process prepares their work
        yield Workers(pool, _QUEUED * processes)
        finished = True
    finally:
        pool.shutdown(wait=True, kill_workers=not finished)


def _imported() -> tuple[str, ...]:
    """Libraries that take long to import, which this process has and every worker of a table will need."""
    return tuple(name for name in ("pandas", "pyarrow.parquet") if name in sys.modules)


def _begin(parent: int, libraries: tuple[str, ...]) -> None:
    """In a worker, before its first task."""
    _end_with(parent)
    for name in libraries:
        importlib.import_module(name)


def _end_with(parent: int) -> None:
    """In a worker: end when the process that started it does, also if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCHED)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
