"""Writers that are killed, fill the disk or may not write: what is on disk is whole, and nothing acknowledged is lost.

    python benchmarks/kills.py --kills 200 --seconds 300

A child process writes one thing after another and acknowledges each through a pipe as soon as the call has returned (a
journal: when the next retraining begins). It is killed with signal 9 after a random time, or its files may not grow
beyond a random size (`RLIMIT_FSIZE`), or the disk below it is full but for some bytes (`ENOSPC`; on a tmpfs,
where it may be mounted). Afterwards the files are read:

- lost: something acknowledged is not there;
- mixtures: something there is neither one state nor the next;
- left: partial files that remain when the next writer has finished.

At the end every journal and run is completed and compared, bit for bit, with one that nothing happened to.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.analysis.journal import _read_results
from memorymaps.cli.report import write_report
from memorymaps.files.batch_journal import BatchJournal
from memorymaps.maps.store import MapFileError
from memorymaps.maps.trajectory import Trajectory
from memorymaps.training.tracker import Tracker

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5))
Y = X @ np.arange(5.0) + RNG.normal(size=300)
SIZES = (300, 200, 100)
STEPS = 40
Acknowledge = Callable[[], None]


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


class Maps:
    """Three maps under one name, in turn."""

    patience = 3  # times its pace that a writer has to be refused: this one never ends

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / "m.parquet"
        self.at, self.maps = 0, [mm.memory_map(Ridge(0.1).fit(X[:n], Y[:n]), X[:n], Y[:n]) for n in SIZES]
        self.save(0)
        self.pace = 3 * seconds(lambda: self.save(0))

    def save(self, k: int) -> None:
        """Write the k-th state."""
        self.maps[k % 3].save(self.path)

    def write(self, acknowledge: Acknowledge) -> None:
        """From the state that was found, for ever."""
        for k in range(self.at + 1, self.at + 10_000):
            self.save(k)
            acknowledge()

    def state(self) -> int:
        """Which of the three is there; raises if it is none of them."""
        m = mm.load(self.path)
        return next(k for k in range(3) if m.table.equals(self.maps[k].table) and m.provenance.n == SIZES[k])

    def check(self, acknowledged: int) -> Counter[str]:
        """What is there against what was acknowledged; then one more write, which tidies up."""
        try:
            state = self.state()
        except (MapFileError, OSError, StopIteration, ValueError):
            return Counter(mixtures=1)
        last = self.at + acknowledged
        found = Counter(lost=int(state not in (last % 3, (last + 1) % 3)))
        self.at = state
        self.save(state)
        return found + Counter(left=len(list(self.folder.glob(".*.partial"))))

    def finish(self) -> Counter[str]:
        """Nothing is open."""
        return Counter()


class Folders(Maps):
    """Three maps, each a folder of files, under one name in turn."""

    def save(self, k: int) -> None:
        """Write the k-th state."""
        self.maps[k % 3].save(f"{self.path}/")

    def state(self) -> int:
        """Which of the three is there, all columns read."""
        m = mm.load(self.path)
        return next(k for k in range(3) if m.arrow().equals(self.maps[k].table) and m.provenance.n == SIZES[k])

    def check(self, acknowledged: int) -> Counter[str]:
        """As for maps; maps that were set aside are left as well."""
        return super().check(acknowledged) + Counter(left=len(list(self.folder.glob(".*.before.*"))))


class Pages(Maps):
    """Three exported pages under one name."""

    def __init__(self, folder: Path):
        self.pages: list[bytes] = []
        super().__init__(folder)
        self.path = folder / "page.html"
        for k in range(3):
            self.save(k)
            self.pages.append(self.path.read_bytes())
        self.save(0)
        self.pace = 3 * seconds(lambda: self.save(0))

    def save(self, k: int) -> None:
        """Write the k-th page."""
        self.maps[k % 3].explore(self.path.with_suffix(".html"))

    def state(self) -> int:
        """Which page is there."""
        return self.pages.index(self.path.read_bytes())


class Reports(Maps):
    """Three reports in one folder: each of the five files is one of its three states."""

    def __init__(self, folder: Path):
        self.states: list[dict[str, bytes]] = []
        super().__init__(folder)
        for k in range(3):
            self.save(k)
            self.states.append(self.files())
        self.save(0)

    def files(self) -> dict[str, bytes]:
        """Names and contents."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.suffix != ".partial"}

    def save(self, k: int) -> None:
        """Write the k-th report."""
        write_report(self.maps[k % 3], self.folder)

    def state(self) -> int:
        """The state of the file that is written last; every other must be in a state of its own."""
        for name, content in self.files().items():
            assert content in [state[name] for state in self.states], name
        return [state["map.parquet"] for state in self.states].index(self.files()["map.parquet"])

    def check(self, acknowledged: int) -> Counter[str]:
        """As for maps."""
        try:
            return super().check(acknowledged)
        except AssertionError:
            return Counter(mixtures=1)


