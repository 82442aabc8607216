"""Every family refits: its refits are those of its own library without the example."""

import dataclasses
import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    QuantileRegressor,
    Ridge,
    SGDRegressor,
)
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier
from sklearn_versions import LASSO

import memorymaps as mm

RNG = np.random.default_rng(0)
XR, YR = load_diabetes(return_X_y=True)
ROWS = RNG.permutation(len(XR))[:80]
XR, YR = StandardScaler().fit_transform(XR)[ROWS], (YR[ROWS] - 150) / 77
XC, YC = load_breast_cancer(return_X_y=True)
ROWS = RNG.permutation(len(XC))[:100]
XC, YC = StandardScaler().fit_transform(XC)[ROWS][:, :8], YC[ROWS]
X3, Y3 = (part[::2] for part in load_iris(return_X_y=True))


def decisions(model, x):
    return model.decision_function(x)


def predictions(model, x):
    return model.predict(x)


RBF1 = RBF(2.0)
CASES = {
    "huber, scale fixed": (HuberRegressor(alpha=0.1, epsilon=1e4, tol=1e-10), XR, YR, predictions, 2e-2),
    "squared hinge": (LinearSVC(C=0.5, tol=1e-10, max_iter=10**6), XC, YC, decisions, 1e-4),
    "hinge": (LinearSVC(C=0.5, loss="hinge", tol=1e-8, max_iter=10**6), XC, YC, decisions, 1e-3),
    "squared ε-insensitive": (
        LinearSVR(C=0.5, epsilon=0.1, loss="squared_epsilon_insensitive", tol=1e-10, max_iter=10**6, dual=True),
        XR, YR, predictions, 1e-4,
    ),
    "quantile": (QuantileRegressor(alpha=0.01, solver="highs"), XR, YR, predictions, 1e-8),
    "lasso": (Lasso(alpha=0.02, tol=1e-12, max_iter=10**5), XR, YR, predictions, 1e-5),
    "elastic net": (ElasticNet(alpha=0.02, tol=1e-12, max_iter=10**5), XR, YR, predictions, 1e-5),
    "non-negative": (LinearRegression(positive=True), XR, YR, predictions, 1e-8),
    "L1 logistic": (
        LogisticRegression(**LASSO, solver="saga", C=0.5, tol=1e-10, max_iter=10**5),
        XC, YC, decisions, 1e-4,
    ),
    "ridge": (Ridge(1.0), XR, YR, predictions, 1e-7),
    "kernel ridge": (KernelRidge(alpha=0.5, kernel="rbf", gamma=0.1), XR, YR, predictions, 1e-7),
    "GP regression": (
        GaussianProcessRegressor(RBF1 + WhiteKernel(0.3), optimizer=None), XR, YR, predictions, 1e-7,
    ),
    "SVC": (SVC(C=1.0, gamma=0.1, tol=1e-8), XC, YC, decisions, 1e-4),
    "SVC, three classes": (
        SVC(C=1.0, gamma=0.5, tol=1e-8, decision_function_shape="ovo"), X3, Y3, decisions, 1e-4,
    ),
    "SVR": (SVR(C=1.0, gamma=0.1, epsilon=0.1, tol=1e-8), XR, YR, predictions, 1e-4),
    "hist boosting": (
        HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5), XC, YC, decisions, 1e-10,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The max_iter was reached")  # saga refits to a tight tolerance
@pytest.mark.parametrize("name", CASES)
def test_refits_are_those_of_the_library(name):
    model, x, y, outputs, tolerance = CASES[name]
    model = clone(model).fit(x, y)
    m = mm.memory_map(model, x, y)
    found = mm.refit(m, top=4, by="error")
    assert found["refitted"].sum() >= 4
    for i in np.flatnonzero(found["refitted"])[:4]:
        kept = np.arange(len(x)) != i
        fresh = clone(model).fit(x[kept], y[kept])
        change = np.atleast_1d(outputs(fresh, x[[i]])[0] - outputs(model, x[[i]])[0])
        scale = tolerance * max(1.0, np.abs(change).max())
        np.testing.assert_allclose(np.atleast_1d(found["deviation"][i]), change, rtol=tolerance, atol=scale)


def test_gaussian_process_classes_are_refitted_at_the_mode():
    model = GaussianProcessClassifier(RBF1, optimizer=None).fit(XC, YC)
    m = mm.refit(mm.memory_map(model, XC, YC), top=3)
    for i in np.flatnonzero(m["refitted"]):
        kept = np.arange(len(XC)) != i
        fresh = GaussianProcessClassifier(RBF1, optimizer=None).fit(XC[kept], YC[kept]).base_estimator_
        latent = RBF1(XC[[i]], XC[kept]) @ (fresh.y_train_ - fresh.pi_)
        np.testing.assert_allclose(m["output"][i] + m["deviation"][i], latent[0], atol=1e-5)


def test_the_penalty_that_a_search_chose_is_kept():
    model = LassoCV(cv=3, tol=1e-8, max_iter=10**5).fit(XR, YR)
    fixed = Lasso(alpha=model.alpha_, tol=1e-8, max_iter=10**5).fit(XR, YR)
    found, expected = (mm.refit(mm.memory_map(each, XR, YR), top=3)["deviation"] for each in (model, fixed))
    np.testing.assert_allclose(found, expected, atol=1e-6)


FORESTS = {
    "random forest": (RandomForestClassifier(7, random_state=0, min_samples_leaf=2), XC, YC),
    "weighted classes": (RandomForestClassifier(7, random_state=0, class_weight="balanced"), XC, YC),
    "weighted draws": (RandomForestClassifier(7, random_state=0, class_weight="balanced_subsample"), XC, YC),
    "regression": (RandomForestRegressor(7, random_state=0, max_features=3), XR, YR),
    "extra trees": (ExtraTreesRegressor(7, random_state=0, min_samples_leaf=3), XR, YR),
    "one tree": (DecisionTreeClassifier(min_samples_leaf=3, random_state=0), XC, YC),
    "boosting": (GradientBoostingRegressor(n_estimators=10, random_state=0, subsample=0.7), XR, YR),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORESTS)
def test_tree_ensembles_keep_their_random_draws(name):
    model, x, y = FORESTS[name]
    m = mm.memory_map(clone(model).fit(x, y), x, y)
    found = mm.refit(m, top=3)
    assert "changed their predictions by up to" in str(found.summary())
    at_rest = m.origin.posterior.capabilities.refit.refit(np.empty(0, int), np.arange(len(x)))[0]
    np.testing.assert_allclose(at_rest, m["output"].reshape(len(x), -1), atol=1e-8)
    assert np.isfinite(found["deviation"]).all()


def test_a_tree_without_an_example_is_the_tree_of_the_others():
    model = DecisionTreeClassifier(min_samples_leaf=3, random_state=0).fit(XC, YC)
    m = mm.refit(mm.memory_map(model, XC, YC), top=5)
    for i in np.flatnonzero(m["refitted"]):
        kept = np.arange(len(XC)) != i
        fresh = clone(model).fit(XC[kept], YC[kept])
        np.testing.assert_allclose(m["loo_mean"][i], fresh.predict_proba(XC[[i]])[0], atol=1e-12)


@pytest.mark.filterwarnings("ignore:Objective did not converge")
def test_a_refit_that_ran_out_of_iterations_is_no_refit():
    m = mm.memory_map(Lasso(0.01, tol=1e-8, max_iter=10**5).fit(XR, YR), XR, YR, estimator="cavity")
    source = m.origin.posterior.capabilities.refit
    short = dataclasses.replace(source, settings={**source.settings, "max_iter": 1})
    assert source.refit(np.array([3]), np.array([3]))[1] == 0
    assert short.refit(np.array([3]), np.array([3]))[1] == np.inf


@pytest.mark.filterwarnings("ignore:The max_iter was reached")  # saga refits to a tight tolerance
def test_class_weights_stay_those_of_the_fit():
    model = LogisticRegression(**LASSO, solver="saga", C=0.5, class_weight="balanced", tol=1e-10, max_iter=10**5)
    m = mm.memory_map(model.fit(XC, YC), XC, YC)
    rest = m.origin.posterior.capabilities.refit.refit(np.empty(0, int), np.arange(5))[0]
    np.testing.assert_allclose(rest[:, 0], model.decision_function(XC[:5]), atol=1e-4)


def test_a_class_that_vanishes_is_named():
    y = np.where(np.arange(len(XC)) == 3, "rare", np.where(YC == 1, "a", "b"))
    model = SVC(C=1.0, gamma=0.1).fit(XC, y)
    refits = mm.memory_map(model, XC, y).origin.posterior.capabilities.refit
    assert mm.memory_map(model, XC, y)["warning"][3] == int(mm.Warn.LONG_STEP)
    with pytest.raises(ValueError, match="no example of class \\['rare'\\] is left"):
        refits.refit(np.array([3]), np.array([3]))


def test_stochastic_gradient_descent_refits_a_smooth_loss_from_its_own_minimum():
    model = SGDRegressor(loss="huber", epsilon=0.5, alpha=1e-2, max_iter=10**4, tol=1e-9, random_state=0).fit(XR, YR)
    m = mm.refit(mm.memory_map(model, XR, YR, estimator="cavity"), top=2)
    assert m["refitted"].sum() == 2
    assert np.isfinite(m["deviation"]).all()


@pytest.mark.slow
def test_forests_are_left_out_by_their_out_of_bag_trees():
    model = RandomForestClassifier(60, min_samples_leaf=3, oob_score=True, random_state=0).fit(XC, YC)
    m = mm.memory_map(model, XC, YC)
    np.testing.assert_allclose(m["loo_mean"], model.oob_decision_function_, atol=1e-12)
    assert m.leave_one_out().loo_score == pytest.approx(model.oob_score_)
    assert "out-of-bag" in str(m.summary())
    refitted = mm.refit(m, top=len(XC))
    (caution,) = m.summary().warnings
    error = np.linalg.norm(m["deviation"] - refitted["deviation"]) / np.linalg.norm(refitted["deviation"])
    assert float(re.search(r"make up (\d+)%", caution).group(1)) / 100 == pytest.approx(error, rel=0.3)
    truth = refitted["sensitivity"]
    fixed = mm.memory_map(model, XC, YC, estimator="cavity")
    slopes = [each["sensitivity"] @ truth / (truth @ truth) for each in (m, fixed)]
    assert 0.75 < slopes[0] < 1.25
    assert slopes[1] < 0.6


def test_an_example_in_every_bag_is_marked():
    model = RandomForestClassifier(2, random_state=0).fit(XC, YC)
    m = mm.memory_map(model, XC, YC)
    everywhere = (m.origin.posterior.leaf_model.forest.bag_weight > 0).all(axis=1)
    np.testing.assert_array_equal((m["warning"] & int(mm.Warn.LONG_STEP)) > 0, everywhere)
    assert 0 < everywhere.sum() < len(XC)


def test_out_of_bag_is_for_forests():
    with pytest.raises(ValueError, match="leave estimator out"):
        mm.memory_map(Ridge().fit(XR, YR), XR, YR, estimator="out_of_bag")


@pytest.mark.slow
@pytest.mark.parametrize("model", [DecisionTreeClassifier(min_samples_leaf=3), HistGradientBoostingClassifier()])
def test_splits_that_are_held_fixed_are_said_everywhere(model):
    m = mm.memory_map(model.fit(XC, YC), XC, YC)
    assert any("splits of the trees fixed: read as ranks" in line for line in m.summary().warnings)
    assert "splits of trees held fixed" in str(m.leave_one_out())
    assert m.leave_out({"a few": [1, 2, 3]})["warning"].tolist() == ["splits of trees held fixed: read as a rank"]
    held_out = m.leave_one_out(cross_fit=5)
    assert held_out.folds == 5
    assert "5-fold cross-fitting" in str(held_out)
    assert "held fixed" not in str(held_out)


def test_cross_fitting_is_cross_validation():
    from sklearn.model_selection import cross_val_predict

    from memorymaps.posteriors.cross_fitting import fold_of

    model = HistGradientBoostingClassifier(max_iter=20).fit(XC, YC)
    fold = fold_of(YC, 4, classes=True)
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(4)]
    predicted = cross_val_predict(model, XC, YC, cv=splits)
    found = mm.memory_map(model, XC, YC).leave_one_out(cross_fit=4)
    assert found.loo_score == pytest.approx(np.mean(predicted == YC))
    linear = mm.memory_map(Ridge(1.0).fit(XR, YR), XR, YR)
    fold = fold_of(YR, 5, classes=False)
    splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]
    error = cross_val_predict(Ridge(1.0), XR, YR, cv=splits) - YR
    assert linear.leave_one_out(cross_fit=5).loo_score == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-6)
    for folds in (1, 81):
        with pytest.raises(ValueError, match="number of folds"):
            linear.leave_one_out(cross_fit=folds)


