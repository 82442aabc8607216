"""Linear models not at the optimum of their objective on these data: refused by name, warned of, or polished."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.data.examples import DataError
from memorymaps.posteriors.fit_evidence import association

rng = np.random.default_rng(0)
N = 200
X = rng.normal(size=(N, 5))
Y = X @ [1.0, -2.0, 0.5, 0.0, 0.3] + rng.normal(size=N)
W = rng.uniform(0.2, 3.0, N)
COUNTS = np.abs(np.round(Y))
OTHER = np.random.default_rng(1).permutation(N)


def distance(m):
    return m.provenance.description.distance


DIRECT = {"least squares": LinearRegression, "ridge": Ridge}
CONVEX = {
    "logistic": (LogisticRegression, (Y > 0).astype(int)),
    "softmax": (LogisticRegression, (Y > 0).astype(int) + (Y > 1)),
    "poisson": (PoissonRegressor, COUNTS),
    "lasso": (lambda: Lasso(0.05), Y),
    "elastic net": (lambda: ElasticNet(0.05), Y),
    "ridge": (Ridge, Y),
    "least squares": (LinearRegression, Y),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVEX)
def test_a_fit_on_its_own_data_is_neither_refused_nor_warned_of(name):
    kind, y = CONVEX[name]
    m = mm.memory_map(kind().fit(X, y), X, y)
    assert distance(m) < 0.05
    assert m.summary().warnings == ()


@pytest.mark.parametrize("name", CONVEX)
def test_other_targets_are_told(name):
    kind, y = CONVEX[name]
    with pytest.raises(DataError, match=r"Not those of the fit: targets.*row by row"):
        mm.memory_map(kind().fit(X, y), X, y[OTHER])


def test_flipped_labels_are_told():
    y = (Y > 0).astype(int)
    with pytest.raises(DataError, match="Not those of the fit: targets"):
        mm.memory_map(LogisticRegression().fit(X, y), X, 1 - y)


@pytest.mark.parametrize("name", DIRECT)
def test_other_rows_and_weights_are_told_of_direct_solvers(name):
    kind = DIRECT[name]
    with pytest.raises(DataError, match="Not those of the fit: targets, weights or rows: pass X, y and sample_weight"):
        mm.memory_map(kind().fit(X[:150], Y[:150]), X, Y)
    with pytest.raises(DataError, match="targets, weights or rows"):
        mm.memory_map(kind().fit(X, Y, sample_weight=W), X, Y)
    with pytest.raises(DataError, match=r"weights: the model was fitted without any. Leave sample_weight out"):
        mm.memory_map(kind().fit(X, Y), X, Y, sample_weight=W)
    assert len(mm.memory_map(kind().fit(X, Y), X, Y)) == N  # the remedy
    assert len(mm.memory_map(kind().fit(X, Y, sample_weight=W), X, Y, sample_weight=W)) == N


def test_a_changed_penalty_is_told_with_its_factor():
    ridge = Ridge(50.0).fit(X, Y)
    ridge.alpha = 5.0
    with pytest.raises(DataError, match="penalty: the coefficients are those of a penalty 10 times as strong"):
        mm.memory_map(ridge, X, Y)
    ridge.alpha = 50.0
    assert len(mm.memory_map(ridge, X, Y)) == N
    logistic = LogisticRegression(C=0.01, tol=1e-8).fit(X, Y > 0)
    logistic.C = 10.0
    with pytest.raises(DataError, match=r"penalty 100. times as strong|penalty 999.* times|penalty 1000 times"):
        mm.memory_map(logistic, X, Y > 0)
    lasso = Lasso(0.3).fit(X, Y)
    lasso.alpha = 0.1
    with pytest.raises(DataError, match="penalty 3 times as strong"):
        mm.memory_map(lasso, X, Y)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["log_loss", "hinge", "modified_huber"])
@pytest.mark.parametrize("classes", [2, 3])
def test_separable_wide_data_are_mapped_and_warned_of(loss, classes):
    wide = np.random.default_rng(0).normal(size=(60, 200))
    y = np.digitize(wide[:, 0], [0.0] if classes == 2 else [-0.5, 0.5])
    m = mm.memory_map(SGDClassifier(loss=loss, random_state=0).fit(wide, y), wide, y)
    assert m.summary().warnings  # the fit has run away: without a gradient no penalty can be told from it


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [10, 20, 40])
@pytest.mark.parametrize("model", [sm.Logit, sm.Probit])
def test_separated_classes_are_warned_of_however_long_the_fit_went_on(model, steps):
    """Errors and curvature vanish together: in posterior standard deviations the fit seems to come ever closer."""
    results = model((X[:, 0] > 0).astype(int), X).fit(maxiter=steps, disp=0)
    m = mm.memory_map(results)
    assert "the loss has no minimum on these data" in m.summary().warnings[0]
    assert m.provenance.description.error_change > 0.6
    assert not m.trust["sensitivity"].sizes


@pytest.mark.filterwarnings("ignore")
def test_errors_that_the_tolerance_of_a_solver_leaves_are_no_step():
    """Targets that are means of the model: all errors are those of rounding, and Newton's step changes all of them."""
    results = sm.GLM(np.exp(0.1 * X @ np.ones(5)), X, family=sm.families.Poisson()).fit(tol=1e-12)
    assert mm.memory_map(results).provenance.description.error_change == 0


