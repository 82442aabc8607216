"""Files appear whole or not at all, whoever writes and reads them at the same time, and whatever ends a writer."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from multiprocessing import get_context

import pyarrow.parquet as pq
import pytest
from matplotlib import animation
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.cli.report import write_report
from memorymaps.files import atomic_files
from memorymaps.files.atomic_files import partial_path, replacing, sweep
from memorymaps.files.processes import is_running
from memorymaps.maps.memory_map import store
from memorymaps.viz.displays.figure_files import write_figure

X, Y = load_diabetes(return_X_y=True)
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")


@pytest.fixture(scope="module")
def maps():
    return tuple(mm.memory_map(Ridge(alpha=0.1).fit(X[:n], Y[:n]), X[:n], Y[:n]) for n in (442, 200))


def is_one_of(found, maps):
    return any(found.table.equals(m.table) and found.provenance == m.provenance for m in maps)


def save_and_load(maps, path, rounds):
    """How many of `rounds` savings of either map were followed by reading anything else than one of them."""
    bad = 0
    for k in range(rounds):
        maps[k % 2].save(path)
        bad += not is_one_of(mm.load(path), maps)
    return bad


@pytest.mark.slow
def test_four_threads_that_save_one_path_always_read_a_whole_map(maps, tmp_path):
    path, bad = tmp_path / "m.parquet", []
    threads = [threading.Thread(target=lambda: bad.append(save_and_load(maps, path, 25))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bad == [0, 0, 0, 0]
    assert os.listdir(tmp_path) == ["m.parquet"]


@pytest.mark.slow
@posix
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_four_processes_that_save_one_path_always_read_a_whole_map(maps, tmp_path):
    path, context = tmp_path / "m.parquet", get_context("fork")
    work = [context.Process(target=lambda: sys.exit(save_and_load(maps, path, 25))) for _ in range(4)]
    for process in work:
        process.start()
    for process in work:
        process.join()
    assert [process.exitcode for process in work] == [0, 0, 0, 0]
    assert os.listdir(tmp_path) == ["m.parquet"]


def test_a_map_that_is_replaced_while_it_is_read_is_read_as_it_was(maps, tmp_path, monkeypatch):
    path, read = maps[0].save(tmp_path / "m.parquet"), pq.ParquetFile.read

    def replaced(self, *args, **options):  # footer and schema are read by now
        maps[1].save(path)
        return read(self, *args, **options)

    monkeypatch.setattr(store.pq.ParquetFile, "read", replaced)
    found = mm.load(path)
    monkeypatch.undo()
    assert is_one_of(found, maps[:1])
    assert is_one_of(mm.load(path), maps[1:])


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_bytes(b"new") / 0
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_folder_in_the_way_is_refused(maps, tmp_path):
    (tmp_path / "other").touch()
    with pytest.raises(OSError, match="folder with other files"):
        maps[0].save(tmp_path)
    assert os.listdir(tmp_path) == ["other"]
    assert [name for name in os.listdir(tmp_path.parent) if name.startswith(f".{tmp_path.name}.")] == []


@posix
def test_a_dead_writers_partial_file_is_swept_and_a_living_ones_is_not(tmp_path):
    path, context = tmp_path / "m.parquet", get_context("fork")
    dead = context.Process(target=lambda: partial_path(path).write_bytes(b"x"))
    dead.start()
    dead.join()
    assert not is_running(dead.pid)
    own, other, user = partial_path(path), partial_path(tmp_path / "other"), tmp_path / ".m.parquet.mine"
    for file in (own, other, user):
        file.write_bytes(b"x")
    assert len(os.listdir(tmp_path)) == 4
    sweep(path)
    assert sorted(os.listdir(tmp_path)) == sorted([own.name, other.name, user.name])


def test_a_partial_file_of_another_machine_is_swept_after_a_day(tmp_path, monkeypatch):
    path = tmp_path / "m.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(atomic_files, "machine_tag", lambda: "0" * 8)
        old, new = partial_path(path), partial_path(path)
    old.mkdir()
    (old / "inner").touch()
    new.touch()
    long_ago = time.time() - 100_000
    os.utime(old, (long_ago, long_ago))
    sweep(path)
    assert os.listdir(tmp_path) == [new.name]


def test_long_names_fit(tmp_path):
    path = tmp_path / ("é" * 120 + ".txt")
    with replacing(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"


@posix
def test_process_numbers(tmp_path):
    assert is_running(os.getpid())
    assert is_running(1)
    assert not is_running(2**22 + 1)  # beyond what Linux gives
    assert is_running(10**30)


# --- writers -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@posix
def test_a_disk_that_is_full_keeps_what_was_there(maps, tmp_path):
    resource = pytest.importorskip("resource")
    write_report(maps[0], tmp_path)
    maps[0].explore(tmp_path / "page.html")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        for write in (
            lambda: maps[1].save(tmp_path / "map.parquet"),
            lambda: maps[1].explore(tmp_path / "page.html"),
            lambda: write_report(maps[1], tmp_path),
        ):
            with pytest.raises(OSError, match="File too large"):
                write()

    pid = os.fork()
    if pid == 0:
        try:
            full()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def figure():
    made = Figure(figsize=(1, 1))
    made.add_subplot().plot([1, 2])
    return made


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figures_have_the_format_of_their_ending(tmp_path, ending):
    path = write_figure(figure(), tmp_path / "new" / f"f.{ending}", dpi=20)
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert path.read_bytes().startswith(start)
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(ValueError, match="Format 'nothing' is not supported"):
        write_figure(figure(), tmp_path / "new" / "f.nothing", dpi=20)
    assert write_figure(figure(), tmp_path / "f", dpi=20).name == "f.png"


def test_films_have_the_format_of_their_ending(tmp_path):
    from memorymaps.viz.displays.figure_files import write_animation

    film = animation.FuncAnimation(figure(), lambda step: [], frames=[1, 2], init_func=lambda: [])
    path = write_animation(film, tmp_path / "new" / "f.gif", animation.PillowWriter(fps=2), dpi=20)
    assert path.read_bytes().startswith(b"GIF8")
    assert os.listdir(path.parent) == ["f.gif"]
