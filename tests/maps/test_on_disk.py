"""Maps in folders: what is read is what is used, and everything else is as for maps in memory."""

import json
import os
import pickletools
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from remedies import remedy
from round_trip import RoundTrip
from sklearn.linear_model import LogisticRegression

import memorymaps as mm
from memorymaps.data.examples import Examples
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.data.tables import read_table
from memorymaps.files.executors.errors import WorkerLostError
from memorymaps.files.executors.shared_context import pickled
from memorymaps.maps.on_disk.disk_table import DiskTable
from memorymaps.maps.store import MapFileError

RNG = np.random.default_rng(0)
N = 230
X = RNG.normal(size=(N, 3))
Y = (X[:, 0] + RNG.logistic(size=N) > 0).astype(int)
MODEL = LogisticRegression().fit(X, Y)
EXAMPLES = ArrayExamples.of(X, Y, ids=[f"row {k}" for k in range(N)], batch_size=50)
WHOLE = mm.memory_map(MODEL, EXAMPLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "map"
    m = mm.memory_map(MODEL, EXAMPLES, path=f"{path}/")
    assert isinstance(m.table, DiskTable)
    assert sorted(file.name for file in path.parent.iterdir()) == ["map"]
    return path


def _encodings(file):
    group = pq.ParquetFile(file).metadata.row_group(0)
    columns = [group.column(k) for k in range(group.num_columns)]
    return {column.path_in_schema: set(column.encodings) for column in columns}


def test_numbers_have_no_dictionary_and_texts_have_one(folder, tmp_path):
    for file in (next(folder.glob("[0-9]*.parquet")), WHOLE.save(tmp_path / "whole.parquet")):
        found = _encodings(file)
        assert "RLE_DICTIONARY" in found["id"]
        assert "RLE_DICTIONARY" not in found["leverage"]


def test_files_are_read_by_arrow_as_pythons_own_may_abort_the_process_at_its_end(folder, tmp_path, monkeypatch):
    sources = []

    class Noted(pq.ParquetFile):
        def __init__(self, source, **options):
            sources.append(source)
            super().__init__(source, **options)

    monkeypatch.setattr(pq, "ParquetFile", Noted)
    mm.load(folder).table.read()
    mm.load(WHOLE.save(tmp_path / "whole.parquet"))
    pd.DataFrame({"x": [1.0, 2.0], "id": ["a", "b"]}).to_parquet(tmp_path / "data.parquet")
    assert read_table(tmp_path / "data.parquet")["id"].tolist() == ["a", "b"]
    assert len(sources) > 4
    assert all(isinstance(source, (pa.OSFile, Path)) for source in sources)


def test_what_workers_are_sent_of_a_linear_model_names_no_class_of_scikit_learn():
    context = pickled(WHOLE.origin.posterior, "the model", (Examples,))
    names = [name for code, name, _ in pickletools.genops(context) if code.name.endswith("BINUNICODE")]
    assert any(name.startswith("memorymaps.") for name in names)
    assert not [name for name in names if name == "sklearn" or name.startswith("sklearn.")]


@pytest.fixture
def counted(folder, monkeypatch):
    """The map, and how many values of how many columns have been read at most at once, and in all."""
    reads, read = [], DiskTable._read

    def measured(table, k, columns):
        found = read(table, k, columns)
        reads.append((len(found), tuple(columns)))
        return found

    monkeypatch.setattr(DiskTable, "_read", measured)
    return mm.load(folder), reads


def test_opening_reads_no_rows(counted):
    m, reads = counted
    assert len(m) == N
    assert list(m) == list(WHOLE)
    assert m.provenance == WHOLE.provenance
    assert reads == []


def test_columns_are_read_one_by_one(counted):
    m, reads = counted
    for name in WHOLE:
        assert np.array_equal(m[name], WHOLE[name]), name
    assert {len(columns) for _, columns in reads} == {1}
    assert max(rows for rows, _ in reads) == 50


@pytest.mark.parametrize("by", ["sensitivity", "loo_loss", "warning"])
@pytest.mark.parametrize("k", [0, 1, 7, 60, N, N + 5])
def test_the_largest_are_found_part_by_part(counted, by, k):
    m, reads = counted
    assert m.top(k, by).table.equals(WHOLE.top(k, by).table)
    assert all(columns == (by,) for _, columns in reads[:5])
    if k == 1:
        assert len(reads) == 6  # one column of five parts, and the part that has the row


def test_chosen_rows_are_read_from_their_parts(counted):
    m, reads = counted
    assert m.select(["row 7", "row 3"]).table.equals(WHOLE.select(["row 7", "row 3"]).table)
    assert [columns for _, columns in reads] == [("id",)] * 5 + [tuple(WHOLE)]
    with pytest.raises(KeyError, match="not in this map"):
        m.select(["row 1000"])


def test_filters_read_part_by_part(counted):
    m, reads = counted
    mask = WHOLE["error"] > 0.5
    for which in (mask, pc.field("error") > 0.5):
        assert m.filter(which).table.equals(WHOLE.filter(which).table)
    assert max(rows for rows, _ in reads) == 50


def test_summaries_read_no_column_set(counted):
    m, reads = counted
    assert str(m.summary()) == str(WHOLE.summary())
    assert m.leave_one_out() == WHOLE.leave_one_out()
    assert str(m.trust) == str(WHOLE.trust)
    wide = [rows for rows, columns in reads if len(columns) > 1]
    assert len(wide) <= 5  # the five largest, each from its part
    assert max(rows for rows, _ in reads) == 50
    reads.clear()
    shown, expected = repr(m).splitlines(), repr(WHOLE).splitlines()
    assert shown[0] == expected[0]
    assert shown[-3].split() == expected[-3].split()
    assert {len(columns) for _, columns in reads} == {8}
    assert len(reads) == 2


def test_pictures_and_pages_are_the_same(counted, tmp_path):
    m, reads = counted
    display = mm.MapDisplay.from_map(m, label=3)
    pd.testing.assert_frame_equal(display.frame(), mm.MapDisplay.from_map(WHOLE, label=3).frame())
    plt.close("all")
    pages = [each.explore(tmp_path / f"{k}.html", title="map").read_bytes() for k, each in enumerate((m, WHOLE))]
    assert pages[0] == pages[1]
    assert max(rows for rows, _ in reads) == 50
    assert len([columns for _, columns in reads if len(columns) > 1]) <= 10


def test_folders_and_files_are_saved_as_each_other(folder, tmp_path):
    m = mm.load(folder)
    assert mm.load(m.save(tmp_path / "one.parquet")).table.equals(WHOLE.table)
    again = mm.load(mm.load(tmp_path / "one.parquet").save(f"{tmp_path}/several/"))
    assert again.arrow().equals(WHOLE.table)
    assert len(pd.read_parquet(tmp_path / "several")) == N
    assert len(pd.read_parquet(folder)) == N


def test_a_map_replaces_the_one_in_its_folder(tmp_path):
    for _ in range(2):
        m = mm.memory_map(MODEL, EXAMPLES, path=f"{tmp_path}/map/", executor=RoundTrip())
        np.testing.assert_allclose(m["loo_loss"], WHOLE["loo_loss"], rtol=1e-10)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map"]
    assert len(mm.load(tmp_path / "map")) == N


def test_a_writer_killed_between_two_names_leaves_the_old_map(tmp_path, monkeypatch):
    mm.load(WHOLE.save(f"{tmp_path}/map/"))
    small = mm.memory_map(MODEL, X[:50], Y[:50])

    class PowerFailure(BaseException):
        pass

    def fails(source, target):
        if Path(target).name == "map":
            raise PowerFailure
        return replaced(source, target)

    replaced = os.replace
    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(PowerFailure):
        small.save(f"{tmp_path}/map/")
    monkeypatch.undo()
    assert not (tmp_path / "map").exists()
    assert mm.load(tmp_path / "map").arrow().equals(WHOLE.table)
    small.save(tmp_path / "map")  # still a folder
    assert mm.load(tmp_path / "map").arrow().equals(small.table)
    assert [file.name for file in tmp_path.iterdir()] == ["map"]


@remedy("is not the file that this map was opened with: open the map of today, load(")
def test_an_opened_map_is_never_mixed_with_the_one_that_replaces_it(said, tmp_path):
    path = WHOLE.save(f"{tmp_path}/map/")
    opened = mm.load(path)
    other = mm.memory_map(LogisticRegression(C=0.1).fit(X, Y), EXAMPLES)
    other.save(path)
    with said:
        opened.top(3)
    assert mm.load(path).arrow().equals(other.table)
    shutil.rmtree(path)
    with said:
        opened["leverage"]
    WHOLE.save(f"{path}/")
    assert opened.arrow().equals(WHOLE.table)  # the same map again


def test_writers_at_once_leave_one_of_their_maps(tmp_path):
    maps = [WHOLE, mm.memory_map(LogisticRegression(C=0.1).fit(X, Y), EXAMPLES)]
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(maps[k % 2].save, f"{tmp_path}/map/") for k in range(24)]:
            future.result()
    found = mm.load(tmp_path / "map").arrow()
    assert any(found.equals(m.table) for m in maps)
    assert [file.name for file in tmp_path.iterdir()] == ["map"]


