"""Refits of linear models are those of their own library, asked for or made unasked where one step is too long."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, PoissonRegressor, QuantileRegressor, Ridge
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn_versions import LASSO, MULTINOMIAL_NEWTON_CHOLESKY

import memorymaps as mm
from memorymaps.models.linear import newton_refit
from memorymaps.posteriors.capabilities import capabilities_of

EXACT = {"tol": 1e-12, "max_iter": 1000}
CANCER = load_breast_cancer(return_X_y=True)
X, Y = StandardScaler().fit_transform(CANCER[0]), CANCER[1]
NEWTON = LogisticRegression(C=100.0, solver="newton-cholesky", **EXACT)


def decision(model, x):
    found = model.decision_function(x) if hasattr(model, "decision_function") else np.log(model.predict(x))
    return found.reshape(len(x), -1)


def assert_refits_are(m, model, x, y):
    """Refitted rows of the map against the library's fit; softmax outputs are compared up to a constant."""
    rows = np.flatnonzero(m["refitted"])
    assert len(rows)
    for i in rows:
        kept = np.arange(len(x)) != i
        change = decision(clone(model).fit(x[kept], y[kept]), x[[i]])[0] - decision(model, x[[i]])[0]
        found = np.atleast_1d(m["deviation"][i])
        if len(found) > 1:
            change, found = change - change.mean(), found - found.mean()
        np.testing.assert_allclose(found, change, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_long_steps_of_a_weak_prior_are_refitted_unasked():
    m = mm.memory_map(NEWTON.fit(X, Y), X, Y)
    assert_refits_are(m, NEWTON, X, Y)
    assert m.summary().warnings == ()
    assert "one Newton step may be too long, refitted without each" in str(m.summary())
    assert "refitted" not in mm.memory_map(NEWTON, X, Y, estimator="cavity")


@pytest.mark.slow
def test_refitted_unasked_the_sizes_are_those_of_refits():
    m = mm.memory_map(NEWTON.fit(X, Y), X, Y)
    truth = mm.refit(m, top=60, by="loo_loss")
    for column in ("sensitivity", "loo_loss"):
        rows = truth["refitted"]
        error = np.linalg.norm(m[column][rows] - truth[column][rows]) / np.linalg.norm(truth[column][rows])
        assert error < 0.1
    once = mm.memory_map(NEWTON, X, Y, estimator="cavity")
    assert np.linalg.norm(once["loo_loss"] - truth["loo_loss"]) > 0.15 * np.linalg.norm(truth["loo_loss"])


def test_where_the_budget_ends_the_rest_carries_a_warning(monkeypatch):
    monkeypatch.setattr("memorymaps.models.linear.newton_refit._BUDGET", 0)
    monkeypatch.setattr("memorymaps.models.linear.newton_refit._FITS", 0)
    m = mm.memory_map(NEWTON.fit(X, Y), X, Y)
    lit = (m["warning"] & int(mm.Warn.LONG_STEP)) > 0
    np.testing.assert_array_equal(lit, m["leverage"] >= 0.4)
    assert any("Newton step may be too long" in line for line in m.summary().warnings)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(C=1.0, solver="newton-cholesky", **EXACT),
        LogisticRegression(C=np.inf, solver="newton-cholesky", fit_intercept=False, **EXACT),
    ],
)
@pytest.mark.skipif(not MULTINOMIAL_NEWTON_CHOLESKY, reason="newton-cholesky fitted one-versus-rest before 1.6")
def test_softmax_refits_are_scikit_learns(model):
    x, y = load_iris(return_X_y=True)
    m = mm.refit(mm.memory_map(model.fit(x[::3], y[::3]), x[::3], y[::3]), top=3)
    if np.isfinite(model.C):
        assert_refits_are(m, model, x[::3], y[::3])
    assert m["refitted"].sum() >= 3


def test_poisson_refits_hold_the_penalty():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = rng.poisson(np.exp(x @ [0.5, -1.0, 0.2]))
    model = PoissonRegressor(alpha=0.01, tol=1e-12, solver="newton-cholesky").fit(x, y)
    assert_refits_are(mm.refit(mm.memory_map(model, x, y), top=5), model, x, y)


def test_refits_of_least_squares_change_nothing():
    x, y = X[:, :5], X[:, 6]
    m = mm.memory_map(make_pipeline(StandardScaler(), Ridge(2.0)).fit(x, y), x, y)
    again = mm.refit(m, top=5)
    np.testing.assert_allclose(again["deviation"], m["deviation"], rtol=1e-6)
    assert "refitted" not in m


