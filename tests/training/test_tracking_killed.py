"""A run killed with -9 in the middle of 20 writes, and resumed each time, ends bit for bit as one that was not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from extras import skip_without_extras

from memorymaps.maps.trajectory import Trajectory

TESTS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "shared")

# Forks of one process that has trained the whole run, so that all is imported once. Each kills itself at a random one
# of its file operations in the run's folder (audit events of Python) or, after it, in the middle of the next Parquet
# file (written by C++, without events), of which a random part is on disk. Drawn from a seed and never by the clock:
# the same on every machine.
SCRIPT = textwrap.dedent(
    """
    import os, random, signal, sys
    import torch
    sys.path.insert(0, sys.argv[2])
    from networks import case
    from torch import nn
    from memorymaps.training.tracker import Tracker
    import pandas, pyarrow.parquet, torch._dynamo
    import memorymaps.build.draw, memorymaps.nets.register, memorymaps.nets.optimizers.from_optimizer
    torch.set_num_threads(1)
    WRITES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def die_at(seed, run):
        draws = random.Random(seed)
        left, inside = draws.randrange(1, 25), draws.random() < 0.5
        class Torn(pyarrow.parquet.ParquetWriter):
            def __init__(self, path, *args, **options):
                super().__init__(path, *args, **options)
                self.path = path
            def close(self):
                super().close()
                os.truncate(self.path, draws.randrange(os.path.getsize(self.path)))
                die()
        def hook(event, args):
            nonlocal left
            if event in WRITES and args and isinstance(args[0], (str, os.PathLike)) and str(args[0]).startswith(run):
                left -= 1
                if left == 0 and inside:
                    pyarrow.parquet.ParquetWriter = Torn
                elif left == 0:
                    die()
        sys.addaudithook(hook)

    def train(run, seed=None):
        net, x, y = case("mlp", 30)
        state = run + ".pt"
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05, weight_decay=0.01)
        start = 0
        if os.path.exists(state):
            saved = torch.load(state)
            start = saved["step"]; net.load_state_dict(saved["net"]); optimizer.load_state_dict(saved["optimizer"])
        if seed is not None:
            die_at(seed, run)
        with Tracker(net, optimizer, x, y, every=1, likelihood="categorical", path=run, start=start) as tracker:
            for step in range(start + 1, 13):
                rows = torch.randperm(30, generator=torch.Generator().manual_seed(step))[:10]
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimizer.step()
                tracker.step()
                torch.save({"step": step, "net": net.state_dict(), "optimizer": optimizer.state_dict()}, state + "~")
                os.replace(state + "~", state)

    train(os.path.join(sys.argv[1], "whole"))
    interrupted, killed = os.path.join(sys.argv[1], "killed"), 0
    for seed in range(20):
        pid = os.fork()
        if pid == 0:
            train(interrupted, seed)
            os._exit(0)
        killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    train(interrupted)
    print(killed)
    """
)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_run_that_is_killed_in_twenty_writes_ends_as_one_that_was_not(tmp_path):
    skip_without_extras(SCRIPT)
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), TESTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == 20
    a, b = (Trajectory.load(tmp_path / name) for name in ("whole", "killed"))
    assert a.steps == b.steps == list(range(1, 13))
    assert not list((tmp_path / "killed").glob(".step=*"))
    for step in a.steps:
        assert a.at(step).table.equals(b.at(step).table)
        assert a.at(step).provenance == b.at(step).provenance
