"""The command `memorymaps`: each subcommand calls one public function.

Exit codes: 0 success, 1 unusable data or file (with a message), 2 wrong arguments.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorymaps.cli.fitting import add_table, fitted_map, print_to_stderr, read_examples
from memorymaps.cli.subcommand import add_subcommand
from memorymaps.core.wording import counted

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap
    from memorymaps.maps.trajectory import Trajectory

_RUN_HELP = "a map (.parquet), a folder with map.parquet, or the folder of a tracked run"

_EXAMPLES = """examples:
  memorymaps demo
  memorymaps map houses.csv --target price --out houses/
  memorymaps map mail.parquet --target spam --model logistic --id message --out mail/
  memorymaps map firms.csv --target invest --groups firm --out firms/
  memorymaps top mail/map.parquet -k 20 --by leverage
  memorymaps plot mail/map.parquet --out mail.pdf --color target
  memorymaps info mail/map.parquet
  memorymaps flip births.csv --target weight --parameter smoke
  memorymaps prune mail.parquet --target spam --keep 0.5 --check --out kept.csv
  memorymaps compare weak/ strong/ --out compared.png
  memorymaps select c0.1/ c1/ c10/
  memorymaps export mail/map.parquet mail.html --texts mail.parquet:message
  memorymaps explore mail/ --rows mail.parquet
  memorymaps track plot run/ --out pictures/
  memorymaps explore run-1/ run-2/
