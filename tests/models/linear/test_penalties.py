"""Penalties per unit of weight: maps, groups and refits are those of `clone(model).fit` without the examples."""

import numpy as np
import pytest
from sklearn import linear_model as sk
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR
from sklearn_versions import LASSO

import memorymaps as mm
from memorymaps import measures
from memorymaps.posteriors.capabilities import capabilities_of

X, Y = load_diabetes(return_X_y=True)
X, Z = StandardScaler().fit_transform(X), (Y - Y.mean()) / Y.std()
X60, Y60, Z60 = X[:60], Y[:60], Z[:60]
TIGHT = {"tol": 1e-12, "max_iter": 10**5}
NEWTON = {"solver": "newton-cholesky", "tol": 1e-12, "max_iter": 10**4}
# penalties strong enough that a hundredth of them is seen
PER_WEIGHT = {
    "lasso": (sk.Lasso(0.1, **TIGHT), Z60),
    "elastic net": (sk.ElasticNet(0.2, **TIGHT), Z60),
    "elastic net, nothing at zero": (sk.ElasticNet(0.5, l1_ratio=1e-5, **TIGHT), Z60),
    "poisson": (sk.PoissonRegressor(alpha=3.0, **NEWTON), Y60),
    "gamma": (sk.GammaRegressor(alpha=1.0, **NEWTON), Y60),
    "tweedie": (sk.TweedieRegressor(power=1.5, alpha=1.0, link="log", **NEWTON), Y60),
    "Gaussian GLM": (sk.TweedieRegressor(power=0, alpha=0.5, **NEWTON), Z60),
    "pipeline": (make_pipeline(StandardScaler(), sk.GammaRegressor(alpha=1.0, **NEWTON)), Y60),
}


def predictions_without(model, x, y, rows):
    kept = np.setdiff1d(np.arange(len(x)), rows)
    scaled = model[:-1].transform(x) if hasattr(model, "steps") else x
    last = model[-1] if hasattr(model, "steps") else model
    return clone(last).fit(scaled[kept], y[kept]).predict(scaled)


@pytest.mark.parametrize("name", PER_WEIGHT)
def test_each_example_is_left_out_with_its_share_of_the_penalty(name):
    model, y = PER_WEIGHT[name]
    model = clone(model).fit(X60, y)
    m = mm.memory_map(model, X60, y, estimator="cavity")
    rows = np.arange(0, 60, 4)
    found = m["loo_prediction"][rows]
    truth = np.array([predictions_without(model, X60, y, [i])[i] for i in rows])
    change, before = truth - model.predict(X60)[rows], m["prediction"][rows]
    unaffected = m["warning"][rows] == 0
    assert unaffected.sum() >= 10
    error = np.linalg.norm((found - before - change)[unaffected]) / np.linalg.norm(change[unaffected])
    assert error < (0.16 if name in ("lasso", "elastic net") else 0.03)  # changes of the active set up to 15 % stay


@pytest.mark.slow
@pytest.mark.parametrize("name", PER_WEIGHT)
def test_refits_and_groups_weaken_the_penalty_as_the_estimator_does(name):
    model, y = PER_WEIGHT[name]
    model = clone(model).fit(X60, y)
    m = mm.memory_map(model, X60, y)
    before = m["prediction"]
    refitted = mm.refit(m, top=4)
    for i in np.flatnonzero(refitted["refitted"])[:4]:
        truth = predictions_without(model, X60, y, [i])[i]
        assert refitted["loo_prediction"][i] - before[i] == pytest.approx(truth - before[i], rel=1e-4, abs=1e-7)
    half = np.arange(0, 60, 2)
    found = m.leave_out({"half": half})
    truth = np.abs(predictions_without(model, X60, y, half) - before)
    assert found["sensitivity"][0] == pytest.approx(truth[half].sum(), rel=1e-4)
    assert found["rest_sensitivity"][0] == pytest.approx(np.delete(truth, half).sum(), rel=1e-4)


@pytest.mark.slow
def test_quantile_refits_and_groups_keep_alpha():
    model = sk.QuantileRegressor(alpha=0.05).fit(X60, Z60)
    m = mm.memory_map(model, X60, Z60)
    half = np.arange(0, 60, 2)
    truth = np.abs(predictions_without(model, X60, Z60, half) - m["prediction"])
    assert m.leave_out({"half": half})["sensitivity"][0] == pytest.approx(truth[half].sum(), rel=1e-6)


