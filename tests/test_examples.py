"""Every example runs, prints, and writes what it says it wrote."""

import os
import pathlib
import subprocess
import sys

import pytest
from extras import skip_without_extras

EXAMPLES = sorted((pathlib.Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(script, tmp_path):
    skip_without_extras(script.read_text(encoding="utf-8"))
    environment = {**os.environ, "MPLBACKEND": "Agg", "OUT": str(tmp_path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    written = [line.removeprefix("wrote ") for line in done.stdout.splitlines() if line.startswith("wrote ")]
    assert all(pathlib.Path(path).stat().st_size > 1000 for path in written)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_is_short(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 100
