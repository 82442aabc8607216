"""The map as a table: columns, parts, words, disk."""

import dataclasses
import json
from importlib import metadata

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

import memorymaps as mm
from memorymaps.files.batch_journal import batch_name
from memorymaps.maps.provenance import versions
from memorymaps.maps.store import MapFileError, save_part
from memorymaps.maps.summary import top_share
from memorymaps.maps.table import COLUMNS

rng = np.random.default_rng(4)


@pytest.mark.slow
def test_every_column_is_described_and_in_order(diabetes_map, digits_map):
    for m in (diabetes_map, digits_map):
        assert [name for name in COLUMNS if name in set(m)] == list(m)


def test_columns_of_a_linear_map_fit_together(diabetes_map):
    m = diabetes_map
    np.testing.assert_allclose(m["residual"], m["prediction"] - m["target"])
    np.testing.assert_allclose(m["error"], np.abs(m["residual"]))
    np.testing.assert_allclose(m["loo_prediction"], m["prediction"] + m["deviation"])
    np.testing.assert_allclose(m["sensitivity"], np.abs(m["deviation"]))
    h, phi = m["leverage"], m.provenance.description.dispersion
    np.testing.assert_allclose(m["deviation"], h * m["residual"] / (1 - h), rtol=1e-9)
    np.testing.assert_allclose(m["loss"], 0.5 * m["residual"] ** 2 / phi + 0.5 * np.log(2 * np.pi * phi))


@pytest.mark.slow
def test_columns_of_a_softmax_map_fit_together(digits_map):
    m = digits_map
    assert m["mean"].shape == (1797, 10)
    np.testing.assert_allclose(m["mean"].sum(1), 1)
    np.testing.assert_array_equal(m["prediction"], m["mean"].argmax(1))
    np.testing.assert_array_equal(m["loo_prediction"], m["loo_mean"].argmax(1))
    np.testing.assert_allclose(m["sensitivity"], np.abs(m["loo_mean"] - m["mean"]).sum(1), atol=1e-12)
    np.testing.assert_allclose(m["loss"], -np.log(m["mean"][np.arange(1797), m["target"]]), rtol=1e-8)
    np.testing.assert_allclose(m["memorization"], np.exp(-m["loss"]) - np.exp(-m["loo_loss"]), atol=1e-12)


def test_labels_come_back_as_the_user_wrote_them():
    X = rng.normal(size=(60, 2))
    y = np.where(X[:, 0] + rng.normal(size=60) > 0, "yes", "no")
    m = mm.memory_map(LogisticRegression().fit(X, y), X, y)
    assert m["target"].tolist() == y.tolist()
    assert set(m["prediction"].tolist()) <= {"yes", "no"}


def test_ids_come_from_a_data_frame(tmp_path):
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    X.index = [f"patient {k}" for k in range(len(X))]
    m = mm.memory_map(LinearRegression().fit(X, y), X, y)
    assert m["id"][3] == "patient 3"
    assert mm.load(m.save(tmp_path / "m.parquet"))["id"][3] == "patient 3"


def test_select_keeps_the_order_asked_for(diabetes_map):
    assert diabetes_map.select([5, 3, 400])["id"].tolist() == [5, 3, 400]
    with pytest.raises(KeyError, match=r"2 id\(s\) are not in this map: \[-1, 1000\]"):
        diabetes_map.select([3, -1, 1000])


def test_filter_by_mask_and_by_expression(diabetes_map):
    mask = diabetes_map["leverage"] > 0.05
    assert 0 < mask.sum() < 442
    assert diabetes_map.filter(mask)["id"].tolist() == np.flatnonzero(mask).tolist()
    assert diabetes_map.filter(pc.field("leverage") > 0.05).table.equals(diabetes_map.filter(mask).table)
    with pytest.raises(ValueError, match=r"expected \(442,\) of bool"):
        diabetes_map.filter([True, False])


def test_top_sorts_and_puts_undefined_first(diabetes_map):
    top = diabetes_map.top(5, by="error")
    assert top["error"].tolist() == sorted(diabetes_map["error"], reverse=True)[:5]
    with_nan = diabetes_map.table.set_column(6, "sensitivity", pa.array([np.nan, *([1.0] * 441)]))
    assert dataclasses.replace(diabetes_map, table=with_nan).top(2)["id"].tolist() == [0, 1]
    named = diabetes_map.table.set_column(0, "id", pa.array(list(map(str, range(442)))))
    with pytest.raises(ValueError, match="numeric column"):
        dataclasses.replace(diabetes_map, table=named).top(by="id")


