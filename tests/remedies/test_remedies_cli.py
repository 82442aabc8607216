"""What the command line says to type, typed."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from remedies import remedy

from memorymaps.cli import commands
from memorymaps.data import tables

RNG = np.random.default_rng(0)
N = 60
NUMBERS = pd.DataFrame({"age": RNG.normal(size=N).round(4), "size": RNG.normal(size=N).round(4)})
NUMBERS["price"] = (NUMBERS["age"] - NUMBERS["size"] + 0.3 * RNG.normal(size=N)).round(4)
WORDS = [f"w{k}x" for k in range(N)]


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys, said):
    """`typed(table, options)` types `memorymaps map …`, and returns the map, or what the command says."""
    drawn = []
    monkeypatch.setattr(commands, "_write_all", lambda m, *_: drawn.append(m))

    def type(table, options="", target="price"):
        path = tmp_path / "t.csv"
        if isinstance(table, pd.DataFrame):
            path = tmp_path / "t.parquet" if any(table.map(lambda cell: isinstance(cell, list)).any()) else path
            table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
        else:
            path.write_text(table)
        words = ["map", str(path), "--target", target, "--out", str(tmp_path / "o"), *shlex.split(options)]
        code = commands.main(words)
        error = capsys.readouterr().err
        if code == 0:
            return drawn.pop()
        said.reads(error)
        return error

    return type


def remedies_in(text):
    """The options in brackets, as the message writes them."""
    return re.findall(r"\((--[^)]*)\)", text)


@remedy("column(s) … number or name the rows")
@pytest.mark.parametrize("name", ["id", "house no", "it's id"])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.slow
def test_columns_that_number_the_rows(typed, name, which):
    table = pd.DataFrame({name: np.arange(N) + 100}).join(NUMBERS)
    options = remedies_in(typed(table))
    assert [option.split()[0] for option in options] == ["--id", "--ignore", "--predictor"]
    m = typed(table, options[which])
    assert m["id"][0] == (100 if which == 0 else 0)
    assert len(m.provenance.description.parameters) == (4 if which == 2 else 3)


@remedy("is numbers but for … of … cells")
@pytest.mark.parametrize("name", ["floor", "floor no"])
@pytest.mark.parametrize("stray", ["n/k", "not known", "it's"])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.slow
def test_stray_texts(typed, name, stray, which):
    floor = (np.arange(N) * 7 % 11).astype(str)
    floor[4] = stray
    table = NUMBERS.assign(**{name: floor})
    options = remedies_in(typed(table))
    assert [option.split()[0] for option in options] == ["--missing", "--ignore", "--labels"]
    m = typed(table, options[which])
    assert len(m) == (N - 1 if which == 0 else N)
    assert len(m.provenance.description.parameters) > 3 if which == 2 else len(m.provenance.description.parameters) <= 4
    floor[4] = "5"
    assert len(typed(NUMBERS.assign(**{name: floor}))) == N


@remedy("hold lists or the like in their cells: leave them out")
@pytest.mark.parametrize("name", ["tags", "all tags"])
def test_columns_of_lists(typed, name):
    table = NUMBERS.assign(**{name: [[k] for k in range(N)]})
    (option,) = remedies_in(typed(table))
    assert len(typed(table, option)) == N


@remedy("drop or fill them first (--drop-missing drops the rows)")
def test_missing_cells(typed):
    table = NUMBERS.copy()
    table.loc[3, "age"] = np.nan
    typed(table)
    assert len(typed(table, "--drop-missing")) == N - 1
    assert len(typed(table.fillna(0))) == N


@remedy("infinite values in column(s) …, the first in row …: correct them, or drop the rows")
@pytest.mark.parametrize("name", ["age", "price"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_cells(typed, name, value):
    table = NUMBERS.copy()
    table.loc[3, name] = value
    assert f"['{name}'], the first in row 3" in typed(table)
    assert len(typed(table.drop(index=3))) == N - 1
    assert len(typed(table.replace(value, 0.0))) == N


@remedy("have more than 50 levels each: leave them out")
@pytest.mark.parametrize("name", ["street", "full street"])
@pytest.mark.parametrize("how", ["ignore", "id"])
def test_columns_of_many_levels(typed, name, how):
    streets = np.repeat(WORDS[:55], 2)[:N] if how == "ignore" else WORDS
    streets = [f"{w}" for w in (WORDS[:55] + WORDS[:5] if how == "ignore" else streets)]
    table = NUMBERS.assign(**{name: streets})
    text = typed(table, f"--predictor '{name}'" if how == "id" else "")
    m = typed(table, remedies_in(text)[0] if how == "ignore" else f"--id '{name}'")
    assert len(m.provenance.description.parameters) == 3


@remedy("is not numeric: --model logistic, or another target")
def test_a_target_of_words_for_a_regression(typed):
    table = NUMBERS.assign(kind=np.where(NUMBERS["price"] + RNG.normal(size=N) > 0, "dear", "cheap"))
    typed(table, "--model ridge", target="kind")
    assert typed(table, "--model logistic", target="kind").provenance.description.likelihood == "Bernoulli"
    assert len(typed(table, "--model ridge --ignore kind")) == N


@remedy("name the examples by another column (--id)")
def test_row_labels_that_repeat(typed, tmp_path, monkeypatch, said, capsys):
    table = NUMBERS.assign(name=WORDS)
    table.index = np.arange(N) // 2
    path = tmp_path / "u.parquet"
    table.to_parquet(path)
    words = ["map", str(path), "--target", "price", "--out", str(tmp_path / "o")]
    assert commands.main([*words, "--ignore", "name"]) == 1
    said.reads(capsys.readouterr().err)
    assert commands.main([*words, "--id", "name"]) == 0


@remedy("correct it, name the examples by another column (--id COL), or number them and leave this one out (--ignore")
@pytest.mark.parametrize("fault", ["is empty in row 3", "repeats 'w2x' in row 3"])
def test_ids_that_are_missing_or_repeated(typed, fault):
    table = NUMBERS.assign(**{"the name": WORDS, "code": WORDS[::-1]})
    table.loc[3, "the name"] = None if "empty" in fault else "w2x"
    assert fault in typed(table, "--id 'the name' --ignore code")
    assert typed(table, "--id code --ignore 'the name'")["id"][0] == WORDS[-1]
    assert typed(table, "--ignore 'the name' code")["id"].tolist() == list(range(N))
    table.loc[3, "the name"] = WORDS[3]
    assert typed(table, "--id 'the name' --ignore code")["id"].tolist() == WORDS


@remedy("no model …: choose one of …", at="data/tables.py")
def test_an_unknown_model(said):
    features, target = NUMBERS[["age", "size"]], NUMBERS["price"]
    with said:
        tables.fit("linear", features, target)
    names = said.text.partition("choose one of ")[2].splitlines()[0].split(", ")
    assert "ols" in names
    for name in set(names) - {"logistic", "poisson", "gamma"}:
        assert tables.fit(name, features, target) is not None
    for name in {"poisson", "gamma"} & set(names):
        assert tables.fit(name, features, np.exp(target)) is not None


@remedy("contains …: choose one, as …:…")
def test_a_file_of_several_arrays(said, tmp_path):
    path = tmp_path / "pictures.npz"
    np.savez(path, train=np.zeros((3, 4, 4)), test=np.ones((2, 4, 4)))
    with said:
        tables.read_images(str(path))
    named = said.text.partition("choose one, as ")[2].splitlines()[0]
    assert tables.read_images(named).shape == (3, 4, 4)