"""


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "memorymaps",
        description="Memory maps: what does a model remember, and which examples does it hang on?",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from memorymaps import __version__
    from memorymaps.cli.answering import add_flip, add_prune
    from memorymaps.cli.comparing import add_compare, add_select
    from memorymaps.cli.track import add_track

    parser.add_argument("--version", action="version", version=f"memorymaps {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_demo, _add_map, _add_plot, _add_top, _add_info, add_flip, add_prune, add_compare, add_select, _add_export,
        _add_explore, add_track,
    ):  # fmt: skip
        add(commands)
    return parser


def _add_demo(commands: Any) -> None:
    description = "fit logistic regression to scikit-learn's digits and draw its map"
    parser = add_subcommand(commands, "demo", _run_demo, description, "memorymaps demo --out demo/")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write (default: %(default)s)")


def _add_map(commands: Any) -> None:
    description = "fit a model to a table and draw its map"
    parser = add_subcommand(
        commands, "map", _run_map, description, "memorymaps map houses.csv --target price --model ridge --out houses/"
    )
    add_table(parser)
    parser.add_argument(
        "--groups", metavar="COL", help="column of groups (sites, subjects) to leave out together; not a predictor"
    )
    parser.add_argument("--processes", type=int, metavar="N", help="draw the map by N processes (default: this one)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def _add_plot(commands: Any) -> None:
    description = "draw a saved map"
    parser = add_subcommand(
        commands, "plot", _run_plot, description, "memorymaps plot map.parquet --out map.pdf --color target"
    )
    parser.add_argument("map", type=Path, metavar="MAP")
    parser.add_argument("--out", type=Path, required=True, help="figure to write: .png, .pdf, .svg")
    parser.add_argument("--color", metavar="COL", help="column to colour by")
    parser.add_argument(
        "--label", type=int, default=10, metavar="K", help="label the K most sensitive examples (default: 10)"
    )


def _add_top(commands: Any) -> None:
    description = "list the examples with the largest score"
    parser = add_subcommand(commands, "top", _run_top, description, "memorymaps top map.parquet -k 20 --by loo_loss")
    parser.add_argument("map", type=Path, metavar="MAP")
    parser.add_argument("-k", type=int, default=10, help="number of examples (default: 10)")
    parser.add_argument("--by", default="sensitivity", metavar="COL", help="column to sort by (default: sensitivity)")
    parser.add_argument("--csv", action="store_true", help="print comma-separated values")


def _add_info(commands: Any) -> None:
    parser = add_subcommand(
        commands, "info", _run_info, "print the summary of a saved map", "memorymaps info map.parquet"
    )
    parser.add_argument("map", type=Path, metavar="MAP")
    parser.add_argument("--cite", action="store_true", help="print BibTeX of the methods instead")


def _add_export(commands: Any) -> None:
    description = "write a map as one interactive offline HTML page"
    parser = add_subcommand(
        commands, "export", _run_export, description, "memorymaps export run/ map.html --images images.npz:x_train"
    )
    parser.add_argument("map", type=Path, metavar="RUN", help=_RUN_HELP)
    _add_explorer_options(parser)
    parser.add_argument("page", type=Path, metavar="PAGE", help="the .html file to write")
    parser.add_argument("--max-mb", type=float, default=8.5, help="size of the file, 10⁶ bytes (default: %(default)s)")


def _add_explore(commands: Any) -> None:
    description = "explore maps interactively, from a local server (for large maps)"
    parser = add_subcommand(
        commands, "explore", _run_explore, description, "memorymaps explore first/map.parquet second/ tracked-run/"
    )
    parser.add_argument(
        "map", type=Path, nargs="+", metavar="RUN", help=_RUN_HELP + "; several can be chosen on the page"
    )
    _add_explorer_options(parser)
    parser.add_argument("--port", type=int, default=0, help="port of the server (default: any free one)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def _add_explorer_options(parser: argparse.ArgumentParser) -> None:
    payload = parser.add_mutually_exclusive_group()
    payload.add_argument(
        "--images", metavar="FILE[:NAME]", help="pictures in the order of the training data: .npy, or .npz:array"
    )
    payload.add_argument("--texts", metavar="TABLE:COL", help="texts in the order of the training data")
    payload.add_argument(
        "--rows", type=Path, metavar="TABLE", help="a table whose columns are displayed and can be filtered by"
    )
    parser.add_argument(
        "--id", metavar="COL", help="the table's column with the map's ids (default: id, else row by row)"
    )
    parser.add_argument("--compare", type=Path, metavar="MAP", help="a second map of the same examples")
    parser.add_argument(
        "--trajectory", type=Path, metavar="FOLDER", help="maps of recorded steps, in order, or a tracked run"
    )
    parser.add_argument("--title", help="heading of the page")
    parser.add_argument("--color", metavar="COL", help="column to colour by at first")


def _run_demo(args: argparse.Namespace) -> None:
    from memorymaps.build.draw import memory_map
    from memorymaps.data.datasets import demo_model

    model, X, y = demo_model()
    _write_all(memory_map(model, X, y), args.out, X.reshape(-1, 8, 8), "Digits")


def _run_map(args: argparse.Namespace) -> None:
    table, ids = read_examples(args)
    groups = None if args.groups is None else table[args.groups].astype(str).to_numpy()
    features = table.drop(columns=[args.target, *([args.groups] if args.groups else [])])
    m = fitted_map(args, features, table[args.target], ids, args.processes)
    payload = features.rename(columns={"id": "id (predictor)"})  # a payload's column `id` joins it to the map
    payload = payload if groups is None else payload.assign(**{args.groups: groups})
    _write_all(m, args.out, payload.reset_index(drop=True), args.table.stem, groups)


def _write_all(m: MemoryMap, folder: Path, payload: Any, title: str, groups: Any = None) -> None:
    from memorymaps.cli.report import write_groups, write_report

    print_to_stderr(f"writing {folder}: {counted(len(m), 'example')}")
    report = write_report(m, folder)
    together: Any = "target" if m.provenance.description.classes else None
    if groups is not None:
        together = m.leave_out(groups)
    page = m.explore(folder / "explorer.html", payload=payload, title=title, leave_out=together)
    print(m.summary())
    if groups is not None:
        print(f"\n{together}\n\ngroups    {'  '.join(map(str, write_groups(together, folder)))}", end="")
    print(f"\nmap       {report.map}\npictures  {'  '.join(map(str, report.pictures))}\nreport    {report.text}")
    print(f"explorer  {page}")


def _run_plot(args: argparse.Namespace) -> None:
    from memorymaps.maps.memory_map import load
    from memorymaps.viz.displays.figure_files import write_figure
    from memorymaps.viz.displays.map import MapDisplay
    from memorymaps.viz.displays.style import offscreen_axes

    axes = offscreen_axes(MapDisplay.size)
    display = MapDisplay.from_map(load(args.map), color=args.color, label=args.label, ax=axes)
    print(write_figure(display.figure_, args.out, dpi=200))


def _run_top(args: argparse.Namespace) -> None:
    from memorymaps.files.safe_text import printable
    from memorymaps.maps.memory_map import load

    names = ["id", "target", "prediction", "error", "leverage", "sensitivity", "loss", "loo_loss", "loo_prediction"]
    m = load(args.map)
    found = m.top(args.k, args.by).table
    if args.by in m.trust and not m.trust[args.by].sizes:
        print_to_stderr(str(m.trust[args.by]))
    frame = found.select(list(dict.fromkeys([*names, args.by, "warning"]))).to_pandas()
    print(frame.to_csv(index=False) if args.csv else printable(frame.to_string(index=False)))


def _run_info(args: argparse.Namespace) -> None:
    from memorymaps.maps.memory_map import load

    m = load(args.map)
    print(m.citation() if args.cite else m.summary())


def _run_export(args: argparse.Namespace) -> None:
    print_to_stderr(f"reading {args.map}")
    from memorymaps.viz.explorer.explorer import explore

    page = explore(_load_announced(args.map), args.page, max_mb=args.max_mb, **_explorer_options(args))
    print(f"{page}  ({page.stat().st_size / 1e6:.1f} MB)")


def _run_explore(args: argparse.Namespace) -> None:
    import contextlib
    import webbrowser

    print_to_stderr(f"reading {', '.join(map(str, args.map))}")
    from memorymaps.viz.explorer.options import ExplorerOptions
    from memorymaps.viz.explorer.packing import pack_lazily
    from memorymaps.viz.explorer.server import Server

    options = ExplorerOptions(**_explorer_options(args))
    packed = {name: pack_lazily(_load_announced(path), options) for name, path in _distinct_paths(args.map).items()}
    with Server(packed, args.port) as server, contextlib.suppress(KeyboardInterrupt):
        print(f"{server.url}\nCtrl-C stops it", flush=True)
        if args.open:
            webbrowser.open(server.url)
        server.wait()


def _distinct_paths(paths: list[Path]) -> dict[str, Path]:
    """Maps by the name that the page's menu displays: the path as it was typed."""
    return {str(path): path for path in dict.fromkeys(paths)}