class Journals:
    """A journal of retrainings that goes on after each kill; a new one when it is complete."""

    patience = 20

    def __init__(self, folder: Path):
        self.path = folder / "check.jsonl"
        self.map = mm.memory_map(Ridge(0.1).fit(X, Y), X, Y)
        self.ids = list(range(60))
        self.whole = mm.retrain_check(self.map, self.recipe, ids=self.ids, progress=False)
        self.had, self.pace = 0, seconds(lambda: self.run(lambda: None)) / 4
        self.path.unlink()

    def recipe(self, removed: Any, wanted: Any) -> Any:
        """Retrain."""
        return Ridge(0.1).fit(np.delete(X, removed, 0), np.delete(Y, removed)).predict(X[wanted])

    def run(self, acknowledge: Acknowledge) -> Any:
        """All retrainings that the journal lacks; the n-th begins when n results are on the disk."""
        begun = 0

        @functools.wraps(self.recipe)
        def recipe(removed: Any, wanted: Any) -> Any:
            nonlocal begun
            begun += 1
            if begun > 1:
                acknowledge()
            return self.recipe(removed, wanted)

        return mm.retrain_check(self.map, recipe, ids=self.ids, path=self.path, progress=False)

    def write(self, acknowledge: Acknowledge) -> None:
        """Once: what is complete is complete."""
        self.run(acknowledge)

    def check(self, acknowledged: int) -> Counter[str]:
        """Results on disk against those acknowledged."""
        has = len(_read_results(self.path)[0]) if self.path.exists() else 0
        found = Counter(lost=max(0, self.had + acknowledged - has))
        self.had = has
        if has == len(self.ids) + 1:
            found += self.finish()
        return found

    def finish(self) -> Counter[str]:
        """Complete it, compare, and begin a new one."""
        same = self.run(lambda: None).table.equals(self.whole.table)
        self.path.unlink()
        self.had = 0
        return Counter(mixtures=int(not same), left=len(list(self.path.parent.glob(".*.partial"))))


class Batches:
    """A map in batches, each a file of its own when it is finished, that goes on after each kill."""

    patience = 20

    def __init__(self, folder: Path):
        self.path, self.folder = folder / "m.parquet", folder / ".m.parquet.batches"
        self.net = torch.nn.Linear(5, 3)
        x, y = torch.tensor(X, dtype=torch.float32), torch.arange(len(X)) % 3
        self.data = mm.LoaderExamples([(x[k : k + 10], y[k : k + 10]) for k in range(0, len(X), 10)])
        self.whole, self.had = self.map(None), 0
        self.pace = seconds(self.finish) / 4

    def map(self, path: Path | None) -> Any:
        """The map; finished batches are beside `path`."""
        recipe = mm.Laplace("diag", prior=1.0, probes=0)
        return mm.memory_map(self.net, self.data, likelihood="categorical", posterior=recipe, path=path)

    def write(self, acknowledge: Acknowledge) -> None:
        """Once: what is complete is complete."""
        add = BatchJournal.add

        def acknowledged(*args: Any) -> None:
            add(*args)
            acknowledge()

        BatchJournal.add = acknowledged  # type: ignore[method-assign]  # of this child
        self.map(self.path)

    def check(self, acknowledged: int) -> Counter[str]:
        """Batches on disk against those acknowledged; a map that is complete has all of them."""
        complete = self.path.exists()
        has = len(self.data.source) if complete else len(list(self.folder.glob("[0-9]*.parquet")))
        found = Counter(lost=max(0, self.had + acknowledged - has))
        self.had = has
        return found + self.finish() if complete else found

    def finish(self) -> Counter[str]:
        """Complete it, compare what was returned and what is on disk, and begin a new one."""
        tables = [mm.load(self.path).table] if self.path.exists() else []
        tables += [self.map(self.path).table, mm.load(self.path).table]
        left = [*self.folder.parent.glob(".*.partial"), *self.folder.parent.glob(".*.batches")]
        self.path.unlink()
        self.had = 0
        return Counter(mixtures=sum(not table.equals(self.whole.table) for table in tables), left=len(left))


