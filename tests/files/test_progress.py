"""Progress bars do not wait for a lock that a killed process holds."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from memorymaps.files.progress import ProgressBar

KILLED = """
import os, signal, sys
import numpy as np
from sklearn.linear_model import Ridge
from tqdm.auto import tqdm
import memorymaps as mm

lock, (read, write) = tqdm.get_lock(), os.pipe()  # of tqdm itself: shared by forked processes
child = os.fork()
if child == 0:
    lock.acquire()
    os.write(write, b"x")
    signal.pause()
os.read(read, 1)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
rng = np.random.default_rng(0)
X = rng.normal(size=(30, 3))
y = X[:, 0] + rng.normal(size=30)
for progress in (False, True, None):
    m = mm.memory_map(Ridge().fit(X, y), X, y, progress=progress)
    m.explore(sys.argv[1], payload=np.zeros((30, 8, 8), np.uint8), progress=progress)
    mm.refit(m, top=2, progress=progress)
print("done")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")
def test_a_killed_process_that_holds_tqdms_lock_stops_no_other_one(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "page.html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_wait_for_a_thread_it_does_not_have(monkeypatch):
    held = ProgressBar._lock
    monkeypatch.setattr(ProgressBar, "_lock", held)  # as it was, afterwards
    with held:
        child = os.fork()
        if child == 0:
            os._exit(0 if ProgressBar._lock is not held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ProgressBar._lock is held


def test_no_thread_is_left():
    before = ProgressBar.monitor
    with ProgressBar(range(3), disable=False, file=io.StringIO()) as bar:
        assert list(bar) == [0, 1, 2]
    assert ProgressBar.monitor is before
