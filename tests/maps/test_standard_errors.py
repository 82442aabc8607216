"""Standard errors of averages: the formula written out as loops, rows written out, and the bootstrap."""

import dataclasses
import math

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

import memorymaps as mm
from memorymaps.core.averages import (
    WeightedMoments,
    are_counts,
    standard_error,
    standard_error_of_counts,
    weighted_mean,
)

RNG = np.random.default_rng(0)
X, Y = load_diabetes(return_X_y=True)
X, Y = X[:150, :4] * 20, Y[:150] / 50
BITS = (Y > 2.5).astype(int)
COUNTS, WEIGHTS = RNG.integers(1, 5, 150), RNG.uniform(0.2, 3.0, 150)


def loop_error(values, weight, whole):
    """The definition: of rows written out where weights are whole numbers, else of a weighted mean."""
    values, weight = [float(v) for v in values], [float(w) for w in weight]
    total = sum(weight)
    mean = sum(w * v for v, w in zip(values, weight, strict=True)) / total
    if whole:
        squares = sum(w * (v - mean) ** 2 for v, w in zip(values, weight, strict=True))
        return math.sqrt(squares / (total * (total - 1)))
    n = sum(w > 0 for w in weight)
    squares = sum((w * (v - mean)) ** 2 for v, w in zip(values, weight, strict=True))
    return math.sqrt(n / (n - 1) * squares) / total


def bootstrap(values, weight, statistic=lambda mean: mean):
    """Standard deviation of the statistic of the weighted mean over 4,000 resamples."""
    rows = np.random.default_rng(1).integers(0, len(values), (4000, len(values)))
    means = (weight[rows] * values[rows]).sum(axis=1) / weight[rows].sum(axis=1)
    return float(np.std(statistic(means)))


@pytest.mark.parametrize("weight", [None, COUNTS, WEIGHTS], ids=["equal", "counts", "weights"])
@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_every_standard_error_is_its_loop(kind, weight):
    model, y = (Ridge(), Y) if kind == "ridge" else (LogisticRegression(tol=1e-10), BITS)
    m = mm.memory_map(model.fit(X, y, sample_weight=weight), X, y, sample_weight=weight)
    loo, w = m.leave_one_out(), np.ones(150) if weight is None else weight
    precisions = m.provenance.weights_are_precisions
    of_losses, whole = (np.ones(150) if precisions else w), not precisions and weight is not WEIGHTS
    for name in ("loss", "loo_loss"):
        assert getattr(loo, f"{name}_se") == pytest.approx(loop_error(m[name], of_losses, whole))
    assert loo.gap_se == pytest.approx(loop_error(m["loo_loss"] - m["loss"], of_losses, whole))
    for name, column in (("score", "prediction"), ("loo_score", "loo_prediction")):
        if kind == "logistic":
            found = loop_error(m[column] == y, w, whole)
        else:
            found = loop_error((m[column] - y) ** 2, w, whole) / (2 * getattr(loo, name))
        assert getattr(loo, f"{name}_se") == pytest.approx(found)


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["equal", "weights"])
@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_the_bootstrap_agrees(kind, weight):
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y, w = (y if kind == "logistic" else X[:, 0]), np.ones(569)
    if weight is not None:
        w = np.random.default_rng(3).uniform(0.2, 3.0, 569)
    model = LogisticRegression(C=0.01, tol=1e-10) if kind == "logistic" else Ridge(alpha=50.0)
    m = mm.memory_map(model.fit(X[:, 1:6], y, sample_weight=w), X[:, 1:6], y, sample_weight=w)
    loo = m.leave_one_out()
    of_losses = np.ones(569) if m.provenance.weights_are_precisions else w
    assert loo.loo_loss_se == pytest.approx(bootstrap(m["loo_loss"], of_losses), rel=0.06)
    assert loo.gap_se == pytest.approx(bootstrap(m["loo_loss"] - m["loss"], of_losses), rel=0.1)
    if kind == "logistic":
        assert loo.loo_score_se == pytest.approx(bootstrap((m["loo_prediction"] == y) * 1.0, w), rel=0.06)
    else:
        assert loo.loo_score_se == pytest.approx(bootstrap((m["loo_prediction"] - y) ** 2, w, np.sqrt), rel=0.06)


