"""The commands `memorymaps flip TABLE …` and `memorymaps prune TABLE …`: they fit a model, as `memorymaps map` does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorymaps.cli.fitting import add_table, fitted_map, read_examples
from memorymaps.cli.subcommand import add_subcommand

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap
    from memorymaps.maps.result_table import SummarisedTable


def add_flip(commands: Any) -> None:
    """Add the subcommand `flip`."""
    parser = _add(
        commands, "flip", _run_flip, "find the fewest rows whose removal changes a coefficient's sign or significance",
        "memorymaps flip births.csv --target weight --parameter smoke --change significance --out rows.csv",
    )  # fmt: skip
    parser.add_argument("--parameter", required=True, metavar="NAME", help="the coefficient, as the columns are named")
    parser.add_argument(
        "--change", choices=("sign", "significance"), default="sign", help="what is to change (default: %(default)s)"
    )
    parser.add_argument(
        "--level", type=float, default=0.05, help="significance level of Wald's test (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="CSV", help="file for the rows, in the order of their removal")


def add_prune(commands: Any) -> None:
    """Add the subcommand `prune`."""
    parser = _add(
        commands, "prune", _run_prune, "find the examples that can go, and how many before the left-out loss rises",
        "memorymaps prune mail.parquet --target spam --keep 0.5 --check --out kept.csv --figure pruning.png",
    )  # fmt: skip
    parser.add_argument(
        "--keep", type=float, metavar="SHARE", help="share of the examples to keep, or their number (default: fewest)"
    )
    parser.add_argument("--check", action="store_true", help="compare with random subsets by refits")
    parser.add_argument("--seed", type=int, default=0, help="of the parts and random subsets (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="CSV", help="file for the ids of the examples to keep")
    parser.add_argument("--figure", type=Path, metavar="FIGURE", help="figure to write: .png, .pdf, .svg")


def _add(commands: Any, name: str, run: Any, description: str, example: str) -> argparse.ArgumentParser:
    parser = add_subcommand(commands, name, run, description, example)
    parser.set_defaults(groups=None)
    add_table(parser)
    return parser


def _map_of(args: argparse.Namespace) -> MemoryMap:
    table, ids = read_examples(args)
    return fitted_map(args, table.drop(columns=args.target), table[args.target], ids)


def _run_flip(args: argparse.Namespace) -> None:
    from memorymaps.analysis.answers.flips import smallest_flip

    found = smallest_flip(_map_of(args), args.parameter, args.change, level=args.level)
    _print(found)
    if args.out:
        print(_write_csv(found.to_pandas(), args.out))


def _run_prune(args: argparse.Namespace) -> None:
    import pandas as pd

    from memorymaps.analysis.answers.pruning import prune

    found = prune(_map_of(args), args.keep, check=args.check, seed=args.seed)
    _print(found)
    if args.out:
        print(_write_csv(pd.DataFrame({"id": found.kept}), args.out))
    if args.figure:
        from memorymaps.viz.displays.figure_files import write_figure
        from memorymaps.viz.displays.pruning import PruningDisplay
        from memorymaps.viz.displays.style import offscreen_axes

        display = PruningDisplay.from_pruning(found, ax=offscreen_axes(PruningDisplay.size))
        print(write_figure(display.figure_, args.figure, dpi=200))


def _print(found: SummarisedTable) -> None:
    from memorymaps.files.safe_text import printable

    print(printable(str(found)))


def _write_csv(frame: Any, path: Path) -> Path:
    from memorymaps.files.atomic_files import replacing

    with replacing(path) as partial:
        frame.to_csv(partial, index=False)
    return path
