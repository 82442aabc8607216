"""Refits as tasks of an executor's workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from memorymaps.core.arrays import Array
from memorymaps.files.executors.workers import ExecutorArgument
from memorymaps.posteriors.capabilities import Refit

RefitSettings: TypeAlias = tuple[Refit, int, float]  # what refits, steps, tolerance
RefitTask: TypeAlias = tuple[int, Array, Array]  # number of the row or fold (−1: none), rows removed, rows wanted


def refit_without(settings: RefitSettings, task: RefitTask) -> tuple[Array, float]:
    """Outputs of the rows wanted after a refit, and their remaining change; an error is noted with its rows."""
    source, steps, tolerance = settings
    _, removed, wanted = task
    try:
        return source.refit(removed, wanted, steps, tolerance)
    except Exception as error:
        rows = f"row {removed[0]}" if len(removed) == 1 else f"{len(removed):,} rows"
        error.add_note(f"in the refit without {rows}")
        raise


def check_threads(source: Refit, executor: ExecutorArgument, threads: bool = False) -> None:
    """Raise `ValueError` for threads where a refit changes the model in place, or uses all cores."""
    if (threads or isinstance(executor, ThreadPoolExecutor)) and not source.concurrent:
        raise ValueError(
            "each refit of this model uses all cores: leave jobs out, or pass executor=2 for processes, each with its "
            "share of the cores"
        )
