"""Every example runs, prints, and writes what it says it wrote."""

import pathlib
import runpy

import matplotlib.pyplot as plt
import pytest
from extras import skip_without_extras

EXAMPLES = sorted((pathlib.Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(script, tmp_path, monkeypatch, capsys):
    skip_without_extras(script.read_text(encoding="utf-8"))
    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    plt.close("all")
    printed = capsys.readouterr().out
    assert printed.strip()
    written = [line.removeprefix("wrote ") for line in printed.splitlines() if line.startswith("wrote ")]
    assert all(pathlib.Path(path).stat().st_size > 1000 for path in written)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_is_short(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 100
