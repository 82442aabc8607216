"""The commands `memorymaps track info|plot|export RUN` for the folder of a tracked run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from memorymaps.core.wording import counted


def add_track(commands: Any) -> None:
    """Add the subcommand `track` with its own subcommands."""
    description = "results of a tracked run: losses, figures, animations, tables"
    parser = commands.add_parser("track", help=description, description=description)
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    _add_subcommand(kinds, "info", _run_info, "print losses and the concentration of sensitivity, one line per step")
    plot = _add_subcommand(
        kinds, "plot", _run_plot, "draw the run: losses, evolution of sensitivities, paths, small multiples"
    )
    plot.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the figures")
    plot.add_argument("--kind", choices=(".png", ".pdf", ".svg"), default=".png", help="default: %(default)s")
    export = _add_subcommand(kinds, "export", _run_export, "write the run as one table, or as an animation")
    export.add_argument(
        "file", type=Path, metavar="FILE", help=".parquet or .csv: all steps; .gif, .mp4, .html: an animation"
    )


def _add_subcommand(kinds: Any, name: str, run: Any, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=description, description=description)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="the folder given as Tracker(path=…)")
    parser.set_defaults(run=run)
    return parser


def _run_info(args: argparse.Namespace) -> None:
    from memorymaps.files.safe_text import printable
    from memorymaps.maps.trajectory import Trajectory

    run = Trajectory.load(args.run_folder)
    first = run.at(run.steps[0])
    shares = run.concentration()
    shares.columns = [f"top {part:.0%}" for part in shares.columns]
    description = first.provenance.description
    print(printable(f"{description.model}\n{description.algorithm.partition(',')[0]}, {description.posterior}"))
    print(f"{counted(len(run), 'map')} of {counted(len(first), 'example')}\n")
    print(run.losses().join(shares).to_string(float_format=lambda value: f"{value:.4g}"))


def _run_plot(args: argparse.Namespace) -> None:
    from memorymaps.maps.trajectory import Trajectory
    from memorymaps.viz.displays.evolution import EvolutionDisplay, GeneralisationDisplay
    from memorymaps.viz.displays.style import offscreen_axes
    from memorymaps.viz.displays.trajectory import TrajectoryDisplay

    run = Trajectory.load(args.run_folder)
    args.out.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, Any] = {
        "generalisation": GeneralisationDisplay, "evolution": EvolutionDisplay, "paths": TrajectoryDisplay
    }  # fmt: skip
    for name, kind in kinds.items():
        _save_figure(kind.from_trajectory(run, ax=offscreen_axes(kind.size)).figure_, args.out / f"{name}{args.kind}")
    paths = TrajectoryDisplay.from_trajectory(run, ax=offscreen_axes(TrajectoryDisplay.size))
    _save_figure(paths.multiples(), args.out / f"multiples{args.kind}")


def _save_figure(figure: Any, path: Path) -> None:
    from memorymaps.viz.displays.figure_files import write_figure

    print(write_figure(figure, path, dpi=200))


def _run_export(args: argparse.Namespace) -> None:
    from memorymaps.maps.trajectory import Trajectory
    from memorymaps.viz.displays.style import offscreen_axes
    from memorymaps.viz.displays.trajectory import TrajectoryDisplay

    run = Trajectory.load(args.run_folder)
    if args.file.suffix in (".parquet", ".csv"):
        _write_table(run, args.file)
    else:
        display = TrajectoryDisplay.from_trajectory(run, ax=offscreen_axes(TrajectoryDisplay.size))
        display.animate(args.file)
    print(f"{args.file}  ({args.file.stat().st_size / 1e6:.1f} MB)")


def _write_table(run: Any, path: Path) -> None:
    """Write the maps of all steps as one table with a column `step`; CSV omits columns with several outputs."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    from memorymaps.files.atomic_files import replacing
    from memorymaps.files.writing_parquet import parquet_options

    tables = [run.at(step).table for step in run.steps]
    steps = [pa.array([step] * len(table), pa.int64()) for step, table in zip(run.steps, tables, strict=True)]
    table = pa.concat_tables([t.add_column(0, "step", s) for s, t in zip(steps, tables, strict=True)])
    with replacing(path) as partial:
        if path.suffix == ".parquet":
            parquet.write_table(table, partial, **parquet_options(table.schema))
        else:
            flat = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
            csv.write_csv(table.select(flat), partial)
