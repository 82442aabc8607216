"""A journal only grows: kills, full disks, other programs' files and second processes lose nothing."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import resource
import signal
import sys
import time

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.analysis import journal
from memorymaps.analysis.journal import Journal, JournalError, JournalWarning
from memorymaps.files.locks import InUseError, WriterLock

X, Y = (values[:60] for values in load_diabetes(return_X_y=True))
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")


@pytest.fixture(scope="module")
def m():
    return mm.memory_map(Ridge(alpha=0.1).fit(X, Y), X, Y)


def refit(removed, wanted):
    model = Ridge(alpha=0.1).fit(np.delete(X, removed, axis=0), np.delete(Y, removed))
    return model.predict(X[wanted])


def forked(work):
    """Exit status of `work` in a child process."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def counted(calls, then=lambda: None):
    @functools.wraps(refit)
    def retrain(removed, wanted):
        calls.append(removed.tolist())
        then()
        return refit(removed, wanted)

    return retrain


@pytest.mark.parametrize("content", [b"my notes\nof years", b"no end of line", b"\n", b"\x00\xff" * 50, b'{"a": 1}\n'])
def test_a_file_that_is_not_a_journal_is_left_alone(m, tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="not a journal"):
        mm.retrain_check(m, refit, k=2, path=path)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_folder_is_refused_and_an_empty_file_becomes_a_journal(m, tmp_path):
    with pytest.raises(JournalError, match="not a file"):
        mm.retrain_check(m, refit, k=2, path=tmp_path)
    (tmp_path / "empty").touch()
    assert len(mm.retrain_check(m, refit, k=2, path=tmp_path / "empty")) == 2


@posix
def test_opening_writes_nothing_so_a_kill_there_loses_nothing(m, tmp_path, monkeypatch):
    path = tmp_path / "check.jsonl"
    mm.retrain_check(m, refit, k=10, path=path)
    before = path.read_bytes()
    assert before.count(b"\n") == 12

    def killed():
        monkeypatch.setattr(journal, "_encoded", lambda line: os.kill(os.getpid(), signal.SIGKILL))
        monkeypatch.setattr(journal, "_read_results", lambda path: os.kill(os.getpid(), signal.SIGKILL))
        mm.retrain_check(m, refit, k=10, path=path)

    assert forked(killed) == -signal.SIGKILL
    assert path.read_bytes() == before
    calls = []
    mm.retrain_check(m, counted(calls), k=10, path=path)  # the dead process's lock is free
    assert calls == []


@posix
def test_a_full_disk_keeps_every_earlier_result(m, tmp_path):
    path = tmp_path / "check.jsonl"
    mm.retrain_check(m, refit, k=4, path=path)
    before = path.read_bytes()

    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, resource.RLIM_INFINITY))
        with pytest.raises(OSError, match="File too large"):
            mm.retrain_check(m, refit, k=20, path=path)

    assert forked(full) == 0
    assert path.read_bytes().startswith(before)
    calls = []
    check = mm.retrain_check(m, counted(calls), k=20, path=path)
    assert check.table.equals(mm.retrain_check(m, refit, k=20).table)
    assert len(calls) == 1 + 20 - np.isin(check["row"], [line["row"] for line in lines(before)]).sum()


def lines(content):
    return [json.loads(line) for line in content.splitlines()[1:]]


def test_every_cut_of_the_file_keeps_its_whole_lines(m, tmp_path):
    path = tmp_path / "check.jsonl"
    whole = mm.retrain_check(m, refit, k=3, path=path)
    content = path.read_bytes()
    header = content.index(b"\n") + 1
    for cut in range(header, len(content), 37):
        path.write_bytes(content[:cut])
        calls = []
        again = mm.retrain_check(m, counted(calls), k=3, path=path)
        assert again.table.equals(whole.table)
        assert len(calls) == 5 - content[:cut].count(b"\n")
        assert sorted(path.read_bytes().splitlines()) == sorted(content.splitlines())


def test_a_damaged_line_is_reported_and_computed_again(m, tmp_path):
    path = tmp_path / "check.jsonl"
    whole = mm.retrain_check(m, refit, k=3, path=path)
    parts = path.read_bytes().splitlines(keepends=True)
    parts[2] = parts[2].replace(b"0", b"1", 1)
    path.write_bytes(b"".join(parts))
    calls = []
    with pytest.warns(JournalWarning, match=r"1 damaged line\(s\), the first is line 3"):
        again = mm.retrain_check(m, counted(calls), k=3, path=path)
    assert len(calls) == 1
    assert again.table.equals(whole.table)


