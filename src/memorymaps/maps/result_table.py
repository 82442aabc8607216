"""Results with one row per example or group, kept as an Arrow table."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.files.safe_text import printable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class ResultTable:
    """An Arrow table whose columns are read as NumPy arrays, `result["name"]`; displayed as a data frame."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, name: str) -> Array:
        """One column as a NumPy array: `[n]`, or `[n, c]` for columns with several outputs."""
        if name not in self.table.column_names:
            raise KeyError(f"no column {name!r}: expected one of {self.table.column_names}")
        column = self.table.column(name).combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            return np.asarray(column.flatten()).reshape(len(self), column.type.list_size)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return np.asarray(column)

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas data frame; columns of several outputs contain an array in each cell."""
        return self.table.to_pandas()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return printable(self._text())

    def _text(self) -> str:
        """What is displayed, before control characters are replaced."""
        return str(self._displayed().to_string())

    def _displayed(self) -> pd.DataFrame:
        """The data frame that is displayed."""
        return self.to_pandas()

    def _repr_html_(self) -> str:
        return printable(self._displayed().to_html())


@dataclass(frozen=True, repr=False)
class RemovalTable(ResultTable):
    """A result table of removals, displayed with sentences on all of them below the rows.

    Attributes
    ----------
    held : what removals hold at its value although it was computed from all examples, as in the map's trust; empty:
        nothing.
    """

    held: str = ""

    def _sentences(self) -> tuple[str, ...]:
        """Those that are displayed, but for the empty ones."""
        return (self.held,)

    def _text(self) -> str:
        return "\n".join(filter(None, [super()._text(), *self._sentences()]))

    def _repr_html_(self) -> str:
        return super()._repr_html_() + "".join(f"<p>{html.escape(words)}</p>" for words in self._sentences() if words)


@dataclass(frozen=True, repr=False)
class SummarisedTable(ResultTable, ABC):
    """A result table that is displayed by a summary, `str(result)`, instead of its rows."""

    @abstractmethod
    def _text(self) -> str: ...

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"
