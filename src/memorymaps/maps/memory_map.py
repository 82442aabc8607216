"""The memory map: a table with one row per example, its provenance, and methods on both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memorymaps.files.executors.workers import ExecutorArgument
from memorymaps.maps import group_removal as _group_removal
from memorymaps.maps import loo_averages, store
from memorymaps.maps import summary as _summary
from memorymaps.maps.table import ExampleTable
from memorymaps.maps.trust import Trust, trust_of
from memorymaps.posteriors.citations import bibtex
from memorymaps.posteriors.cross_fitting import check_folds


@dataclass(frozen=True, repr=False)
class MemoryMap(ExampleTable):
    """A memory map: an immutable Arrow table with one row per example, and its provenance.

    Columns are described in `memorymaps.maps.table.COLUMNS`. Group removal and parameter changes need the posterior,
    and a map read from disk has none.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from memorymaps import memory_map
    >>> X, y = load_diabetes(return_X_y=True)
    >>> m = memory_map(Ridge(alpha=0.1).fit(X, y), X, y)
    >>> len(m), round(float(m["leverage"].sum()), 2)
    (442, 8.64)
    """

    def save(self, path: str | Path) -> Path:
        """Write one Parquet file with table and provenance; returns its path. Read it back with `load`.

        If `path` is a folder, or ends with a slash: a folder of Parquet files, of which `load` reads only what is used.
        """
        return store.save(self.table, self.provenance, path)

    def explore(self, path: str | Path | None = None, **options: Any) -> Any:
        """Interactive explorer: an offline HTML file at `path`, or a notebook widget; see `memorymaps.explore`."""
        import memorymaps  # lazy: loads the plotting code on first use

        return memorymaps.explore(self, path, **options)

    def summary(self) -> _summary.Summary:
        """Text summary: units and signs, effective parameters, concentration of sensitivity, warnings."""
        return _summary.summarise(self)

    @property
    def trust(self) -> Trust:
        """How far each figure can be trusted and why: leverage, sensitivity, left-out loss, ranks, groups."""
        return trust_of(self)

    def leave_one_out(
        self, cross_fit: int | None = None, *, executor: ExecutorArgument = None, path: str | Path | None = None
    ) -> loo_averages.LeaveOneOut:
        """Training and leave-one-out averages over the map: loss, accuracy or root mean squared error.

        With `cross_fit=5`, every example is predicted by one of five refits, each without a fifth of the data: for
        models whose leave-one-out predictions hold something fixed (splits of trees). `executor`, a number of
        processes or any `concurrent.futures.Executor`, refits in parallel; `path` is a folder that keeps each fold when
        it is finished: after an interruption or a kill, the same call goes on from there.
        """
        check_folds(cross_fit, path, "leave_one_out(cross_fit=5, path=…)")
        if cross_fit is None:
            return loo_averages.leave_one_out(self)
        return loo_averages.cross_fitted(self, cross_fit, executor, path)

    def leave_out(self, groups: Any) -> _group_removal.LeaveOut:
        """Estimated effects of removing whole groups, on their members and on the other examples.

        `groups` is a column's name (`"target"`: leave one class out), a mapping from group names to
        ids, or labels `[n]` of the examples of this map.
        """
        return _group_removal.leave_out(self, groups)

    def citation(self) -> str:
        """BibTeX of the methods used for this map.

        Raises
        ------
        KeyError
            A posterior of another package lists a method without an entry in `maps.citations`.
        """
        return bibtex(self.provenance.description.methods)


def require_map(m: Any, name: str = "") -> MemoryMap:
    """The map itself; `TypeError` for anything else, which is called `name`."""
    if not isinstance(m, MemoryMap):
        got = f"{name} is" if name else "got"
        raise TypeError(
            f"{got} a {type(m).__name__}: expected the map that memory_map(model, X, y) returns, or mm.load(path) of a "
            "saved one"
        )
    return m


def load(path: str | Path) -> MemoryMap:
    """Read a map written by `MemoryMap.save`; of one in a folder, columns and rows are read when they are used.

    Raises
    ------
    memorymaps.maps.store.MapFileError
        Not a map, damaged, or written by a newer version of the format.
    """
    table, provenance = store.load(path)
    return MemoryMap(table, provenance)
