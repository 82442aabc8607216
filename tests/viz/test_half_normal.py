"""The half-normal plot: its quantiles, order, labels and axes."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from matplotlib import pyplot as plt
from scipy.stats import norm
from sklearn.linear_model import Ridge

import memorymaps as mm
from memorymaps import measures
from memorymaps.viz import HalfNormalDisplay

N = 30
RNG = np.random.default_rng(4)
X = RNG.normal(size=(N, 3))
Y = X[:, 0] + RNG.normal(size=N)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def ridge_map():
    return mm.memory_map(Ridge().fit(X, Y), X, Y)


def with_column(m, name, values):
    return dataclasses.replace(m, table=m.table.set_column(m.table.column_names.index(name), name, pa.array(values)))


def test_sorted_leverages_stand_at_half_normal_quantiles(ridge_map):
    drawn = HalfNormalDisplay.from_map(ridge_map)
    (points,) = drawn.ax_.lines
    np.testing.assert_array_equal(points.get_ydata(), np.sort(ridge_map["leverage"]))
    # R, faraway::halfnorm: qnorm((n + 1:n)/(2n + 1))
    np.testing.assert_allclose(points.get_xdata(), norm.ppf((N + np.arange(1, N + 1)) / (2 * N + 1)), rtol=1e-12)
    same = ridge_map.select(drawn.frame()["id"])
    np.testing.assert_array_equal(drawn.frame()["value"], same["leverage"])


def test_a_normal_sample_is_a_straight_line():
    m = mm.memory_map(Ridge().fit(X, Y), X, Y)
    sample = norm.ppf((np.arange(1, N + 1) - 0.5) / N)
    drawn = HalfNormalDisplay.from_map(with_column(m, "residual", sample), by="residual")
    frame = drawn.frame()
    assert np.corrcoef(frame["quantile"], frame["value"])[0, 1] > 0.99
    assert frame["value"].min() > 0
    assert drawn.ax_.get_ylabel() == "size of residual (units of the target)"


def test_a_measure_of_the_influence_table_is_a_score(ridge_map):
    drawn = HalfNormalDisplay.from_map(ridge_map, by="hadi", label=3)
    top = np.argsort(measures.hadi(ridge_map))[-3:]
    assert {text.get_text() for text in drawn.ax_.texts} == set(map(str, ridge_map["id"][top]))
    assert drawn.ax_.get_ylabel() == "hadi"


def test_labels_and_axis_name_what_is_drawn(ridge_map):
    ax = HalfNormalDisplay.from_map(ridge_map, by="sensitivity", label=0).ax_
    assert (ax.texts[:], ax.get_ylabel()) == ([], "sensitivity (units of the target)")


def test_undefined_values_are_counted_not_drawn(ridge_map):
    m = with_column(ridge_map, "sensitivity", np.r_[np.nan, np.nan, ridge_map["sensitivity"][2:]])
    drawn = HalfNormalDisplay.from_map(m, by="sensitivity")
    assert len(drawn.frame()) == N - 2
    assert drawn.ax_.get_title(loc="left").endswith("30 examples (2 undefined)")


def test_what_is_no_score_is_refused(ridge_map):
    with pytest.raises(KeyError, match=r"no score 'size'.*leverage.*cooks_distance"):
        HalfNormalDisplay.from_map(ridge_map, by="size")
    with pytest.raises(ValueError, match="cannot draw sizes of 'id'"):
        HalfNormalDisplay.from_map(with_column(ridge_map, "id", [f"x{i}" for i in range(N)]), by="id")
    assert plt.get_fignums() == []
