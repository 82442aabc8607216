"""Rows of weight zero are no rows, and columns far from zero are columns."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

import memorymaps as mm
from memorymaps.analysis import measures

rng = np.random.default_rng(0)
N = 60
Z = rng.normal(size=(N, 2))
Y = Z @ [1.0, 2.0] + rng.normal(size=N)
WEIGHT = np.where(np.arange(N) < 8, 0.0, rng.integers(1, 4, N)).astype(float)
KEPT = WEIGHT > 0
CONSTANT = sm.add_constant(Z)
COUNTS = rng.poisson(np.exp(0.4 * Z[:, 0]))

WEIGHTED = {
    "wls": lambda k: sm.WLS(Y[k], CONSTANT[k], weights=WEIGHT[k]).fit(),
    "gaussian": lambda k: sm.GLM(Y[k], CONSTANT[k], var_weights=WEIGHT[k]).fit(),
    "gaussian counts": lambda k: sm.GLM(Y[k], CONSTANT[k], freq_weights=WEIGHT[k]).fit(),
    "gamma": lambda k: sm.GLM(
        np.exp(Y[k] / 3), CONSTANT[k], family=sm.families.Gamma(sm.families.links.Log()), var_weights=WEIGHT[k]
    ).fit(tol=1e-12),
    "poisson": lambda k: sm.GLM(
        COUNTS[k], CONSTANT[k], family=sm.families.Poisson(), var_weights=WEIGHT[k]
    ).fit(tol=1e-12),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTED)
def test_rows_of_weight_zero_are_no_rows_in_statsmodels(name):
    with_zeros, dropped = mm.memory_map(WEIGHTED[name](slice(None))), mm.memory_map(WEIGHTED[name](KEPT))
    for column in ("leverage", "sensitivity", "loss", "loo_loss"):
        np.testing.assert_allclose(with_zeros[column][KEPT], dropped[column], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(measures.cooks_distance(with_zeros)[KEPT], measures.cooks_distance(dropped), rtol=1e-6)
    assert not np.any(with_zeros["leverage"][~KEPT])


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(2.0), LogisticRegression(tol=1e-10)])
def test_rows_of_weight_zero_are_no_rows_in_scikit_learn(model):
    y = Y > 0 if isinstance(model, LogisticRegression) else Y
    whole = mm.memory_map(model.fit(Z, y, sample_weight=WEIGHT), Z, y, sample_weight=WEIGHT)
    x, t, w = Z[KEPT], y[KEPT], WEIGHT[KEPT]
    dropped = mm.memory_map(model.fit(x, t, sample_weight=w), x, t, sample_weight=w)
    for column in ("leverage", "sensitivity", "loss", "loo_loss"):
        np.testing.assert_allclose(whole[column][KEPT], dropped[column], rtol=1e-5, atol=1e-8)


def test_only_rows_of_weight_zero_are_refused():
    with pytest.raises(mm.DataError), np.errstate(all="ignore"):
        mm.memory_map(sm.WLS(Y, CONSTANT, weights=np.where(np.arange(N) < 3, 1.0, 0.0)).fit())


@pytest.mark.parametrize("offset", [1e4, 1e6, 1e7, 1e8])
def test_columns_far_from_zero_are_not_aliased(offset):
    near = mm.memory_map(LinearRegression().fit(Z, Y), Z, Y)
    far = mm.memory_map(LinearRegression().fit(Z + offset, Y), Z + offset, Y)
    assert far.provenance.description.aliased == ()
    for column in ("leverage", "sensitivity", "loo_prediction"):
        np.testing.assert_allclose(far[column], near[column], rtol=1e-5, atol=1e-6)


def test_other_families_far_from_zero():
    near, far = LogisticRegression(tol=1e-10).fit(Z, Y > 0), LogisticRegression(tol=1e-10).fit(Z, Y > 0)
    far.intercept_ = far.intercept_ - far.coef_ @ np.full(2, 1e7)
    np.testing.assert_allclose(
        mm.memory_map(far, Z + 1e7, Y > 0)["sensitivity"], mm.memory_map(near, Z, Y > 0)["sensitivity"], rtol=1e-5
    )


def test_parameter_changes_are_those_of_the_original_columns():
    x = sm.add_constant(Z + 1e5)
    m = mm.memory_map(sm.OLS(Y, x).fit())
    assert m.provenance.description.aliased == ()
    found = measures.dfbeta(m)
    whole = sm.OLS(Y, x).fit().params
    for row in (0, 17):
        without = sm.OLS(np.delete(Y, row), np.delete(x, row, axis=0)).fit().params
        np.testing.assert_allclose(found[row], whole - without, rtol=1e-4)


@pytest.mark.skipif(
    "tol" not in LinearRegression().get_params(),
    reason="before 1.7 LinearRegression kept the direction of rounding error here: coefficients 1e7, outputs 0.05 off",
)
def test_columns_that_are_combinations_are_still_aliased():
    x = np.c_[Z + 1e7, Z.sum(axis=1) + 2e7]
    m = mm.memory_map(LinearRegression().fit(x, Y), x, Y)
    assert m["leverage"].sum() == pytest.approx(3, abs=1e-5)
    assert m.provenance.description.aliased == ("x2",)


def test_a_constant_column_stays_constant_without_an_intercept():
    """Nothing is centred where no constant is in the model."""
    x = Z + 50.0
    m = mm.memory_map(LinearRegression(fit_intercept=False).fit(x, Y), x, Y)
    hat = x @ np.linalg.solve(x.T @ x, x.T)
    np.testing.assert_allclose(m["leverage"], np.diag(hat), rtol=1e-8)
