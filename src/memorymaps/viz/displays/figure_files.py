"""Figures and films on disk: the file appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from memorymaps.files.atomic_files import replacing


def write_figure(figure: Any, path: str | Path, dpi: int) -> Path:
    """Write a matplotlib figure in the format of the file's ending (`.png` where it has none), cut to its content."""
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".png")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=dpi, bbox_inches="tight", format=path.suffix[1:])
    return path


def write_animation(film: Any, path: Path, writer: Any, dpi: int) -> Path:
    """Write a matplotlib animation; its writers take the format from the file's name, hence a folder for a while."""
    with tempfile.TemporaryDirectory() as folder, replacing(path) as partial:
        film.save(Path(folder) / path.name, writer=writer, dpi=dpi)
        shutil.copyfile(Path(folder) / path.name, partial)
    return path
