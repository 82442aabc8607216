"""The commands `memorymaps compare A B …` and `memorymaps select A B …` for saved maps of the same examples."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorymaps.cli.subcommand import add_subcommand

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_MAP_HELP = "maps (.parquet), or folders with map.parquet"


def add_compare(commands: Any) -> None:
    """Add the subcommand `compare`."""
    parser = _add(
        commands, "compare", _run_compare, "compare saved maps: ranks, left-out losses, what moves beyond the noise",
        "memorymaps compare weak/ strong/ --floor weak-seed1/ weak-seed2/ --out compared.png",
    )  # fmt: skip
    parser.add_argument(
        "--floor", type=Path, nargs="+", default=[], metavar="MAP",
        help="maps of the first one's model with other seeds, or fitted to resamples: what changes by noise",
    )  # fmt: skip
    parser.add_argument("--targets-changed", action="store_true", help="labels were corrected between the maps")
    parser.add_argument("--score", default="sensitivity", metavar="COL", help="column to draw (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FIGURE", help="figure of the first two: .png, .pdf, .svg")


def add_select(commands: Any) -> None:
    """Add the subcommand `select`."""
    parser = _add(
        commands, "select", _run_select, "rank models by the left-out loss of their saved maps",
        "memorymaps select c0.1/ c1/ c10/ --out selection.png",
    )  # fmt: skip
    parser.add_argument(
        "--by", choices=("loss", "predictive", "score"), default="loss",
        help="left-out loss, predictive density (Gaussian noise), or accuracy and root mean squared error "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--csv", action="store_true", help="print comma-separated values")
    parser.add_argument("--out", type=Path, metavar="FIGURE", help="figure to write: .png, .pdf, .svg")


def _add(commands: Any, name: str, run: Any, description: str, example: str) -> argparse.ArgumentParser:
    parser = add_subcommand(commands, name, run, description, example)
    parser.add_argument("map", type=Path, nargs="+", metavar="MAP", help=_MAP_HELP)
    return parser


def _load(path: Path) -> MemoryMap:
    from memorymaps.maps.memory_map import load

    return load(path / "map.parquet" if (path / "map.parquet").exists() else path)


def _run_compare(args: argparse.Namespace) -> None:
    from memorymaps.analysis.agreement import compare
    from memorymaps.files.safe_text import printable
    from memorymaps.viz.displays.comparison import ComparisonDisplay
    from memorymaps.viz.displays.style import offscreen_axes

    if len(args.map) < 2:
        raise ValueError(f"{len(args.map)} map: expected at least two, memorymaps compare A B")
    first, second, *others = map(_load, args.map)
    found = compare(
        first, second, *others, targets_changed=args.targets_changed, floor=[_load(path) for path in args.floor]
    )
    names = ", ".join(f"{letter} = {path}" for letter, path in zip(found.maps, args.map, strict=True))
    print(printable(f"{names}\n{found}"))
    if args.out:
        axes = offscreen_axes(ComparisonDisplay.size)
        _write(ComparisonDisplay.from_comparison(found, score=args.score, ax=axes), args.out)


def _run_select(args: argparse.Namespace) -> None:
    from memorymaps.analysis.answers.model_selection import select_model
    from memorymaps.files.safe_text import printable
    from memorymaps.viz.displays.comparison import SelectionDisplay
    from memorymaps.viz.displays.style import offscreen_axes

    found = select_model({str(path): _load(path) for path in args.map}, by=args.by)
    print(found.to_pandas().to_csv(index=False) if args.csv else printable(str(found)))
    if args.out:
        axes = offscreen_axes(SelectionDisplay.size_of(found))
        _write(SelectionDisplay.from_selection(found, ax=axes), args.out)


def _write(display: Any, path: Path) -> None:
    from memorymaps.viz.displays.figure_files import write_figure

    print(write_figure(display.figure_, path, dpi=200))
