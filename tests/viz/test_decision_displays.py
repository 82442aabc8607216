"""Figures of groups' coefficients and of pruning: their numbers, and inputs that are awkward."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import scale
from sklearn.svm import SVR

import memorymaps as mm
from memorymaps.cli.report import write_groups
from memorymaps.viz import GroupDisplay, GroupInfluenceDisplay, InfluenceDisplay, PruningDisplay

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


BALANCED = LogisticRegression(class_weight="balanced", tol=1e-9, max_iter=10_000)


@pytest.fixture(scope="module")
def balanced():
    inputs, y = scale(X[:80, :3]), (Y[:80] > 120).astype(int)
    return mm.memory_map(BALANCED.fit(inputs, y), inputs, y)


def displays_of_answers(m):
    groups, inputs = {"$a$": [0, 1, 2], "b": [7, 8]}, scale(X[:80, :3])[:1]
    yield GroupDisplay.from_leave_out(m.leave_out(groups))
    yield GroupInfluenceDisplay.from_leave_out(m.leave_out(groups))
    yield InfluenceDisplay.from_influence(mm.influence_on(m, inputs, groups=groups))
    yield InfluenceDisplay.from_influence(mm.influence_on(m, inputs))
    yield PruningDisplay.from_pruning(mm.prune(m))


@pytest.mark.slow
def test_what_answers_hold_is_written_between_title_and_axes(balanced):
    for display in displays_of_answers(balanced):
        ax, figure = display.ax_, display.figure_
        figure.draw_without_rendering()
        (caption,) = [text for text in ax.texts if text.get_text().startswith("held as in the fit")]
        assert caption.get_text().replace("\n", " ") == display.caption
        place = caption.get_window_extent()
        assert ax.get_window_extent().y1 < place.y0
        (title,) = [text for text in ax.get_children() if getattr(text, "get_text", str)() == display.title]
        assert place.y1 < title.get_window_extent().y0
        assert place.x1 < figure.bbox.x1
        assert title.get_window_extent().y1 < figure.bbox.y1
        plt.close("all")


def test_captions_say_how_far_groups_can_be_trusted(balanced):
    losses, coefficients, of_groups, of_examples, pruned = displays_of_answers(balanced)
    for display in (losses, coefficients, of_groups):
        assert "not to be used, as class weights of refits follow the group's classes" in display.caption
    for display in (of_examples, pruned):
        assert display.caption == "held as in the fit: class weights, by class_weight='balanced'"
    plt.close("all")


def test_coefficients_hold_no_noise_scale_and_losses_do(linear):
    result = linear.leave_out({"a": [1, 2, 3]})
    assert GroupDisplay.from_leave_out(result).caption == "the noise scale is held at its value"
    assert GroupInfluenceDisplay.from_leave_out(result).caption == ""
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GroupDisplay, GroupInfluenceDisplay])
def test_figures_of_many_groups_are_as_high_as_their_rows_need(kind, linear, balanced, tmp_path):
    m = linear if kind is GroupInfluenceDisplay else balanced
    result = m.leave_out(np.arange(len(m)) // 2 % 40)
    assert kind.size_of(result) == pytest.approx(kind.from_leave_out(result).figure_.get_size_inches())
    assert kind.size_of(result)[1] > 6
    if kind is GroupInfluenceDisplay:
        assert plt.imread(write_groups(result, tmp_path)[1]).shape[0] > 6 * 150
    plt.close("all")
