"""Figures of groups' coefficients and of pruning: their numbers, and inputs that are awkward."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import scale
from sklearn.svm import SVR

import memorymaps as mm
from memorymaps.viz import GroupDisplay, GroupInfluenceDisplay, PruningDisplay

X, Y = load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def linear():
    return mm.memory_map(LinearRegression().fit(X, Y), X, Y)


def test_changes_of_the_most_influential_groups_are_minus_dfbetas(linear):
    result = linear.leave_out(np.arange(442) // 11)
    display = GroupInfluenceDisplay.from_leave_out(result)
    data = display.frame()
    assert display.title == "30 of 41 groups, 11 coefficients, most influential first"
    assert data["cooks_distance"].is_monotonic_decreasing
    assert data["cooks_distance"][0] == result["cooks_distance"].max()
    first = data.iloc[0]
    expected = -result.dfbetas().loc[first["group"]]
    np.testing.assert_allclose(first[expected.index].astype(float), expected)
    plt.close("all")


def test_numbers_are_written_into_few_cells_and_labels_are_literal(linear):
    result = linear.leave_out({"$a$ <b>": [1, 2, 3], "rest": range(10, 20)})
    display = GroupInfluenceDisplay.from_leave_out(result)
    display.figure_.canvas.draw()
    assert len(display.ax_.texts) == 22
    assert any(r"\$a\$ <b> (3)" in label.get_text() for label in display.ax_.get_yticklabels())
    plt.close("all")


def test_coefficients_that_are_not_determined_are_drawn_grey():
    site = np.eye(3)[np.arange(60) % 3]
    m = mm.memory_map(LinearRegression(fit_intercept=False).fit(site, Y[:60]), site, Y[:60])
    display = GroupInfluenceDisplay.from_leave_out(m.leave_out(np.arange(60) % 3))
    display.figure_.canvas.draw()
    assert len(display.ax_.texts) == 0
    plt.close("all")


def test_groups_without_coefficients_are_refused_with_the_display_of_losses():
    result = mm.memory_map(SVR().fit(X[:60], Y[:60]), X[:60], Y[:60]).leave_out({"a": [1, 2]})
    with pytest.raises(TypeError, match="coefficients"):
        GroupInfluenceDisplay.from_leave_out(result)
    assert GroupDisplay.from_leave_out(result).figure_.axes
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("check", [False, True])
def test_the_curve_of_pruning_is_its_table(check):
    inputs, y = load_breast_cancer(return_X_y=True)
    inputs = scale(inputs)
    found = mm.prune(mm.memory_map(LogisticRegression(tol=1e-8).fit(inputs, y), inputs, y), check=check)
    display = PruningDisplay.from_pruning(found)
    drawn = {line.get_label(): line.get_xydata() for line in display.ax_.get_lines()}
    column = "held_out_loss" if check else "left_out_loss"
    np.testing.assert_allclose(drawn["kept by prune"], np.column_stack([found["share"], found[column]]))
    assert any(label.startswith("random") for label in drawn) == check
    assert f"{found.fewest:,} of 569" in display.title
    plt.close("all")
