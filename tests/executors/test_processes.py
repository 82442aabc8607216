"""Real processes and a real Dask cluster, one of whose workers is killed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import memorymaps as mm
from memorymaps.files.executors.errors import WorkerLostError
from memorymaps.files.executors.ordered_map import map_in_order
from memorymaps.files.executors.workers import opened

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=30)
M = mm.memory_map(Ridge().fit(X, Y), X, Y)
IDS = list(range(8))


def retraining(killed_at, marker):
    """A function that kills its own process the first time that it is to leave out row `killed_at`."""

    def retrain(removed, wanted):
        if len(removed) and removed[0] == killed_at and not os.path.exists(marker):
            with open(marker, "w"):
                os.kill(os.getpid(), signal.SIGKILL)
        return Ridge().fit(np.delete(X, removed, 0), np.delete(Y, removed)).predict(X[wanted])

    return retrain


WHOLE = mm.retrain_check(M, retraining(-1, ""), ids=IDS)


def rows_of(path):
    return [json.loads(line)["row"] for line in path.read_bytes().splitlines()[1:]]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_process_of_ours_is_an_error_and_the_rerun_goes_on(tmp_path):
    path, retrain = tmp_path / "check.jsonl", retraining(5, str(tmp_path / "killed"))
    with pytest.raises(WorkerLostError, match="run the same again"):
        mm.retrain_check(M, retrain, ids=IDS, path=path, executor=2)
    finished = rows_of(path)
    assert 5 not in finished
    assert mm.retrain_check(M, retrain, ids=IDS, path=path, executor=2).table.equals(WHOLE.table)
    assert sorted(rows_of(path)) == [-1, *IDS]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.filterwarnings("ignore")
def test_dask_repeats_what_a_killed_worker_had(tmp_path):
    distributed = pytest.importorskip("distributed")
    path, retrain = tmp_path / "check.jsonl", retraining(5, str(tmp_path / "killed"))
    local = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "local_directory": str(tmp_path)}
    model, data = streamed(tmp_path)
    with distributed.LocalCluster(**local, silence_logs=50) as cluster, distributed.Client(cluster) as client:
        executor = client.get_executor(retries=2)
        found = mm.retrain_check(M, retrain, ids=IDS, path=path, executor=executor)
        m = mm.memory_map(model, data, executor=executor)
    assert (tmp_path / "killed in a map").exists()
    assert_same(m, mm.memory_map(model, data))
    assert (tmp_path / "killed").exists()
    assert found.table.equals(WHOLE.table)
    assert sorted(rows_of(path)) == [-1, *IDS]


def streamed(folder):
    """A pipeline that kills the process the first time that it is to transform the last rows; and its data in files."""
    marker, parent = str(folder / "killed in a map"), os.getpid()

    def transform(x):
        if np.any(x["a"] > 2) and os.getpid() != parent and not os.path.exists(marker):
            with open(marker, "w"):
                os.kill(os.getpid(), signal.SIGKILL)
        return x

    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=Y)
    frame.loc[29, "a"] = 5.0
    frame.to_parquet(folder / "data.parquet", row_group_size=5)
    model = make_pipeline(FunctionTransformer(transform), Ridge()).fit(frame[["a", "b", "c"]], frame.y)
    return model, mm.ParquetExamples(folder / "data.parquet", "y", batch_size=5)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_map_goes_on_after_a_process_was_killed(tmp_path):
    model, data = streamed(tmp_path)
    path = tmp_path / "m.parquet"
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool, pytest.raises(WorkerLostError):
        mm.memory_map(model, data, path=path, executor=pool)
    m = mm.memory_map(model, data, path=path, executor=2)
    assert_same(m, mm.memory_map(model, data))
    assert mm.load(path).table.equals(m.table)


def assert_same(found, expected):
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-12)


def memory_limit(_, item):
    from loky import process_executor

    return process_executor._MAX_MEMORY_LEAK_SIZE, os.getpid()


def test_workers_are_not_replaced_because_their_batches_are_large():
    with opened(1) as workers:
        found = list(map_in_order(workers, memory_limit, None, range(3)))
    assert min(limit for limit, _ in found) > 1e15
    assert len({process for _, process in found}) == 1


def test_a_script_without_a_guard_and_functions_of_its_own(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import numpy as np
        from sklearn.linear_model import Ridge
        import memorymaps as mm
        x = np.arange(24.0).reshape(12, 2) % 5
        y = x @ [1.0, 2.0] + np.sin(np.arange(12))
        m = mm.memory_map(Ridge().fit(x, y), x, y)
        def retrain(removed, wanted):
            return Ridge().fit(np.delete(x, removed, 0), np.delete(y, removed)).predict(x[wanted])
        print("once", round(mm.retrain_check(m, retrain, k=4, executor=2).slope, 6))
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "once 1.0\n"
