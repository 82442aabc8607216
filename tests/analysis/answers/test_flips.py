"""`smallest_flip` against exhaustive search, statsmodels' refits, and what it refuses."""

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

import memorymaps as mm

RNG = np.random.default_rng(3)
N = 40
X = sm.add_constant(RNG.normal(size=(N, 2)))
F = X @ [0.3, 0.5, -0.4]
Y = F + RNG.normal(size=N)
BITS = (RNG.random(N) < 1 / (1 + np.exp(-F))).astype(float)
COUNTS = RNG.poisson(np.exp(F))
FITS = {
    "OLS": lambda rows: sm.OLS(Y[rows], X[rows]).fit(),
    "WLS": lambda rows: sm.WLS(Y[rows], X[rows], weights=1 + np.arange(N)[rows] % 3).fit(),
    "Logit": lambda rows: sm.Logit(BITS[rows], X[rows]).fit(disp=0, tol=1e-12),
    "binomial": lambda rows: sm.GLM(BITS[rows], X[rows], family=sm.families.Binomial()).fit(tol=1e-13),
    "Poisson": lambda rows: sm.GLM(COUNTS[rows], X[rows], family=sm.families.Poisson()).fit(tol=1e-13),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", ["sign", "significance"])
@pytest.mark.parametrize("name", FITS)
def test_a_flip_is_that_of_statsmodels_refit(name, change):
    fit = FITS[name]
    results = fit(np.arange(N))
    found = mm.smallest_flip(mm.memory_map(results), "x1", change)
    left = fit(np.setdiff1d(np.arange(N), found["id"]))
    assert found.before.value == pytest.approx(results.params[1], rel=1e-6)
    assert found.before.p_value == pytest.approx(results.pvalues[1], rel=1e-5)
    assert found.refitted.value == pytest.approx(left.params[1], rel=1e-4, abs=1e-6)
    assert found.refitted.error == pytest.approx(left.bse[1], rel=1e-4)
    assert found.refitted.p_value == pytest.approx(left.pvalues[1], rel=1e-3)
    before, after = results, left
    changed = {
        "sign": before.params[1] * after.params[1] < 0,
        "significance": (before.pvalues[1] < 0.05) != (after.pvalues[1] < 0.05),
    }
    assert found.confirmed
    assert changed[change]
    assert 0 < found.share < 0.5
    assert "upper bound" in str(found)


def least_subset(change, rows):
    """The size of the smallest set by trying all of them."""
    before = sm.OLS(Y[rows], X[rows]).fit()
    for size in range(1, len(rows)):
        for removed in itertools.combinations(rows, size):
            left = np.setdiff1d(rows, removed)
            after = sm.OLS(Y[left], X[left]).fit()
            if change == "sign" and before.params[1] * after.params[1] < 0:
                return size
            if change == "significance" and (before.pvalues[1] < 0.05) != (after.pvalues[1] < 0.05):
                return size
    return None


@pytest.mark.slow
@pytest.mark.parametrize("change", ["sign", "significance"])
@pytest.mark.parametrize("start", [0, 13, 26])
def test_few_rows_are_no_more_than_one_beyond_the_smallest_set(change, start):
    rows = np.arange(start, start + 13)
    found = mm.smallest_flip(mm.memory_map(sm.OLS(Y[rows], X[rows]).fit()), "x1", change)
    smallest = least_subset(change, rows)
    if found.confirmed:
        assert smallest <= len(found) <= smallest + 1
    else:
        assert smallest > 4


def test_an_estimator_in_a_pipeline_and_a_map_of_some_rows():
    data, y = load_diabetes(as_frame=True, return_X_y=True)
    m = mm.memory_map(make_pipeline(StandardScaler(), LinearRegression()).fit(data, y), data, y)
    found = mm.smallest_flip(m, "s1")
    left = np.setdiff1d(np.arange(442), found["id"])
    assert LinearRegression().fit(data.iloc[left], y[left]).coef_[4] > 0
    assert found.confirmed
    assert found["influence"].sum() + found.before.value == pytest.approx(found.predicted)
    some = mm.smallest_flip(m.select(range(0, 442, 2)), "s1")
    assert np.all(some["id"] % 2 == 0)
    assert len(some) >= len(found)


def test_a_penalised_coefficient_is_refitted_with_its_penalty():
    data, y = load_diabetes(return_X_y=True)
    found = mm.smallest_flip(mm.memory_map(Ridge(alpha=0.1).fit(data, y), data, y), "x0")
    left = np.setdiff1d(np.arange(442), found["id"])
    assert found.refitted.value == pytest.approx(Ridge(alpha=0.1).fit(data[left], y[left]).coef_[0], rel=1e-6)
    assert found.confirmed


@pytest.mark.parametrize("change", ["sign", "significance"])
def test_a_penalty_of_the_mean_loss_is_that_of_the_rows_left(change):
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(90, 3))
    counts = rng.poisson(np.exp(inputs @ [0.5, -0.2, 0.1])).astype(float)
    poisson = PoissonRegressor(alpha=0.2, tol=1e-10, max_iter=10_000)
    found = mm.smallest_flip(mm.memory_map(poisson.fit(inputs, counts), inputs, counts), "x2", change)
    left = np.setdiff1d(np.arange(90), found["id"])
    assert found.confirmed
    assert found.refitted.value == pytest.approx(clone(poisson).fit(inputs[left], counts[left]).coef_[2], rel=1e-5)


def test_no_set_is_found_where_half_of_the_data_is_needed():
    x = np.linspace(1, 2, 30)[:, None]
    y = 3 * x[:, 0] + 0.01 * RNG.normal(size=30)
    found = mm.smallest_flip(mm.memory_map(LinearRegression().fit(x, y), x, y), "x0")
    assert not found.confirmed
    assert found.warning
    assert "no set found" in str(found)


@pytest.mark.slow
def test_what_has_no_named_coefficient_is_refused_with_what_to_use():
    m = mm.memory_map(SVR().fit(X, Y), X, Y)
    with pytest.raises(TypeError, match=r"influence_on\(m, inputs\)"):
        mm.smallest_flip(m, "x1")
    assert len(mm.influence_on(m, X[:1], Y[:1]))
    inputs, labels = load_iris(return_X_y=True)
    several = mm.memory_map(LogisticRegression(tol=1e-8, max_iter=1000).fit(inputs, labels), inputs, labels)
    with pytest.raises(TypeError, match=r"leave_out\(\{'chosen': ids\}\)\.coefficients"):
        mm.smallest_flip(several, "x1")
    assert several.leave_out({"chosen": [1, 2]}).coefficients().shape == (1, 15)
    fine = mm.memory_map(LinearRegression().fit(X[:, 1:], Y), X[:, 1:], Y)
    with pytest.raises(ValueError, match=r"no coefficient 'x7': expected one of \['\(Intercept\)', 'x0', 'x1'\]"):
        mm.smallest_flip(fine, "x7")
    with pytest.raises(ValueError, match="expected 'sign' or 'significance'"):
        mm.smallest_flip(fine, "x1", "size")
    with pytest.raises(ValueError, match="between 0 and 1"):
        mm.smallest_flip(fine, "x1", "significance", level=5)
    twice = np.column_stack([X[:, 1:], X[:, 1]])
    aliased = mm.memory_map(LinearRegression().fit(twice, Y), twice, Y)
    with pytest.raises(
        ValueError, match=r"combination of earlier columns .* expected one of \['\(Intercept\)', 'x0', 'x1'\]"
    ):
        mm.smallest_flip(aliased, "x2")
    assert mm.smallest_flip(aliased, "x1").confirmed
