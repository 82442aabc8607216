"""`polish=True`: the optimum of an independent Newton's method from any start, in few passes over the data."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, Ridge, SGDClassifier

import memorymaps as mm
from memorymaps.data.examples import Examples
from memorymaps.data.in_memory import ArrayExamples

rng = np.random.default_rng(0)
X = rng.normal(size=(400, 3))
F = X @ [1.0, -0.5, 0.2] + 0.3
BITS = (rng.logistic(size=400) < F).astype(int)
COUNTS = rng.poisson(np.exp(F))

# model, targets, mean and its derivative at f, ridge on the coefficients at unit dispersion
KINDS = {
    "logistic": (
        lambda: LogisticRegression(C=2.0, tol=1e-3), BITS, lambda f: 1 / (1 + np.exp(-f)), lambda mu: mu * (1 - mu), 0.5
    ),
    "poisson": (lambda: PoissonRegressor(alpha=0.01, tol=1e-2), COUNTS, np.exp, lambda mu: mu, 400 * 0.01),
}  # fmt: skip


def optimum(y, mean, variance, ridge):
    """Intercept and coefficients, and leverages there, by dense Newton steps from zero."""
    z, penalty, b = np.column_stack([np.ones(400), X]), ridge * np.diag([0.0, 1, 1, 1]), np.zeros(4)
    for _ in range(50):
        mu = mean(z @ b)
        hessian = (z.T * variance(mu)) @ z + penalty
        b = b - np.linalg.solve(hessian, z.T @ (mu - y) + penalty @ b)
    return z @ b, variance(mu) * np.einsum("ij,jk,ik->i", z, np.linalg.inv(hessian), z)


class Counted(Examples):
    """Counts complete passes."""

    def __init__(self, source):
        self.source, self.passes = source, 0

    def __len__(self):
        return len(self.source)

    def __iter__(self):
        yield from self.source
        self.passes += 1

    def take(self, rows):
        return self.source.take(rows)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("factor", [1.0, 0.1, 3.0, 30.0])
@pytest.mark.parametrize("name", KINDS)
def test_the_optimum_from_any_start(name, factor):
    make, y, mean, variance, ridge = KINDS[name]
    model = make().fit(X, y)
    if factor != 1.0:
        model.coef_ = factor * model.coef_
        model.max_iter = 1  # may be anywhere
    found = mm.memory_map(model, X, y, polish=True)
    f, leverage = optimum(y, mean, variance, ridge)
    np.testing.assert_allclose(found["output"], f, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found["leverage"], leverage, rtol=1e-9)
    assert found.provenance.description.distance < 1e-8


SAGA = {"penalty": "l1", "solver": "saga", "tol": 1e-7, "max_iter": 10_000, "random_state": 0}
SPARSE = {
    "softmax": (LogisticRegression(C=0.1, **SAGA), np.digitize(F, [-0.5, 0.5])),
    "logistic": (LogisticRegression(C=0.3, **SAGA), BITS),
    "lasso": (Lasso(alpha=0.2, tol=1e-10), F + rng.normal(size=400)),
    "signs": (Ridge(positive=True, tol=1e-10), rng.normal(size=400) - X[:, 1]),
    "stochastic": (SGDClassifier("log_loss", penalty="l1", alpha=0.05, tol=1e-6, random_state=0), BITS),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SPARSE)
def test_polish_of_coefficients_at_zero_has_the_refits_of_the_fit(name):
    model, y = SPARSE[name]
    n = 80
    model = clone(model).fit(X[:n], y[:n])
    one, polished = (mm.memory_map(model, X[:n], y[:n], polish=each) for each in (False, True))
    np.testing.assert_allclose(polished["sensitivity"], one["sensitivity"], rtol=0.1, atol=1e-3)
    group = {"largest": np.argsort(-one["sensitivity"])[:4]}
    without, expected = polished.leave_out(group), one.leave_out(group)
    np.testing.assert_allclose(without["sensitivity"], expected["sensitivity"], rtol=0.05)
    rows = group["largest"]
    keep = np.setdiff1d(np.arange(n), rows)
    change = predictions(clone(model).fit(X[keep], y[keep]), X[rows]) - predictions(model, X[rows])
    np.testing.assert_allclose(without["sensitivity"], np.abs(change).sum(), rtol=0.05)


def predictions(model, x):
    """Probabilities of the classes, of the second one of two, or the predicted numbers."""
    found = model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)[:, None]
    return found[:, 1:] if found.shape[1] == 2 else found


def test_a_newton_step_is_one_pass():
    model = LogisticRegression(C=2.0, tol=1e-6).fit(X, BITS)
    data = Counted(ArrayExamples.of(X, BITS))
    mm.memory_map(model, data, polish=True)
    assert data.passes == 3  # the posterior at the fit, that after one step, the map
