"""Maps, refits and cross-fitting by an executor of two processes whose run or workers are killed at random times.

    python benchmarks/executor_kills.py --kills 100

A child process draws a map of Parquet files, refits, or cross-fits, with `executor=2`. After a random time signal 9
goes to it, or to one of its workers. Then the same call runs again, until it ends. Counted:

- lost: batches or results that were on the disk before a run and are not there, or are made again, in the next one;
- twice: results that a journal has twice;
- differ: ends that are not those of a run to which nothing happened;
- orphans: workers that run half a minute after their run was killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

KINDS = ("map", "refit", "cross-fit")
FOLDERS = {"map": ".map.batches", "cross-fit": "folds"}  # of what is finished; of refits a file
N, P, GROUP = 4_000, 8, 100


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, P))
    return x, (x[:, 0] + rng.logistic(size=N) > 0).astype(int)


def write(folder: Path) -> None:
    import pandas as pd

    x, y = data()
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(P)]).assign(y=y)
    for k, rows in enumerate(np.array_split(np.arange(N), 4)):
        frame.iloc[rows].to_parquet(folder / f"part-{k}.parquet", row_group_size=GROUP)


def slow(x):
    """The inputs, after a while: so that kills come in the middle."""
    time.sleep(0.02)
    return x


def slow_to_fit(x):
    """The inputs of a fit or a prediction, after a while."""
    time.sleep(0.25)
    return x


def child(kind: str, folder: Path) -> None:
    """Once; the result is a file of its own when it is there."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    import memorymaps as mm

    x, y = data()
    if kind == "map":
        model = make_pipeline(FunctionTransformer(slow), LogisticRegression())
        files = sorted(str(file) for file in folder.glob("part-*.parquet"))
        source = mm.ParquetExamples(files, "y", batch_size=GROUP)
        model.fit(source.take(slice(0, N)).inputs, y)
        found = mm.memory_map(model, source, executor=2, path=folder / "map", progress=False)["loo_loss"]
    elif kind == "refit":
        small = slice(0, 600)
        m = mm.memory_map(RandomForestClassifier(12, random_state=0).fit(x[small], y[small]), x[small], y[small])
        found = mm.refit(m, top=60, executor=2, path=folder / "refits.jsonl", progress=False)["loo_loss"]
    else:
        model = make_pipeline(FunctionTransformer(slow_to_fit), RandomForestClassifier(12, random_state=0))
        m = mm.memory_map(model.fit(x, y), x, y)
        averages = m.leave_one_out(cross_fit=10, executor=2, path=folder / "folds")
        found = np.asarray([averages.loo_loss, averages.loo_score])
    np.save(folder / "partial.npy", found)
    os.replace(folder / "partial.npy", folder / "result.npy")


def on_disk(kind: str, folder: Path) -> dict[str, int]:
    """What is finished, with when it was written."""
    if kind in FOLDERS:
        parts = (folder / FOLDERS[kind]).glob("[0-9]*.parquet")
        return {part.name: part.stat().st_mtime_ns for part in parts}
    file = folder / "refits.jsonl"
    if not file.exists():
        return {}
    lines = [line for line in file.read_bytes().split(b"\n")[1:] if line.endswith(b"}")]
    return {str(json.loads(line)["row"]): k for k, line in enumerate(lines)}


def twice(kind: str, folder: Path) -> int:
    file = folder / "refits.jsonl"
    if kind != "refit" or not file.exists():
        return 0
    rows = [json.loads(line)["row"] for line in file.read_bytes().split(b"\n")[1:] if line.endswith(b"}")]
    return len(rows) - len(set(rows))


def start(kind: str, folder: Path) -> subprocess.Popen[bytes]:
    with open(folder / "stderr", "wb") as file:
        command = [sys.executable, __file__, "--child", kind, "--folder", str(folder)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)


def finish(kind: str, folder: Path) -> None:
    """Without a kill."""
    if start(kind, folder).wait() != 0:
        raise RuntimeError((folder / "stderr").read_text()[-2000:])


def kill(process: subprocess.Popen[bytes], pace: float, rng: random.Random) -> Counter[str]:
    """Signal 9 to the run or to one of its workers, which it has after a while; or nothing, where it has ended."""
    worker, end = rng.random() < 0.5, time.monotonic() + rng.uniform(0.4, 1.1) * pace
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    if process.poll() is not None:
        return Counter(ended=1)
    try:
        own = psutil.Process(process.pid).children(recursive=True)
        chosen = rng.choice([each for each in own if "resource_tracker" not in " ".join(each.cmdline())] or [None])
        os.kill(chosen.pid if worker and chosen is not None else process.pid, signal.SIGKILL)
    except (psutil.Error, ProcessLookupError):
        return Counter(ended=1)
    process.wait()
    orphans = len(psutil.wait_procs(own, timeout=30)[1])
    return Counter({"worker" if worker and chosen is not None else "run": 1, "orphans": orphans})


def one(kind: str, folder: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kill runs of one kind, and compare every end."""
    write(folder)
    begun = time.monotonic()
    finish(kind, folder)
    pace, whole = time.monotonic() - begun, np.load(folder / "result.npy")
    found: Counter[str] = Counter()

    def clear() -> None:
        for path in (folder / "result.npy", folder / "map", folder / "refits.jsonl"):
            path.unlink(missing_ok=True)
        for name in FOLDERS.values():
            shutil.rmtree(folder / name, ignore_errors=True)

    clear()
    while found["worker"] + found["run"] < kills:
        before, begun = on_disk(kind, folder), time.monotonic()
        process = start(kind, folder)
        how = kill(process, pace, rng)
        found += how
        if how["ended"] and not before:
            pace = time.monotonic() - begun  # other work on the machine comes and goes
        if not (folder / "result.npy").exists():
            after = on_disk(kind, folder)
            found["lost"] += sum(after.get(name) != when for name, when in before.items())
            found["kept"] = max(found["kept"], len(after))
        found["twice"] += twice(kind, folder)
        if (folder / "result.npy").exists():
            found["ends"] += 1
            found["differ"] += int(not np.allclose(np.load(folder / "result.npy"), whole, rtol=1e-10, equal_nan=True))
            clear()
    finish(kind, folder)  # what is open is finished
    found["ends"] += 1
    found["differ"] += int(not np.allclose(np.load(folder / "result.npy"), whole, rtol=1e-10, equal_nan=True))
    found["left"] = len(list(folder.glob(".*.partial"))) + len(list(folder.glob(".*.batches")))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of all kinds together")
    parser.add_argument("--child", choices=KINDS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    if a.child:
        child(a.child, a.folder)
        return
    rng = random.Random(a.seed)
    print("| kind | kills of the run | of a worker | ends | kept at most | lost | twice | differ | left | orphans |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for kind, share in zip(KINDS, (0.45, 0.35, 0.2), strict=True):
        with tempfile.TemporaryDirectory() as name:
            f = one(kind, Path(name), max(1, round(a.kills * share)), rng)
        names = ("run", "worker", "ends", "kept", "lost", "twice", "differ", "left", "orphans")
        print(f"| {kind} | {' | '.join(str(f[name]) for name in names)} |", flush=True)


if __name__ == "__main__":
    main()
