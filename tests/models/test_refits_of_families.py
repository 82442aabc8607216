"""Every family refits: its refits are those of its own library without the example."""

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


def per_example(name):
    """The same penalty on the sum of losses with an example less."""
    return lambda model, n: {name: getattr(model, name) * n / (n - 1)}


def same(model, n):
    return {}


RBF1 = RBF(2.0)
CASES = {
    "huber, scale fixed": (HuberRegressor(alpha=0.1, epsilon=1e4, tol=1e-10), XR, YR, predictions, same, 2e-2),
    "squared hinge": (LinearSVC(C=0.5, tol=1e-10, max_iter=10**6), XC, YC, decisions, same, 1e-4),
    "hinge": (LinearSVC(C=0.5, loss="hinge", tol=1e-8, max_iter=10**6), XC, YC, decisions, same, 1e-3),
    "squared ε-insensitive": (
        LinearSVR(C=0.5, epsilon=0.1, loss="squared_epsilon_insensitive", tol=1e-10, max_iter=10**6, dual=True),
        XR, YR, predictions, same, 1e-4,
    ),
    "quantile": (QuantileRegressor(alpha=0.01, solver="highs"), XR, YR, predictions, per_example("alpha"), 1e-8),
    "lasso": (Lasso(alpha=0.02, tol=1e-12, max_iter=10**5), XR, YR, predictions, per_example("alpha"), 1e-5),
    "elastic net": (ElasticNet(alpha=0.02, tol=1e-12, max_iter=10**5), XR, YR, predictions, per_example("alpha"), 1e-5),
    "non-negative": (LinearRegression(positive=True), XR, YR, predictions, same, 1e-8),
    "L1 logistic": (
        LogisticRegression(l1_ratio=1.0, solver="saga", C=0.5, tol=1e-10, max_iter=10**5),
        XC, YC, decisions, same, 1e-4,
    ),
    "ridge": (Ridge(1.0), XR, YR, predictions, same, 1e-7),
    "kernel ridge": (KernelRidge(alpha=0.5, kernel="rbf", gamma=0.1), XR, YR, predictions, same, 1e-7),
    "GP regression": (
        GaussianProcessRegressor(RBF1 + WhiteKernel(0.3), optimizer=None), XR, YR, predictions, same, 1e-7,
    ),
    "SVC": (SVC(C=1.0, gamma=0.1, tol=1e-8), XC, YC, decisions, same, 1e-4),
    "SVC, three classes": (
        SVC(C=1.0, gamma=0.5, tol=1e-8, decision_function_shape="ovo"), X3, Y3, decisions, same, 1e-4,
    ),
    "SVR": (SVR(C=1.0, gamma=0.1, epsilon=0.1, tol=1e-8), XR, YR, predictions, same, 1e-4),
    "hist boosting": (
        HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5), XC, YC, decisions, same, 1e-10,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refits_are_those_of_the_library(name):
    model, x, y, outputs, held, tolerance = CASES[name]
    model = clone(model).fit(x, y)
    m = mm.memory_map(model, x, y)
    found = mm.refit(m, top=4, by="error")
    assert found["refitted"].sum() >= 4
    for i in np.flatnonzero(found["refitted"])[:4]:
        kept = np.arange(len(x)) != i
        fresh = clone(model).set_params(**held(model, len(x))).fit(x[kept], y[kept])
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


def test_class_weights_stay_those_of_the_fit():
    model = LogisticRegression(l1_ratio=1.0, solver="saga", C=0.5, class_weight="balanced", tol=1e-10, max_iter=10**5)
    m = mm.memory_map(model.fit(XC, YC), XC, YC)
    rest = m.origin.posterior.capabilities.refit.refit(np.empty(0, int), np.arange(5))[0]
    np.testing.assert_allclose(rest[:, 0], model.decision_function(XC[:5]), atol=1e-4)


def test_a_class_that_vanishes_is_named():
    y = np.where(np.arange(len(XC)) == 3, "rare", np.where(YC == 1, "a", "b"))
    model = SVC(C=1.0, gamma=0.1).fit(XC, y)
    refits = mm.memory_map(model, XC, y).origin.posterior.capabilities.refit
    with pytest.raises(ValueError, match="no example of class \\['rare'\\] is left"):
        refits.refit(np.array([3]), np.array([3]))


def test_stochastic_gradient_descent_refits_a_smooth_loss_from_its_own_minimum():
    model = SGDRegressor(loss="huber", epsilon=0.5, alpha=1e-2, max_iter=10**4, tol=1e-9, random_state=0).fit(XR, YR)
    m = mm.refit(mm.memory_map(model, XR, YR), top=2)
    assert m["refitted"].sum() == 2
    assert np.isfinite(m["deviation"]).all()
