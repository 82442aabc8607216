"""The memory map: one row an example, and where the numbers came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memorymaps.maps import group_removal as _group_removal
from memorymaps.maps import loo_averages, store
from memorymaps.maps import summary as _summary
from memorymaps.maps.citations import bibtex
from memorymaps.maps.table import ExampleTable


@dataclass(frozen=True, repr=False)
class MemoryMap(ExampleTable):
    """A memory map: an immutable Arrow table with one row an example, its provenance, and what follows from both.

    Columns are described in `memorymaps.maps.table.COLUMNS`. Group removal and parameter changes need the posterior,
    which is present until the map is written to disk.

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
        """Write one Parquet file with table and provenance; returns its path. Read it back with `load`."""
        return store.save(self.table, self.provenance, path)

    def explore(self, path: str | Path | None = None, **options: Any) -> Any:
        """Walk around in the map: one offline HTML file at `path`, or a notebook's widget; see `memorymaps.explore`."""
        import memorymaps  # the package's own door: pictures are loaded when they are asked for

        return memorymaps.explore(self, path, **options)

    def summary(self) -> _summary.Summary:
        """What the map says, in words: units and signs, effective parameters, concentration, warnings."""
        return _summary.summarise(self)

    def leave_one_out(self) -> loo_averages.LeaveOneOut:
        """Leave-one-out estimates of the whole training set: loss, error, accuracy without retraining."""
        return loo_averages.leave_one_out(self)

    def leave_out(self, groups: Any) -> _group_removal.LeaveOut:
        """What removing whole groups would do to their members and to everybody else.

        `groups` is a column's name (`"target"`: leave one class out), a mapping from names to ids, or one
        label for every example of this map.
        """
        return _group_removal.leave_out(self, groups)

    def citation(self) -> str:
        """BibTeX of the methods behind this map.

        Raises
        ------
        KeyError
            A posterior of another package names a method that has no entry here.
        """
        return bibtex(self.provenance.description.methods)


def load(path: str | Path) -> MemoryMap:
    """Read a map written by `MemoryMap.save`.

    Raises
    ------
    memorymaps.maps.store.MapFileError
        Not a map, damaged, or written by a newer version of the format.
    """
    table, provenance = store.load(path)
    return MemoryMap(table, provenance)
