"""`memorymaps compare` and `memorymaps select` print what the functions return."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.svm import SVC

import memorymaps as mm
from memorymaps.cli.commands import main

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:100] * 20, Y[:100] / 10


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    paths = []
    for alpha in (1.0, 1.2, 30.0, 1000.0):
        m = mm.memory_map(Ridge(alpha=alpha).fit(X, Y), X, Y)
        paths.append(m.save(folder / f"alpha{alpha:g}" / "map.parquet"))
    return paths


@pytest.mark.slow
def test_compare_prints_the_comparison_and_draws_it(saved, tmp_path, capsys):
    picture = tmp_path / "compared.png"
    assert run("compare", saved[0].parent, saved[2], "--floor", saved[1], "--score", "error", "--out", picture) == 0
    printed = capsys.readouterr().out
    maps = [mm.load(path) for path in saved]
    found = mm.compare(maps[0], maps[2], floor=[maps[1]])
    assert printed == f"a = {saved[0].parent}, b = {saved[2]}\n{found}\n{picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("compare", *saved) == 0
    assert "examples in all 4 maps" in capsys.readouterr().out


def test_corrected_targets_are_compared_if_said(saved, tmp_path, capsys):
    other = mm.memory_map(Ridge(alpha=1.0).fit(X, Y**2), X, Y**2).save(tmp_path / "m.parquet")
    assert run("compare", saved[0], other) == 1
    assert "targets_changed" in capsys.readouterr().err
    assert run("compare", saved[0], other, "--targets-changed") == 0


@pytest.mark.slow
def test_select_prints_and_draws_the_models(saved, tmp_path, capsys):
    picture = tmp_path / "selection.pdf"
    assert run("select", *saved, "--out", picture) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(str(mm.select_model({str(path): mm.load(path) for path in saved})))
    assert picture.read_bytes().startswith(b"%PDF")
    assert run("select", *saved, "--csv", "--by", "score") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("name,value,value_se,")
    assert len([line for line in lines if line]) == 5


@pytest.mark.slow
def test_what_cannot_be_compared_is_said(saved, tmp_path, capsys):
    assert run("compare", saved[0]) == 1
    assert "expected at least two" in capsys.readouterr().err
    bits = (np.median(Y) < Y).astype(int)
    machines = [mm.memory_map(SVC(C=C).fit(X, bits), X, bits).save(tmp_path / f"{C}.parquet") for C in (0.1, 1.0)]
    assert run("select", *machines) == 1
    assert "score" in capsys.readouterr().err
    assert run("select", *machines, "--by", "score") == 0  # the remedy
