"""Columns of a table that are not what they look like: names of the rows, and numbers with a stray text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.data.examples import DataError

if TYPE_CHECKING:
    import pandas as pd

_UNNAMED = re.compile(r"Unnamed: 0|")  # pandas' name of a first column without a heading
_ID_NAME = re.compile(
    r"(?:^|[\W_])(?:id|uid|uuid|guid|key|index|idx|row|rows|row_?names?|nr|no|case|obs)$", re.IGNORECASE
)
_ID_SUFFIX = re.compile(r"[a-z]I[Dd]$")  # CustomerId
_TIME_NAME = re.compile(r"(?:^|[\W_])(?:year|month|week|day|date|hour|time|t)$", re.IGNORECASE)
_MOSTLY = 0.8  # a text column with a larger share of numbers has been meant as numbers


def unnamed_ids(table: pd.DataFrame, used: Collection[str]) -> str | None:
    """The first column, where it has no heading, names every row once, and is not among those `used` otherwise."""
    if not len(table.columns):
        return None
    first = table.columns[0]
    unnamed = _UNNAMED.fullmatch(str(first)) and first not in used
    return str(first) if unnamed and table[first].is_unique and table[first].notna().all() else None


def check_row_names(features: pd.DataFrame, predictors: Collection[str], codes: Collection[str] = ()) -> None:
    """Refuse predictors that number or name the rows, unless they are listed in `predictors`.

    `codes`: columns of integers that are written with leading zeros.

    Raises
    ------
    DataError
        A first column without a heading; consecutive integers in order (years and other times start at 0 or 1); one
        text or code for every row; a value for every row in a column whose name says that it is an id.
    """
    others = [name for name in features.columns if name not in predictors]
    found = [str(name) for name in others if _names_rows(features, name, str(name) in codes)]
    if found:
        names = " ".join(map(shlex.quote, found))
        id = names if len(found) == 1 else "COL"
        raise DataError(
            f"column(s) {found} number or name the rows: as ids (--id {id}), "
            f"left out (--ignore {names}), or predictors all the same (--predictor {names})?"
        )


def _names_rows(features: pd.DataFrame, name: Any, is_code: bool) -> bool:
    column = features[name]
    if _UNNAMED.fullmatch(str(name)) and name == features.columns[0]:
        return True
    if len(column) < 3 or not column.is_unique or column.dtype.kind in "fcb":
        return False
    if column.dtype.kind not in "iu":
        return not hasattr(column, "dt") and not _is_mostly_numbers(column)
    counted = bool(np.all(np.diff(column.to_numpy()) == 1))
    counted = counted and (column.iloc[0] in (0, 1) or not _TIME_NAME.search(str(name)))
    return counted or is_code or bool(_ID_NAME.search(str(name)) or _ID_SUFFIX.search(str(name)))


def check_ids(column: pd.Series) -> None:
    """Refuse a column of ids in which a cell is empty or a value occurs twice.

    Raises
    ------
    DataError
        The message names the first such cell.
    """
    bad = column.isna() if column.isna().any() else column.duplicated()
    if not bad.any():
        return
    row, name = int(np.argmax(bad)), str(column.name)
    what = "is empty" if column.isna().any() else f"repeats {str(column.iloc[row])!r:.80}"
    raise DataError(
        f"the id column {name!r} {what} in row {row}: correct it, name the examples by another column (--id COL), or "
        f"number them and leave this one out (--ignore {shlex.quote(name)} instead of --id {shlex.quote(name)})"
    )


def check_stray_texts(table: pd.DataFrame, labels: Collection[str]) -> None:
    """Refuse columns of numbers with a few texts among them, unless they are listed in `labels`.

    Raises
    ------
    DataError
        Such a column; the message names the first such cell.
    """
    for name in table.columns:
        if name in labels or not _is_mostly_numbers(table[name]):
            continue
        strays = _strays(table[name])
        first = table[name][strays].iloc[0]
        rows = np.flatnonzero(strays)
        quoted, column = shlex.quote(str(first)), shlex.quote(str(name))
        raise DataError(
            f"column {str(name)!r} is numbers but for {len(rows):,} of {len(table):,} cells, the first "
            f"{str(first)!r:.80} in row {rows[0]}: correct it, take it for missing (--missing {quoted} "
            f"--drop-missing), leave the column out (--ignore {column}), or take the column for labels "
            f"(--labels {column})"
        )


def _strays(column: pd.Series) -> Any:
    """Which cells are neither numbers nor missing."""
    import pandas as pd

    return (pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()


def _is_mostly_numbers(column: pd.Series) -> bool:
    if column.dtype.kind in "biufcmM" or not all(isinstance(cell, str | int | float) for cell in column.dropna()):
        return False
    present = int(column.notna().sum())
    strays = int(np.count_nonzero(_strays(column)))
    return 0 < strays < (1 - _MOSTLY) * present