def test_weights_carry_their_share():
    weight = np.linspace(0.5, 2.0, 60)
    model = sk.GammaRegressor(alpha=1.0, **NEWTON).fit(X60, Y60, sample_weight=weight)
    m = mm.memory_map(model, X60, Y60, sample_weight=weight)
    for i in (3, 40, 59):
        kept = np.arange(60) != i
        fresh = clone(model).fit(X60[kept], Y60[kept], sample_weight=weight[kept])
        truth = fresh.predict(X60[[i]])[0] - m["prediction"][i]
        assert m["loo_prediction"][i] - m["prediction"][i] == pytest.approx(truth, rel=0.03)


def test_parameters_move_with_their_share_of_the_penalty():
    model = sk.TweedieRegressor(power=0, alpha=0.5, **NEWTON).fit(X60, Z60)
    m = mm.memory_map(model, X60, Z60)
    kept = np.arange(60) != 7
    fresh = clone(model).fit(X60[kept], Z60[kept])
    truth = np.r_[model.intercept_ - fresh.intercept_, model.coef_ - fresh.coef_]
    np.testing.assert_allclose(measures.dfbeta(m)[7], truth, atol=0.02 * np.abs(truth).max())


def test_several_targets():
    both = np.column_stack([Z60, X[60:120, 2]])
    model = MultiOutputRegressor(sk.TweedieRegressor(power=0, alpha=0.5, **NEWTON)).fit(X60, both)
    m = mm.memory_map(model, X60, both)
    kept = np.arange(60) != 7
    change = np.abs(clone(model).fit(X60[kept], both[kept]).predict(X60[[7]]) - model.predict(X60[[7]])).sum()
    assert m["sensitivity"][7] == pytest.approx(change, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["diagonal", "first_order", "implicit"])
def test_every_estimator_adds_the_share_of_the_penalty(estimator):
    model = sk.TweedieRegressor(power=0, alpha=5.0, **NEWTON).fit(X60, Z60)
    m = mm.memory_map(model, X60, Z60, estimator=estimator)
    change = np.array([predictions_without(model, X60, Z60, [i])[i] for i in range(60)]) - m["prediction"]
    assert np.linalg.norm(m["loo_prediction"] - m["prediction"] - change) < 0.1 * np.linalg.norm(change)


SGD = {"max_iter": 100_000, "tol": 1e-9, "random_state": 0}
GROWS = {
    "SGD": sk.SGDRegressor(alpha=0.1, **SGD), "SGD, L1": sk.SGDRegressor(alpha=0.1, penalty="l1", **SGD),
    "SGD, Huber": sk.SGDRegressor(loss="huber", alpha=0.1, **SGD), "quantile": sk.QuantileRegressor(alpha=0.01),
    "lasso": sk.Lasso(0.1), "lasso, searched": sk.LassoCV(cv=3), "elastic net, searched": sk.ElasticNetCV(cv=3),
}  # fmt: skip
STAYS = {
    "ridge": sk.Ridge(5.0), "Huber": sk.HuberRegressor(alpha=1.0), "linear SVR": LinearSVR(max_iter=10**6),
    "least squares": sk.LinearRegression(), "GLM without penalty": sk.TweedieRegressor(power=0, alpha=0.0),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [*GROWS, *STAYS])
def test_which_penalties_grow_with_the_data(name):
    """As each estimator's documentation writes its objective: a mean of losses, or a sum."""
    m = mm.memory_map((GROWS | STAYS)[name].fit(X60, Z60), X60, Z60)
    penalty = capabilities_of(m.origin.posterior).penalty
    assert (penalty is not None) == (name in GROWS)


@pytest.mark.slow
def test_classifiers_with_summed_losses_have_penalties_that_stay():
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    for model in (sk.LogisticRegression(), sk.LogisticRegression(C=0.1, **LASSO, solver="liblinear"), LinearSVC()):
        m = mm.memory_map(model.fit(x, y), x, y)
        assert capabilities_of(m.origin.posterior).penalty is None
    m = mm.memory_map(sk.SGDClassifier("log_loss", alpha=0.01, **SGD).fit(x, y), x, y)
    assert capabilities_of(m.origin.posterior).penalty is not None
