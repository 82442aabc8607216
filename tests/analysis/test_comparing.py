"""Comparison of maps: paired left-out averages, several maps, the top by count, and the noise between repeats."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import GammaRegressor, LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.svm import SVC

import memorymaps as mm

RNG = np.random.default_rng(0)
X, Y = load_diabetes(return_X_y=True)
X, Y = X[:120] * 20, Y[:120] / 10
BITS = (Y > 14).astype(int)


def ridge(alpha, rows=slice(None), y=Y, **options):
    return mm.memory_map(Ridge(alpha=alpha).fit(X[rows], y[rows], **options), X[rows], y[rows], **options)


def logistic(C, y=BITS):
    return mm.memory_map(LogisticRegression(C=C, tol=1e-10, max_iter=1000).fit(X, y), X, y)


def paired_error(difference):
    """The loop: standard deviation of the differences over the square root of their number."""
    n, mean = len(difference), sum(difference) / len(difference)
    return math.sqrt(sum((d - mean) ** 2 for d in difference) / (n - 1) / n)


def test_differences_are_paired():
    a, b = logistic(0.01), logistic(1.0)
    c = mm.compare(a, b)
    difference, error = c.loss.difference(1, 0)
    each = b["loo_loss"] - a["loo_loss"]
    assert (difference, error) == (pytest.approx(each.mean()), pytest.approx(paired_error(each)))
    assert error < 0.9 * math.hypot(*c.loss.errors)  # of the same examples: less than of two independent samples
    right = [(m["loo_prediction"] == BITS) * 1.0 for m in (a, b)]
    assert c.score.name == "accuracy"
    np.testing.assert_allclose(c.score.values, [m.leave_one_out().loo_score for m in (a, b)])
    found = c.score.difference(1, 0)
    assert found == (pytest.approx(right[1].mean() - right[0].mean()), pytest.approx(paired_error(right[1] - right[0])))
    assert f"b − a {difference:.4f} ± {error:.4f}" in str(c)


@pytest.mark.slow
def test_the_bootstrap_agrees_on_the_difference_of_root_mean_squared_errors():
    a, b = ridge(0.1), ridge(300.0)
    found = mm.compare(a, b).score
    squares = np.stack([(m["loo_prediction"] - Y) ** 2 for m in (a, b)])
    rows = RNG.integers(0, 120, (4000, 120))
    each = np.sqrt(squares[:, rows].mean(axis=2))
    assert found.name == "RMSE"
    assert found.difference(1, 0)[0] == pytest.approx(math.sqrt(squares[1].mean()) - math.sqrt(squares[0].mean()))
    assert found.difference(1, 0)[1] == pytest.approx(np.std(each[1] - each[0]), rel=0.1)
    np.testing.assert_allclose(found.errors, np.std(each, axis=1), rtol=0.06)


def test_weights_count_as_rows_where_all_maps_have_them():
    w = RNG.integers(1, 4, 120)
    written = np.repeat(np.arange(120), w)
    maps = [
        mm.memory_map(LogisticRegression(C=C, tol=1e-10).fit(X, BITS, sample_weight=w), X, BITS, sample_weight=w)
        for C in (0.01, 1.0)
    ]
    found = mm.compare(*maps).loss
    each = (maps[1]["loo_loss"] - maps[0]["loo_loss"])[written]
    assert found.difference(1, 0) == (pytest.approx(each.mean()), pytest.approx(paired_error(each)))
    found = mm.compare(maps[0], logistic(1.0)).loss  # other weights: every example once
    assert found.values[0] == pytest.approx(maps[0]["loo_loss"].mean())


def test_three_maps_are_compared_pair_by_pair():
    maps = [ridge(0.1), ridge(10.0, slice(5, None)), ridge(300.0)]
    maps[1] = mm.memory_map(Ridge(alpha=10.0).fit(X[5:], Y[5:]), X[5:], Y[5:], ids=np.arange(5, 120))
    c = mm.compare(*maps)
    assert (c.maps, c.only, len(c)) == ("abc", (5, 0, 5), 115)
    for pair, (i, j) in {"ab": (0, 1), "ac": (0, 2), "cb": (2, 1)}.items():
        two = [maps[k].select(c["id"].tolist())["sensitivity"] for k in (i, j)]
        assert c.spearman("sensitivity", pair) == pytest.approx(spearmanr(*two).statistic)
        assert c.slope("sensitivity", pair) == pytest.approx(two[0] @ two[1] / (two[0] @ two[0]))
    assert c.loss.values[2] == pytest.approx(maps[2]["loo_loss"][5:].mean())
    lines = str(c).splitlines()
    assert lines[0] == "115 examples in all 3 maps; not in all: 5 of a, 0 of b, 5 of c"
    assert "b − a" in lines[-1]
    assert "c − a" in lines[-1]
    for pair in ("ad", "a", "abc"):
        with pytest.raises(ValueError, match="expected two of the letters abc, as 'ab'"):
            c.spearman("sensitivity", pair)
    assert np.isfinite(c.spearman("sensitivity", "ab"))
    with pytest.raises(ValueError, match="expected at most 26"):
        mm.compare(*[maps[0]] * 27)


def test_the_top_is_counted_by_share_and_by_number():
    a, b = ridge(0.1), ridge(300.0)
    c = mm.compare(a, b)
    tops = [set(m.top(12)["id"].tolist()) for m in (a, b)]
    assert c.overlap(k=12) == c.overlap(part=0.1) == len(tops[0] & tops[1]) / 12
    assert c.overlap(k=500) == 1
    with pytest.raises(ValueError, match="k = 0"):
        c.overlap(k=0)


# --- which left-out losses can be compared ---------------------------------------------------------------------------

SMALL = np.round(Y)
INCOMPARABLE = {
    "hinge": (lambda: (logistic(1.0), mm.memory_map(SVC().fit(X, BITS), X, BITS)), "no log densities", True),
    "counts and densities": (
        lambda: (
            mm.memory_map(PoissonRegressor().fit(X, SMALL), X, SMALL),
            mm.memory_map(LinearRegression().fit(X, SMALL), X, SMALL),
        ),
        "different units, densities and probabilities of counts",
        True,
    ),
    "another unit": (lambda: (ridge(1.0), ridge(1.0, y=10 * Y)), "targets differ, 120 of them", False),
    "precisions": (lambda: (ridge(1.0), ridge(1.0, sample_weight=SMALL)), "weights differ", True),
}


@pytest.mark.parametrize("name", INCOMPARABLE)
def test_losses_of_different_units_are_not_compared(name):
    make, words, scored = INCOMPARABLE[name]
    c = mm.compare(*make())
    assert c.loss is None
    assert words in c.incomparable
    assert f"not compared: {c.incomparable}" in str(c)
    assert (c.score is not None) == scored


def test_densities_are_compared_with_densities():
    c = mm.compare(ridge(1.0), mm.memory_map(GammaRegressor(alpha=0.1).fit(X, Y), X, Y))
    assert c.incomparable == ""
    assert np.isfinite(c.loss.difference(0, 1)).all()


# --- noise -----------------------------------------------------------------------------------------------------------


def forest(seed, y, images):
    model = RandomForestClassifier(40, min_samples_leaf=3, random_state=seed).fit(images, y)
    return mm.memory_map(model, images, y)


@pytest.fixture(scope="module")
def digits():
    images, y = load_digits(return_X_y=True)
    return images[:600], y[:600]


@pytest.mark.slow
def test_repeats_move_five_percent_and_wrong_labels_all(digits):
    images, y = digits
    a, *floor = (forest(seed, y, images) for seed in range(4))
    same = mm.compare(a, forest(9, y, images), floor=floor)
    for score in ("leverage", "error", "loss"):
        assert 0.02 < len(same.movers(score)) / 600 < 0.1
        low, high = np.min(same.floor.spearman(score)), np.max(same.floor.spearman(score))
        assert low - 0.05 < same.spearman(score) < high + 0.05
    wrong = np.random.default_rng(1).choice(600, 12, replace=False)
    noisy = y.copy()
    noisy[wrong] = (y[wrong] + 1) % 10
    other = mm.compare(a, forest(9, noisy, images), floor=floor, targets_changed=True)
    assert np.isin(wrong, other.movers("error")["id"]).all()
    assert other.loss is None
    assert "move beyond it: " in str(other)


def test_the_noise_is_the_quantile_over_pairs_of_repeats():
    resamples = [np.sort(RNG.choice(120, 100, replace=False)) for _ in range(2)]
    floor = [mm.memory_map(Ridge().fit(X[rows], Y[rows]), X[rows], Y[rows], ids=rows) for rows in resamples]
    a, b = ridge(1.0), ridge(300.0)
    c = mm.compare(a, b, floor=floor)
    score = np.full((3, 120), np.nan)
    for row, m in zip(score, (a, *floor), strict=True):
        row[m["id"]] = m["sensitivity"]
    level = np.array([np.mean([v for v in column if not math.isnan(v)]) for column in score.T])
    pairs = [(0, 1), (0, 2), (1, 2)]
    each = [abs(score[i, k] - score[j, k]) / level[k] for k in range(120) for i, j in pairs]
    limit = np.quantile([v for v in each if not math.isnan(v)], 0.95)
    np.testing.assert_allclose(c.floor.noise("sensitivity"), limit * level)
    moved = np.abs(b["sensitivity"] - a["sensitivity"]) > limit * level
    movers = c.movers("sensitivity")
    assert sorted(movers["id"].tolist()) == np.flatnonzero(moved).tolist()
    assert np.all(np.diff(np.abs(movers["change"]) / movers["noise"]) <= 1e-12)
    assert c.floor.repeats == 2
    assert len(c.floor.spearman("sensitivity")) == 3


def test_without_repeats_or_with_strange_ones_movers_are_refused():
    a, b = ridge(1.0), ridge(300.0)
    with pytest.raises(ValueError, match=r"compare\(a, b, floor=\[…\]\)"):
        mm.compare(a, b).movers()
    strange = mm.memory_map(Ridge().fit(X, Y), X, Y, ids=np.arange(1000, 1120))
    with pytest.raises(ValueError, match=r"floor\[0\] has no id in common"):
        mm.compare(a, b, floor=[strange])
    assert len(mm.compare(a, b, floor=[ridge(1.1)]).movers()) > 60  # the remedy of both
    assert len(mm.compare(a, b, floor=[ridge(1.0)]).movers()) == 120  # a repeat that differs by nothing