class Runs:
    """A tracked run that goes on after each kill; the network of a step is a function of the step."""

    patience = 20

    def __init__(self, folder: Path):
        self.folder = folder / "run"
        self.x, self.y = torch.tensor(X[:60]), torch.arange(60) % 3
        self.last, self.pace = 0, seconds(lambda: self.run(folder / "whole", 0, lambda: None)) / 8
        self.whole = Trajectory.load(folder / "whole")

    def run(self, path: Path, start: int, acknowledge: Acknowledge) -> None:
        """Steps after `start`."""
        net = torch.nn.Linear(5, 3).double()
        options = {"likelihood": "categorical", "posterior": mm.Laplace("diag", prior=1.0), "start": start}
        with Tracker(net, None, self.x, self.y, path=path, **options) as tracker:
            for tracker.steps in range(start + 1, STEPS + 1):
                generator = torch.Generator().manual_seed(tracker.steps)
                with torch.no_grad():
                    net.weight.copy_(torch.randn(3, 5, generator=generator, dtype=torch.float64))
                    net.bias.zero_()
                tracker.record()
                acknowledge()

    def steps(self) -> list[int]:
        """What is recorded."""
        return Trajectory(self.folder).steps if self.folder.exists() else []

    def write(self, acknowledge: Acknowledge) -> None:
        """Go on."""
        self.run(self.folder, len(self.steps()), acknowledge)

    def check(self, acknowledged: int) -> Counter[str]:
        """Steps on disk against those acknowledged, each against the run that nothing happened to."""
        steps = self.steps()
        found = Counter(lost=max(0, self.last + acknowledged - len(steps)))
        found += Counter(mixtures=sum(not self.same(step) for step in steps[-3:]))
        self.last = len(steps)
        if self.last == STEPS:
            found += self.finish()
        return found

    def same(self, step: int) -> bool:
        """Whether a step is that of the other run."""
        a, b = Trajectory(self.folder).at(step), self.whole.at(step)
        return bool(a.table.equals(b.table) and a.provenance == b.provenance)

    def finish(self) -> Counter[str]:
        """Complete it, compare, and begin a new one."""
        self.run(self.folder, len(self.steps()), lambda: None)
        different = sum(not self.same(step) for step in range(1, STEPS + 1))
        left = len(list(self.folder.glob(".step=*")))
        shutil.rmtree(self.folder)
        self.last = 0
        return Counter(mixtures=different, left=left)


# --- children ------------------------------------------------------------------------------------------------------


def forked(writer: Any, prepare: Callable[[], None]) -> tuple[int, int]:
    """A child that writes: its process number, and the pipe of its acknowledgements."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.close(read)
    for ended_by in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ended_by, signal.SIG_DFL)
    try:
        prepare()
        writer.write(lambda: os.write(write, b"x") and None)
    except OSError:
        os._exit(3)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(4)
    os._exit(0)


def ended(pid: int, read: int, after: float) -> tuple[int, int]:
    """How many writes were acknowledged, and the status; killed after so many seconds."""
    deadline, acknowledged = time.monotonic() + after, b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([read], [], [], left)[0]:
            some = os.read(read, 4096)
            acknowledged += some
            if not some:
                break
    os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    while some := os.read(read, 4096):
        acknowledged += some
    os.close(read)
    return len(acknowledged), status


def full_disk(rng: random.Random) -> Callable[[], None]:
    """Files may not grow beyond a random size."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(10 ** rng.uniform(1, 5)), resource.RLIM_INFINITY))

    return prepare