def test_unknown_columns_are_named(diabetes_map):
    with pytest.raises(KeyError, match=r"no column 'levrage'.*leverage"):
        diabetes_map["levrage"]


@pytest.mark.slow
def test_other_tables(diabetes_map, digits_map):
    assert isinstance(diabetes_map.to_pandas(), pd.DataFrame)
    assert isinstance(digits_map.to_polars(), pl.DataFrame)
    assert digits_map.to_polars()["leverage"].to_list() == digits_map["leverage"].tolist()
    assert diabetes_map.arrow() is diabetes_map.table


def test_a_map_is_immutable(diabetes_map):
    with pytest.raises(dataclasses.FrozenInstanceError):
        diabetes_map.table = None
    with pytest.raises(ValueError, match="read-only"):
        diabetes_map["leverage"][0] = 1.0


def test_maps_show_themselves(diabetes_map):
    assert "442 examples (scikit-learn LinearRegression)" in repr(diabetes_map)
    assert "<table" in diabetes_map._repr_html_()


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_summary_says_units_complexity_and_concentration(digits_map):
    words = str(digits_map.summary())
    total = digits_map["leverage"].sum()
    assert f"Σ leverage = {total:.2f} effective parameters" in words
    assert f"{top_share(digits_map['sensitivity'], 0.05):.0%} of the sensitivity is in 5% of the examples" in words
    assert "units of the target" in words
    assert digits_map.summary().warnings == ()
    assert words.endswith("Warnings\n  none")


def test_summary_of_a_part_says_so(digits_map):
    words = str(digits_map.top(100).summary())
    assert "100 examples (of 1,797 in training" in words
    assert "computed by the posterior" not in words


def test_data_the_model_was_not_trained_on_is_noticed():
    X, y = load_diabetes(return_X_y=True)
    model = Ridge(alpha=0.1).fit(X, y)
    assert mm.memory_map(model, X, y).summary().warnings == ()
    with pytest.raises(mm.DataError, match="Not those of the fit: targets"):
        mm.memory_map(model, X, rng.permutation(y))
    (warning,) = mm.memory_map(Ridge(alpha=0.1, solver="saga").fit(X[::2], y[::2]), X, y).summary().warnings
    assert "not the training data" in warning


def test_share_of_ties_and_zeros():
    assert top_share(np.ones(100), 0.05) == pytest.approx(0.05)
    assert top_share(np.zeros(10), 0.1) == 0.0
    assert top_share(np.array([np.nan, 3.0, 1.0]), 0.5) == 0.75


def test_citation_is_bibtex_of_the_methods(diabetes_map):
    words = diabetes_map.citation()
    assert words.count("\n@") + 1 == len(diabetes_map.provenance.description.methods)
    assert "The Memory-Perturbation Equation" in words


# --- disk ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["diabetes_map", "cancer_map", "digits_map"])
def test_saving_loses_nothing(name, request, tmp_path):
    m = request.getfixturevalue(name)
    back = mm.load(m.save(tmp_path / "new folder" / "m.parquet"))
    assert back.table.equals(m.table)
    assert back.table.schema.equals(m.table.schema)
    assert back.provenance == m.provenance
    assert back == m
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["m.parquet"]


def test_a_folder_of_parts_is_read_as_one_map(tmp_path, diabetes_map):
    X, y = load_diabetes(return_X_y=True)
    drawn = mm.memory_map(LinearRegression().fit(X, y), X, y, path=f"{tmp_path}/whole/")
    assert [file.name for file in tmp_path.rglob("*.parquet")] == [batch_name(0, len(y))]
    assert mm.load(tmp_path / "whole").arrow().equals(drawn.arrow())
    folder, p = tmp_path / "parts", diabetes_map.provenance
    save_part(diabetes_map.table.slice(0, 200), p, folder, 0, 2)
    with pytest.raises(MapFileError, match="has 1 part"):
        mm.load(folder)
    save_part(diabetes_map.table.slice(200), p, folder, 1, 2)
    assert mm.load(folder).table.equals(diabetes_map.table)
    assert mm.load(folder).provenance == p
    save_part(diabetes_map.table.slice(200), dataclasses.replace(p, fingerprint="another"), folder, 1, 2)
    with pytest.raises(MapFileError, match="parts of different maps"):
        mm.load(folder)