@pytest.mark.parametrize(
    "line",
    [
        {"row": 1},
        {"row": 1.5, "wanted": [1], "at": [[0]], "f": [[0]], "moving": 0},
        {"row": 1, "wanted": [1], "at": [[0]], "f": [["x"]], "moving": 0},
        {"row": 1, "wanted": [1], "at": [[float("nan")]], "f": [[0]], "moving": 0},
        {"row": 1, "wanted": [1, 2], "at": [[0]], "f": [[0]], "moving": 0},
        {"row": 1, "wanted": [1], "at": [[0]], "f": [[0]]},
        {"row": 1, "wanted": [1], "at": [["three"]], "f": [[0]], "moving": 0},
        {"row": True, "wanted": [1], "at": [[0]], "f": [[0]], "moving": 0},
    ],
)
def test_lines_with_a_right_checksum_and_wrong_members_are_damaged_too(m, tmp_path, line):
    path = tmp_path / "check.jsonl"
    whole = mm.retrain_check(m, refit, ids=[1, 2], path=path)
    with open(path, "ab") as file:
        file.write(journal._encoded(line))
    with pytest.warns(JournalWarning, match="line 5"):
        assert mm.retrain_check(m, refit, ids=[1, 2], path=path).table.equals(whole.table)


@pytest.mark.parametrize("odd", [None, 7, {"a": 1}, [":"], True])
@pytest.mark.parametrize("name", ["function", "fingerprint", "data", "inputs", "n", "recipe", "version"])
def test_headers_with_a_right_checksum_and_members_of_other_kinds_are_refused(m, tmp_path, name, odd):
    path = tmp_path / "check.jsonl"
    whole = mm.retrain_check(m, refit, ids=[1], path=path)
    first, *rest = path.read_bytes().splitlines(keepends=True)
    header = {key: value for key, value in json.loads(first).items() if key != "check"} | {name: odd}
    path.write_bytes(b"".join([journal._encoded(header), *rest]))
    if (name, odd) == ("inputs", None):  # as an earlier version wrote
        assert mm.retrain_check(m, refit, ids=[1], path=path).table.equals(whole.table)
        return
    with pytest.raises(JournalError):
        mm.retrain_check(m, refit, ids=[1], path=path)


def test_a_refusal_says_what_differs(tmp_path):
    torch = pytest.importorskip("torch")
    x, y, path = torch.randn(20, 3), torch.arange(20) % 2, tmp_path / "refit.jsonl"
    net = torch.nn.Linear(3, 2)

    def drawn(y=y, prior=1.0, net=net):
        return mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("full", prior=prior))

    mm.refit(drawn(), top=2, path=path)
    with pytest.raises(JournalError, match="steps 200 there, 100 here"):
        mm.refit(drawn(), top=2, steps=100, path=path)
    with pytest.raises(JournalError, match="'refit' there, 'retrain_check' here"):
        mm.retrain_check(drawn(), k=2, path=path)
    with pytest.raises(JournalError, match=r"prior .* there, .* here"):
        mm.refit(drawn(prior=2.0), top=2, path=path)
    with pytest.raises(JournalError, match="ids, targets or weights of the data differ"):
        mm.refit(drawn(y=1 - y), top=2, path=path)
    with pytest.raises(JournalError, match="the model's outputs differ"):
        mm.refit(drawn(net=torch.nn.Linear(3, 2)), top=2, path=path)


def test_two_selections_share_one_journal_and_compute_nothing_twice(m, tmp_path):
    path, calls = tmp_path / "check.jsonl", []
    for ids in ([1, 2], [2, 3], [1, 2], [2, 3]):
        mm.retrain_check(m, counted(calls), ids=ids, path=path)
    assert calls == [[], [1], [2], [], [3]]


# --- locks ---------------------------------------------------------------------------------------------------------


def holding(path, ready):
    with WriterLock(path, path.with_name(f".{path.name}.lock")):
        ready.set()
        time.sleep(600)


@posix
def test_a_second_process_is_refused_by_name_and_a_dead_ones_lock_is_free(m, tmp_path):
    path, context = tmp_path / "check.jsonl", multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=holding, args=(path, ready))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(InUseError, match=f"process {other.pid} on .* wait for it, end it, or choose another path"):
            mm.retrain_check(m, refit, k=2, path=path)
        assert not path.exists()
    finally:
        other.kill()
        other.join()
    assert len(mm.retrain_check(m, refit, k=2, path=path)) == 2
    assert not path.with_name(".check.jsonl.lock.holder").exists()


def test_a_second_journal_of_one_process_is_refused(m, tmp_path):
    path = tmp_path / "check.jsonl"
    with Journal.resume(path, m, {}, {"memorymaps": "x"}), pytest.raises(InUseError, match="this process already"):
        Journal.resume(path, m, {}, {"memorymaps": "x"})
    Journal.resume(path, m, {}, {"memorymaps": "x"}).__exit__()


def test_an_unreadable_holder_is_another_process(tmp_path):
    lock = tmp_path / ".lock"
    with WriterLock(tmp_path, lock):
        (tmp_path / ".lock.holder").write_text("[]")
        with pytest.raises(InUseError, match="another process"):
            WriterLock(tmp_path, lock).acquire()
    with WriterLock(tmp_path, lock) as held:
        held.acquire()  # once more is nothing