def _load_map(path: Path) -> MemoryMap:
    from memorymaps.maps.memory_map import load

    return load(path / "map.parquet" if (path / "map.parquet").exists() else path)


def _load_map_or_run(path: Path) -> MemoryMap | Trajectory:
    """A map, or the trajectory of a tracked run."""
    from memorymaps.maps.trajectory import Trajectory, recorded_steps

    return Trajectory.load(path) if path.is_dir() and recorded_steps(path) else _load_map(path)


def _load_announced(path: Path) -> MemoryMap | Trajectory:
    """A map or a run, and on standard error what is packed next, as that may take a minute."""
    m = _load_map_or_run(path)
    print_to_stderr(f"packing {path}: {_size_of(m)}")
    return m


def _size_of(m: MemoryMap | Trajectory) -> str:
    from memorymaps.maps.trajectory import Trajectory

    return counted(len(m), "recorded step") if isinstance(m, Trajectory) else counted(len(m), "example")


def _explorer_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of the explorer from the command line's arguments."""
    from memorymaps.data.tables import read_images, read_rows, read_texts

    sources: list[tuple[Any, Callable[[Any], Any]]] = [
        (args.images, read_images),
        (args.texts, lambda source: read_texts(source, args.id)),
        (args.rows, lambda path: read_rows(path, args.id)),
    ]
    payload = next((read(source) for source, read in sources if source is not None), None)
    other = {args.compare.stem: _load_map(args.compare)} if args.compare else None
    steps = _load_steps(args.trajectory) if args.trajectory else None
    return {"payload": payload, "compare": other, "trajectory": steps, "title": args.title, "color": args.color}


def _load_steps(folder: Path) -> Trajectory | dict[str, MemoryMap]:
    from memorymaps.maps.trajectory import Trajectory, recorded_steps

    if recorded_steps(folder):
        return Trajectory.load(folder)
    files = sorted(folder.glob("*.parquet"))
    if len(files) < 2:
        raise ValueError(f"{folder} contains {len(files)} maps: expected at least two .parquet files")
    return {file.stem: _load_map(file) for file in files}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = _build_parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, TypeError, KeyError, ImportError, OSError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print_to_stderr(f"memorymaps: {message}")
        return 1
    return 0
