"""`polish=True`: the optimum of an independent Newton's method from any start, in few passes over the data."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor

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


def test_a_newton_step_is_one_pass():
    model = LogisticRegression(C=2.0, tol=1e-6).fit(X, BITS)
    data = Counted(ArrayExamples.of(X, BITS))
    mm.memory_map(model, data, polish=True)
    assert data.passes == 3  # the posterior at the fit, that after one step, the map
