"""What the commands that fit a model to a table share: their arguments, the examples, and the map of the fit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorymaps.core.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from memorymaps.maps.memory_map import MemoryMap

_MODELS = ("auto", "ols", "ridge", "lasso", "logistic", "poisson", "gamma")


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a table, its target and columns, and the model."""
    parser.add_argument("table", type=Path, metavar="TABLE", help="a .csv, .tsv or .parquet file, one example per row")
    parser.add_argument("--target", required=True, metavar="COL", help="the column to predict")
    parser.add_argument(
        "--model", choices=_MODELS, default="auto", help="default: logistic for labels, ols for numbers"
    )
    parser.add_argument(
        "--id", metavar="COL", help="column of unique ids (default: a first column without a heading, or row numbers)"
    )
    parser.add_argument("--ignore", nargs="+", default=[], metavar="COL", help="columns to ignore")
    parser.add_argument(
        "--predictor", nargs="+", default=[], metavar="COL", help="columns that number the rows, to predict by anyway"
    )
    parser.add_argument(
        "--labels", nargs="+", default=[], metavar="COL", help="columns of labels although most cells are numbers"
    )
    parser.add_argument("--missing", nargs="+", default=[], metavar="TEXT", help="cells that are missing values")
    parser.add_argument("--drop-missing", action="store_true", help="drop rows with missing values")


def read_examples(args: argparse.Namespace) -> tuple[pd.DataFrame, Any]:
    """Target and predictors of the table, and the examples' ids."""
    print_to_stderr(f"reading {args.table}")
    from memorymaps.data.table_checks import check_ids, check_row_names, check_stray_texts, unnamed_ids
    from memorymaps.data.tables import as_ids, check_cells, read_table, zero_padded_columns

    table = read_table(args.table, text=args.id, missing=args.missing)
    wanted = [args.target, *args.ignore, *args.predictor, *args.labels, *filter(None, (args.id, args.groups))]
    _check_columns(table, wanted)
    id = args.id or unnamed_ids(table, wanted)
    if id is not None and args.id is None:
        print_to_stderr("the first column has no heading and names the rows: its values are the examples' ids")
        table = read_table(args.table, text=id, missing=args.missing)
    table = table if id is None else table.reset_index(drop=True)  # the rows' own labels are not used
    table = table.drop(columns=[name for name in args.ignore if name != id])
    check_cells(table)
    others = table if id is None else table.drop(columns=id)
    check_stray_texts(others, [*args.labels, *([args.target] if args.model == "logistic" else [])])
    known = [*args.predictor, *filter(None, [args.groups])]
    check_row_names(others.drop(columns=args.target), known, zero_padded_columns(args.table))
    kept = others.assign(**{name: others[name].astype(str) for name in args.labels if name in others})
    kept = kept[others.notna().all(axis=1)] if args.drop_missing else kept
    _check_index(kept)
    if id is None:
        return kept, kept.index
    check_ids(table.loc[kept.index, id])
    return kept, as_ids(table.loc[kept.index, id])


def _check_index(table: pd.DataFrame) -> None:
    """Row labels without a heading of their own, or a Parquet file's index, are ids."""
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise ValueError(
            f"the rows' labels are not unique, {str(twice)!r} occurs twice: name the examples by another column (--id)"
        )


def _check_columns(table: pd.DataFrame, wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(
            f"no column {', '.join(map(repr, missing))}: expected some of {', '.join(map(str, table.columns))}"
        )


def fitted_map(
    args: argparse.Namespace, features: pd.DataFrame, target: pd.Series, ids: Any, processes: int | None = None
) -> MemoryMap:
    """The map of the model that the arguments name, fitted to the examples; drawn by several processes, if asked."""
    from memorymaps.build.draw import memory_map
    from memorymaps.data.tables import fit, guess_model

    name = guess_model(target) if args.model == "auto" else args.model
    print_to_stderr(f"fitting {name} to {counted(len(features), 'row')} × {counted(features.shape[1], 'column')}")
    return memory_map(fit(name, features, target), features, target, ids=ids, executor=processes)


def print_to_stderr(text: str) -> None:
    """Print a text whose control characters are escaped."""
    from memorymaps.files.safe_text import printable

    print(printable(text), file=sys.stderr, flush=True)
