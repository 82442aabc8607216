"""Figures and animations written to files atomically."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from memorymaps.files.atomic_files import replacing


def write_figure(figure: Any, path: str | Path, dpi: int) -> Path:
    """Write a figure, cropped to its content, in the format of the path's suffix (default `.png`); returns the path."""
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".png")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=dpi, bbox_inches="tight", format=path.suffix[1:])
    return path


def write_animation(movie: Any, path: Path, writer: Any, dpi: int) -> Path:
    """Write an animation; Matplotlib's writers infer the format from the name, hence a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, replacing(path) as partial:
        movie.save(Path(folder) / path.name, writer=writer, dpi=dpi)
        shutil.copyfile(Path(folder) / path.name, partial)
    return path