class Killed(RoundTrip):
    """Breaks in the second pass."""

    def run(self, fn, args, kwargs):
        if self.submitted >= 9:
            raise WorkerLostError("run the same again to go on")
        return fn(*args, **kwargs)


def test_a_killed_run_goes_on(tmp_path):
    with pytest.raises(WorkerLostError):
        mm.memory_map(MODEL, EXAMPLES, path=f"{tmp_path}/map/", executor=Killed())
    assert not (tmp_path / "map").exists()
    executor = RoundTrip()
    m = mm.memory_map(MODEL, EXAMPLES, path=f"{tmp_path}/map/", executor=executor)
    np.testing.assert_allclose(m["loo_loss"], WHOLE["loo_loss"], rtol=1e-10)
    assert [file.name for file in tmp_path.iterdir()] == ["map"]


def test_a_killed_run_goes_on_with_other_batches(tmp_path):
    with pytest.raises(WorkerLostError):
        mm.memory_map(MODEL, EXAMPLES, path=f"{tmp_path}/map/", executor=Killed())
    others = ArrayExamples.of(X, Y, ids=[f"row {k}" for k in range(N)], batch_size=30)
    m = mm.memory_map(MODEL, others, path=f"{tmp_path}/map/")
    for found in (m, mm.load(tmp_path / "map")):
        assert found["id"].tolist() == WHOLE["id"].tolist()
        np.testing.assert_allclose(found["loo_loss"], WHOLE["loo_loss"], rtol=1e-10)


