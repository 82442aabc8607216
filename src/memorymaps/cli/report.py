"""A report of a map: Parquet file, figures and text in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memorymaps.files.atomic_files import replacing
from memorymaps.files.safe_text import fenced, markdown_line
from memorymaps.viz.displays.figure_files import write_figure
from memorymaps.viz.displays.group_influence import GroupInfluenceDisplay
from memorymaps.viz.displays.leave_out import GroupDisplay, LeaveOutDisplay
from memorymaps.viz.displays.map import MapDisplay
from memorymaps.viz.displays.sensitivity import SensitivityDisplay
from memorymaps.viz.displays.style import offscreen_axes

if TYPE_CHECKING:
    from memorymaps.maps.group_removal import LeaveOut
    from memorymaps.maps.memory_map import MemoryMap


@dataclass(frozen=True)
class Report:
    """Paths of the files of a report."""

    map: Path
    pictures: tuple[Path, ...]
    text: Path


def write_report(m: MemoryMap, folder: str | Path) -> Report:
    """Write `map.parquet`, three figures and `report.md` into a folder, which is created if necessary."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = tuple(
        _save_display(display, folder / f"{name}.png", m)
        for name, display in (
            ("map", MapDisplay),
            ("sensitivity", SensitivityDisplay),
            ("leave_one_out", LeaveOutDisplay),
        )
    )
    text = folder / "report.md"
    with replacing(text) as partial:
        partial.write_text(_report_text(m, pictures), encoding="utf-8")
    return Report(m.save(folder / "map.parquet"), pictures, text)


def write_groups(result: LeaveOut, folder: str | Path) -> tuple[Path, Path]:
    """Write the effects of removing groups as `groups.csv`, coefficients in columns of their own, and `groups.png`."""
    table, picture = Path(folder) / "groups.csv", Path(folder) / "groups.png"
    has_coefficients = "dfbetas" in result.table.column_names
    frame = result.to_pandas().drop(columns=["leave_out_coefficients", "dfbetas"], errors="ignore")
    if has_coefficients:
        for prefix, values in (("without", result.coefficients()), ("dfbetas", result.dfbetas())):
            frame = frame.join(values.add_prefix(f"{prefix} ").reset_index(drop=True))
    with replacing(table) as partial:
        frame.to_csv(partial, index=False)
    display = GroupInfluenceDisplay if has_coefficients else GroupDisplay
    axes = offscreen_axes(display.size_of(result))
    return table, write_figure(display.from_leave_out(result, ax=axes).figure_, picture, dpi=150)


def _save_display(display: type[MapDisplay | SensitivityDisplay | LeaveOutDisplay], path: Path, m: MemoryMap) -> Path:
    return write_figure(display.from_map(m, ax=offscreen_axes(display.size)).figure_, path, dpi=150)


def _report_text(m: MemoryMap, pictures: tuple[Path, ...]) -> str:
    parts = [f"# Memory map: {markdown_line(m.provenance.description.model)}", fenced(str(m.summary()))]
    parts += [f"![{path.stem}]({path.name})" for path in pictures]
    parts += [
        f"## Most sensitive examples\n\n{fenced(_most_sensitive(m))}",
        f"## To cite\n\n{fenced(m.citation(), 'bibtex')}",
    ]
    return "\n\n".join(parts) + "\n"


def _most_sensitive(m: MemoryMap) -> str:
    names = ["id", "target", "prediction", "error", "leverage", "sensitivity", "loo_prediction"]
    return str(m.top(15).table.select(names).to_pandas().to_string(index=False))
