"""The seam: results in order, few tasks at a time, contexts sent once, and errors that say what to do."""

import pickle
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import numpy as np
import pytest
from remedies import remedy
from round_trip import Elsewhere, RoundTrip
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.analysis.retraining import RetrainingError
from memorymaps.files.executors.errors import NotPicklableError, WorkerLostError
from memorymaps.files.executors.ordered_map import map_as_completed, map_in_order
from memorymaps.files.executors.pairwise_sum import tree_sum
from memorymaps.files.executors.workers import opened


def scaled(factor, item):
    return factor * item


def slow_first(delays, item):
    time.sleep(delays[item])
    return item


class Backwards(Executor):
    """Holds tasks until `_max_workers × 2` are there, and finishes the newest first; `most` is how many it held."""

    def __init__(self, total):
        self._max_workers, self.left, self.held, self.most = 2, total, [], 0

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.held.append((future, fn, args))
        self.most, self.left = max(self.most, len(self.held)), self.left - 1
        if len(self.held) == 4 or self.left == 0:
            while self.held:
                last, function, given = self.held.pop()
                last.set_result(function(*given))
        return future


@pytest.mark.parametrize("executor", [None, RoundTrip(), Elsewhere(), ThreadPoolExecutor(2), Backwards(10)])
def test_results_come_in_the_order_of_the_items(executor):
    with opened(executor) as workers:
        assert list(map_in_order(workers, scaled, 3, range(10))) == [3 * k for k in range(10)]


@pytest.mark.parametrize("executor", [None, RoundTrip(), Elsewhere(), ThreadPoolExecutor(2)])
def test_results_as_completed_have_their_items(executor):
    with opened(executor) as workers:
        found = list(map_as_completed(workers, scaled, 3, range(10)))
    assert sorted(found) == [(k, 3 * k) for k in range(10)]


def test_few_tasks_are_submitted_at_a_time():
    executor, read = Backwards(40), []

    def items():
        for k in range(40):
            read.append(k)
            yield k

    with opened(executor) as workers:
        for used, _ in enumerate(map_in_order(workers, scaled, 1, items())):
            assert len(read) <= used + 1 + workers.in_flight
    assert executor.most <= 4


def test_what_is_finished_first_comes_first():
    with ThreadPoolExecutor(2) as pool, opened(pool) as workers:
        found = [item for item, _ in map_as_completed(workers, slow_first, [0.3, 0.0, 0.0], range(3))]
    assert found[-1] == 0


def test_the_context_is_sent_once_and_again_where_it_is_not():
    for executor in (RoundTrip(), Elsewhere()):
        with opened(executor) as workers:
            list(map_in_order(workers, scaled, np.arange(3), range(9)))
    assert executor.submitted > 9


def test_sums_of_parts_are_exact_and_in_order():
    parts = list(np.random.default_rng(0).normal(size=33))
    assert tree_sum(iter(parts), lambda a, b: a + b) == pytest.approx(sum(parts), rel=1e-12)
    assert tree_sum(["a", "b", "c"], lambda a, b: a + b) == "abc"
    with pytest.raises(ValueError, match="at least one part"):
        tree_sum([], max)


# --- what can go wrong ------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=30)
M = mm.memory_map(Ridge().fit(X, Y), X, Y)


def retrained(removed, wanted):
    return Ridge().fit(np.delete(X, removed, 0), np.delete(Y, removed)).predict(X[wanted])


@remedy("Open them inside the function that uses them, or use threads, executor=ThreadPoolExecutor(4)")
@pytest.mark.parametrize("held", ["file", "lock"])
def test_what_cannot_be_sent_is_refused_before_any_work(said, held, tmp_path):
    calls, path = [], tmp_path / "log"
    path.touch()
    with open(path, "a") as file:
        thing = file if held == "file" else threading.Lock()

        def retrain(removed, wanted):
            calls.append(thing)
            return retrained(removed, wanted)

        executor = RoundTrip()
        with said:
            mm.retrain_check(M, retrain, k=4, executor=executor)
        with pytest.raises(NotPicklableError):
            mm.retrain_check(M, retrain, k=4, executor=executor)
        assert executor.submitted == 0
        assert calls == []
        with ThreadPoolExecutor(4) as threads:
            assert mm.retrain_check(M, retrain, k=4, executor=threads).slope == pytest.approx(1)

    def opens(removed, wanted):
        with open(path):
            return retrained(removed, wanted)

    assert mm.retrain_check(M, opens, k=4, executor=executor).slope == pytest.approx(1)


class Killed(RoundTrip):
    """A pool that breaks at the fifth task."""

    def run(self, fn, args, kwargs):
        if self.submitted >= 5:
            raise BrokenProcessPool("a process in the pool was terminated abruptly")
        return fn(*args, **kwargs)


@remedy("run the same again to go on, with fewer processes if memory was short")
def test_a_killed_worker_is_said_so_and_the_next_run_goes_on(said, tmp_path):
    path, whole = tmp_path / "refits.jsonl", mm.refit(M, top=8)
    with said:
        mm.refit(M, top=8, executor=Killed(), path=path)
    finished = len(path.read_bytes().splitlines()) - 1
    assert finished == 4
    with pytest.raises(WorkerLostError):
        mm.refit(M, top=8, executor=Killed(), path=path)
    again = RoundTrip()
    assert mm.refit(M, top=8, executor=again, path=path).table.equals(whole.table)
    assert len(path.read_bytes().splitlines()) == 1 + 9
    assert again.submitted < 9 - finished


@remedy("a number of processes, or an executor such as ProcessPoolExecutor(4) or Dask's client.get_executor()")
@pytest.mark.parametrize("executor", [0, "4", 2.5, SimpleNamespace(submit=print)])  # the last as Dask's Client
def test_what_is_no_executor_is_refused(said, executor):
    with said:
        mm.refit(M, top=2, executor=executor)
    with ThreadPoolExecutor(2) as pool:
        assert mm.refit(M, top=2, executor=pool).table.equals(mm.refit(M, top=2).table)


def test_more_processes_than_a_machine_starts_are_refused():
    with pytest.raises(ValueError, match=r"executor = 1000000000 processes, .*: expected at most \d+ with \d+ cores"):
        mm.refit(M, top=2, executor=10**9)


@remedy("threads and an executor: pass one of them")
def test_threads_and_an_executor(said):
    executor = RoundTrip()
    with said:
        mm.refit(M, top=2, jobs=2, executor=executor)
    assert mm.refit(M, top=2, jobs=2).table.equals(mm.refit(M, top=2, executor=executor).table)


def test_errors_of_workers_name_the_rows():
    def fails(removed, wanted):
        return 1 / len(removed) * retrained(removed, wanted)

    with pytest.raises(RetrainingError, match="nothing removed failed: ZeroDivisionError"):
        mm.retrain_check(M, fails, k=2, executor=RoundTrip())


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(WorkerLostError("lost")))
    assert str(error) == "lost"