def test_refits_of_a_few_are_written_too(tmp_path):
    model = LogisticRegression(C=1e6).fit(X[:40], Y[:40])
    here = mm.memory_map(model, X[:40], Y[:40])
    m = mm.memory_map(model, X[:40], Y[:40], path=f"{tmp_path}/map/")
    found = mm.load(tmp_path / "map")
    for each in (m, found):
        assert np.array_equal(each["warning"], here["warning"])
        np.testing.assert_allclose(each["loo_loss"], here["loo_loss"], rtol=1e-12)


@remedy("is a folder with other files: give the map a name of its own")
def test_folders_with_other_files_are_left_alone(said, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with said:
        WHOLE.save(tmp_path)
    with said:
        mm.memory_map(MODEL, EXAMPLES, path=tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert len(mm.load(WHOLE.save(f"{tmp_path}/map/"))) == N
    assert len(mm.load(WHOLE.save(tmp_path / "map.parquet"))) == N


@pytest.mark.parametrize("harm", ["note", "part", "column", "json"])
def test_damaged_folders_are_refused(harm, tmp_path):
    path = tmp_path / "map"
    mm.memory_map(MODEL, EXAMPLES, path=f"{path}/")
    parts = sorted(path.glob("*.parquet"))
    if harm == "note":
        (path / "_map.json").unlink()
    elif harm == "part":
        parts[1].unlink()
    elif harm == "column":
        pd.read_parquet(parts[0]).drop(columns="loss").to_parquet(parts[0])
    else:
        (path / "_map.json").write_text("{")
    with pytest.raises(MapFileError, match="not a memory map" if harm == "note" else "damaged"):
        mm.load(path)


def test_the_note_has_the_provenance(folder):
    note = json.loads((folder / "_map.json").read_text())
    assert note["rows"] == N
    assert note["provenance"]["n"] == N
