"""Support vector machines without one example: the path of the dual variables ends where a fit without it does."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.svm import SVC, SVR

import memorymaps as mm
from memorymaps.models.kernels.dual_path import DualPath, PiecewiseLinear
from memorymaps.posteriors.capabilities import capabilities_of


def _cancer(n=70):
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X)[:n], y[:n]


def _diabetes(n=60):
    X, y = load_diabetes(return_X_y=True)
    return X[:n] * 20, y[:n] / 50


def _iris():
    X, y = load_iris(return_X_y=True)
    return X[::2], y[::2]


def _repeated():
    X, y = _cancer(40)
    return np.concatenate([X, X[:20]]), np.concatenate([y, y[:20]])


CASES = {
    "SVC": (SVC(C=1.0), _cancer),
    "SVC, loose": (SVC(C=10.0, tol=1e-2), _cancer),
    "SVC, linear": (SVC(kernel="linear", C=0.1), _cancer),
    "SVC, equal rows": (SVC(C=0.5), _repeated),
    "SVC, three classes": (SVC(C=0.5, decision_function_shape="ovo"), _iris),
    "SVC, class weights": (SVC(C=0.5, class_weight={0: 3.0}), _cancer),
    "SVC, function": (SVC(C=0.1, kernel=lambda a, b: (1 + a @ b.T / 30) ** 2), _cancer),
    "SVR": (SVR(C=0.5, epsilon=0.1), _diabetes),
    "SVR, no tube": (SVR(C=0.5, epsilon=0.0), _diabetes),
    "pipeline": (make_pipeline(StandardScaler(), SVC(C=1.0)), _cancer),
}


def _outputs(model, X):
    f = model.decision_function(X) if hasattr(model, "decision_function") else model.predict(X)
    return f.reshape(len(X), -1)


@pytest.mark.parametrize("name", CASES)
def test_every_example_that_matters_is_removed_as_by_a_refit(name):
    model, data = CASES[name]
    X, y = data()
    new, (X, y) = X[-5:], (X[:-5], y[:-5])
    model = clone(model).fit(X, y)
    found = mm.influence_on(mm.memory_map(model, X, y), new, top=None)
    machine = model[-1] if name == "pipeline" else model
    Z, Z_new = (model[0].transform(each) if name == "pipeline" else each for each in (X, new))
    tight = clone(machine).set_params(tol=1e-9, gamma=getattr(machine, "_gamma", "scale"))
    before = _outputs(clone(tight).fit(Z, y), Z_new)
    change = np.asarray(found["change"]).reshape(len(found), -1)
    assert not np.any(change[~found["refitted"]])
    matter = np.unique(found["id"][found["refitted"]])
    assert len(matter) > 5
    for row in matter[:: max(1, len(matter) // 8)]:
        rest = np.arange(len(y)) != row
        after = _outputs(clone(tight).fit(Z[rest], y[rest]), Z_new)
        np.testing.assert_allclose(change[found["id"] == row], after - before, atol=2e-4 * np.abs(before).max())


@pytest.mark.parametrize("bound", [0.01, 0.3, 100.0])
@pytest.mark.parametrize("kind", ["hinge", "tube"])
def test_the_path_ends_where_the_optimality_conditions_hold(bound, kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    weights = bound * rng.uniform(0.5, 2.0, size=40)
    if kind == "hinge":
        y = np.sign(X[:, 0] + rng.normal(size=40))
        model = SVC(C=1.0, tol=1e-4).fit(X, y, weights)
        loss = PiecewiseLinear.hinge(y, weights)
    else:
        y = X[:, 0] + rng.normal(size=40)
        model = SVR(C=1.0, tol=1e-4, epsilon=0.2).fit(X, y, weights)
        loss = PiecewiseLinear.tube(y, 0.2, weights)
    gram = np.exp(-model._gamma * ((X[:, None] - X) ** 2).sum(axis=2))
    beta = np.zeros(40)
    beta[model.support_] = model.dual_coef_[0]
    path = DualPath.of(gram, loss, beta, model.intercept_[0])
    for removed in ([3], [20, 21, 22], list(range(10))):
        d_beta, d_intercept = path.without(np.asarray(removed))
        new = path.beta + d_beta
        f = gram @ new + path.intercept + d_intercept
        assert np.abs(new[removed]).max() < 1e-12
        assert abs(new.sum()) < 1e-8 * bound * 40
        kept = np.setdiff1d(np.arange(40), removed)
        slack = 1e-4 * (1 + bound)
        low, high = _range(loss, f - slack), _range(loss, f + slack)
        assert np.all(new[kept] <= low[kept] + 1e-8)
        assert np.all(new[kept] >= high[kept] - 1e-8)


def _range(loss, f):
    """`β [n]` of a loss at outputs away from its breakpoints."""
    return loss.levels[np.arange(len(f)), np.sum(loss.breakpoints < f[:, None], axis=1)]


def test_a_removal_that_takes_the_last_of_a_class_is_left_to_one_step():
    X = np.array([[0.0], [0.2], [0.4], [1.5]])
    y = np.array([0, 0, 0, 1])
    m = mm.memory_map(SVC(C=1.0).fit(X, y), X, y)
    found = mm.influence_on(m, X[:1], top=None)
    assert not found["refitted"][found["id"] == 3].any()


def test_its_numbers_are_those_of_ten_seconds():
    X, y = _cancer()
    able = capabilities_of(mm.memory_map(SVC().fit(X, y), X, y).origin.posterior)
    assert able.example_refits.affordable() > 1000
