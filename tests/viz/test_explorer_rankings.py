"""The rankings panel: agreement and disagreements are Python's, a reader sees them, other measures join in."""

import dataclasses
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.linear_model import LinearRegression

import memorymaps as mm
from memorymaps.viz.explorer.options import ExplorerOptions
from memorymaps.viz.explorer.packing import pack


def rankings(m, **options):
    return pack(m, ExplorerOptions(**options)).meta["agreement"]


def test_correlations_and_overlaps_are_those_of_scipy(diabetes_map):
    found = rankings(diabetes_map)
    scores = [diabetes_map[name].astype(np.float32) for name in found["measures"]]
    for (i, a), (j, b) in combinations(enumerate(scores), 2):
        assert found["spearman"][i][j] == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
        tops = [set(np.argsort(-score, kind="stable")[:100]) for score in (a, b)]
        assert found["overlap"][i][j] == len(tops[0] & tops[1]) / 100


def test_the_disagreements_are_the_largest_factors_between_ranks(diabetes_map):
    for entry in rankings(diabetes_map)["disagreements"]:
        names = [("sensitivity", "leverage", "error", "loo_loss")[k] for k in entry["pair"]]
        a, b = (rankdata(-diabetes_map[name].astype(np.float32)) for name in names)
        for rows, factor in ((entry["first"], b / a), (entry["second"], a / b)):
            order = np.sort(factor)[::-1][: len(rows)]
            np.testing.assert_allclose([factor[i] for i, *_ in rows], order)
            assert all((x, y) == (a[i], b[i]) for i, x, y in rows)
            assert np.all(order > 1)


def test_measures_that_agree_list_nothing(diabetes_map):
    found = rankings(diabetes_map, columns={"twice": 2 * diabetes_map["leverage"]}, measures=("leverage", "twice"))
    assert found["disagreements"] == []
    assert found["spearman"][0][1] == pytest.approx(1)


def test_a_constant_measure_has_no_correlation(diabetes_map):
    found = rankings(diabetes_map, columns={"flat": np.ones(442)}, measures=("leverage", "flat"))
    assert found["spearman"][0][1] is None


@pytest.mark.parametrize("measures", [("leverage", "luck"), ("leverage", "prediction@1"), ("label", "error")])
def test_what_cannot_be_ranked_is_refused_with_the_choice(measures, diabetes_map):
    with pytest.raises(KeyError, match=r"cannot rank by .*expected some of .*'leverage'"):
        rankings(diabetes_map, columns={"label": ["a", "b"] * 221}, measures=measures)


@pytest.mark.parametrize("measures", [(), ("leverage",)])
def test_one_measure_is_nothing_to_compare(measures, diabetes_map):
    with pytest.raises(ValueError, match=r"expected at least two to compare"):
        rankings(diabetes_map, measures=measures)


def test_two_examples_are_not_ranked():
    X = np.array([[0.0], [1.0]])
    m = mm.memory_map(LinearRegression(fit_intercept=False).fit(X, [0.1, 1.2]), X, [0.1, 1.2])
    assert rankings(m) is None


def test_undefined_scores_are_left_out(diabetes_map):
    scores = diabetes_map["error"].copy()
    scores[7] = np.nan
    table = diabetes_map.table
    m = dataclasses.replace(
        diabetes_map, table=table.set_column(table.column_names.index("error"), "error", pa.array(scores))
    )
    listed = {row for entry in rankings(m)["disagreements"] for side in ("first", "second") for row, *_ in entry[side]}
    assert 7 not in listed


@pytest.mark.browser
def test_the_page_displays_both_ranks(diabetes_map, tmp_path, opened):
    tracin = np.random.default_rng(0).normal(size=442)
    page = opened(
        diabetes_map.explore(
            tmp_path / "m.html", columns={"<i>tracin": tracin}, measures=("sensitivity", "<i>tracin")
        )
    )  # fmt: skip
    page.page.get_by_role("tab", name="Rankings").click()
    section = page.page.get_by_role("region", name="Disagreements")
    assert section.locator("h3").all_inner_texts() == ["higher by sensitivity", "higher by <i>tracin"]
    a, b = (rankdata(-scores.astype(np.float32)) for scores in (diabetes_map["sensitivity"], tracin))
    row = int(np.argmax(b / a))
    first = section.locator(".mm-entry").first
    assert first.locator("b").inner_text() == f"{a[row]:.0f} · {b[row]:.0f}"
    assert first.locator("small").inner_text() == str(row)
    first.click()
    assert page.run("return s.focus.value") == row


@pytest.mark.browser
def test_filters_hold_for_disagreements_too(cancer_map, tmp_path, opened):
    page = opened(cancer_map.explore(tmp_path / "m.html"))
    page.page.get_by_role("button", name="wrong", exact=True).click()
    page.page.get_by_role("tab", name="Rankings").click()
    section = page.page.get_by_role("region", name="Disagreements")
    for k in range(section.locator("option").count()):
        section.get_by_label("Two measures").select_option(str(k))
        rows = [int(entry.get_attribute("data-example")) for entry in section.locator(".mm-entry").all()]
        assert all(cancer_map["target"][i] != cancer_map["prediction"][i] for i in rows)
