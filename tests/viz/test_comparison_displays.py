"""Figures of comparisons, selections and influences draw the numbers of their results."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps.viz import ComparisonDisplay, InfluenceDisplay, SelectionDisplay
from memorymaps.viz.displays.style import PALETTE

mpl.use("Agg")
X, Y = load_diabetes(return_X_y=True)
X, Y = X[:120] * 20, Y[:120] / 10
HOSTILE = ["$x^2$", "<b>", "two\nlines", "nul\0l", "x" * 10_000, "שלום עולם", "_a", ""]


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def ridge(alpha, rows=slice(None), ids=None):
    ids = np.arange(120)[rows] if ids is None else ids
    return mm.memory_map(Ridge(alpha=alpha).fit(X[rows], Y[rows]), X[rows], Y[rows], ids=ids)


def offsets(ax, marker):
    (line,) = [line for line in ax.lines if line.get_marker() == marker]
    return np.asarray(line.get_xydata())


def test_scores_of_two_maps_and_what_moves():
    rng = np.random.default_rng(0)
    floor = [ridge(1.0, np.sort(rng.choice(120, 110, replace=False))) for _ in range(2)]
    a, b = ridge(1.0), ridge(30.0)
    c = mm.compare(a, b, ridge(3.0), floor=floor)
    drawn = ComparisonDisplay.from_comparison(c, score="error", label=3)
    moved = np.isin(c["id"], c.movers("error")["id"])
    assert 0 < moved.sum() < 120
    np.testing.assert_array_equal(offsets(drawn.ax_, "o"), np.column_stack([a["error"], b["error"]])[~moved])
    np.testing.assert_array_equal(offsets(drawn.ax_, "s"), np.column_stack([a["error"], b["error"]])[moved])
    assert drawn.ax_.get_title(loc="left").endswith(f"{moved.sum()} of 120 beyond the noise")
    assert sorted(text.get_text() for text in drawn.ax_.texts) == sorted(map(str, c.movers("error")["id"][:3]))
    other = ComparisonDisplay.from_comparison(c, maps="cb")
    assert other.ax_.get_xlabel() == "sensitivity of map c"
    with pytest.raises(ValueError, match="expected two of the letters abc"):
        ComparisonDisplay.from_comparison(c, maps="xy")


def test_without_repeats_nothing_is_marked():
    drawn = ComparisonDisplay.from_comparison(mm.compare(ridge(1.0), ridge(30.0)), label=0)
    assert not drawn.frame()["moved"].any()
    assert drawn.ax_.get_legend() is None
    assert len(drawn.ax_.texts) == 0


def test_a_selection_draws_values_errors_and_verdicts():
    found = mm.select_model({f"α = {a:g}": ridge(a) for a in (1.0, 100.0, 3000.0)})
    drawn = SelectionDisplay.from_selection(found)
    assert [text.get_text().partition(" (")[0] for text in drawn.ax_.get_yticklabels()] == found["name"].tolist()
    np.testing.assert_allclose(offsets(drawn.ax_, "o")[:, 0], found["value"])
    bars = [np.ptp(bar[:, 0]) / 2 for bar in drawn.ax_.collections[0].get_segments()]
    np.testing.assert_allclose(bars, found["value_se"])
    bars = [np.ptp(bar[:, 0]) / 2 for bar in drawn.ax_.collections[1].get_segments()]
    np.testing.assert_allclose(bars, found["difference_se"], atol=1e-12)
    assert drawn.ax_.get_xlabel() == "left-out loss (nats)"


@pytest.mark.parametrize("target", [True, False], ids=["losses", "no losses"])
def test_bars_are_the_changes_of_one_query(target):
    found = mm.influence_on(ridge(1.0), X[:3], Y[:3] if target else None, top=9)
    drawn = InfluenceDisplay.from_influence(found, query=2, k=4)
    lengths = {
        text.get_text(): bar.get_width()
        for text, bar in zip(
            drawn.ax_.get_yticklabels(), sorted(drawn.ax_.patches, key=lambda bar: -bar.get_y()), strict=True
        )
    }
    rows = found["query"] == 2
    value = (found["loss_change"] if target else found["change"])[rows]
    expected = dict(zip(map(str, found["id"][rows]), value, strict=True))
    assert len(lengths) == 8
    assert lengths == {name: pytest.approx(expected[name]) for name in lengths}
    wanted = np.concatenate([np.sort(value)[::-1][:4], np.sort(value)[:4]]) if target else value[:8]
    np.testing.assert_allclose(np.sort(list(lengths.values())), np.sort(wanted))
    colours = {bar.get_facecolor() for bar in drawn.ax_.patches}
    assert colours == {to_rgba(PALETTE[0]), to_rgba(PALETTE[1])}
    with pytest.raises(ValueError, match="query = 3: expected a position from 0 to 2"):
        InfluenceDisplay.from_influence(found, query=3)


def test_groups_are_drawn_by_name():
    found = mm.influence_on(ridge(1.0), X[:2], Y[:2], groups=np.arange(120) % 3)
    drawn = InfluenceDisplay.from_influence(found)
    assert {text.get_text() for text in drawn.ax_.get_yticklabels()} == {"0", "1", "2"}
    assert drawn.ax_.get_ylabel() == "group"


@pytest.mark.slow
def test_any_name_is_drawn_literally_on_given_axes(tmp_path):
    names = [*HOSTILE, *(f"p{k}" for k in range(112))]
    a, b = ridge(1.0, ids=names), ridge(30.0, ids=names)
    c = mm.compare(a, b)
    figure, (first, second) = plt.subplots(1, 2)
    before = dict(mpl.rcParams)
    ComparisonDisplay.from_comparison(c, label=120, ax=first)
    InfluenceDisplay.from_influence(mm.influence_on(a, X[:1], Y[:1], top=60), k=60, ax=second)
    SelectionDisplay.from_selection(mm.select_model(dict.fromkeys(HOSTILE, a)))
    assert dict(mpl.rcParams) == before
    figure.savefig(tmp_path / "a.png")
    plt.gcf().savefig(tmp_path / "b.pdf")
