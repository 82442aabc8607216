"""`memory_map` inside a process group of `torch.distributed` (gloo): the map of one process, and what goes wrong."""

import pathlib
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import maps_of_many_kinds as kinds  # noqa: E402
import tasks  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("processes of torch"),  # what groups of processes drew, once for all tests
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed"),
    pytest.mark.skipif(sys.platform == "win32", reason="gloo on Windows meets by no file"),
]
HERE = pathlib.Path(__file__).parent
RANDOM = {"many outputs": {"leverage"}}  # columns with a random direction for each batch, not for each example
OF_THREE = ("full", "ekfac", "active_set", "dual", "sampled", "some rows", "batches")
KRONECKER = ("kfac", "ekfac", "ekfac of some examples", "empirical Fisher", "some rows", "data set", "convolution")
ROUNDED = dict.fromkeys(KRONECKER, 1e-7) | {"sampled, in a short time": 1e-4}  # the latter in single precision


def group(folder, size, *arguments, fails=()):
    """What each process of a group returns; the messages of those that were expected to fail are empty."""
    command = [sys.executable, str(HERE / "process.py"), str(folder)]
    started = [
        subprocess.Popen([*command, str(k), str(size), *arguments], stderr=subprocess.PIPE, text=True)
        for k in range(size)
    ]
    messages = [process.communicate(timeout=1200)[1] for process in started]
    for k, process in enumerate(started):
        assert (process.returncode != 0) == (k in fails), messages[k]
    return [pickle.loads((folder / f"{k}.pickle").read_bytes()) for k in range(size) if k not in fails]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return group(tmp_path_factory.mktemp("two"), 2, "draw_and_fail", ";".join(kinds.MAPS))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return group(tmp_path_factory.mktemp("three"), 3, "draw", ";".join(OF_THREE))


def _said(note):
    """What a note says without the size of rounding, which the order of sums decides."""
    return re.sub(r"(changes the columns by )[\d.e-]+", r"\1", note)


def assert_same(found, expected, tolerance=1e-10, apart=()):
    columns, fingerprint, inputs, description = found
    wanted, *same, described = expected
    assert [fingerprint, inputs] == same
    assert list(columns) == list(wanted)
    for name in set(wanted) - set(apart):
        if wanted[name].dtype.kind == "f":
            size = np.max(np.abs(wanted[name]), where=np.isfinite(wanted[name]), initial=0.0)
            np.testing.assert_allclose(columns[name], wanted[name], rtol=0, atol=tolerance * size, err_msg=name)
        else:
            np.testing.assert_array_equal(columns[name], wanted[name], err_msg=name)
    assert description.estimator == described.estimator
    assert set(map(_said, described.notes)) <= set(
        map(_said, description.notes)
    )  # a network that was gathered is said to be a copy


@pytest.mark.parametrize("name", kinds.MAPS)
def test_two_processes_draw_the_map_of_one(two, name):
    expected = tasks.numbers(kinds.draw_all([name])[name])
    for found in two:
        assert_same(found[name], expected, ROUNDED.get(name, 1e-10), RANDOM.get(name, ()))
    for column, values in two[0][name][0].items():
        np.testing.assert_array_equal(values, two[1][name][0][column])  # every process has the whole map, to the bit


@pytest.mark.parametrize("name", OF_THREE)
def test_three_processes_draw_the_map_of_one(three, name):
    expected = tasks.numbers(kinds.draw_all([name])[name])
    for found in three:
        assert_same(found[name], expected, ROUNDED.get(name, 1e-10))


def test_an_error_of_one_process_ends_all_with_its_message(two):
    (first, seconds), (own, _) = (found["faults"]["nan_in_the_last_part"] for found in two)
    assert own.startswith("NotFiniteError: the network's output for example 36 is not finite")
    assert first.startswith("ProcessGroupError: process 1 of 2 has stopped")
    assert first.endswith(f"Its error: {own}")
    assert seconds < 450  # half the group's timeout
    (first, _), (own, _) = (found["faults"]["own_error_of_one"] for found in two)
    assert own in first
    assert "ProcessGroupError" not in own


def test_processes_with_other_data_or_recipes_are_told(two):
    for found in two:
        assert "were given [37, 36] examples: expected all" in found["faults"]["other_numbers_of_examples"][0]
        assert "were given 18 examples each, but others: expected all" in found["faults"]["other_examples"][0]
        assert "has to call memory_map with the same network, recipe and data" in found["faults"]["other_recipes"][0]


@pytest.mark.parametrize(
    "task",
    [
        "by_one_process",
        "refined_by_one_process",
        "own_forward_of_a_wrapper",
        "other_parameters",
        "other_running_statistics",
    ],
)
def test_what_is_drawn_in_the_end(two, task):
    assert [found["faults"][task][0] for found in two] == ["no error"] * 2


def test_each_process_writes_its_part_into_a_folder(two):
    for found in two:
        drawn, loaded, files = found["parts"]
        assert files == ["part-00000-of-00002.parquet", "part-00001-of-00002.parquet"]
        assert_same(loaded, drawn, 0.0)


def test_a_tracker_in_the_first_process_records_a_distributed_training(two):
    steps, recorded, together = two[0]["tracker"]
    assert list(steps) == [2, 4]
    assert_same(together, recorded)


def test_a_killed_process_ends_the_others_and_the_run_goes_on_from_what_was_finished(tmp_path):
    [(message, seconds)] = group(tmp_path, 2, "killed", fails=[1])
    assert message.startswith("ProcessGroupError: process 0 of 2 has lost another one at ")
    assert "with memory_map(…, path=…) the finished batches are kept" in message
    assert seconds < 450
    assert not (tmp_path / "map.parquet").exists()
    (tmp_path / "meeting").unlink(missing_ok=True)
    (drawn, loaded, done), (other, _, done_by_other) = group(tmp_path, 2, "resumed")
    assert done == 5  # all batches of the process that was not killed: 18 examples, four at a time
    assert done_by_other == 1
    assert not list(tmp_path.glob(".map*"))  # each process deletes its own, once the map is written
    expected = tasks.numbers(tasks.to_file(tmp_path))
    for found in (drawn, loaded, other):
        assert_same(found, expected, 1e-7)