def test_weights_that_the_fit_did_not_have_are_told_of_iterative_solvers():
    with pytest.raises(DataError, match="weights: the model was fitted without any"):
        mm.memory_map(LogisticRegression(tol=1e-8).fit(X, Y > 0), X, Y > 0, sample_weight=20 * W)


def test_a_subset_of_the_rows_of_an_iterative_solver_is_warned_of():
    m = mm.memory_map(LogisticRegression().fit(X[:60], Y[:60] > 0), X, Y > 0)
    assert "not the training data or weights" in m.summary().warnings[0]


UNSCALED = {"cancer": load_breast_cancer, "wine": load_wine}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNSCALED)
def test_a_fit_that_stopped_early_is_lit_and_polished_to_the_optimum(name):
    x, y = UNSCALED[name](return_X_y=True)
    with warnings.catch_warnings(action="ignore"):
        model = LogisticRegression().fit(x, y)
        tight = LogisticRegression(tol=1e-10, max_iter=100_000).fit(x, y)
    m = mm.memory_map(model, x, y)
    assert distance(m) > 0.05
    assert "polish=True" in m.summary().warnings[0]
    before = model.coef_.copy()
    polished = mm.memory_map(model, x, y, polish=True)
    assert np.array_equal(model.coef_, before)
    assert distance(polished) < 1e-4
    assert polished.summary().warnings == ()
    truth = mm.memory_map(tight, x, y)["sensitivity"]
    assert np.linalg.norm(polished["sensitivity"] - truth) < 2e-3 * np.linalg.norm(truth)


def _polished_against_tight(model, tight, x, y):
    with warnings.catch_warnings(action="ignore"):
        model.fit(x, y)
        tight.fit(x, y)
    polished, truth = mm.memory_map(model, x, y, polish=True), mm.memory_map(tight, x, y)
    np.testing.assert_allclose(polished["output"], truth["output"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(polished["leverage"], truth["leverage"], rtol=1e-2, atol=1e-5)


SPARSE = {
    "saga l1": {"solver": "saga", "penalty": "l1"},
    "saga elastic net": {"solver": "saga", "penalty": "elasticnet", "l1_ratio": 0.5},
    "liblinear l1": {"solver": "liblinear", "penalty": "l1"},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", SPARSE)
def test_polish_finds_the_active_set_of_l1_penalties(name):
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)[:, ::3]
    early, late = (LogisticRegression(**SPARSE[name], **options) for options in (
        {"max_iter": 20}, {"max_iter": 100_000, "tol": 1e-9},
    ))  # fmt: skip
    _polished_against_tight(early, late, x, y)


def test_polish_through_pipelines_and_several_targets():
    x, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3))
    _polished_against_tight(model, make_pipeline(StandardScaler(), LogisticRegression(tol=1e-9)), x, y)
    several = np.stack([Y, Y**2], axis=1)
    early = MultiOutputRegressor(Ridge(solver="sparse_cg", max_iter=1))
    _polished_against_tight(early, MultiOutputRegressor(Ridge()), X, several)


def test_polish_of_what_is_at_rest_changes_nothing():
    model = Ridge().fit(X, Y)
    np.testing.assert_allclose(
        mm.memory_map(model, X, Y, polish=True)["sensitivity"], mm.memory_map(model, X, Y)["sensitivity"], rtol=1e-9
    )


def test_polish_starts_again_where_a_fit_has_run_away():
    x, y = load_breast_cancer(return_X_y=True)
    with warnings.catch_warnings(action="ignore"):
        model = SGDClassifier(loss="log_loss", random_state=0).fit(x, y)
    assert distance(mm.memory_map(model, x, y)) > 1000
    assert distance(mm.memory_map(model, x, y, polish=True)) < 1e-3


def test_polish_of_a_loss_with_kinks_says_what_to_do():
    with pytest.raises(TypeError, match="Fit again with a smaller tolerance"):
        mm.memory_map(QuantileRegressor().fit(X, Y), X, Y, polish=True)


def test_statsmodels_fits_that_stopped_early_are_warned_of_and_polished():
    x = sm.add_constant(X)
    with warnings.catch_warnings(action="ignore"):
        early = sm.GLM(COUNTS, x, family=sm.families.Poisson()).fit(start_params=np.zeros(6), maxiter=1)
    m = mm.memory_map(early)
    assert "polish=True" in m.summary().warnings[0]
    late = sm.GLM(COUNTS, x, family=sm.families.Poisson()).fit(tol=1e-12)
    polished = mm.memory_map(early, polish=True)
    np.testing.assert_allclose(polished["sensitivity"], mm.memory_map(late)["sensitivity"], rtol=1e-6)


def test_association_is_standard_normal_for_unrelated_targets():
    f, y = rng.normal(size=(60, 3)), np.eye(3)[rng.integers(0, 3, 60)]
    found = np.asarray([association(f, y[rng.permutation(60)]) for _ in range(2000)])
    assert abs(found.mean()) < 0.1
    assert abs(found.std() - 1) < 0.1
