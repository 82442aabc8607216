"""A logistic regression on more rows than memory should hold: mapped from a partitioned Parquet data set by processes.

    python benchmarks/scale_out.py                     # 20,000,000 × 30, 4.8 GB of numbers
    python benchmarks/scale_out.py --n 2000000         # a tenth

The data are made in pieces. scikit-learn fits a part that memory holds; `polish=True` makes the remaining Newton steps
on all rows; the map goes into a folder. Times are CPU seconds of all processes, the fit's for all rows extrapolated
from those of the part; memory is the largest resident size of a process, by the operating system.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

FILE, GROUP = 1_000_000, 250_000  # rows


def names(p: int) -> list[str]:
    return [f"x{j}" for j in range(p)]


def write_data(folder: pathlib.Path, n: int, p: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    b = np.random.default_rng(0).normal(size=p) / 5
    schema = pa.schema([(name, pa.float64()) for name in names(p)] + [("y", pa.int8())])
    (folder / "data").mkdir()
    for k, start in enumerate(range(0, n, FILE)):
        with pq.ParquetWriter(folder / "data" / f"part-{k:04d}.parquet", schema, compression="NONE") as writer:
            for first in range(start, min(start + FILE, n), GROUP):
                rng = np.random.default_rng([1, first])
                x = rng.normal(size=(min(GROUP, n - first), p))
                y = (rng.logistic(size=len(x)) < x @ b).astype(np.int8)
                writer.write_table(pa.table([*map(pa.array, x.T), pa.array(y)], schema=schema))


def fit(folder: pathlib.Path, n: int, p: int, rows: int) -> dict[str, float]:
    """scikit-learn on the first rows."""
    from sklearn.linear_model import LogisticRegression

    import memorymaps as mm

    part = mm.ParquetExamples(folder / "data", "y").take(slice(0, min(rows, n)))
    x, y = part.inputs, part.target
    start = time.process_time()
    model = LogisticRegression(C=np.inf, tol=1e-6).fit(x, y)
    seconds = time.process_time() - start
    np.savez(folder / "model.npz", coef=model.coef_, intercept=model.intercept_)
    return {"cpu": seconds, "rows": len(y)}


def draw(folder: pathlib.Path, p: int, processes: int) -> dict[str, float]:
    """The map, and the largest process."""
    from sklearn.linear_model import LogisticRegression

    import memorymaps as mm

    stored, model = np.load(folder / "model.npz"), LogisticRegression(C=np.inf)
    model.coef_, model.intercept_, model.n_features_in_ = stored["coef"], stored["intercept"], p
    model.feature_names_in_, model.classes_ = np.array(names(p), dtype=object), np.array([0, 1])
    data = mm.ParquetExamples(folder / "data", "y")
    begun, start = time.perf_counter(), cpu()
    m = mm.memory_map(model, data, polish=True, executor=processes or None, path=f"{folder}/map/", progress=False)
    used, seconds = cpu() - start, time.perf_counter() - begun
    again = mm.load(folder / "map")
    assert len(again) == len(data)
    assert len(again.top(20)) == 20
    peak = [resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    leverage = sum(float(np.sum(part["leverage"])) for _, part in again.table.parts(["leverage"]))
    return {"cpu": used, "seconds": seconds, "peak": peak[0], "worker": peak[1], "leverage": leverage, "n": len(m)}


def cpu() -> float:
    """Seconds of this process and of its children that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


def child(*arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_000_000)
    parser.add_argument("--p", type=int, default=30)
    parser.add_argument("--fit", type=int, default=2_000_000, help="rows that scikit-learn fits")
    parser.add_argument("--processes", type=int, nargs="*", default=[2], help="numbers of processes; 0: this one")
    parser.add_argument("--scratch", type=pathlib.Path, help="where the data are made (default: a temporary folder)")
    parser.add_argument("--step", choices=["fit", "draw"])
    parser.add_argument("--folder", type=pathlib.Path)
    a = parser.parse_args()
    if a.step == "fit":
        print(json.dumps(fit(a.folder, a.n, a.p, a.fit)))
    elif a.step == "draw":
        print(json.dumps(draw(a.folder, a.p, a.processes[0])))
    else:
        compare(a)


def compare(a: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=a.scratch) as name:
        folder, settings = pathlib.Path(name), ["--n", str(a.n), "--p", str(a.p), "--fit", str(a.fit)]
        write_data(folder, a.n, a.p)
        f = child("--step", "fit", "--folder", name, *settings)
        whole = f["cpu"] * a.n / f["rows"]
        print(f"{a.n:,} × {a.p}: fit of {f['rows']:,} rows {f['cpu']:.1f} s of CPU time, of all rows {whole:.1f} s")
        print("| processes | map, CPU s | map / fit | wall s | this process, GB | largest worker, GB | Σ leverage |")
        print("|---|---|---|---|---|---|---|")
        for processes in a.processes:
            m = child("--step", "draw", "--folder", name, "--processes", str(processes), *settings)
            worker = f"{m['worker']:.2f}" if processes else "–"
            print(
                f"| {processes or 1} | {m['cpu']:.1f} | {m['cpu'] / whole:.2f} | {m['seconds']:.1f} | {m['peak']:.2f} "
                f"| {worker} | {m['leverage']:.4f} |",
                flush=True,
            )
            shutil.rmtree(folder / "map")


if __name__ == "__main__":
    main()
