"""Columns that nearly are combinations of others: the map has the directions that the fit has, and says what is lost.

Oracles: mpmath with 50 digits, statsmodels' hat matrix, refits, the same model in columns' differences.
"""

import mpmath
import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge

import memorymaps as mm
from memorymaps.core.covariance_roots import CoupledCurvature, TriangularFactor, root_from_triangular, unaliased_columns

RNG = np.random.default_rng(0)
N = 50
A, B = RNG.normal(size=(2, N))
Y = A + RNG.normal(size=N)
BITS, COUNTS = (Y > 0).astype(float), RNG.poisson(np.exp(0.3 * Y)).astype(float)
YEAR = np.linspace(1900, 2020, N)
POWERS = np.column_stack([YEAR**k for k in range(1, 5)])
NEAR = [1e-7, 1e-8, 1e-10, 1e-12]


def near(s):
    """A constant, a column, and another that is nearly the same."""
    return np.column_stack([np.ones(N), A, A + s * B])


def hat(x, weight=None, penalty=None):
    """Leverages with 50 digits."""
    with mpmath.workdps(50):
        rows = mpmath.matrix(np.asarray(x, dtype=float).tolist())
        w = np.ones(len(x)) if weight is None else weight
        gram = rows.T * mpmath.diag(w.tolist()) * rows
        gram += mpmath.diag([0.0] * len(gram) if penalty is None else list(penalty))
        half = rows * gram**-1
        return np.asarray([float(w[i] * (half[i, :] * rows[i, :].T)[0]) for i in range(len(x))])


def off(m, true):
    return np.linalg.norm(m["leverage"] - true) / np.linalg.norm(true)


def refitted(fit, x, y):
    """Deviations by refits without each example."""
    full = fit(x, y).predict(x)
    rest = [np.arange(len(y)) != i for i in range(len(y))]
    return np.asarray([fit(x[k], y[k]).predict(x[[i]])[0] - full[i] for i, k in enumerate(rest)])


