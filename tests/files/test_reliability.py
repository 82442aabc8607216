"""A short run of the two scripts behind docs/project/reliability.md, and what they once found."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge

import memorymaps as mm
from memorymaps.cli.commands import main
from memorymaps.cli.report import write_report
from memorymaps.files.safe_text import printable
from memorymaps.maps.provenance import Provenance
from memorymaps.maps.store import MapFileError
from memorymaps.posteriors.contract import Description

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, signals and limits")
@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["kills.py", "--kills", "8", "--disks", "1"], ["fuzz.py", "--mutations", "300"]], ids=lambda c: c[0]
)
def test_nothing_is_lost_and_nothing_undocumented_is_raised(command, torch):
    script = [sys.executable, "-W", "ignore", str(BENCHMARKS / command[0]), *command[1:], "--seconds", "600"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# --- damaged maps --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def m():
    X, y = load_diabetes(return_X_y=True)
    return mm.memory_map(Ridge(alpha=0.1).fit(X, y), X, y)


def note(m, path):
    return json.loads(pq.read_schema(m.save(path)).metadata[b"memorymaps"])


def written(table, text, path):
    pq.write_table(table.replace_schema_metadata({b"memorymaps": text.encode()}), path)
    return path


ODD = {
    "n": -1,
    "outputs": 0,
    "estimator": None,
    "fingerprint": 3,
    "versions": [],
    "description": [],
}
ODD_DESCRIPTION = {
    "model": None,
    "notes": "text",
    "methods": [{}],
    "classes": [[1]],
    "dispersion": "x",
    "distance": [],
    "rank": 1.5,
    "nonlinear": 1,
}


@pytest.mark.parametrize("name", ODD)
def test_a_provenance_of_other_kinds_is_refused(m, tmp_path, name):
    found = note(m, tmp_path / "m.parquet")
    found["provenance"][name] = ODD[name]
    with pytest.raises(MapFileError, match=f"damaged provenance: .*{name}"):
        mm.load(written(m.table, json.dumps(found), tmp_path / "m.parquet"))


@pytest.mark.parametrize("name", ODD_DESCRIPTION)
def test_a_description_of_other_kinds_is_refused(m, tmp_path, name):
    found = note(m, tmp_path / "m.parquet")
    found["provenance"]["description"][name] = ODD_DESCRIPTION[name]
    with pytest.raises(MapFileError, match=f"damaged provenance: {name} is"):
        mm.load(written(m.table, json.dumps(found), tmp_path / "m.parquet"))


NUMBERS = {"slope": 1.0, "relative_error": 0.1, "spearman": 0.9, "typical": 1.0}
RETRAINED = {"examples": 5, "drift": 0.0, "sensitivity": NUMBERS, "loo_loss": NUMBERS}


def test_every_field_of_a_note_has_its_kind(m, tmp_path):
    found, path = note(m, tmp_path / "m.parquet"), tmp_path / "m.parquet"
    for record, kind in ((found["provenance"], Provenance), (found["provenance"]["description"], Description)):
        for field in dataclasses.fields(kind):
            right = record[field.name]
            record[field.name] = {"a": 1}
            with pytest.raises(MapFileError, match="damaged provenance: "):
                mm.load(written(m.table, json.dumps(found), path))
            record[field.name] = right
    assert mm.load(written(m.table, json.dumps(found), path)) == m


@pytest.mark.parametrize("odd", [True, [1.0], ["a", 1, 1, 1], 3])
def test_gaps_to_the_optimum_are_four_numbers(m, tmp_path, odd):
    found = note(m, tmp_path / "m.parquet")
    found["provenance"]["description"]["optimum_gap"] = odd
    with pytest.raises(MapFileError, match="damaged provenance: optimum_gap is"):
        mm.load(written(m.table, json.dumps(found), tmp_path / "m.parquet"))


@pytest.mark.parametrize("odd", [-1, {"drift": "a"}, {"sensitivity": 1}, {"loo_loss": NUMBERS | {"slope": "a"}}])
def test_what_retraining_found_is_numbers(m, tmp_path, odd):
    found, path = note(m, tmp_path / "m.parquet"), tmp_path / "m.parquet"
    found["provenance"]["retrained"] = RETRAINED
    assert mm.load(written(m.table, json.dumps(found), path)).provenance.retrained.sensitivity.slope == 1
    found["provenance"]["retrained"] = RETRAINED | odd if isinstance(odd, dict) else odd
    with pytest.raises(MapFileError, match="damaged provenance: retrained is"):
        mm.load(written(m.table, json.dumps(found), path))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '"x"', "1" * 10_000])
def test_notes_of_other_shapes_are_refused(m, tmp_path, text):
    with pytest.raises(MapFileError, match="damaged provenance"):
        mm.load(written(m.table, text, tmp_path / "m.parquet"))


def test_a_note_that_is_too_long_is_refused(m, tmp_path, monkeypatch):
    monkeypatch.setattr("memorymaps.maps.store._MAX_METADATA_BYTES", 100)
    with pytest.raises(MapFileError, match="expected 100 at most"):
        mm.load(m.save(tmp_path / "m.parquet"))


@pytest.mark.parametrize("name", ["id", "error", "warning", "output"])
def test_columns_of_other_kinds_are_refused(m, tmp_path, name):
    text, place = json.dumps(note(m, tmp_path / "m.parquet")), m.table.column_names.index(name)
    for odd in (pa.nulls(len(m)), pa.array([{"a": 1}] * len(m)), pa.array([b"\xff"] * len(m))):
        table = m.table.set_column(place, name, odd)
        with pytest.raises(MapFileError, match=f"column '{name}' is of type"):
            mm.load(written(table, text, tmp_path / "m.parquet"))


@pytest.mark.parametrize("directions", [0, 1])
def test_maps_along_directions_are_read_back(tmp_path, directions):
    torch = pytest.importorskip("torch")
    x, y = torch.randn(30, 3), torch.arange(30) % 5
    recipe = mm.Laplace("ekfac", prior=1.0, directions=directions)
    m = mm.memory_map(torch.nn.Linear(3, 5), x, y, likelihood="categorical", posterior=recipe)
    assert ("leverage_norm" in m) == (directions == 0)
    assert mm.load(m.save(tmp_path / "m.parquet")) == m


def test_missing_columns_are_named_and_others_are_kept(m, tmp_path):
    text = json.dumps(note(m, tmp_path / "m.parquet"))
    with pytest.raises(MapFileError, match=r"expected each name once, and \['error'\]"):
        mm.load(written(m.table.drop_columns(["error"]), text, tmp_path / "m.parquet"))
    table = m.table.append_column("mine", pa.array([{"a": 1}] * len(m)))
    assert mm.load(written(table, text, tmp_path / "m.parquet")).table.equals(table)


def test_a_flipped_bit_in_a_column_is_noticed(m, tmp_path):
    content = bytearray(m.save(tmp_path / "m.parquet").read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "m.parquet").write_bytes(content)
    with pytest.raises(MapFileError, match="not a readable Parquet file"):
        mm.load(tmp_path / "m.parquet")


def test_escape_sequences_do_not_reach_the_terminal(m, tmp_path, capsys):
    found = note(m, tmp_path / "m.parquet")
    found["provenance"]["description"]["model"] = "\x1b[2Jgone"
    table = m.table.set_column(0, "id", pa.array([f"\x1b[31m{k}\x07" for k in range(len(m))]))
    path = str(written(table, json.dumps(found), tmp_path / "m.parquet"))
    assert main(["info", path]) == 0
    assert main(["top", path]) == 0
    assert main(["top", path, "--by", "\x1b[2J"]) == 1
    print(repr(mm.load(path)))
    words = "".join(capsys.readouterr())
    assert "\x1b" not in words
    assert "\x07" not in words
    assert r"\x1b[2Jgone" in words
    assert printable("déjà vu\n\t") == "déjà vu\n\t"


HOSTILE = "\x1b[2J\x07\u202e|<b>`````$x$"


@pytest.fixture(scope="module")
def hostile():
    X, y = (values[:60] for values in load_diabetes(return_X_y=True))
    y = np.array([f"{HOSTILE}low", f"{HOSTILE}high"])[(y > 150).astype(int)]
    return mm.memory_map(LogisticRegression().fit(X, y), X, y, ids=[f"{k}{HOSTILE}" for k in range(60)]), X, y


RESULTS = {
    "map": lambda m, X, y: m,
    "top": lambda m, X, y: m.top(3),
    "groups": lambda m, X, y: m.leave_out("target"),
    "labels": lambda m, X, y: mm.label_issues(m),
    "influence": lambda m, X, y: mm.influence_on(m, X[:2], y[:2]),
    "flip": lambda m, X, y: mm.smallest_flip(m, "x2"),
    "selection": lambda m, X, y: mm.select_model({HOSTILE: m, "b": m}),
}


@pytest.mark.parametrize("name", RESULTS)
def test_no_result_sends_control_characters_to_a_terminal(hostile, name):
    found = RESULTS[name](*hostile)
    for text in (str(found), repr(found), found._repr_html_()):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert r"\x1b[2J" in str(found)
    assert "<b>" not in found._repr_html_()


@pytest.mark.slow
def test_reports_show_what_looks_like_markup(hostile, tmp_path):
    write_report(hostile[0], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert all(c.isprintable() or c == "\n" for c in text)
    blocks = re.findall(r"^(`{3,})(\w+)$.*?^\1$", text, re.MULTILINE | re.DOTALL)
    assert [len(fence) for fence, _ in blocks] == [6, 6, 3]
    outside = re.sub(r"^(`{3,})\w+$.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<b>" not in outside