def test_statsmodels_refits_with_weights_and_offset():
    rng = np.random.default_rng(1)
    x = sm.add_constant(rng.normal(size=(50, 2)))
    offset, weight = rng.normal(size=50) / 3, rng.integers(1, 4, 50)
    y = rng.poisson(np.exp(x @ [0.2, 0.5, -0.5] + offset))

    def fitted(keep):
        model = sm.GLM(y[keep], x[keep], family=sm.families.Poisson(), offset=offset[keep], freq_weights=weight[keep])
        return model.fit(tol=1e-14, maxiter=200)

    whole = fitted(np.ones(50, bool))
    m = mm.refit(mm.memory_map(whole), top=5)
    for i in np.flatnonzero(m["refitted"]):
        change = x[i] @ (fitted(np.arange(50) != i).params - whole.params)
        np.testing.assert_allclose(m["deviation"][i], change, rtol=1e-5)


@pytest.mark.slow
def test_two_targets_are_checked_together():
    both = np.column_stack([Y, 1 - Y])
    joint = mm.memory_map(MultiOutputClassifier(NEWTON).fit(X, both), X, both)
    able, rows = capabilities_of(joint.origin.posterior), np.array([68, 190, 213])
    alone = capabilities_of(mm.memory_map(NEWTON.fit(X, Y), X, Y).origin.posterior)
    found, expected = able.newton.second_step(rows), alone.newton.second_step(rows)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.abs(ours), np.abs(np.hstack([theirs, theirs])), rtol=1e-5)
    assert joint["refitted"].any()


def test_jobs_and_a_journal_give_the_same(tmp_path):
    m = mm.memory_map(NEWTON.fit(X, Y), X, Y)
    one = mm.refit(m, top=8)
    several = mm.refit(m, top=8, jobs=3, path=tmp_path / "journal")
    np.testing.assert_allclose(several["deviation"], one["deviation"], rtol=1e-12)
    size = (tmp_path / "journal").stat().st_size
    mm.refit(m, top=8, jobs=2, path=tmp_path / "journal")
    assert (tmp_path / "journal").stat().st_size == size
    with pytest.raises(ValueError, match="jobs = 0"):
        mm.refit(m, top=8, jobs=0)


@pytest.mark.slow
def test_sizes_of_a_squared_hinge_are_checked_by_refits():
    m = mm.memory_map(LinearSVC(C=0.5, tol=1e-10, max_iter=10**6).fit(X, Y), X, Y)
    rows = m["refitted"]
    assert 0 < rows.sum() <= 32 + 8  # the largest sizes, and the largest leverages
    truth = mm.refit(m, top=16)
    both = rows & truth["refitted"]
    assert both.any()
    np.testing.assert_allclose(m["sensitivity"][both], truth["sensitivity"][both], rtol=1e-4)


def test_slow_solvers_are_not_run_unasked():
    model = LogisticRegression(**LASSO, solver="saga", C=0.5, tol=1e-6, max_iter=10**4).fit(X[:100], Y[:100])
    source = capabilities_of(mm.memory_map(model, X[:100], Y[:100]).origin.posterior).refit
    assert source.max_automatic_refits() == 0


def test_a_category_that_is_separated_without_one_example_is_refitted():
    """The first step goes a fifth of the way, and the second continues it: each later one adds about one."""
    draws = np.random.default_rng(0)
    category = np.repeat(np.arange(30), 10)
    x, y = np.eye(30)[category], draws.integers(0, 2, 300)
    y[:10], y[0] = 1, 0
    model = LogisticRegression(C=1e4, solver="newton-cholesky", **EXACT).fit(x, y)
    m = mm.memory_map(model, x, y)
    truth = model.__class__(C=1e4, solver="newton-cholesky", **EXACT).fit(x[1:], y[1:])
    assert m["refitted"][0]
    change = truth.decision_function(x[:1]) - model.decision_function(x[:1])
    assert m["deviation"].ravel()[0] == pytest.approx(change[0], rel=1e-3)
    assert abs(change[0]) > 2 * abs(mm.memory_map(model, x, y, estimator="cavity")["deviation"].ravel()[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "model", [QuantileRegressor(alpha=0.0), LinearSVR(epsilon=0.1, tol=1e-6, max_iter=10**6)], ids=["quantile", "svr"]
)
def test_the_largest_sizes_of_losses_with_kinks_are_refitted(model):
    x, y = load_diabetes(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[:200], (y[:200] - 150) / 77
    m = mm.memory_map(model.fit(x, y), x, y)
    assert 32 <= m["refitted"].sum() <= 32 + 8  # the largest sizes, and the largest leverages
    rows = np.union1d(np.argsort(-m["sensitivity"])[:8], np.arange(0, 200, 25))
    fits = [clone(model).fit(np.delete(x, i, 0), np.delete(y, i)) for i in rows]
    truth = np.array([abs((fit.predict(x[[i]]) - model.predict(x[[i]]))[0]) for i, fit in zip(rows, fits, strict=True)])
    found = m["sensitivity"][rows]
    assert found @ truth / (truth @ truth) == pytest.approx(1, abs=0.15)
    assert np.linalg.norm(found - truth) < 0.3 * np.linalg.norm(truth)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(solver="newton-cholesky", **EXACT), NEWTON,
        PoissonRegressor(solver="newton-cholesky", **EXACT),
        LinearSVC(tol=1e-9, max_iter=10**6),
    ],
    ids=["logistic", "weak prior", "poisson", "squared hinge"],
)  # fmt: skip
def test_half_a_class_is_removed_by_refits(model):
    model = clone(model).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    halves = {f"half of {c}": np.flatnonzero(c == Y)[::2] for c in (0, 1)}
    found = m.leave_out(halves)
    mean = m.origin.posterior.likelihood.mean
    for k, rows in enumerate(halves.values()):
        fresh = clone(model).fit(np.delete(X, rows, 0), np.delete(Y, rows))
        truth = np.abs(mean(decision(fresh, X)) - mean(decision(model, X))).sum(1)
        assert found["sensitivity"][k] == pytest.approx(truth[rows].sum(), rel=1e-3)
        assert found["rest_sensitivity"][k] == pytest.approx(np.delete(truth, rows).sum(), rel=1e-3)
    assert found["warning"].tolist() == ["", ""]


