"""What messages about statsmodels' results say to type, typed."""

import numpy as np
import pytest
import scipy.linalg
import statsmodels.api as sm
from remedies import remedy
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm

RNG = np.random.default_rng(0)
N = 60
X = np.column_stack([np.ones(N), RNG.normal(size=(N, 3))])
Y = X @ [1.0, 0.5, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 1).astype(float)
COUNTS = RNG.poisson(np.exp(0.3 * Y)).astype(float)
THREE = np.argsort(np.argsort(Y + RNG.normal(size=N))) * 3 // N
POISSON, BINOMIAL = sm.families.Poisson(), sm.families.Binomial()


@remedy("does not keep probabilities between 0 and 1")
@pytest.mark.parametrize("name", ["Logit", "Probit", "CLogLog"])
def test_links_that_leave_the_unit_interval(said, name):
    with said:
        mm.memory_map(sm.GLM(BITS, X[:, :1], family=sm.families.Binomial(sm.families.links.Identity())).fit())
    assert name in said.text
    link = getattr(sm.families.links, name)()
    m = mm.memory_map(sm.GLM(BITS, X, family=sm.families.Binomial(link)).fit(tol=1e-10))
    assert m["leverage"].sum() == pytest.approx(4, abs=0.3)


@remedy("freq_weights and var_weights together")
def test_counts_and_precisions_together(said):
    freq_weights, var_weights = RNG.integers(1, 4, N), RNG.uniform(0.5, 2, N)
    family = sm.families.Gamma(sm.families.links.Log())
    endog, exog = np.exp(Y), X
    both = sm.GLM(endog, exog, family=family, freq_weights=freq_weights, var_weights=var_weights).fit()
    said.reads(str(mm.memory_map(both).summary()))
    rows = np.repeat(np.arange(len(endog)), freq_weights)
    written = sm.GLM(endog[rows], exog[rows], var_weights=var_weights[rows], family=family).fit()
    m = mm.memory_map(written)
    np.testing.assert_allclose(written.params, both.params, rtol=1e-6)
    assert len(m) == freq_weights.sum()
    assert not any("freq_weights" in line for line in m.summary().warnings)


@remedy("draw the map before, or fit again")
@pytest.mark.parametrize("how", ["before", "again"])
def test_results_without_data(said, how):
    results = sm.OLS(Y, X).fit()
    before = mm.memory_map(results)
    results.remove_data()
    with said:
        mm.memory_map(results)
    m = before if how == "before" else mm.memory_map(sm.OLS(Y, X).fit())
    np.testing.assert_allclose(m["leverage"], sm.OLS(Y, X).fit().get_influence().hat_matrix_diag)


@remedy("statsmodels results carry their training data: call memory_map(results)")
def test_results_and_data(said):
    results = sm.OLS(Y, X).fit()
    with said:
        mm.memory_map(results, X, Y)
    assert len(mm.memory_map(results)) == N
    assert mm.memory_map(results, ids=[f"row {i}" for i in range(N)])["id"][2] == "row 2"


@remedy("was fitted under … linear constraint(s)")
def test_constrained_fits(said):
    exog, endog = X, COUNTS
    fitted = sm.GLM(endog, exog, family=POISSON).fit_constrained("x1 + x2 = 0.1")
    with said:
        mm.memory_map(fitted)
    R, params = np.array([[0.0, 1, 1, 0]]), fitted.params
    assert str(R.shape) in said.text
    null = scipy.linalg.null_space(R)
    free = sm.GLM(endog, exog @ null, family=POISSON, offset=exog @ params).fit(tol=1e-10)
    np.testing.assert_allclose(free.fittedvalues, fitted.fittedvalues, rtol=1e-5)
    assert mm.memory_map(free)["leverage"].sum() == pytest.approx(3, abs=0.1)


