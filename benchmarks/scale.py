"""A 1,000,000 × 100 map, streamed from Parquet, against the time of fitting the same model with scikit-learn.

Fit and map run in separate processes on the same cores; peak memory is the operating system's, of the map process.
Targets: map ≤ 2 × fit, peak ≤ 1.5 × one in-memory copy of the data.

    python benchmarks/scale.py            # 1,000,000 rows
    python benchmarks/scale.py --n 50000  # a quick look
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

P = 100
MODELS = ("LinearRegression", "Ridge", "LogisticRegression")


def write_data(folder: pathlib.Path, n: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    b = rng.normal(size=P) / 10
    schema = pa.schema([(f"x{j}", pa.float64()) for j in range(P)] + [("y", pa.float64()), ("c", pa.int64())])
    with pq.ParquetWriter(folder / "data.parquet", schema, compression="NONE", use_dictionary=False) as writer:
        for start in range(0, n, 50_000):
            x = rng.normal(size=(min(50_000, n - start), P))
            f = x @ b
            columns = [*x.T, f + rng.normal(size=len(x)), (rng.logistic(size=len(x)) < f).astype(np.int64)]
            writer.write_table(pa.table([pa.array(c) for c in columns], schema=schema))


def features() -> list[str]:
    return [f"x{j}" for j in range(P)]


def estimator(name: str):
    from sklearn import linear_model

    return getattr(linear_model, name)()


def target(name: str) -> str:
    return "c" if name == "LogisticRegression" else "y"


def fit(folder: pathlib.Path, name: str) -> dict:
    import pandas as pd

    frame = pd.read_parquet(folder / "data.parquet", columns=[*features(), target(name)])
    x, y = frame[features()].to_numpy(), frame[target(name)].to_numpy()
    del frame
    start, used = time.perf_counter(), time.process_time()
    model = estimator(name).fit(x, y)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    np.savez(folder / f"{name}.npz", coef=model.coef_, intercept=model.intercept_)
    return {"seconds": seconds, "cpu": used}


def fitted(folder: pathlib.Path, name: str):
    """The fitted estimator again, from its coefficients."""
    stored, model = np.load(folder / f"{name}.npz"), estimator(name)
    model.coef_, model.intercept_, model.n_features_in_ = stored["coef"], stored["intercept"], P
    model.feature_names_in_ = np.array(features(), dtype=object)
    if name == "LogisticRegression":
        model.classes_ = np.array([0, 1])
    return model


def draw(folder: pathlib.Path, name: str) -> dict:
    import pandas  # noqa: F401  both timers start with the libraries loaded

    import memorymaps as mm
    import memorymaps.build.draw
    import memorymaps.models.meta.sklearn_pipeline

    model = fitted(folder, name)
    start, used = time.perf_counter(), time.process_time()
    m = mm.memory_map(model, mm.ParquetExamples(folder / "data.parquet", target(name), features=features()))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "cpu": used, "peak": peak, "leverage": float(m["leverage"].sum())}


def child(step: str, folder: pathlib.Path, name: str) -> dict:
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--model", name]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def table(n: int) -> None:
    data = n * P * 8
    print(
        "| model | fit, s | map, s | map / fit | CPU: fit, s | map, s | ratio | peak, MB | peak / data | Σ leverage |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_data(folder, n)
        for model in MODELS:
            a, b = child("fit", folder, model), child("draw", folder, model)
            print(
                f"| {model} | {a['seconds']:.2f} | {b['seconds']:.2f} | {b['seconds'] / a['seconds']:.2f} "
                f"| {a['cpu']:.2f} | {b['cpu']:.2f} | {b['cpu'] / a['cpu']:.2f} "
                f"| {b['peak'] / 1e6:.0f} | {b['peak'] / data:.2f} | {b['leverage']:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--step", choices=["fit", "draw"])
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--model")
    a = parser.parse_args()
    if a.step is None:
        table(a.n)
    else:
        print(json.dumps({"fit": fit, "draw": draw}[a.step](a.folder, a.model)))


if __name__ == "__main__":
    main()
