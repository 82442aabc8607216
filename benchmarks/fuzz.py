"""Damaged and hostile files: whatever is in them, reading ends in a right answer or in the documented error.

    python benchmarks/fuzz.py --mutations 5000 --seconds 300

Files that this package wrote are mutated (bits, bytes, slices, lengths; JSON values, names and nesting) and read
again: maps (every column, summary, top), journals (opened, as `retrain_check` does), finished batches
(`memory_map(path=)` goes on from them: its map must be the same, to the last bit), run folders (steps, losses, maps).
Pages are exported of maps whose metadata, ids, texts and names are hostile: as an HTML parser reads them they must
contain the elements of every page and no others, and what was given as their text. Each batch runs in a process of
its own with bounded memory, so that a crash of a library is counted, not suffered.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.linear_model import LogisticRegression

import memorymaps as mm
from memorymaps.analysis.journal import Journal, JournalError, _encoded
from memorymaps.files.batch_journal import BatchJournal, BatchJournalError
from memorymaps.maps.store import MapFileError
from memorymaps.maps.trajectory import RunFolderError, Trajectory
from memorymaps.training.tracker import Tracker
from memorymaps.viz.explorer.arrow_columns import to_text

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
from hostile import CORPUS, literal

MEMORY = 8 * 2**30  # bytes of address space a batch may take
BATCH = 50
Mutate = Callable[[random.Random, bytes], bytes]

# --- mutations -----------------------------------------------------------------------------------------------------


def flip(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def drop(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 200) :]


def repeat(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start : start + rng.randrange(1, 200)] + content[start:]


def overwrite(rng: random.Random, content: bytes) -> bytes:
    start, some = rng.randrange(len(content)), rng.choice((b"\x00", b"\xff", b"\x80", b"\n", b"[", rng.randbytes(1)))
    length = min(rng.choice((1, 4, 8, 100)), len(content) - start)
    return content[:start] + some * length + content[start + length :]


def footer(rng: random.Random, content: bytes) -> bytes:
    """Changes in the last part of a file: a Parquet file's description of itself."""
    length = min(len(content), int.from_bytes(content[-8:-4], "little") + 8)
    return content[:-length] + flip(rng, content[-length:])


BYTES: tuple[Mutate, ...] = (flip, cut, drop, repeat, overwrite, footer, footer)
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 2**70, 1.5, float("nan"), float("inf"), "", "\x1b[2J", "\x00", "x" * 10_000, "٣", [], {},
    [[[]]], {"a": 1}, ["a", 1], [None],
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, held in inner for place in places(held, (*at, key)))]


def odd_json(rng: random.Random, value: Any) -> Any:
    """A value somewhere in it replaced or deleted."""
    value = json.loads(json.dumps(value))
    place = rng.choice(places(value)[1:] or [()])
    if not place:
        return rng.choice(ODD)
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    if rng.random() < 0.3:
        del holder[place[-1]]
    else:
        holder[place[-1]] = rng.choice(ODD)
    return value


# --- what is read --------------------------------------------------------------------------------------------------


