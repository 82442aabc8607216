"""Networks on another device than main memory, simulated in a process in which torch has a second device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
def test_maps_of_networks_on_another_device_are_those_of_main_memory():
    backends = pytest.importorskip("torch.utils.backend_registration")
    if not hasattr(backends, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch cannot make a device in Python")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "-o",
        f"pythonpath={TESTS} {TESTS}/shared",
    ]
    done = subprocess.run([*command, str(TESTS / "elsewhere" / "check_networks.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 60