class Disk:
    """A small disk of its own at `folder`; nothing, and `mounted` false, where this process may not mount one."""

    def __init__(self, folder: Path):
        self.folder, self.filler = folder, folder / ".filler"
        command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
        able = os.name == "posix" and shutil.which("mount") is not None
        self.mounted = able and subprocess.run(command, capture_output=True).returncode == 0

    def fill(self, left: int) -> None:
        """Leave so many bytes free, in whole pages."""
        free = os.statvfs(self.folder)
        self.filler.write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - left)))

    def empty(self) -> None:
        """Free again."""
        self.filler.unlink()

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        if self.mounted:  # lazily, for a child that has a file open still
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


def no_space(writer: Any, disk: Disk, rng: random.Random) -> Counter[str]:
    """One child on a disk that is full but for a random number of bytes."""
    disk.fill(int(10 ** rng.uniform(1, 5)))
    return refused(writer, lambda: None, disk.empty)


def read_only(folder: Path) -> Callable[[], None]:
    """The folder may be read only; root, who may everything, becomes nobody."""

    def prepare() -> None:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        if os.getuid() == 0:
            os.setuid(65534)

    return prepare


def writable(folder: Path) -> None:
    """The folder as it was."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def killed(writer: Any, rng: random.Random, deadline: float, count: int) -> Counter[str]:
    """Kills at random times, within three times of what the first write took."""
    found: Counter[str] = Counter()
    while found["kills"] < count and time.monotonic() < deadline:
        acknowledged, status = ended(*forked(writer, lambda: None), rng.uniform(0, writer.pace))
        found += Counter(kills=int(status == -signal.SIGKILL), failed=int(status == 4)) + writer.check(acknowledged)
    return found + writer.finish()


def refused(writer: Any, prepare: Callable[[], None], restore: Callable[[], None]) -> Counter[str]:
    """One child that cannot write as it wants."""
    acknowledged, status = ended(*forked(writer, prepare), max(5.0, writer.patience * writer.pace))
    restore()
    return Counter(tries=1, refused=int(status == 3), failed=int(status == 4)) + writer.check(acknowledged)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="of all writers together")
    parser.add_argument("--disks", type=int, default=10, help="size limits and full disks, each writer")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for ended_by in (signal.SIGTERM, signal.SIGHUP):  # as an exception: disks are unmounted, folders deleted
        signal.signal(ended_by, lambda number, _: sys.exit(128 + number))
    rng, kinds, bad = random.Random(args.seed), (Maps, Folders, Pages, Reports, Batches, Journals, Runs), 0
    share = args.seconds / len(kinds)
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder, Disk(Path(folder)) as disk:
            writer = kind(Path(folder))
            rows = {"kill -9": killed(writer, rng, time.monotonic() + share, -(-args.kills // len(kinds)))}
            full = [refused(writer, full_disk(rng), lambda: None) for _ in range(args.disks)]
            rows["size limit"] = sum(full, Counter())
            space = [no_space(writer, disk, rng) for _ in range(args.disks if disk.mounted else 0)]
            rows["full disk"] = sum(space, Counter())
            rows["read-only"] = refused(writer, read_only(Path(folder)), lambda at=folder: writable(Path(at)))
            for name, found in rows.items():
                tries = found["kills"] or found["tries"]
                words = ", ".join(f"{found[key]} {key}" for key in ("refused", "failed", "lost", "mixtures", "left"))
                print(f"{kind.__name__:9s} {name:10s} {tries:4d}: {words}", flush=True)
                bad += found["failed"] + found["lost"] + found["mixtures"] + found["left"]
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
