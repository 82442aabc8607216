"""Names of rows and stray texts in tables: never a predictor in silence; every remedy that a message names is run."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

import memorymaps as mm
from memorymaps.cli.commands import main
from memorymaps.data.examples import DataError
from memorymaps.data.table_checks import check_row_names, check_stray_texts

RNG = np.random.default_rng(0)
N = 60
HOUSES = pd.DataFrame({"area": RNG.normal(100, 30, N).round(2), "rooms": RNG.integers(1, 6, N)})
HOUSES["price"] = (HOUSES["area"] * 3 + HOUSES["rooms"] * 20 + RNG.normal(0, 10, N)).round(1)
CODES = [f"{k:05d}" for k in RNG.permutation(N)]


@pytest.fixture
def drawn(tmp_path, capsys, monkeypatch):
    """Draw the map of a table: the map, or the message of the refusal."""
    from memorymaps.cli import commands

    def write_map_only(m, folder, *_):
        folder.mkdir(parents=True, exist_ok=True)
        m.save(folder / "map.parquet")

    monkeypatch.setattr(commands, "_write_all", write_map_only)  # pictures and page are tested elsewhere

    def draw(frame, *arguments, index=False):
        if isinstance(frame, str):
            (tmp_path / "t.csv").write_text(frame)
        else:
            frame.to_csv(tmp_path / "t.csv", index=index, **({"index_label": ""} if index else {}))
        words = ["map", tmp_path / "t.csv", "--target", "price", *arguments, "--out", tmp_path / "o"]
        code = main([str(word) for word in words])
        return mm.load(tmp_path / "o" / "map.parquet") if code == 0 else capsys.readouterr().err.splitlines()[-1]

    return draw


def clean(drawn):
    return drawn(HOUSES)["leverage"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "labels", [range(1, N + 1), CODES, [f"house {k}" for k in range(N)], [f"-{k}" for k in range(1, N + 1)]]
)
def test_a_first_column_without_heading_names_the_rows(labels, drawn):
    m = drawn(HOUSES.set_axis(list(labels)), index=True)
    assert m["id"].tolist() == [
        int(x) if re.fullmatch(r"-[1-9]\d*|\d|[1-9]\d+", str(x)) else x for x in map(str, labels)
    ]
    np.testing.assert_allclose(m["leverage"], clean(drawn))


def test_labels_that_r_writes_without_a_heading_name_the_rows(drawn):
    lines = HOUSES.to_csv(index=False).splitlines()
    m = drawn("\n".join([lines[0], *(f"h{k},{line}" for k, line in enumerate(lines[1:]))]))
    assert m["id"].tolist() == [f"h{k}" for k in range(N)]
    np.testing.assert_allclose(m["leverage"], clean(drawn))


SUSPECTS = {
    "id": range(1, N + 1), "number": range(N), "house_id": RNG.permutation(N) + 1000, "HouseId": RNG.permutation(N) + 1,
    "Unnamed: 0": [0] * 30 + [1] * 30, "street": [f"street {k}" for k in range(N)], "row nr": range(5, N + 5),
    "code": [f"{k:05d}" for k in 41 + 7 * RNG.permutation(N)],
    "counter": range(41, N + 41), "case": np.cumsum(RNG.integers(1, 4, N)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SUSPECTS)
def test_a_column_that_names_the_rows_is_asked_about(name, drawn):
    frame = HOUSES.copy()
    frame.insert(0, name, list(SUSPECTS[name]))
    said = drawn(frame)
    assert f"column(s) [{name!r}] number or name the rows" in said
    remedies = re.findall(r"\((--[^)]*)\)", said)
    assert [words.split()[0] for words in remedies] == ["--id", "--ignore", "--predictor"]
    for words in remedies:
        m = drawn(frame, *shlex.split(words))
        if name == "Unnamed: 0" and "--id" in words:
            assert "repeats" in m
        elif name == "street" and "--predictor" in words:
            assert "more than 50 levels" in m
        else:
            np.testing.assert_allclose(np.sum(m["leverage"]), 3 + ("--predictor" in words), rtol=1e-6)
            assert "--id" not in words or m["id"].tolist() == frame[name].tolist()


def test_ordinary_columns_are_predictors():
    """No question about ordinary columns: scikit-learn's bundled tables, a year, a rank that was drawn."""
    tables = [
        getattr(datasets, f"load_{n}")(as_frame=True).frame for n in ("diabetes", "iris", "wine", "breast_cancer")
    ]
    tables.append(pd.DataFrame({"year": range(1950, 2010), "rank": RNG.permutation(N), "price": RNG.normal(size=N)}))
    for frame in tables:
        check_row_names(frame, ())
        check_stray_texts(frame, ())


