"""Print the declared minimum of every dependency in `pyproject.toml` as exact pins: constraints for pip."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,.-]+\])?>=(?P<version>[\w.]+)")


def requirements(project: dict[str, Any]) -> Iterator[str]:
    """Dependencies and those of all extras, without the extras that name other extras of the project."""
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return (line for group in groups for line in group if not line.startswith(f"{project['name']}["))


def pin(requirement: str) -> str:
    """`name[extra]>=version` → `name==version`.

    Raises
    ------
    ValueError
        The requirement has another form, hence no single declared minimum.
    """
    found = REQUIREMENT.fullmatch(requirement)
    if found is None:
        raise ValueError(f"{requirement!r} declares no minimum: write it as 'name>=version'")
    return f"{found['name']}=={found['version']}"


if __name__ == "__main__":
    declared = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
    print("\n".join(sorted({pin(line) for line in requirements(declared)})))