class Maps:
    """A Parquet map: its bytes, its note, or its columns."""

    allowed = (MapFileError,)

    def __init__(self, folder: Path):
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
        self.map = mm.memory_map(LogisticRegression().fit(X, y), X, y, ids=[f"row {k}" for k in range(60)])
        self.content = self.map.save(folder / "whole.parquet").read_bytes()
        self.table = pq.read_table(folder / "whole.parquet")

    def write(self, rng: random.Random, path: Path) -> None:
        """A mutated map."""
        kind = rng.random()
        if kind < 0.6:
            path.write_bytes(rng.choice(BYTES)(rng, self.content))
        elif kind < 0.85:
            note = json.dumps(odd_json(rng, json.loads(self.table.schema.metadata[b"memorymaps"])))
            note = "[" * 100_000 if rng.random() < 0.05 else note
            pq.write_table(self.table.replace_schema_metadata({b"memorymaps": note.encode()}), path)
        else:
            pq.write_table(self._columns(rng), path)

    def _columns(self, rng: random.Random) -> pa.Table:
        name = rng.choice(self.table.column_names)
        place = self.table.column_names.index(name)
        if rng.random() < 0.4:
            return self.table.drop_columns([name])
        n = len(self.table)
        odd = rng.choice(
            (
                pa.array([None] * n, pa.float64()), pa.array(["\x1b[2J"] * n), pa.array([[1.0]] * n),
                pa.array([{"a": 1}] * n), pa.array([float("nan")] * n), pa.array([2**63 + 1] * n, pa.uint64()),
                pa.array([b"\xff\xfe"] * n), pa.array([True] * n), pa.nulls(n), pa.array([0] * n),
            )
        )  # fmt: skip
        return self.table.set_column(place, name, odd)

    def read(self, path: Path) -> str:
        """Everything that a map says."""
        m = mm.load(path)
        with contextlib.suppress(KeyError):  # a method that is not known here
            m.citation()
        words = f"{m.summary()}{m!r}"
        if any(c < " " and c not in "\n\t" for c in words):
            raise AssertionError("control characters are printed")
        m.top(3), m.to_pandas(), m.leave_one_out(), [m[name] for name in m]
        return "same" if m.table.equals(self.map.table) and m.provenance == self.map.provenance else "other"


class Journals:
    """A journal: its bytes, or its lines with right checksums."""

    allowed = (JournalError,)

    def __init__(self, folder: Path):
        rng = np.random.default_rng(0)
        self.X, self.y = rng.normal(size=(30, 3)), rng.integers(0, 3, 30)
        self.map = mm.memory_map(LogisticRegression().fit(self.X, self.y), self.X, self.y)
        mm.retrain_check(self.map, self.recipe, ids=[1, 2, 3], path=folder / "whole.jsonl")
        self.content = (folder / "whole.jsonl").read_bytes()
        self.want = mm.retrain_check(self.map, self.recipe, ids=[1, 2, 3])

    def recipe(self, removed: Any, wanted: Any) -> Any:
        """Retrain."""
        model = LogisticRegression().fit(np.delete(self.X, removed, 0), np.delete(self.y, removed))
        return model.decision_function(self.X[wanted])

    def write(self, rng: random.Random, path: Path) -> None:
        """A mutated journal."""
        if rng.random() < 0.6:
            path.write_bytes(rng.choice(BYTES[:-2])(rng, self.content))
            return
        lines = [json.loads(line) for line in self.content.splitlines()]
        for line in lines:
            del line["check"]
        k = rng.randrange(len(lines))
        lines[k] = odd_json(rng, lines[k])
        path.write_bytes(b"".join(_encoded(line) if line else b"\n" for line in lines if isinstance(line, dict)))

    def read(self, path: Path) -> str:
        """Open it, and ask for every result; the file stays as it is."""
        before = path.read_bytes()
        at = dict(enumerate(self.map["output"]))
        try:
            with Journal.resume(path, self.map, at, {"memorymaps": "retrain_check", "recipe": "retrain"}) as journal:
                for row in (1, 2, 3):
                    journal.has_result(row, np.array([row]))
        finally:
            if before and path.read_bytes() != before:
                raise AssertionError("opening has changed the file")
        return "opened"


