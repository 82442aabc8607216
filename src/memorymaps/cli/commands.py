"""The command `memorymaps`: each sub-command calls one public function.

Exit codes: 0 done, 1 the data or the file cannot be used (the message says why), 2 wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from memorymaps.maps.memory_map import MemoryMap
    from memorymaps.maps.trajectory import Trajectory

_MODELS = ("auto", "ols", "ridge", "lasso", "logistic", "poisson", "gamma")

_RUN = "a map (.parquet), a folder that holds map.parquet, or a run that a Tracker wrote"

_EXAMPLES = """examples:
  memorymaps demo
  memorymaps map houses.csv --target price --out houses/
  memorymaps map mail.parquet --target spam --model logistic --id message --out mail/
  memorymaps top mail/map.parquet -k 20 --by leverage
  memorymaps plot mail/map.parquet --out mail.pdf --color target
  memorymaps info mail/map.parquet
  memorymaps export mail/map.parquet mail.html --texts mail.parquet:message
  memorymaps explore mail/ --rows mail.parquet
  memorymaps track plot run/ --out pictures/
  memorymaps explore run-1/ run-2/
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "memorymaps",
        description="Memory maps: what does a model remember, and which examples does it hang on?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from memorymaps import __version__
    from memorymaps.cli.track import add_track

    parser.add_argument("--version", action="version", version=f"memorymaps {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_demo, _add_map, _add_plot, _add_top, _add_info, _add_export, _add_explore, add_track):
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


def _add_export(commands: Any) -> None:
    words = "write a map as one offline HTML page to walk around in"
    made = _command(commands, "export", _export, words, "memorymaps export run/ map.html --images images.npz:x_train")
    made.add_argument("map", type=Path, metavar="RUN", help=_RUN)
    _add_shown(made)
    made.add_argument("page", type=Path, metavar="PAGE", help="the .html file to write")
    made.add_argument("--max-mb", type=float, default=8.5, help="size of the file, 10⁶ bytes (default: %(default)s)")


def _add_explore(commands: Any) -> None:
    words = "walk around in a map, served to this machine's browser (for large maps)"
    made = _command(commands, "explore", _explore, words, "memorymaps explore first/map.parquet second/ tracked-run/")
    made.add_argument(
        "map", type=Path, nargs="+", metavar="RUN", help=_RUN + "; several: choose among them in the page"
    )
    _add_shown(made)
    made.add_argument("--port", type=int, default=0, help="default: any free one")
    made.add_argument("--open", action="store_true", help="open the browser")


def _add_shown(made: argparse.ArgumentParser) -> None:
    looks = made.add_mutually_exclusive_group()
    looks.add_argument("--images", metavar="FILE[:NAME]", help="pictures in the order of training: .npy, or .npz:array")
    looks.add_argument("--texts", metavar="TABLE:COL", help="texts in the order of training")
    looks.add_argument("--rows", type=Path, metavar="TABLE", help="the table's columns, to read and to filter by")
    made.add_argument("--compare", type=Path, metavar="MAP", help="a second map of the same examples")
    made.add_argument(
        "--trajectory", type=Path, metavar="FOLDER", help="maps at recorded steps, or a tracked run, in order"
    )
    made.add_argument("--title", help="heading of the page")
    made.add_argument("--color", metavar="COL", help="column to colour by at first")


def _demo(args: argparse.Namespace) -> None:
    from memorymaps.build import memory_map
    from memorymaps.data.datasets import demo_model

    model, X, y = demo_model()
    _write(memory_map(model, X, y), args.out, X.reshape(-1, 8, 8), "Digits")


def _map(args: argparse.Namespace) -> None:
    from memorymaps.build import memory_map
    from memorymaps.data.tables import as_ids, check_cells, fit, guess_model, read_table

    table = read_table(args.table, text=args.id)
    _check_columns(table, [args.target, *args.ignore, *([args.id] if args.id else [])])
    table = table.drop(columns=args.ignore)
    check_cells(table)
    table = table.dropna() if args.drop_missing else table
    target = table[args.target]
    ids = as_ids(table[args.id]) if args.id else table.index
    features = table.drop(columns=[args.target, *([args.id] if args.id else [])])
    name = guess_model(target) if args.model == "auto" else args.model
    _say(f"fitting {name} to {len(table):,} rows × {features.shape[1]} columns")
    m = memory_map(fit(name, features, target), features, target, ids=ids)
    _write(m, args.out, features, args.table.stem)


def _check_columns(table: pd.DataFrame, wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(
            f"no column {', '.join(map(repr, missing))}; the table has {', '.join(map(str, table.columns))}"
        )


def _write(m: MemoryMap, folder: Path, payload: Any, title: str) -> None:
    from memorymaps.cli.report import write_report

    report = write_report(m, folder)
    classes = "target" if m.provenance.description.classes else None
    page = m.explore(folder / "explorer.html", payload=payload, title=title, leave_out=classes)
    print(m.summary())
    print(f"\nmap       {report.map}\npictures  {'  '.join(map(str, report.pictures))}\nreport    {report.text}")
    print(f"explorer  {page}")


def _plot(args: argparse.Namespace) -> None:
    from memorymaps.maps.memory_map import load
    from memorymaps.viz.displays.figure_files import write_figure
    from memorymaps.viz.displays.map import MapDisplay
    from memorymaps.viz.displays.style import off_screen

    axes = off_screen(MapDisplay.size)
    display = MapDisplay.from_map(load(args.map), color=args.color, label=args.label, ax=axes)
    print(write_figure(display.figure_, args.out, dpi=200))


def _top(args: argparse.Namespace) -> None:
    from memorymaps.files.safe_text import printable
    from memorymaps.maps.memory_map import load

    names = ["id", "target", "prediction", "error", "leverage", "sensitivity", "loss", "loo_loss", "loo_prediction"]
    found = load(args.map).top(args.k, args.by).table
    frame = found.select(list(dict.fromkeys([*names, args.by, "warning"]))).to_pandas()
    print(frame.to_csv(index=False) if args.csv else printable(frame.to_string(index=False)))


def _info(args: argparse.Namespace) -> None:
    from memorymaps.maps.memory_map import load

    m = load(args.map)
    print(m.citation() if args.cite else m.summary())


def _export(args: argparse.Namespace) -> None:
    from memorymaps.viz.explorer.explorer import explore

    page = explore(_explorable(args.map), args.page, max_mb=args.max_mb, **_shown(args))
    print(f"{page}  ({page.stat().st_size / 1e6:.1f} MB)")


def _explore(args: argparse.Namespace) -> None:
    import contextlib
    import webbrowser

    from memorymaps.viz.explorer.options import ExplorerOptions
    from memorymaps.viz.explorer.server import Server

    options = ExplorerOptions(**_shown(args))
    packed = {name: options.packed(_explorable(path), lazy=True) for name, path in _names(args.map).items()}
    with Server(packed, args.port) as server, contextlib.suppress(KeyboardInterrupt):
        print(f"{server.url}\nCtrl-C stops it", flush=True)
        if args.open:
            webbrowser.open(server.url)
        server.wait()


def _names(paths: list[Path]) -> dict[str, Path]:
    """What the chooser calls each map: its path as it was typed."""
    return {str(path): path for path in dict.fromkeys(paths)}


def _loaded(path: Path) -> MemoryMap:
    from memorymaps.maps.memory_map import load

    return load(path / "map.parquet" if path.is_dir() else path)


def _explorable(path: Path) -> MemoryMap | Trajectory:
    """A map, or the trajectory of a tracked run."""
    from memorymaps.maps.trajectory import Trajectory, recorded_steps

    return Trajectory.load(path) if path.is_dir() and recorded_steps(path) else _loaded(path)


def _shown(args: argparse.Namespace) -> dict[str, Any]:
    """The options of an explorer that were typed."""
    from memorymaps.data.tables import read_images, read_table, read_texts

    looks: list[tuple[Any, Callable[[Any], Any]]] = [
        (args.images, read_images),
        (args.texts, read_texts),
        (args.rows, read_table),
    ]
    payload = next((read(source) for source, read in looks if source is not None), None)
    other = {args.compare.stem: _loaded(args.compare)} if args.compare else None
    steps = _steps(args.trajectory) if args.trajectory else None
    return {"payload": payload, "compare": other, "trajectory": steps, "title": args.title, "color": args.color}


def _steps(folder: Path) -> Trajectory | dict[str, MemoryMap]:
    from memorymaps.maps.trajectory import Trajectory, recorded_steps

    if recorded_steps(folder):
        return Trajectory.load(folder)
    files = sorted(folder.glob("*.parquet"))
    if len(files) < 2:
        raise ValueError(f"{folder} holds {len(files)} maps: a trajectory has at least two .parquet files")
    return {file.stem: _loaded(file) for file in files}


def _say(words: str) -> None:
    from memorymaps.files.safe_text import printable

    print(printable(words), file=sys.stderr)


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