def test_a_class_that_no_other_example_has_is_left_out_in_few_steps_and_its_outputs_have_no_end(monkeypatch):
    x, y = load_iris(return_X_y=True)
    model = LogisticRegression(**EXACT).fit(x, y)
    m = mm.memory_map(model, x, y)
    steps = []
    search = newton_refit._line_search
    monkeypatch.setattr(newton_refit, "_line_search", lambda *args: steps.append(args) or search(*args))
    found = m.leave_out("target")
    assert len(steps) < 25 * len(found)  # doubled steps: without them each moves an intercept by one, more than 100
    assert all(words.startswith("outputs have no end without these") for words in found["warning"])
    for k in range(3):
        others = y != k
        fit = LogisticRegression(C=2.0, **EXACT).fit(x[others], y[others])  # one of two outputs: half the penalty
        probability = np.zeros((len(x), 3))
        probability[:, fit.classes_] = fit.predict_proba(x)
        change = np.abs(probability - model.predict_proba(x)).sum(1)
        np.testing.assert_allclose(found["rest_sensitivity"][k], change[others].sum(), rtol=1e-4)
        np.testing.assert_allclose(found["sensitivity"][k], change[~others].sum(), rtol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_outputs_have_no_end_without_whole_classes_and_have_one_where_an_example_of_each_is_left(seed):
    rng = np.random.default_rng(seed)
    centres, y = rng.normal(size=(3, 4)) * rng.uniform(0.2, 4), np.r_[[0, 1, 2], rng.integers(0, 3, 200)]
    x = centres[y] + rng.normal(size=(len(y), 4)) * 10.0 ** rng.uniform(-1, 1, 4)
    model = LogisticRegression(C=10.0 ** rng.uniform(-2, 3), **EXACT).fit(x, y)
    classes = [np.flatnonzero(y == k) for k in range(3)]
    groups = {f"{k}": rows for k, rows in enumerate(classes)} | {f"but one of {k}": classes[k][1:] for k in range(3)}
    found = mm.memory_map(model, x, y).leave_out(groups)
    assert [words[:19] for words in found["warning"]] == ["outputs have no end"] * 3 + [""] * 3


def test_a_group_that_is_no_whole_class_has_an_end():
    m = mm.memory_map(NEWTON.fit(X, Y), X, Y)
    assert m.leave_out({"some": np.flatnonzero(Y == 1)[:100]})["warning"].tolist() == [""]


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")
def test_a_row_whose_prediction_overflows_without_it_leaves_the_others_changes_right():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = rng.poisson(np.exp(0.8 * x[:, 0] + 0.5))
    x[0], y[0] = [2000, 0], 1  # without it the coefficient is 0.8, and its rate exp(1600)
    model = PoissonRegressor(alpha=1e-3, **EXACT).fit(x, y)
    found = mm.memory_map(model, x, y).leave_out({"far": [0], "far and near": [0, 1, 2]})
    assert found["warning"].tolist() == ["", ""]
    for k, removed in enumerate(([0], [0, 1, 2])):
        others = np.setdiff1d(np.arange(60), removed)
        change = clone(model).fit(x[others], y[others]).predict(x[others]) - model.predict(x[others])
        np.testing.assert_allclose(found["rest_sensitivity"][k], np.abs(change).sum(), rtol=1e-3)
    assert np.isinf(found["sensitivity"]).all()