@pytest.mark.slow
def test_a_stray_text_in_numbers_is_named(drawn):
    for column, code in (("price", "call us"), ("area", "n.n."), ("rooms", "it's 3")):
        frame = HOUSES.astype({column: object})
        frame.loc[17, column] = code
        said = drawn(frame)
        assert f"column {column!r} is numbers but for 1 of 60 cells, the first" in said
        assert "in row 17" in said
        remedies = re.findall(r"\((--.*?)\)", said)
        assert [words.split()[0] for words in remedies] == ["--missing", "--ignore", "--labels"]
        m = drawn(frame, *shlex.split(remedies[0]))
        assert m["id"].tolist() == [k for k in range(N) if k != 17]
        assert m.provenance.description.likelihood == "Gaussian"
        if column != "price":
            assert np.sum(drawn(frame, *shlex.split(remedies[1]))["leverage"]) == pytest.approx(2)
    frame = HOUSES.assign(
        price=np.where(np.arange(N) == 17, "call us", (HOUSES["price"] > 350).astype(int).astype(str))
    )
    assert "numbers but for 1" in drawn(frame)
    for words in (["--labels", "price"], ["--model", "logistic"]):
        assert drawn(frame, *words).provenance.description.classes == ("0", "1", "call us")


def test_labels_with_some_numbers_are_labels():
    check_stray_texts(pd.DataFrame({"a": ["1", "2", "x", "y", "z"], "b": ["n"] * 5}), ())
    with pytest.raises(DataError, match="numbers but for 1 of 20"):
        check_stray_texts(pd.DataFrame({"a": [*map(str, range(19)), "x"]}), ())


def test_row_labels_that_occur_twice_want_another_column(drawn, tmp_path):
    lines = HOUSES.assign(name=CODES).to_csv(index=False).splitlines()
    text = "\n".join([lines[0], *(f"h{k // 2},{line}" for k, line in enumerate(lines[1:]))])
    assert "as ids (--id name)" in drawn(text)  # codes are asked about first
    assert "occurs twice: name the examples by another column (--id)" in drawn(text, "--predictor", "name")
    assert drawn(text, "--id", "name")["id"].tolist() == CODES


def test_rows_and_texts_join_by_ids_as_written(drawn, tmp_path, capsys):
    frame = HOUSES.assign(code=CODES)
    m = drawn(frame, "--id", "code")
    assert m["id"].tolist() == CODES
    other = frame.assign(note=[f"about {c}" for c in CODES]).sort_values("price")
    other.to_csv(tmp_path / "notes.csv", index=False)
    run = tmp_path / "o"
    for arguments in (["--rows", tmp_path / "notes.csv"], ["--texts", f"{tmp_path / 'notes.csv'}:note"]):
        page = tmp_path / "page.html"
        assert main([str(word) for word in ["export", run, page, *arguments, "--id", "code"]]) == 0
    assert main([str(word) for word in ["export", run, page, "--rows", tmp_path / "notes.csv", "--id", "kode"]]) == 1
    assert "expected --id with one of" in capsys.readouterr().err

    from memorymaps.data.tables import read_rows, read_texts
    from memorymaps.viz.explorer.payloads import join_payload

    found = join_payload(m, read_rows(tmp_path / "notes.csv", "code"))
    assert found.frame["note"].tolist() == [f"about {c}" for c in CODES]
    assert join_payload(m, read_texts(f"{tmp_path / 'notes.csv'}:note", "code")).values == found.frame["note"].tolist()
    other.rename(columns={"code": "id"}).to_csv(tmp_path / "ids.csv", index=False)
    assert join_payload(m, read_rows(tmp_path / "ids.csv")).frame["note"].tolist() == found.frame["note"].tolist()


@pytest.mark.parametrize("sign", ["-", "+", "=", "@"])
def test_ids_that_begin_with_a_sign_stay(sign, drawn, tmp_path, capsys):
    ids = [f"{sign}a{k}" for k in range(N)]
    m = drawn(HOUSES.assign(code=ids), "--id", "code")
    assert m["id"].tolist() == ids
    assert main(["top", str(tmp_path / "o" / "map.parquet"), "-k", "60", "--csv"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert sorted(line.split(",")[0] for line in lines[1:]) == sorted(ids)
