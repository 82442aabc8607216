"""Reading of tables from disk, and the scikit-learn models that the command line fits to them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps._imports import require
from memorymaps.data.examples import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: str | Path, text: str | None = None, missing: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV or Parquet file as a data frame; in a CSV file the column `text` is kept as it is written (`00041`).

    Cells that read `missing` are missing values, beside those that pandas takes for missing.

    Raises
    ------
    FileNotFoundError
        No such file.
    DataError
        Another file type, an unreadable file, or a table without rows.
    """
    import pandas as pd

    kept = {} if text is None else {text: lambda cell: f"={cell}"}  # "=NA" is not taken for a missing value
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": lambda file: pd.read_csv(file, converters=kept, na_values=list(missing)),
        ".tsv": lambda file: pd.read_csv(file, sep="\t", converters=kept, na_values=list(missing)),
        ".parquet": _parquet,
    }
    path = Path(path)
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is not a table this command reads: expected {', '.join(readers)}")
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    try:
        table = readers[path.suffix.lower()](path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parser errors are ValueErrors
        raise DataError(f"{path} cannot be read as {path.suffix}: {error}") from error
    if len(table) == 0:
        raise DataError(f"{path} has no rows")
    if text in table.columns and path.suffix.lower() != ".parquet":
        table[text] = pd.Series([cell[1:] or None for cell in table[text]], index=table.index, dtype=object)
    return table


def _parquet(file: Path) -> pd.DataFrame:
    """By Arrow's own file, where pandas opens one of Python (see `maps.on_disk.disk_table`)."""
    with require("pyarrow.parquet").ParquetFile(file) as source:
        return source.read().to_pandas()


def zero_padded_columns(path: str | Path) -> frozenset[str]:
    """Columns of a CSV file with leading zeros (`00041`) in their first thousand cells: codes, not amounts."""
    import pandas as pd

    path = Path(path)
    if path.suffix.lower() not in (".csv", ".tsv"):
        return frozenset()
    head = pd.read_csv(path, sep="\t" if path.suffix.lower() == ".tsv" else ",", dtype=str, nrows=1000)
    return frozenset(str(name) for name in head.columns if head[name].str.fullmatch(r"0[0-9]+").any())


def as_ids(column: pd.Series) -> pd.Series:
    """Text that is all integers as they are usually written (no leading zeros, no sign but −) as integers."""
    return column.astype("int64") if all(map(_is_integer, column)) else column


def _is_integer(cell: Any) -> bool:
    """Whether a text is an integer of 64 bits, as it is usually written."""
    if not isinstance(cell, str) or not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", cell, re.ASCII):
        return False
    return -(2**63) <= int(cell) < 2**63


def check_cells(table: pd.DataFrame) -> None:
    """Raise `DataError` if cells of a column hold lists or the like: neither numbers nor labels."""
    kinds = {str(name): table[name].map(lambda cell: isinstance(cell, _NESTED)).any() for name in table.columns}
    nested = [name for name, found in kinds.items() if found]
    if nested:
        raise DataError(
            f"column(s) {nested} hold lists or the like in their cells: leave them out "
            f"(--ignore {' '.join(map(shlex.quote, nested))})"
        )


def _numeric_columns(features: pd.DataFrame) -> list[str]:
    return [str(c) for c in features.columns if features[c].dtype.kind in "biuf"]


def encoder(features: pd.DataFrame) -> Any:
    """A transformer: numeric columns standardised, every other column one-hot without its first level."""
    compose, prep = require("sklearn.compose"), require("sklearn.preprocessing")
    numbers = _numeric_columns(features)
    text_columns = [c for c in features.columns if c not in numbers]
    onehot = prep.OneHotEncoder(drop="first", sparse_output=False)
    steps = [("numbers", prep.StandardScaler(), numbers), ("words", onehot, text_columns)]
    return compose.ColumnTransformer(steps, verbose_feature_names_out=False)


def _models() -> dict[str, Callable[[], Any]]:
    sk = require("sklearn.linear_model")
    return {
        "ols": sk.LinearRegression,
        "ridge": lambda: sk.RidgeCV(alphas=np.logspace(-3, 4, 29)),
        "lasso": sk.LassoCV,
        "logistic": lambda: sk.LogisticRegression(max_iter=1000),
        "poisson": lambda: sk.PoissonRegressor(alpha=0.0, max_iter=1000, solver="newton-cholesky"),
        "gamma": lambda: sk.GammaRegressor(alpha=0.0, max_iter=1000, solver="newton-cholesky"),
    }


_NESTED = (list, dict, set, np.ndarray)  # a Parquet file's lists arrive as arrays
MODELS = ("ols", "ridge", "lasso", "logistic", "poisson", "gamma")


def guess_model(target: pd.Series) -> str:
    """`"logistic"` for labels (text, booleans, or integers with at most 20 values), else `"ols"` (least squares)."""
    few = target.nunique() <= 20
    labels = target.dtype.kind not in "iuf" or (target.dtype.kind in "iu" and few)
    return "logistic" if labels else "ols"


def fit(name: str, features: pd.DataFrame, target: pd.Series) -> Any:
    """Fit a pipeline of the encoder and one of `MODELS`; returns the fitted pipeline.

    Raises
    ------
    DataError
        Missing values, a target of one class, more than 50 levels in a text column.
    """
    _check_fit(name, features, target)
    pipeline = require("sklearn.pipeline").make_pipeline(encoder(features), _models()[name]())
    return pipeline.fit(features, target)


def _check_finite(table: pd.DataFrame) -> None:
    numbers = table.loc[:, [dtype.kind in "biuf" for dtype in table.dtypes]]
    infinite = np.isinf(numbers.to_numpy(dtype=float))
    if infinite.any():
        names = [str(name) for name in numbers.columns[infinite.any(axis=0)]]
        row = int(np.argmax(infinite.any(axis=1)))
        raise DataError(f"infinite values in column(s) {names}, the first in row {row}: correct them, or drop the rows")


def _check_fit(name: str, features: pd.DataFrame, target: pd.Series) -> None:
    if name not in MODELS:
        raise DataError(f"no model {name!r}: choose one of {', '.join(MODELS)}")
    missing = [str(c) for c in features.columns[features.isna().any()]] + ([target.name] if target.isna().any() else [])
    if missing:
        raise DataError(
            f"missing values in column(s) {missing}: drop or fill them first (--drop-missing drops the rows)"
        )
    _check_finite(features.assign(**{str(target.name): target}))
    if name == "logistic" and target.nunique() < 2:
        raise DataError(f"target {target.name!r} has one class only, {target.iloc[0]!r}: expected at least two")
    numbers = set(_numeric_columns(features))
    wide = [str(c) for c in features.columns if c not in numbers and features[c].nunique() > 50]
    if wide:
        names = " ".join(map(shlex.quote, wide))
        raise DataError(
            f"text column(s) {wide} have more than 50 levels each: leave them out (--ignore {names}), or name the "
            "examples by one of them (--id)"
        )
    if name != "logistic" and target.dtype.kind not in "biuf":
        raise DataError(f"target {target.name!r} is not numeric: --model logistic, or another target")


# --- pictures and texts of the examples ------------------------------------------------------------


def read_images(source: str) -> Any:
    """Pictures from `FILE.npy`, or `FILE.npz` with the array's name after a colon if the file contains several.

    Raises
    ------
    DataError
        Another file type, or no array of that name.
    """
    file, name = _split(source, (".npy", ".npz"))
    if not file.exists():
        raise FileNotFoundError(f"no file {file}")
    if file.suffix == ".npy":
        return np.load(file, mmap_mode="r", allow_pickle=False)
    with np.load(file, allow_pickle=False) as arrays:
        if not name and len(arrays.files) != 1:
            raise DataError(f"{file} contains {arrays.files}: choose one, as {file}:{arrays.files[0]}")
        if name and name not in arrays.files:
            raise DataError(f"{file} has no array {name!r}; it has {arrays.files}")
        return arrays[name or arrays.files[0]]


def read_rows(path: str | Path, id: str | None = None) -> pd.DataFrame:
    """A table's columns to show beside a map; `id` names the column with the map's ids, as they are written there.

    Raises
    ------
    DataError
        No such column.
    """
    table = read_table(path, text=id or "id")
    if id is None or id == "id":
        return table
    if id not in table.columns:
        raise DataError(f"{path} has no column {id!r}: expected --id with one of {list(map(str, table.columns))}")
    return table.drop(columns="id", errors="ignore").rename(columns={id: "id"})


def read_texts(source: str, id: str | None = None) -> list[str] | dict[str, str]:
    """Texts from a column of a table, `TABLE:COLUMN`; by id where a column `id` is named.

    Raises
    ------
    DataError
        No such column.
    """
    file, column = _split(source, (".csv", ".tsv", ".parquet"))
    table = read_table(file, text=id)
    for name in (column, *(() if id is None else (id,))):
        if name not in table.columns:
            raise DataError(f"{file} has no column {name!r}: expected TABLE:COLUMN with one of {list(table.columns)}")
    texts = [str(value) for value in table[column]]
    return texts if id is None else dict(zip(map(str, table[id]), texts, strict=True))


def _split(source: str, endings: tuple[str, ...]) -> tuple[Path, str]:
    """A file's path and the text after the colon."""
    for ending in endings:
        head, found, tail = source.partition(ending)
        if found and (not tail or tail.startswith(":")):
            return Path(head + found), tail[1:]
    raise DataError(f"{source} is not a file this command reads: expected {', '.join(endings)}")