def test_nan_survives_the_disk(tmp_path):
    X = np.column_stack([np.ones(9), np.eye(9)[:, 0], np.arange(9.0)])
    m = mm.memory_map(LinearRegression(fit_intercept=False).fit(X, np.arange(9.0) ** 2), X, np.arange(9.0) ** 2)
    back = mm.load(m.save(tmp_path / "m.parquet"))
    assert np.isnan(back["sensitivity"][0])
    np.testing.assert_array_equal(back["sensitivity"], m["sensitivity"])


def test_files_that_are_no_maps_are_refused(tmp_path, diabetes_map):
    with pytest.raises(FileNotFoundError, match="no file"):
        mm.load(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(MapFileError, match="not a readable Parquet file"):
        mm.load(tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(MapFileError, match="not a memory map"):
        mm.load(tmp_path / "other.parquet")
    cut = diabetes_map.save(tmp_path / "cut.parquet")
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(MapFileError, match="not a readable Parquet file"):
        mm.load(cut)


def rewritten(m, path, change):
    note = json.loads(pq.read_schema(m.save(path)).metadata[b"memorymaps"])
    change(note)
    pq.write_table(m.table.replace_schema_metadata({b"memorymaps": json.dumps(note).encode()}), path)
    return path


def test_newer_and_damaged_notes_are_refused(tmp_path, diabetes_map):
    newer = rewritten(diabetes_map, tmp_path / "a.parquet", lambda note: note.update(schema=99))
    with pytest.raises(MapFileError, match=r"schema 99.*pip install -U memorymaps"):
        mm.load(newer)
    damaged = rewritten(diabetes_map, tmp_path / "b.parquet", lambda note: note["provenance"].pop("estimator"))
    with pytest.raises(MapFileError, match="damaged provenance"):
        mm.load(damaged)
    pq.write_table(diabetes_map.table.replace_schema_metadata({b"memorymaps": b"{"}), tmp_path / "c.parquet")
    with pytest.raises(MapFileError, match="damaged provenance"):
        mm.load(tmp_path / "c.parquet")


# --- leaving out -----------------------------------------------------------------------------------------------------


def test_leave_one_out_of_a_regression_is_press(diabetes_map):
    m, loo = diabetes_map, diabetes_map.leave_one_out()
    assert loo.metric == "RMSE"
    assert loo.score == pytest.approx(np.sqrt(np.mean(m["residual"] ** 2)))
    assert loo.loo_score == pytest.approx(np.sqrt(np.mean((m["residual"] / (1 - m["leverage"])) ** 2)))
    assert loo.loo_loss > loo.loss


def test_leave_one_out_of_classes_is_accuracy(digits_map):
    loo = digits_map.leave_one_out()
    assert (loo.metric, loo.n, loo.defined) == ("accuracy", 1797, 1797)
    assert loo.score == np.mean(digits_map["prediction"] == digits_map["target"])
    assert loo.loo_score < loo.score


def test_groups_by_column_mapping_and_labels_agree(diabetes_map):
    half = np.where(np.arange(442) < 20, "first", "others")
    by_label = diabetes_map.leave_out(half)
    by_ids = diabetes_map.leave_out({"first": range(20)})
    pd.testing.assert_frame_equal(by_label.to_pandas()[:1], by_ids.to_pandas(), rtol=1e-12, atol=0)
    assert by_ids["size"].tolist() == [20]
    assert diabetes_map.top(30).leave_out({"a": diabetes_map.top(30)["id"][:3]})["size"].tolist() == [3]


def test_groups_that_make_no_sense_are_refused(diabetes_map, tmp_path):
    with pytest.raises(ValueError, match="expected one for each of 442"):
        diabetes_map.leave_out([1, 2])
    with pytest.raises(ValueError, match="expected some, not all"):
        diabetes_map.leave_out(np.zeros(442))
    with pytest.raises(ValueError, match="expected some, not all"):
        diabetes_map.leave_out({"none": []})
    with pytest.raises(KeyError, match="not in this map"):
        diabetes_map.leave_out({"a": [9999]})
    with pytest.raises(ValueError, match="no groups"):
        diabetes_map.leave_out({})
    with pytest.raises(ValueError, match="read from disk has none"):
        mm.load(diabetes_map.save(tmp_path / "m.parquet")).leave_out({"a": [1]})


# --- comparing -------------------------------------------------------------------------------------------------------


def test_comparison_joins_by_id_not_by_order(diabetes_map):
    shuffled = diabetes_map.select(rng.permutation(442)[:300])
    c = mm.compare(diabetes_map, shuffled)
    assert (len(c), c.only_a, c.only_b) == (300, 142, 0)
    assert c.spearman("leverage") == pytest.approx(1)
    assert c.overlap("sensitivity") == 1
    assert c.slope("loo_loss") == pytest.approx(1)
    assert "300 examples in both maps, 142 only in a" in str(c)


def test_comparison_of_different_models_disagrees(diabetes_map):
    X, y = load_diabetes(return_X_y=True)
    c = mm.compare(diabetes_map, mm.memory_map(Ridge(alpha=10.0).fit(X, y), X, y))
    assert 0 < c.spearman("sensitivity") < 0.99
    assert c.effective_parameters[0] > c.effective_parameters[1]


def test_maps_without_common_ids_cannot_be_compared(diabetes_map):
    X, y = load_diabetes(return_X_y=True)
    model = LinearRegression().fit(X, y)
    with pytest.raises(ValueError, match="no id in common"):
        mm.compare(diabetes_map, mm.memory_map(model, X, y, ids=range(1000, 1442)))
    with pytest.raises(ValueError, match="different kinds"):
        mm.compare(diabetes_map, mm.memory_map(model, X, y, ids=[f"p{k}" for k in range(442)]))


def test_null_characters_in_ids_are_kept():
    m = mm.memory_map(LinearRegression().fit([[0.0], [1.0], [2.0]], [0.0, 1.5, 2.0]), [[0.0], [1.0], [2.0]],
                      [0.0, 1.5, 2.0], ids=["a\0b", "a\0c", "d"])  # fmt: skip
    assert m["id"].tolist() == ["a\0b", "a\0c", "d"]


def test_some_rows_are_drawn_from_the_posterior_of_all():
    X, y = load_diabetes(return_X_y=True)
    model = Ridge(alpha=0.1).fit(X, y)
    whole, some = mm.memory_map(model, X, y), mm.memory_map(model, X, y, rows=[40, 3, 40, 441])
    assert some["row"].tolist() == some["id"].tolist() == [3, 40, 441]
    np.testing.assert_allclose(some["sensitivity"], whole["sensitivity"][[3, 40, 441]], rtol=1e-12)
    assert some.provenance.n == 442
    np.testing.assert_allclose(
        some.leave_out({"a": [3, 40]})["sensitivity"], whole.leave_out({"a": [3, 40]})["sensitivity"], rtol=1e-10
    )


def test_one_example_is_no_examples():
    X, y = load_diabetes(return_X_y=True)
    one = mm.memory_map(Ridge().fit(X, y), X, y, rows=[40])
    assert repr(one).startswith("MemoryMap of 1 example (")
    assert "\n  1 example (of 442 in training" in str(one.summary())
    assert "1 example (largest sensitivity) refitted without each" in str(mm.refit(one, top=1).summary())


@pytest.mark.parametrize("rows", [[], [442], [-1], [0.5], ["a"]])
def test_rows_that_are_no_positions_are_refused(rows):
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(mm.DataError, match="positions from 0 to 441"):
        mm.memory_map(Ridge().fit(X, y), X, y, rows=rows)


def test_targets_without_inputs_are_not_ignored():
    X, y = load_diabetes(return_X_y=True)
    with pytest.raises(ValueError, match="without inputs"):
        mm.memory_map(Ridge().fit(X, y), target=y)


def test_versions_are_those_of_the_distributions():
    found = versions(LogisticRegression())
    assert set(found) == {"python", "memorymaps", "numpy", "scikit-learn"}
    assert {name: found[name] for name in ("numpy", "scikit-learn")} == {
        name: metadata.version(name) for name in ("numpy", "scikit-learn")
    }
    assert set(versions(pytest.param(1))) == {"python", "memorymaps", "numpy", "pytest"}
