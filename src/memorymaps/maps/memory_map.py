"""The memory map: one row an example, and where the numbers came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from memorymaps._extras import require
from memorymaps.core.arrays import Array
from memorymaps.maps.citations import bibtex
from memorymaps.maps.memory_map import group_removal as _leave_out
from memorymaps.maps.memory_map import store
from memorymaps.maps.memory_map import summary as _summary
from memorymaps.maps.provenance import Provenance
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

# name → (unit, what it says); the order of the table's columns
COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("", "the example's name, which joins everything"),
    "row": ("", "its position in the training data"),
    "target": ("target", "what was observed"),
    "prediction": ("target", "predicted mean, or the most probable class"),
    "error": ("target", "size of the prediction error, ‖μ − y‖₂ ≥ 0: the map's y-axis"),
    "leverage": ("effective parameters", "tr(ΛV), how far the posterior lets the example move its own prediction"),
    "sensitivity": ("target", "Σ_c |Δμ_c| ≥ 0, how far the prediction moves if the example is left out"),
    "loss": ("nats", "−log p(y | f) with the example in the training data"),
    "loo_loss": ("nats", "the same with the example left out"),
    "loo_prediction": ("target", "prediction with the example left out"),
    "memorization": ("probability or density", "p(y | f) − p(y | f + Δf), what the model owes to having seen it"),
    "weight": ("", "weight of the example's loss in training"),
    "leverage_norm": ("effective parameters", "‖diag(VΛ)‖₂, the leverage of the 2023 reference code"),
    "output_sensitivity": ("output", "‖Δf‖₂ ≥ 0, the move on the scale of the linear predictor or logits"),
    "warning": ("", "0, or a sum of: 1 at the bound, 2 near singular, 4 not converged, 8 first order, 16 Pareto-k"),
    "output": ("output", "f, linear predictor or logits"),
    "deviation": ("output", "Δf = f without the example − f with it (signed)"),
    "residual": ("target", "μ − y (signed; prediction − truth)"),
    "standardised_error": ("standard deviations", "e/√Λ, the negative Pearson residual (one output only)"),
    "mean": ("target", "μ of every output (several outputs only)"),
    "loo_mean": ("target", "the same with the example left out (several outputs only)"),
    "refined": ("", "whether the deviation was solved on the exact curvature (after `refine` only)"),
    "refitted": ("", "whether the example was really left out (after `refit` only)"),
}


@dataclass(frozen=True)
class MemoryMap:
    """A memory map: an immutable Arrow table with one row an example, and its provenance.

    Columns are described in `COLUMNS`. `origin` is the live link to posterior and data, present until the
    map is written to disk; group removal and parameter moves need it.

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

    table: pa.Table
    provenance: Provenance
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, name: str) -> Array:
        """One column as a NumPy array: `[n]`, or `[n, c]` for columns with several outputs."""
        if name not in self.table.column_names:
            raise KeyError(f"no column {name!r}; this map has {self.table.column_names}")
        column = self.table.column(name).combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            return np.asarray(column.flatten()).reshape(len(self), column.type.list_size)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return np.asarray(column)

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.column_names)

    def __repr__(self) -> str:
        head = f"MemoryMap of {len(self):,} examples ({self.provenance.description.model})"
        return f"{head}\n{self._shown().to_string(max_rows=10)}"

    def _repr_html_(self) -> str:
        return str(self._shown().to_html(max_rows=10))

    def _shown(self) -> pd.DataFrame:
        names = ["id", "target", "prediction", "error", "leverage", "sensitivity", "loo_loss", "warning"]
        return self.table.select(names).to_pandas()

    # --- out -------------------------------------------------------------------------------------------------

    def arrow(self) -> pa.Table:
        """The table itself."""
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas data frame; columns of several outputs hold an array in each cell."""
        return self.table.to_pandas()

    def to_polars(self) -> pl.DataFrame:
        """As a polars data frame (needs `memorymaps[polars]`)."""
        return require("polars").from_arrow(self.table)

    def save(self, path: str | Path) -> Path:
        """Write one Parquet file with table and provenance; returns its path. Read it back with `load`."""
        return store.save(self.table, self.provenance, path)

    def explore(self, path: str | Path | None = None, **options: Any) -> Any:
        """Walk around in the map: one offline HTML file at `path`, or a notebook's widget; see `memorymaps.explore`."""
        import memorymaps  # the package's own door: pictures are loaded when they are asked for

        return memorymaps.explore(self, path, **options)

    # --- parts -----------------------------------------------------------------------------------------------

    def _rows(self, rows: Array) -> MemoryMap:
        return dataclasses.replace(self, table=self.table.take(pa.array(rows)))

    def select(self, ids: Iterable[Any]) -> MemoryMap:
        """The examples with these ids, in the order asked for.

        Raises
        ------
        KeyError
            An id that is not in the map.
        """
        wanted = pa.array(np.asarray(list(ids))).cast(self.table.schema.field("id").type)
        rows = pc.index_in(wanted, value_set=self.table.column("id").combine_chunks())
        if rows.null_count:
            missing = wanted.filter(pc.is_null(rows)).to_pylist()
            raise KeyError(f"{len(missing)} id(s) are not in this map: {missing[:5]}")
        return self._rows(rows)

    def filter(self, mask: Any) -> MemoryMap:
        """The examples where `mask [n]` is true; `mask` may be a `pyarrow.compute` expression on columns."""
        if not isinstance(mask, pc.Expression):
            mask = np.asarray(mask)
            if mask.shape != (len(self),) or mask.dtype != bool:
                raise ValueError(f"mask of shape {mask.shape}, {mask.dtype}: expected ({len(self)},) of bool")
            mask = pa.array(mask)
        return dataclasses.replace(self, table=self.table.filter(mask))

    def top(self, k: int = 10, by: str = "sensitivity") -> MemoryMap:
        """The `k` examples with the largest `by`, largest first; undefined (NaN) values come first of all."""
        values = self[by]
        if values.ndim != 1 or values.dtype.kind not in "iuf":
            raise ValueError(f"cannot sort by {by!r}: expected a numeric column with one value an example")
        ranked = np.lexsort((np.arange(len(self)), -np.nan_to_num(values, nan=np.inf)))
        return self._rows(ranked[:k])

    # --- readings --------------------------------------------------------------------------------------------

    def summary(self) -> _summary.Summary:
        """What the map says, in words: units and signs, effective parameters, concentration, warnings."""
        return _summary.summarise(self)

    def leave_one_out(self) -> _leave_out.LeaveOneOut:
        """Leave-one-out estimates of the whole training set: loss, error, accuracy without retraining."""
        return _leave_out.leave_one_out(self)

    def leave_out(self, groups: Any) -> _leave_out.LeaveOut:
        """What removing whole groups would do to their members and to everybody else.

        `groups` is a column's name (`"target"`: leave one class out), a mapping from names to ids, or one
        label for every example of this map.
        """
        return _leave_out.leave_out(self, groups)

    def citation(self) -> str:
        """BibTeX of the methods behind this map."""
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
