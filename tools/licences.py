"""Licences of everything that a user of this package installs: the dependencies of all extras but those of development.

    python tools/licences.py

Prints a table, and ends with 1 if a package has no licence that is known to allow use from MIT-licensed code. Licences
are read from the packages' metadata in the environment that runs this.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DEVELOPMENT = {"dev", "docs"}
ALLOWED = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|Zlib|Unlicense|HPND|MPL|Mozilla Public|CC0|CNRI)\b",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\bA?L?GPL|General Public", re.IGNORECASE)
REVIEWED = {  # metadata says less than the licence's own text, or the licence is none of the above
    "nvidia": "NVIDIA's own, free to use and not redistributed here; part of torch's CUDA builds",
    "cuda": "NVIDIA's own, free to use and not redistributed here; part of torch's CUDA builds",
}


def wanted(requirement: Requirement, extras: set[str]) -> bool:
    """Whether a requirement is installed here with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""})


def dependencies(name: str, extras: set[str], seen: dict[str, set[str]]) -> Iterator[Distribution]:
    """The installed distributions that a package needs, directly or not, each once."""
    found = distribution(name)
    for line in found.requires or ():
        requirement = Requirement(line)
        key, asked = canonicalize_name(requirement.name), set(requirement.extras)
        if not wanted(requirement, extras) or asked | {""} <= seen.get(key, set()):
            continue
        new = key not in seen
        seen.setdefault(key, set()).update(asked | {""})
        try:
            if new:
                yield distribution(key)
            yield from dependencies(key, asked, seen)
        except PackageNotFoundError:
            print(f"{key}: not installed here, not checked", file=sys.stderr)


def licence(found: Distribution) -> str:
    """The licence as the metadata has it: an SPDX expression, classifiers, or the field's first line."""
    data = found.metadata
    classifiers = [line.rpartition(" :: ")[2] for line in data.get_all("Classifier", []) if line.startswith("License")]
    field = (data.get("License") or "").strip().partition("\n")[0]
    return data.get("License-Expression") or ", ".join(classifiers) or field or "unknown"


def allowed(text: str) -> bool:
    """Whether a licence allows use from MIT-licensed code: one of several to choose from is enough.

    >>> [allowed(text) for text in ("MPL-2.0 AND MIT", "GPL-3.0-only", "GPL-2.0 AND MIT", "MIT OR GPL-2.0", "unknown")]
    [True, False, False, True, False]
    """
    return any(ALLOWED.search(one) and not COPYLEFT.search(one) for one in re.split(r"\bOR\b", text))


def reviewed(name: str) -> str | None:
    """What a person found out about a package whose metadata do not say it."""
    return next((words for prefix, words in REVIEWED.items() if name.startswith(prefix)), None)


def main() -> int:
    """Print the table; 1 if something is not allowed."""
    extras = set(distribution("memorymaps").metadata.get_all("Provides-Extra", [])) - DEVELOPMENT
    refused = 0
    seen = {"memorymaps": extras | {""}}
    for found in sorted(dependencies("memorymaps", extras, seen), key=lambda each: canonicalize_name(each.name)):
        name, text = canonicalize_name(found.name), licence(found)
        words = text if allowed(text) else reviewed(name)
        refused += words is None
        print(f"{name:32s} {found.version:16s} {words or f'NOT ALLOWED: {text}'}")
    print(f"{len(seen) - 1} packages, {refused} not allowed")
    return int(refused > 0)


if __name__ == "__main__":
    raise SystemExit(main())
