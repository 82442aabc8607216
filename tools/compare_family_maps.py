"""Are two folders of `tools/family_maps.py` equal bit for bit? `python tools/compare_family_maps.py A B`.

For each family: equal, or every entry that differs with its largest difference. Entries whose name has changed are
matched by `--renamed FILE`, a JSON object from names of A to names of B, applied to each part between slashes. Words
(descriptions, summaries, messages of refusals) are listed where they differ but do not count: they change by design.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

Arrays = Mapping[str, np.ndarray]


def read(path: Path, renamed: Mapping[str, str]) -> Arrays:
    """The entries of a family, under their new names."""
    with np.load(path, allow_pickle=False) as held:
        return {"/".join(renamed.get(part, part) for part in name.split("/")): held[name] for name in held.files}


def is_words(name: str) -> bool:
    """Whether an entry is text that may change by design."""
    return "/words/" in name or name.endswith("/refused")


def difference(a: np.ndarray, b: np.ndarray) -> str | None:
    """How two entries differ; None if they are the same bits."""
    if a.dtype.kind in "US" and b.dtype.kind in "US":
        return None if a.shape == b.shape and bool(np.all(a == b)) else "other text"
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype}{list(a.shape)} became {b.dtype}{list(b.shape)}"
    if a.tobytes() == b.tobytes():
        return None
    if a.dtype.kind not in "fc":
        return f"{np.count_nonzero(a != b)} of {a.size} values"
    return _largest(a, b)


def _largest(a: np.ndarray, b: np.ndarray) -> str:
    here, there = np.isfinite(a), np.isfinite(b)
    both = here & there
    gap = np.abs(a[both] - b[both])
    size = float(np.max(gap)) if gap.size else 0.0
    scale = float(np.max(np.abs(a[both]))) if gap.size else 0.0
    lost = f", {np.count_nonzero(here != there)} finite in one only" if np.any(here != there) else ""
    return f"largest difference {size:.3g} (of values up to {scale:.3g}){lost}"


def differences(a: Arrays, b: Arrays) -> Iterator[tuple[str, str]]:
    """Entries that differ, and how."""
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b:
            yield name, "only in A" if name in a else "only in B"
        elif (found := difference(a[name], b[name])) is not None:
            yield name, found


def report(name: str, found: list[tuple[str, str]], limit: int) -> bool:
    """Print one family's verdict; True if its numbers are equal bit for bit."""
    numbers = [(entry, how) for entry, how in found if not is_words(entry)]
    words = len(found) - len(numbers)
    note = f"; {words} text(s) read differently" if words else ""
    print(f"{'equal' if not numbers else 'DIFFERENT'}  {name}{note}")
    for entry, how in numbers[:limit]:
        print(f"    {entry}: {how}")
    if len(numbers) > limit:
        print(f"    … and {len(numbers) - limit} more entries")
    return not numbers


def compare(a: Path, b: Path, renamed: Mapping[str, str], limit: int) -> bool:
    """Compare all families of two folders; True if all are equal bit for bit."""
    names = sorted({path.name for folder in (a, b) for path in folder.glob("*.npz")})
    if not names:
        raise FileNotFoundError(f"no .npz in {a} and {b}: expected folders that tools/family_maps.py wrote")
    same = []
    for name in names:
        missing = [str(folder) for folder in (a, b) if not (folder / name).exists()]
        if missing:
            print(f"MISSING  {name} in {missing[0]}")
            same.append(False)
            continue
        found = list(differences(read(a / name, renamed), read(b / name, {})))
        same.append(report(name.removesuffix(".npz"), found, limit))
    print(f"{sum(same)} of {len(same)} families are equal bit for bit")
    return all(same)


def main() -> None:
    """Exit with status 1 if any number differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    parser.add_argument("--renamed", type=Path, metavar="FILE", help="JSON: names in A → names in B")
    parser.add_argument("--limit", type=int, default=8, help="entries shown a family; default: %(default)s")
    options = parser.parse_args()
    renamed = json.loads(options.renamed.read_text()) if options.renamed else {}
    sys.exit(not compare(options.a, options.b, renamed, options.limit))


if __name__ == "__main__":
    main()