def test_columns_that_statsmodels_kept_are_in_the_map():
    t, rng = RNG.uniform(1900, 2020, 60), np.random.default_rng(1)
    x = sm.add_constant(np.c_[t * 1e4, t * 1e4 + rng.normal(size=60), rng.normal(size=60)])
    y = np.sin(t / 20) + 0.1 * rng.normal(size=60)
    results = sm.OLS(y, x).fit()
    m, influence = mm.memory_map(results), results.get_influence()
    assert results.model.rank == 4
    assert m.provenance.description.aliased == ()
    np.testing.assert_allclose(m["leverage"], influence.hat_matrix_diag, rtol=1e-7)
    np.testing.assert_allclose(m["leverage"], hat(x), rtol=1e-7)
    refits = influence.resid_press - results.resid  # deletion residuals: y minus predictions without the example
    np.testing.assert_allclose(np.ravel(m["deviation"]), -refits, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("s", NEAR)
def test_leverages_of_least_squares_are_right_to_the_stated_rounding(s):
    m = mm.memory_map(sm.OLS(Y, near(s)).fit())
    stated = m.provenance.description.relative_error
    assert off(m, hat(near(s))) < (1e-4 if stated is None else stated)
    assert (stated is None) == (s >= 1e-10)


def test_rounding_of_a_percent_is_warned_of():
    m = mm.memory_map(sm.OLS(Y, near(1e-13)).fit())
    stated = m.provenance.description.relative_error
    assert off(m, hat(near(1e-13))) < stated < 0.1
    assert "nearly collinear columns: rounding may change leverages by" in str(m.summary())
    assert m.trust["leverage"].level == "estimated"


def test_directions_that_double_precision_cannot_tell_are_said_to_be_missing():
    results = sm.OLS(Y, near(1e-14)).fit()
    m = mm.memory_map(results)
    assert results.model.rank == 3
    assert m["leverage"].sum() == pytest.approx(2)
    assert "the fit kept 3 directions, of which double precision determines 2" in str(m.summary())
    assert m.trust["leverage"].level == "ranks only"
    assert m.trust["sensitivity"].level == "ranks only"


@pytest.mark.parametrize("solver", ["cholesky", "svd"])
def test_penalised_columns_are_not_dropped(solver):
    y = np.sin(YEAR / 15) + 0.1 * RNG.normal(size=N)
    with pytest.warns() if solver == "cholesky" else np.errstate():
        ridge = Ridge(1e-8, solver=solver).fit(POWERS, y)
    true = hat(np.c_[np.ones(N), POWERS], penalty=[0] + [1e-8] * 4)
    m = mm.memory_map(ridge, POWERS, y)
    assert true.sum() == pytest.approx(4.862, abs=1e-3)
    assert off(m, true) < 1e-6


@pytest.mark.parametrize("family", ["Binomial", "Poisson", "Gamma"])
@pytest.mark.parametrize("s", [1e-8, 1e-10])
def test_generalised_linear_models_keep_what_the_fit_kept(family, s):
    kind = {"Binomial": sm.families.Binomial(), "Poisson": sm.families.Poisson()}
    y = {"Binomial": BITS, "Poisson": COUNTS, "Gamma": np.exp(0.2 * Y)}[family]
    kind = kind.get(family) or sm.families.Gamma(sm.families.links.Log())
    m = mm.memory_map(sm.GLM(y, near(s), family=kind).fit(tol=1e-12))
    x = near(s)
    exact = np.column_stack([np.ones(N), A, (x[:, 2] - A) / s])
    other = mm.memory_map(sm.GLM(y, exact, family=kind).fit(tol=1e-12))
    assert m["leverage"].sum() == pytest.approx(3, abs=1e-3 if family != "Gamma" else 1)
    for column in ("leverage", "sensitivity"):
        np.testing.assert_allclose(m[column], other[column], rtol=1e-4, atol=1e-5)


def test_unpenalised_classifiers_keep_them():
    x = near(1e-8)
    model = LogisticRegression(C=np.inf).fit(x[:, 1:], BITS)
    p = model.predict_proba(x[:, 1:])[:, 1]
    assert off(mm.memory_map(model, x[:, 1:], BITS), hat(x, p * (1 - p))) < 1e-6


def test_a_solver_that_stopped_along_nearly_collinear_columns_is_not_called_a_fit_to_other_targets():
    y, x = np.random.default_rng(4).poisson(np.exp(0.5 * B)), near(1e-8)[:, 1:]
    m = mm.memory_map(PoissonRegressor(alpha=0, max_iter=1000).fit(x, y), x, y)
    assert m["leverage"].sum() == pytest.approx(3)
    assert m.provenance.description.distance > 1
    assert not m.trust["sensitivity"].sizes
    polished = mm.memory_map(PoissonRegressor(alpha=0, max_iter=1000).fit(x, y), x, y, polish=True)
    exact = np.column_stack([np.ones(N), A, (x[:, 1] - A) / 1e-8])
    other = mm.memory_map(sm.GLM(y, exact, family=sm.families.Poisson()).fit(tol=1e-12))
    np.testing.assert_allclose(polished["sensitivity"], other["sensitivity"], rtol=1e-4, atol=1e-6)


def test_a_direction_that_the_fit_dropped_is_not_in_the_map():
    rng = np.random.default_rng(30)
    x = rng.normal(size=(60, 30))
    x[:, 1] = x[:, 0] + 1e-6 * rng.normal(size=60) / 3
    y = x[:, 0] + rng.normal(size=60)
    model = LinearRegression().fit(x, y)
    m = mm.memory_map(model, x, y)
    assert m["leverage"].sum() == pytest.approx(model.rank_ + 1)
    refits = refitted(lambda x, y: LinearRegression().fit(x, y), x, y)
    np.testing.assert_allclose(np.ravel(m["deviation"]), refits, rtol=1e-5, atol=1e-7)
    if model.rank_ == 29:
        assert m.provenance.description.aliased == ("x1",)


def test_single_precision_sums_follow_the_rank_of_the_fit():
    x = RNG.normal(size=(N, 3)).astype(np.float32)
    x[:, 2] = x[:, 0] + x[:, 1]
    kept, dropped = sm.OLS(Y, sm.add_constant(x.astype(float))).fit(), LinearRegression().fit(x, Y)
    assert mm.memory_map(kept)["leverage"].sum() == pytest.approx(kept.model.rank, abs=1e-4)
    assert mm.memory_map(dropped, x, Y)["leverage"].sum() == pytest.approx(dropped.rank_ + 1, abs=1e-4)


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
def test_differences_of_large_columns_are_combinations_under_any_weights():
    start = 1960 + 30 * A
    x = np.column_stack([np.ones(N), start, start + 5 + B])
    x = np.column_stack([x, x[:, 2] - x[:, 1]])
    for weights in (np.ones(N), RNG.uniform(0.1, 3, N)):
        m = mm.memory_map(sm.WLS(Y, x, weights=weights).fit())
        assert m.provenance.description.aliased == ("x3",)
        np.testing.assert_allclose(m["leverage"], hat(x[:, :3], weights), rtol=1e-8)


@pytest.mark.parametrize("constant", [0.1, N**-0.5, 3.3])
def test_constants_of_any_value_are_constants(constant):
    """The standard deviation of a constant is rounding: it was centred by itself, its coefficient doubled."""
    x = np.column_stack([np.full(N, constant), A, B])
    np.testing.assert_allclose(mm.memory_map(sm.OLS(Y, x).fit())["leverage"], hat(x), rtol=1e-10)


@pytest.mark.parametrize("s", [0.0, 1e-3])
def test_softmax_of_equal_columns_or_well_separated_ones_states_nothing(s):
    assert coupled(near(s)).rounding < 1e-4


P = RNG.dirichlet(np.ones(3), size=N)
CURVATURE = P[:, :, None] * np.eye(3) - P[:, :, None] * P[:, None, :]


def coupled(x):
    made = CoupledCurvature(3, 3)
    made.add(x, CURVATURE)
    return made.posterior_root(np.zeros((3, 3)), np.ones((3, 3), dtype=bool))[0]


def test_a_fit_of_fewer_directions_is_followed_where_that_hardly_changes_the_span():
    triangle = np.linalg.qr(np.column_stack([A, B, A + 1e-5 * Y, B + 5e-2 * YEAR / 1960 * COUNTS]), mode="r")
    assert unaliased_columns(triangle).places.tolist() == [0, 1, 2, 3]
    followed = unaliased_columns(triangle, 3)
    assert followed.places.tolist() == [0, 1, 3]
    assert 1e-4 < followed.rounding < 1e-2
    assert unaliased_columns(triangle, 2).places.tolist() == [0, 1, 2, 3]  # not that: the span would change


def test_many_columns_that_a_fit_dropped_are_left_out_together():
    half = RNG.normal(size=(N, 10))
    whole = np.concatenate([half, half + 1e-9 * RNG.normal(size=(N, 10))], axis=1)
    followed = unaliased_columns(np.linalg.qr(whole, mode="r"), 10)
    assert followed.places.tolist() == list(range(10))
    assert followed.rounding < 1e-4


def test_a_penalty_keeps_columns_that_are_equal():
    factor = TriangularFactor(2)
    factor.add(np.column_stack([A, A]), np.ones(N))
    root, unaliased = root_from_triangular(factor.with_penalty(np.full(2, 1e-12)))
    assert unaliased.places.tolist() == [0, 1]
    np.testing.assert_allclose(root @ root.T @ [1, -1], [1e12, -1e12], rtol=1e-6)
