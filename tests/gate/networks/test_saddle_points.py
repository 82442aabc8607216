"""Networks whose gradient vanishes: at a minimum, at a saddle point, on a kink."""

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPRegressor
from torch import nn

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
    seen = []
    monkeypatch.setattr(diagnostics, "fall_beyond_saddle", lambda problem: seen.append(problem) or 0.0)
    model, draw = perceptron(hidden), np.random.default_rng(1)
    model.coefs_ = [draw.normal(0, 0.2, each.shape) for each in model.coefs_]
    monkeypatch.setattr(diagnostics, "_STATIONARY", np.inf)
    mm.memory_map(model, X, Y)
    exact, found = saddle.by_matrix(seen[0]), saddle.by_products(seen[0])
    assert exact.value < -1
    assert found.value == pytest.approx(exact.value, rel=0.02)
    at = torch.stack([exact.direction, found.direction])
    assert torch.corrcoef(at)[0, 1].abs() > 0.99


class Kinked(nn.Module):
    """`f = slope |w| − u w²`, of whose error at `w = 0` the second derivative knows the last term only."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope
        self.w, self.u = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.scale = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.scale.weight)

    def forward(self, x):
        """Of one column."""
        return self.slope * self.w.abs() - self.w.square() + self.u * self.w + self.scale(x)


@pytest.mark.parametrize(("slope", "falls"), [(0.0, True), (30.0, False)])
def test_a_minimum_on_a_kink_is_no_saddle_point(slope, falls):
    x, y = torch.tensor([[1.0], [-1.0]] * 10), torch.full((20,), -1.0)
    m = mm.memory_map(Kinked(slope), x, y, likelihood=mm.Gaussian(1.0), posterior=mm.Laplace("full", prior=1.0))
    assert (NOTE in str(m.summary())) == falls