def test_counts_are_rows_written_out():
    rows = np.repeat(np.arange(150), COUNTS)
    ones = sm.add_constant(X)
    short = mm.memory_map(sm.GLM(BITS, ones, family=sm.families.Binomial(), freq_weights=COUNTS).fit(tol=1e-12))
    long = mm.memory_map(sm.GLM(BITS[rows], ones[rows], family=sm.families.Binomial()).fit(tol=1e-12))
    a, b = short.leave_one_out(), long.leave_one_out()
    assert (a.loss_se, a.score_se) == (pytest.approx(b.loss_se, rel=1e-6), pytest.approx(b.score_se, rel=1e-6))


@pytest.mark.parametrize("weight", [np.ones(150), COUNTS, WEIGHTS, np.where(COUNTS > 2, WEIGHTS, 0.0)])
def test_formulas_and_running_sums_agree(weight):
    values = RNG.normal(size=150)
    expected = standard_error_of_counts(values, weight) if are_counts(weight) else standard_error(values, weight)
    assert expected == pytest.approx(loop_error(values, weight, are_counts(weight)))
    moments = WeightedMoments(2)
    for part in np.array_split(np.arange(150), 7):
        moments.add(1, values[part], weight[part])
    none, found = moments.standard_errors()
    assert math.isnan(none)
    assert found == pytest.approx(expected)
    assert standard_error(values, 7 * weight) == pytest.approx(standard_error(values, weight))
    if are_counts(weight):
        written = np.repeat(values, weight.astype(int))
        assert expected == pytest.approx(np.std(written, ddof=1) / math.sqrt(len(written)))
        assert weighted_mean(values, weight) == pytest.approx(written.mean())


@pytest.mark.parametrize("weight", [None, COUNTS, WEIGHTS], ids=["equal", "counts", "weights"])
def test_groups_have_standard_errors_of_members_and_of_the_rest(weight):
    model = LogisticRegression(C=0.1, tol=1e-10).fit(X, BITS, sample_weight=weight)
    m = mm.memory_map(model, X, BITS, sample_weight=weight)
    member = np.arange(150) % 3 == 0
    found = m.leave_out({"third": np.flatnonzero(member), "one": [7]})
    refit = LogisticRegression(C=0.1, tol=1e-10)
    w = np.ones(150) if weight is None else weight
    p = refit.fit(X[~member], BITS[~member], sample_weight=w[~member]).predict_proba(X)[np.arange(150), BITS]
    for name, rows in (("", member), ("rest_", ~member)):
        after = -np.log(p[rows])
        whole = weight is not WEIGHTS
        assert found[f"{name}leave_out_loss_se"][0] == pytest.approx(loop_error(after, w[rows], whole), rel=1e-3)
        change = loop_error(after - m["loss"][rows], w[rows], whole)
        assert found[f"{name}loss_change_se"][0] == pytest.approx(change, rel=1e-3)
    rows_of_one = weight is COUNTS and COUNTS[7] > 1
    assert np.isnan(found["leave_out_loss_se"][1]) != rows_of_one


def test_one_example_has_no_standard_error():
    m = mm.memory_map(LinearRegression().fit(X, Y), X, Y)
    one, two = m.select([3]).leave_one_out(), m.select([3, 4]).leave_one_out()
    assert np.isnan([one.loss_se, one.loo_loss_se, one.score_se, one.loo_score_se, one.gap_se]).all()
    assert "±" not in str(one)
    assert str(two).count("±") == 4
    assert "±" in str(m.summary())


def test_cross_fitted_averages_have_them():
    m = mm.memory_map(Ridge().fit(X, Y), X, Y)
    found = m.leave_one_out(cross_fit=5)
    assert found.loo_loss_se == pytest.approx(m.leave_one_out().loo_loss_se, rel=0.2)
    assert "5-fold" in str(dataclasses.replace(found))
