"""`memorymaps flip` and `memorymaps prune` print what the functions return for the model that the table defines."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

import memorymaps as mm
from memorymaps.cli.commands import main

NAMES = ["age", "bmi", "s1"]


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    frame = X[NAMES][:120].assign(y=y[:120], name=[f"row {k}" for k in range(120)])
    file = tmp_path_factory.mktemp("tables") / "t.csv"
    frame.to_csv(file, index=False)
    return file


@pytest.mark.slow
def test_flip_finds_rows_without_which_statsmodels_has_the_other_sign(path, tmp_path, capsys):
    out = tmp_path / "rows.csv"
    assert run("flip", path, "--target", "y", "--id", "name", "--parameter", "s1", "--out", out) == 0
    printed = capsys.readouterr().out
    rows, table = pd.read_csv(out), pd.read_csv(path).set_index("name")
    assert f"without {len(rows)} of 120 examples" in printed
    assert printed.endswith(f"{out}\n")

    def coefficient(frame):
        return sm.OLS(frame["y"], sm.add_constant(frame[NAMES])).fit().params["s1"]

    assert np.sign(coefficient(table)) == -np.sign(coefficient(table.drop(index=rows["id"])))


@pytest.mark.slow
def test_prune_writes_the_ids_of_the_function(path, tmp_path, capsys):
    out, figure = tmp_path / "kept.csv", tmp_path / "p.png"
    wanted = ("prune", path, "--target", "y", "--ignore", "name", "--keep", "0.5", "--out", out, "--figure", figure)
    assert run(*wanted) == 0
    table = pd.read_csv(path)
    X = (table[NAMES] - table[NAMES].mean()) / table[NAMES].std(ddof=0)
    found = mm.prune(mm.memory_map(LinearRegression().fit(X, table["y"]), X, table["y"]), 0.5)
    assert pd.read_csv(out)["id"].tolist() == found.kept.tolist()
    assert capsys.readouterr().out.splitlines()[:2] == str(found).splitlines()[:2]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_prune_compares_with_random_subsets(path, capsys):
    assert run("prune", path, "--target", "y", "--ignore", "name", "--keep", "90", "--check", "--seed", "1") == 0
    assert "random_loss" in (printed := capsys.readouterr().out)
    assert "kept: 90 examples" in printed


def test_a_coefficient_that_is_not_there_is_named_with_those_that_are(path, capsys):
    assert run("flip", path, "--target", "y", "--ignore", "name", "--parameter", "weight") == 1
    printed = capsys.readouterr().err
    assert "no coefficient 'weight'" in printed
    assert all(name in printed for name in NAMES)
    assert run("flip", path, "--target", "y", "--ignore", "name", "--parameter", "bmi") == 0  # the remedy