@remedy("Map the GLM of the same formula, sm.GLM(endog, exog, family=…).fit()")
def test_estimating_equations(said):
    with said:
        mm.memory_map(sm.GEE(COUNTS, X, groups=np.arange(N) // 3, family=POISSON).fit())
    assert len(mm.memory_map(sm.GLM(COUNTS, X, family=POISSON).fit())) == N


@remedy("Fit the chosen columns by themselves, exog[:, np.flatnonzero(results.params)], and map that")
def test_refitted_selections(said):
    exog = np.column_stack([X, RNG.normal(size=(N, 4))])
    results = sm.OLS(Y, exog).fit_regularized(alpha=0.15, L1_wt=1.0, refit=True)
    with said:
        mm.memory_map(results)
    chosen = exog[:, np.flatnonzero(results.params)]
    assert 0 < chosen.shape[1] < exog.shape[1]
    assert mm.memory_map(sm.OLS(Y, chosen).fit())["leverage"].sum() == pytest.approx(chosen.shape[1])


@remedy("drop collinear columns, or those that separate the classes")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("other", [X[:, 1], THREE], ids=["collinear", "separating"])
def test_ordered_models_with_a_column_too_many(said, other):
    more, run_away = np.column_stack([X[:, 1:], other]), np.array([0.0, 0.0, 0.0, 100.0, 50.0, np.log(100.0)])
    start = run_away if other is THREE else None
    results = OrderedModel(THREE, more, distr="probit").fit(start, method="bfgs", disp=0)
    with said:
        mm.memory_map(results)
    m = mm.memory_map(OrderedModel(THREE, X[:, 1:], distr="logit").fit(method="bfgs", gtol=1e-9, disp=0))
    assert len(m) == N


@remedy("a class has no example left: leave fewer rows out")
@pytest.mark.filterwarnings("ignore")
def test_ordered_models_without_a_class(said):
    m = mm.memory_map(OrderedModel(THREE, X[:, 1:], distr="logit").fit(method="bfgs", gtol=1e-9, disp=0))
    removed = np.flatnonzero(THREE == 1)
    refit = m.origin.posterior.capabilities.refit
    with said:
        refit.refit(removed, np.array([0]))
    outputs, residual = refit.refit(removed[1:], np.array([0]))
    assert np.all(np.isfinite(outputs))
    assert residual < 0.05


@remedy("drop constant or collinear columns")
@pytest.mark.filterwarnings("ignore")
def test_hazards_with_constant_columns(said):
    time, event = RNG.exponential(np.exp(-0.3 * Y)), RNG.integers(0, 2, N)
    fit = PHReg(time, X[:, 1:], status=event).fit()
    constant = PHReg(time, X, status=event)
    results = type(fit)(constant, np.concatenate([[0.0], fit.params]), np.eye(4))
    with said:
        mm.memory_map(results)
    assert len(mm.memory_map(fit)) == N


@remedy("was fitted with a penalty. Fit scikit-learn's Ridge, Lasso or ElasticNet instead")
def test_penalties_of_statsmodels(said):
    with said:
        mm.memory_map(sm.OLS(Y, X).fit_regularized(alpha=0.1))
    for make in (Ridge(alpha=0.1 * N), Lasso(alpha=0.1, tol=1e-10), ElasticNet(alpha=0.1, tol=1e-10)):
        assert len(mm.memory_map(make.fit(X, Y), X, Y)) == N
    with said:
        mm.memory_map(sm.Logit(BITS, X).fit_regularized(alpha=0.5, disp=0))
    assert len(mm.memory_map(LogisticRegression(tol=1e-8).fit(X, BITS), X, BITS)) == N


@remedy("has parameters that are not finite: it has not converged. Scale the columns, and fit again")
@pytest.mark.filterwarnings("ignore")
def test_ordered_models_that_have_not_converged(said):
    fit = lambda x: OrderedModel(THREE, x, distr="logit").fit(method="bfgs", gtol=1e-9, disp=0)  # noqa: E731
    results = fit(X[:, 1:])
    results.params[0] = np.nan
    with said:
        mm.memory_map(results)
    assert len(mm.memory_map(fit(StandardScaler().fit_transform(1e6 * X[:, 1:])))) == N


@remedy("has coefficients that are not finite: it has not converged. Scale the columns, and fit again")
def test_hazards_that_have_not_converged(said):
    time, event = RNG.exponential(np.exp(-0.3 * Y)), np.arange(N) % 2
    results = PHReg(time, X[:, 1:], status=event).fit()
    results.params[0] = np.nan
    with said:
        mm.memory_map(results)
    assert len(mm.memory_map(PHReg(time, StandardScaler().fit_transform(1e6 * X[:, 1:]), status=event).fit())) == N


NEW = np.random.default_rng(7).normal(size=N)


@remedy("exog / np.linalg.norm(exog, axis=0), and fit again")
@pytest.mark.parametrize("kind", [sm.OLS, sm.GLM])
@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
def test_columns_of_sizes_that_the_pseudo_inverse_cuts(said, kind):
    exog = X * [1, 1e17, 1, 1]
    with said:
        mm.memory_map(kind(Y, exog).fit())
    assert "dropped 3 of 4 directions as singular" in said.text
    m = mm.memory_map(kind(Y, exog / np.linalg.norm(exog, axis=0)).fit())
    np.testing.assert_allclose(m["leverage"], sm.OLS(Y, X).fit().get_influence().hat_matrix_diag, rtol=1e-8)


@remedy("nearly collinear columns: rounding may change leverages by")
@pytest.mark.parametrize("what", ["drop", "difference"])
def test_nearly_collinear_columns(said, what):
    near = X[:, 1] + 2e-13 * NEW
    said.reads(str(mm.memory_map(sm.OLS(Y, np.column_stack([X, near])).fit()).summary()))
    x = X if what == "drop" else np.column_stack([X, near - X[:, 1]]) / [*np.ones(4), 2e-13]
    results = sm.OLS(Y, x).fit()
    m = mm.memory_map(results)
    np.testing.assert_allclose(m["leverage"], results.get_influence().hat_matrix_diag, rtol=1e-8)
    assert not any("collinear" in line for line in m.summary().warnings)


@remedy("a map of the others does not exist. Drop columns that are combinations of others, to rounding")
def test_columns_that_are_combinations_to_rounding(said):
    near = X[:, 1] + 1e-14 * NEW
    said.reads(str(mm.memory_map(sm.OLS(Y, np.column_stack([X, near])).fit()).summary()))
    m = mm.memory_map(sm.OLS(Y, X).fit())
    assert m["leverage"].sum() == pytest.approx(4)
    assert not any("collinear" in line for line in m.summary().warnings)