@pytest.mark.parametrize("c", [1.0, 100.0])
def test_groups_of_a_glm_are_refitted(c):
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(XC, YC)
    m = mm.memory_map(model, XC, YC)
    half = np.flatnonzero(YC == 0)[::2]
    found = m.leave_out({"half a class": m["id"][half].tolist(), "a few": [1, 2, 3]})
    for k, gone in enumerate((half, np.array([1, 2, 3]))):
        kept = np.setdiff1d(np.arange(len(XC)), gone)
        fresh = clone(model).fit(XC[kept], YC[kept])
        change = np.abs(fresh.predict_proba(XC)[:, 1] - model.predict_proba(XC)[:, 1])
        assert found["sensitivity"][k] == pytest.approx(change[gone].sum(), rel=1e-4)
        assert found["rest_sensitivity"][k] == pytest.approx(change[kept].sum(), rel=1e-3)
    assert found["warning"].tolist() == ["", ""]


def test_a_group_that_cannot_be_refitted_says_why():
    m = mm.memory_map(SVC(C=1.0, gamma=0.1).fit(XC, YC), XC, YC)
    found = m.leave_out("target")
    assert np.isnan(found["leave_out_loss"]).all()
    assert all("no example of class" in line for line in found["warning"])
    fine = m.leave_out({"few": [1, 2]})
    assert fine["warning"].tolist() == [""]
    assert np.isfinite(fine["rest_leave_out_loss"]).all()


def test_every_group_table_has_warnings():
    assert mm.memory_map(Ridge(1.0).fit(XR, YR), XR, YR).leave_out({"a": [1, 2]})["warning"].tolist() == [""]