class Runs:
    """A run folder: its maps, its scalars, its names."""

    allowed = (MapFileError, RunFolderError, KeyError)

    def __init__(self, folder: Path):
        torch.manual_seed(0)
        self.run, net = folder / "run", torch.nn.Linear(3, 2)
        x, y = torch.randn(20, 3), torch.arange(20) % 2
        options = {"likelihood": "categorical", "posterior": mm.Laplace("diag", prior=1.0), "path": self.run}
        with Tracker(net, None, x, y, **options) as tracker:
            for tracker.steps in (1, 2):
                tracker.record()

    def write(self, rng: random.Random, path: Path) -> None:
        """A mutated run."""
        shutil.copytree(self.run, path)
        step = path / "step=000000001"
        kind = rng.random()
        if kind < 0.4:
            file = step / "scalars.json"
            file.write_bytes(rng.choice(BYTES[:-2])(rng, file.read_bytes()))
        elif kind < 0.6:
            file = step / "scalars.json"
            file.write_text(json.dumps(odd_json(rng, json.loads(file.read_bytes()))))
        elif kind < 0.9:
            file = step / "map.parquet"
            file.write_bytes(rng.choice(BYTES)(rng, file.read_bytes()))
        else:
            step.rename(path / rng.choice(("step=1", "step=x", "step=", "step=0000000010", "step=\x1b[2J", "other")))

    def read(self, path: Path) -> str:
        """Everything that a run says."""
        run = Trajectory.load(path)
        run.losses()
        for step in run.steps:
            run.at(step)
        run.column("sensitivity"), run.concentration()
        if all(run.at(step).provenance.description.classes for step in run.steps):
            run.cartography()
        return "read"


class Batches:
    """The finished batches of an interrupted map: their bytes, their header, their names."""

    allowed = (BatchJournalError,)

    def __init__(self, folder: Path):
        torch.manual_seed(0)
        self.net, x, y = torch.nn.Linear(3, 2), torch.randn(30, 3), torch.arange(30) % 2
        self.data = mm.LoaderExamples([(x[k : k + 10], y[k : k + 10]) for k in (0, 10, 20)])
        self.want, self.folder = self.map(None), folder / ".whole.parquet.batches"
        kept, discard = folder / "kept", BatchJournal.delete
        BatchJournal.delete = lambda journal: (shutil.copytree(journal.folder, kept), discard(journal))  # type: ignore
        self.map(folder / "whole.parquet")
        BatchJournal.delete, self.folder = discard, kept  # type: ignore[method-assign]

    def map(self, path: Path | None) -> Any:
        """The map, with finished batches beside `path`."""
        recipe = mm.Laplace("diag", prior=1.0, probes=0)
        return mm.memory_map(self.net, self.data, likelihood="categorical", posterior=recipe, path=path)

    def write(self, rng: random.Random, path: Path) -> None:
        """Mutated batches."""
        folder = path.with_name(f".{path.name}.batches")
        shutil.copytree(self.folder, folder)
        file = rng.choice(sorted(folder.glob("*.parquet")))
        kind = rng.random()
        if kind < 0.5:
            file.write_bytes(rng.choice(BYTES)(rng, file.read_bytes()))
        elif kind < 0.9:
            header = folder / "header.json"
            content = header.read_bytes()
            odd = json.dumps(odd_json(rng, json.loads(content))).encode()
            header.write_bytes(rng.choice((odd, rng.choice(BYTES[:-2])(rng, content))))
        else:
            file.rename(folder / rng.choice(("0-10.parquet", "10-20.parquet", "5-15.parquet", "x", ".0-10.partial")))

    def read(self, path: Path) -> str:
        """Go on: the same map."""
        if not self.map(path).table.equals(self.want.table):
            raise AssertionError("another map")
        return "same"


