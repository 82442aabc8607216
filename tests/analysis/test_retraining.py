"""The retraining check against models that can be refitted exactly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.analysis.retraining import RetrainingError

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:120], Y[:120]


def refit(removed, wanted):
    return Ridge(alpha=0.1).fit(np.delete(X, removed, axis=0), np.delete(Y, removed)).predict(X[wanted])


@pytest.fixture(scope="module")
def m():
    return mm.memory_map(Ridge(alpha=0.1).fit(X, Y), X, Y)


def test_ridge_agrees_exactly(m):
    check = mm.retrain_check(m, refit, k=20)
    assert check.relative_error < 1e-10
    assert check.slope == pytest.approx(1)
    assert check.spearman == pytest.approx(1)
    assert check.drift < 1e-10
    np.testing.assert_allclose(check["loo_loss"], check["true_loo_loss"], rtol=1e-10)
    assert set(m.top(10)["id"]) <= set(check["id"])
    assert "slope 1.00" in str(check)


def test_a_wrong_recipe_is_seen(m):
    check = mm.retrain_check(m, lambda r, w: refit(r, w) + 3.0 * (len(r) == 0), k=10)
    assert check.drift == pytest.approx(3.0)
    assert check.relative_error > 0.1


def test_executors_give_the_same(m):
    with ThreadPoolExecutor(2) as pool:
        parallel = mm.retrain_check(m, refit, k=12, executor=pool)
    assert parallel.table.equals(mm.retrain_check(m, refit, k=12).table)


def test_a_stopped_check_goes_on_where_it_was(m, tmp_path):
    path, calls = tmp_path / "check.jsonl", []

    def stops(removed, wanted):
        calls.append(tuple(removed))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return refit(removed, wanted)

    with pytest.raises(KeyboardInterrupt):
        mm.retrain_check(m, stops, k=12, path=path)
    with open(path, "ab") as file:
        file.write(b'{"row": 3, "f"')  # killed in the middle of a line
    check = mm.retrain_check(m, stops, k=12, path=path)
    assert len(calls) == 5 + 1 + 13 - 5
    assert check.table.equals(mm.retrain_check(m, refit, k=12).table)
    done = len(calls)
    mm.retrain_check(m, stops, k=12, path=path)
    assert len(calls) == done


def test_another_maps_file_is_refused(m, tmp_path):
    path = tmp_path / "check.jsonl"
    mm.retrain_check(m, refit, k=2, path=path)
    other = mm.memory_map(Ridge(alpha=0.1).fit(X, -Y), X, -Y)
    with pytest.raises(ValueError, match="another map"):
        mm.retrain_check(other, refit, k=2, path=path)


@pytest.mark.parametrize(
    "answer", [np.zeros((2, 2)), np.full(1, np.nan), np.zeros((0, 1))], ids=["shape", "nan", "empty"]
)
def test_answers_that_are_not_outputs_are_refused(m, answer):
    with pytest.raises(RetrainingError, match="expected the outputs"):
        mm.retrain_check(m, lambda removed, wanted: answer, k=2)


def test_failures_name_the_example(m):
    with pytest.raises(RetrainingError, match="nothing removed failed: ZeroDivisionError"):
        mm.retrain_check(m, lambda removed, wanted: 1 / 0, k=2)


def test_unknown_ids_and_maps_from_disk_are_refused(m, tmp_path):
    with pytest.raises(KeyError, match="not in this map"):
        mm.retrain_check(m, refit, ids=[10_000])
    with pytest.raises(ValueError, match="from disk"):
        mm.retrain_check(mm.load(m.save(tmp_path / "m.parquet")), refit)


def test_the_picture_shows_every_example(m):
    display = mm.RetrainingDisplay.from_check(mm.retrain_check(m, refit, k=10))
    assert len(display.frame()) == 10
    assert "slope 1.00" in display.ax_.get_title(loc="left")


def test_a_journal_goes_on_with_other_examples(m, tmp_path):
    path = tmp_path / "check.jsonl"
    mm.retrain_check(m, refit, ids=[1, 2, 3, 4], path=path)
    again = mm.retrain_check(m, refit, ids=[4, 11, 12, 13], path=path)
    assert again.table.equals(mm.retrain_check(m, refit, ids=[4, 11, 12, 13]).table)


def test_a_journal_of_another_model_on_the_same_data_is_refused(m, tmp_path):
    path = tmp_path / "check.jsonl"
    mm.retrain_check(m, refit, ids=[1, 2], path=path)
    other = mm.memory_map(Ridge(alpha=10.0).fit(X, Y), X, Y)
    with pytest.raises(ValueError, match="another map or model"):
        mm.retrain_check(other, refit, ids=[1, 2], path=path)
