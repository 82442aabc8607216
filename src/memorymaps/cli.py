"""The command `memorymaps`: each sub-command calls one public function.

Exit codes: 0 done, 1 the data or the file cannot be used (the message says why), 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from memorymaps.maps import MemoryMap

_MODELS = ("auto", "ols", "ridge", "lasso", "logistic", "poisson", "gamma")

_EXAMPLES = """examples:
  memorymaps demo
  memorymaps map houses.csv --target price --out houses/
  memorymaps map mail.parquet --target spam --model logistic --id message --out mail/
  memorymaps top mail/map.parquet -k 20 --by leverage
  memorymaps plot mail/map.parquet --out mail.pdf --color target
  memorymaps info mail/map.parquet
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "memorymaps",
        description="Memory maps: what does a model remember, and which examples does it hang on?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from memorymaps import __version__

    parser.add_argument("--version", action="version", version=f"memorymaps {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_demo, _add_map, _add_plot, _add_top, _add_info):
        add(commands)
    return parser


def _command(commands: Any, name: str, run: Any, words: str, example: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=words, description=words, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.set_defaults(run=run)
    return made


def _add_demo(commands: Any) -> None:
    words = "fit logistic regression to scikit-learn's digits and draw its map"
    made = _command(commands, "demo", _demo, words, "memorymaps demo --out demo/")
    made.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write (default: %(default)s)")


def _add_map(commands: Any) -> None:
    words = "fit a model to a table and draw its map"
    made = _command(
        commands, "map", _map, words, "memorymaps map houses.csv --target price --model ridge --out houses/"
    )
    made.add_argument("table", type=Path, metavar="TABLE", help="a .csv, .tsv or .parquet file, one example a row")
    made.add_argument("--target", required=True, metavar="COL", help="the column to predict")
    made.add_argument("--model", choices=_MODELS, default="auto", help="default: logistic for labels, ols for numbers")
    made.add_argument("--id", metavar="COL", help="column of unique names (default: row numbers)")
    made.add_argument("--ignore", nargs="+", default=[], metavar="COL", help="columns to leave out")
    made.add_argument("--drop-missing", action="store_true", help="leave out rows with missing values")
    made.add_argument("--out", type=Path, required=True, help="folder to write")


def _add_plot(commands: Any) -> None:
    words = "draw a saved map"
    made = _command(commands, "plot", _plot, words, "memorymaps plot map.parquet --out map.pdf --color target")
    made.add_argument("map", type=Path, metavar="MAP")
    made.add_argument("--out", type=Path, required=True, help="picture to write: .png, .pdf, .svg")
    made.add_argument("--color", metavar="COL", help="column to colour by")
    made.add_argument("--label", type=int, default=10, metavar="K", help="name the K most sensitive (default: 10)")


def _add_top(commands: Any) -> None:
    words = "list the examples with the largest score"
    made = _command(commands, "top", _top, words, "memorymaps top map.parquet -k 20 --by loo_loss")
    made.add_argument("map", type=Path, metavar="MAP")
    made.add_argument("-k", type=int, default=10, help="how many (default: 10)")
    made.add_argument("--by", default="sensitivity", metavar="COL", help="column to sort by (default: sensitivity)")
    made.add_argument("--csv", action="store_true", help="print comma-separated values")


def _add_info(commands: Any) -> None:
    made = _command(commands, "info", _info, "say what a saved map says", "memorymaps info map.parquet")
    made.add_argument("map", type=Path, metavar="MAP")
    made.add_argument("--cite", action="store_true", help="print BibTeX of the methods instead")


def _demo(args: argparse.Namespace) -> None:
    from memorymaps.build import memory_map
    from memorymaps.datasets import demo_model

    model, X, y = demo_model()
    _write(memory_map(model, X, y), args.out)


def _map(args: argparse.Namespace) -> None:
    from memorymaps.build import memory_map
    from memorymaps.tables import fit, guess_model, read_table

    table = read_table(args.table)
    _check_columns(table, [args.target, *args.ignore, *([args.id] if args.id else [])])
    table = table.drop(columns=args.ignore)
    table = table.dropna() if args.drop_missing else table
    target = table[args.target]
    ids = table[args.id] if args.id else table.index
    features = table.drop(columns=[args.target, *([args.id] if args.id else [])])
    name = guess_model(target) if args.model == "auto" else args.model
    _say(f"fitting {name} to {len(table):,} rows × {features.shape[1]} columns")
    _write(memory_map(fit(name, features, target), features, target, ids=ids), args.out)


def _check_columns(table: pd.DataFrame, wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(
            f"no column {', '.join(map(repr, missing))}; the table has {', '.join(map(str, table.columns))}"
        )


def _write(m: MemoryMap, folder: Path) -> None:
    from memorymaps.report import write_report

    report = write_report(m, folder)
    print(m.summary())
    print(f"\nmap       {report.map}\npictures  {'  '.join(map(str, report.pictures))}\nreport    {report.text}")


def _plot(args: argparse.Namespace) -> None:
    from memorymaps.maps import load
    from memorymaps.viz.displays import MapDisplay
    from memorymaps.viz.style import off_screen

    axes = off_screen(MapDisplay.size)
    display = MapDisplay.from_map(load(args.map), color=args.color, label=args.label, ax=axes)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    display.figure_.savefig(args.out, dpi=200, bbox_inches="tight")
    print(args.out)


def _top(args: argparse.Namespace) -> None:
    from memorymaps.maps import load

    names = ["id", "target", "prediction", "error", "leverage", "sensitivity", "loss", "loo_loss", "loo_prediction"]
    found = load(args.map).top(args.k, args.by).table
    frame = found.select(list(dict.fromkeys([*names, args.by, "warning"]))).to_pandas()
    print(frame.to_csv(index=False) if args.csv else frame.to_string(index=False))


def _info(args: argparse.Namespace) -> None:
    from memorymaps.maps import load

    m = load(args.map)
    print(m.citation() if args.cite else m.summary())


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, TypeError, KeyError, ImportError, OSError) as error:
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        _say(f"memorymaps: {words}")
        return 1
    return 0