class Elements(HTMLParser):
    """The elements of a page, their attributes, and the content of its scripts of data."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[Any] = []
        self.data: dict[str, str] = {}
        self.title, self._at = "", ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """An element begins."""
        self._at = dict(attrs).get("id", tag)
        self.found.append((tag, self._at, sorted(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        self._at = ""

    def handle_data(self, data: str) -> None:
        """Text between elements."""
        self.data[self._at] = self.data.get(self._at, "") + data


class Pages:
    """An exported page of a map whose metadata, ids, texts and names are hostile."""

    allowed = (MapFileError,)

    def __init__(self, folder: Path):
        self.map = Maps(folder).map
        self.want = Elements(self._page(self.map, folder / "page.html", ["text"] * 60, "title", "name"))

    @staticmethod
    def _page(m: Any, path: Path, texts: list[str], title: str, name: str) -> str:
        columns = {name: np.arange(len(m))}
        return m.explore(path, payload=texts, title=title, columns=columns, compare={name: m}).read_text("utf-8")

    def write(self, rng: random.Random, path: Path) -> None:
        """A map with hostile words in its note and ids."""
        table = self.map.table
        ids = pa.array([f"{k}{literal(rng.choice(CORPUS))}" for k in range(len(table))])
        note = json.loads(pq.read_schema(self.map.save(path)).metadata[b"memorymaps"])
        text = [place for place in places(note) if place and isinstance(_held(note, place), str)]
        for place in rng.sample(text, 3):
            _put(note, place, literal(rng.choice(CORPUS)))
        table = table.set_column(table.column_names.index("id"), "id", ids)
        pq.write_table(table.replace_schema_metadata({b"memorymaps": json.dumps(note).encode()}), path)
        self.words = [rng.choice(CORPUS) for _ in range(62)]

    def read(self, path: Path) -> str:
        """Load it, export it, and read the page as a browser does."""
        m = mm.load(path)
        *texts, title, name = self.words
        page = Elements(self._page(m, path.with_suffix(".html"), texts, title, f"c{name}"))
        meta = json.loads(page.data["mm-meta"])
        if page.found != self.want.found:
            raise AssertionError(f"other elements: {sorted(map(str, page.found))[:3]}")
        if title and (meta["title"] != to_text(title) or page.data["mm-table"] == self.want.data["mm-table"]):
            raise AssertionError("another title or table")
        shown = json.loads(gzip.decompress(base64.b64decode(page.data["mm-texts-0"])))
        if sorted(shown) != sorted(map(to_text, texts)):
            raise AssertionError("other texts")
        return "same elements"


def _held(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def _put(value: Any, place: tuple[Any, ...], word: str) -> None:
    _held(value, place[:-1])[place[-1]] = word


# --- driver --------------------------------------------------------------------------------------------------------


def outcome(kind: Any, seed: int, path: Path) -> str:
    """What reading one mutated file came to; anything else than what is allowed names its seed."""
    kind.write(random.Random(seed), path)
    try:
        return str(kind.read(path))
    except kind.allowed as error:
        words = str(error)
        bad = [c for c in words if c < " " and c != "\n"]
        return f"BAD control characters in a message, seed {seed}" if bad else type(error).__name__
    except BaseException as error:
        return f"BAD {type(error).__name__}: {str(error)[:100]!r}, seed {seed}"


def batch(kind: Any, seeds: range) -> Counter[str]:
    """Outcomes of some seeds, in a child process."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        warnings.simplefilter("ignore")
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                os.write(write, f"{outcome(kind, seed, Path(folder) / 'file')}\n".encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as pipe:
        lines = pipe.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status or len(lines) < len(seeds):
        lines.append(f"BAD process ended with {status}, seed {seeds[len(lines)]}")
    return Counter(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=5000, help="of all kinds together")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    deadline, found = time.monotonic() + args.seconds, {}
    with tempfile.TemporaryDirectory() as folder:
        kinds = [kind(Path(folder)) for kind in (Maps, Journals, Batches, Runs, Pages)]
        found = {type(kind).__name__: Counter() for kind in kinds}
        for start in range(args.seed, args.seed + args.mutations // len(kinds), BATCH):
            for kind in kinds:
                if time.monotonic() < deadline:
                    counts = batch(kind, range(start, start + BATCH))
                    found[type(kind).__name__] += counts
                    print("".join(f"{words}\n" for words in counts if words.startswith("BAD")), end="", flush=True)
    for name, counts in found.items():
        print(f"{name}: {counts.total():,} mutations")
        for words, count in counts.most_common():
            print(f"  {count:6,}  {words}")
    return int(any(words.startswith("BAD") for counts in found.values() for words in counts))


if __name__ == "__main__":
    sys.exit(main())
