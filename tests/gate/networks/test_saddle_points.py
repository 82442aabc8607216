"""Networks whose gradient vanishes: at a minimum, or at a saddle point."""

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

import memorymaps as mm
from memorymaps.nets.laplace import diagnostics, saddle

X = np.random.default_rng(0).normal(size=(80, 3))
Y = X @ [1.0, -0.7, 0.4]
NOTE = "A saddle point"


def perceptron(hidden):
    options = {"activation": "tanh", "solver": "lbfgs", "alpha": 1.0, "random_state": 0, "max_iter": 5000}
    return MLPRegressor(hidden_layer_sizes=(hidden,), **options).fit(X, Y)


def with_weights(model, weight):
    model.coefs_ = [np.full_like(each, weight) for each in model.coefs_]
    model.intercepts_[-1][:] = Y.mean()
    return model


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [3, 300])
@pytest.mark.parametrize("weight", [0.0, 1e-7])
def test_a_network_at_a_saddle_point_is_warned_of(hidden, weight):
    """With all weights zero the gradient vanishes, and the loss falls along products of weights of two layers."""
    model = perceptron(hidden)
    assert NOTE not in str(mm.memory_map(model, X, Y).summary())
    m = mm.memory_map(with_weights(model, weight), X, Y)
    assert NOTE in str(m.summary())
    assert any("from the optimum" in line for line in m.summary().warnings)
    assert not m.trust["sensitivity"].sizes


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [3, 40])
def test_the_lowest_curvature_by_products_is_that_of_the_matrix(hidden, monkeypatch):
    seen, model, draw = [], perceptron(hidden), np.random.default_rng(1)
    monkeypatch.setattr(diagnostics, "lowest_curvature", lambda problem: seen.append(problem) or 0.0)
    monkeypatch.setattr(diagnostics, "_STATIONARY", np.inf)
    model.coefs_ = [draw.normal(0, 0.2, each.shape) for each in model.coefs_]
    mm.memory_map(model, X, Y)
    exact = saddle.by_matrix(seen[0])
    assert exact < -1
    assert saddle.by_products(seen[0]) == pytest.approx(exact, rel=0.02)
