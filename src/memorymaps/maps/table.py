"""`ExampleTable`: a table with one row per example, its columns, and selections of its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from memorymaps._imports import require
from memorymaps.core.arrays import Array
from memorymaps.core.settings import as_count
from memorymaps.core.wording import counted
from memorymaps.files.safe_text import printable
from memorymaps.maps.ids import positions
from memorymaps.maps.on_disk.disk_table import DiskTable
from memorymaps.maps.provenance import Provenance
from memorymaps.maps.result_table import ResultTable
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_SHOWN = 10  # rows that are printed

# name → (unit, meaning), in the order of the table's columns
COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("", "the example's unique identifier"),
    "row": ("", "its position in the training data"),
    "target": ("target", "the observed target"),
    "prediction": ("target", "predicted mean, or the most probable class"),
    "error": ("target", "size of the prediction error, ‖μ − y‖₂ ≥ 0: the map's y-axis"),
    "leverage": ("effective parameters", "tr(ΛV), sensitivity of the example's prediction to its own target"),
    "sensitivity": ("target", "Σ_c |Δμ_c| ≥ 0, change of the prediction if the example is left out"),
    "loss": ("nats", "−log p(y | f) with the example in the training data"),
    "loo_loss": ("nats", "the same with the example left out"),
    "loo_prediction": ("target", "prediction with the example left out"),
    "memorization": (
        "probability or density",
        "p(y | f) − p(y | f + Δf), gain from having the example in the training data",
    ),
    "weight": ("", "weight of the example's loss in training"),
    "leverage_norm": ("effective parameters", "‖diag(VΛ)‖₂, the leverage of the 2023 reference code"),
    "output_sensitivity": ("output", "‖Δf‖₂ ≥ 0, the change on the scale of the linear predictor or logits"),
    "warning": (
        "",
        "0, or a sum of: 1 at the bound, 2 near singular, 4 not converged, 8 first order, 16 Pareto-k, 32 long step",
    ),
    "output": ("output", "f, linear predictor or logits"),
    "deviation": ("output", "Δf = f without the example − f with it (signed)"),
    "residual": ("target", "μ − y (signed; prediction − truth)"),
    "standardised_error": ("standard deviations", "e/√Λ, the negative Pearson residual (one output only)"),
    "mean": ("target", "μ of every output (several outputs only)"),
    "loo_mean": ("target", "the same with the example left out (several outputs only)"),
    "refined": ("", "whether the deviation was computed with the exact curvature (after `refine` only)"),
    "refitted": ("", "whether the deviation was measured by a refit (after `refit` only)"),
}


@dataclass(frozen=True, repr=False)
class ExampleTable(ResultTable):
    """An immutable Arrow table with one row per example, its provenance, and its posterior if in memory.

    Columns are described in `COLUMNS`. `origin` (posterior and data) is `None` for a map read from disk.
    """

    provenance: Provenance
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.column_names)

    def _text(self) -> str:
        head = f"MemoryMap of {counted(len(self), 'example')} ({self.provenance.description.model})"
        return f"{head}\n{self._displayed().to_string(max_rows=_SHOWN)}"

    def _repr_html_(self) -> str:
        return printable(self._displayed().to_html(max_rows=_SHOWN))

    def _displayed(self) -> pd.DataFrame:
        names = ["id", "target", "prediction", "error", "leverage", "sensitivity", "loo_loss", "warning"]
        if isinstance(self.table, DiskTable) and len(self) > _SHOWN:  # the rows that are printed, and one between them
            ends = np.r_[: _SHOWN // 2 + 1, len(self) - _SHOWN // 2 : len(self)]
            return self.table.take(ends, names).to_pandas().set_axis(ends)
        return self.table.select(names).to_pandas()

    def arrow(self) -> pa.Table:
        """The Arrow table, in memory."""
        return self.table.read() if isinstance(self.table, DiskTable) else self.table

    def to_polars(self) -> pl.DataFrame:
        """As a polars data frame (needs `memorymaps[polars]`)."""
        return require("polars").from_arrow(self.arrow())

    def _rows(self, rows: Array) -> Self:
        return dataclasses.replace(self, table=self.table.take(pa.array(rows)))

    def select(self, ids: Iterable[Any]) -> Self:
        """The examples with these ids, in the given order.

        Raises
        ------
        KeyError
            An id that is not in the map.
        TypeError
            Not several ids.
        """
        return self._rows(positions(self, ids))

    def filter(self, mask: Any) -> Self:
        """The examples where `mask [n]` is true; `mask` may be a `pyarrow.compute` expression on columns."""
        if not isinstance(mask, pc.Expression):
            mask = np.asarray(mask)
            if mask.shape != (len(self),) or mask.dtype != bool:
                raise ValueError(f"mask of shape {mask.shape}, {mask.dtype}: expected ({len(self)},) of bool")
            mask = pa.array(mask)
        return dataclasses.replace(self, table=self.table.filter(mask))

    def top(self, k: int = 10, by: str = "sensitivity") -> Self:
        """The `k` examples with the largest `by`, largest first; undefined (NaN) values come first of all.

        `sensitivity` finds influential and ambiguous examples, `error` and `loo_loss` find wrong labels (average
        precision 0.01 to 0.21 against 0.68 to 0.99 on flipped digits), `leverage` finds unusual inputs.
        """
        k = as_count("k", k, 0, ": how many examples. For chosen ones: m.select(ids)")
        rows, size = np.zeros(0, dtype=np.int64), np.zeros(0)
        for start, values in self._parts_of(by):
            if values.ndim != 1 or values.dtype.kind not in "iuf":
                raise ValueError(f"cannot sort by {by!r}: expected a numeric column with one value per example")
            rows = np.concatenate([rows, np.arange(start, start + len(values))])
            size = np.concatenate([size, -np.nan_to_num(values.astype(float), nan=np.inf)])
            best = np.lexsort((rows, size))[:k]
            rows, size = rows[best], size[best]
        return self._rows(rows)

    def _parts_of(self, name: str) -> Iterator[tuple[int, Array]]:
        """A column in the parts that are read at once, each with its first row."""
        if not isinstance(self.table, DiskTable) or name not in self.table.column_names:
            yield 0, self[name]
            return
        for start, part in self.table.parts([name]):
            yield start, ResultTable(part)[name]
