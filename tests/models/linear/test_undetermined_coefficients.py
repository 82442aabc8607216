"""An example that alone determines a coefficient has no left-out prediction: NaN and its mark, whatever the loss."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import (
    GammaRegressor,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    SGDClassifier,
    SGDRegressor,
)

import memorymaps as mm
from memorymaps.core.perturbation.deviation import Warn

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(3)
N, ALONE = 60, 5
X = np.column_stack([RNG.normal(size=(N, 2)), np.eye(N)[ALONE]])
Y = X[:, 0] - 0.5 * X[:, 1] + RNG.standard_t(3, size=N)
TIGHT = {"tol": 1e-10, "max_iter": 10_000}
SGD = {"penalty": None, "tol": 1e-6, "max_iter": 5000, "random_state": 0}

UNPENALISED = {
    "least squares": (LinearRegression(), Y),
    "Poisson": (PoissonRegressor(alpha=0, **TIGHT), np.exp(Y)),
    "Gamma": (GammaRegressor(alpha=0, **TIGHT), np.exp(Y)),
    "logistic": (LogisticRegression(C=np.inf, **TIGHT), (Y > 0).astype(int)),
    "Huber": (HuberRegressor(alpha=0, **TIGHT), Y),
    "Huber, narrow": (HuberRegressor(alpha=0, epsilon=1.05, **TIGHT), Y),
    "Huber, wide": (HuberRegressor(alpha=0, epsilon=3.0, **TIGHT), Y),
    "quantile": (QuantileRegressor(alpha=0), Y),
    "upper quantile": (QuantileRegressor(alpha=0, quantile=0.8), Y),
    "Huber by SGD": (SGDRegressor("huber", **SGD), Y),
    "tube by SGD": (SGDRegressor("epsilon_insensitive", **SGD), Y),
}


@pytest.mark.parametrize("name", UNPENALISED)
def test_its_removal_is_undefined_and_marked(name):
    model, y = UNPENALISED[name]
    m = mm.memory_map(model.fit(X, y), X, y)
    assert m["leverage"][ALONE] == pytest.approx(1, abs=1e-9)
    for column in ("sensitivity", "loo_loss"):
        assert np.flatnonzero(np.isnan(m[column])).tolist() == [ALONE]
    assert np.flatnonzero(m["warning"] & int(Warn.BOUND)).tolist() == [ALONE]
    assert m["warning"][ALONE] == Warn.BOUND


@pytest.mark.parametrize("name", UNPENALISED)
def test_neither_do_refits_and_groups_define_it(name):
    model, y = UNPENALISED[name]
    m = mm.memory_map(model.fit(X, y), X, y)
    assert np.isnan(mm.refit(m, top=2, by="leverage")["sensitivity"][ALONE])
    found = m.leave_out({"it": [ALONE], "it and another": [ALONE, 6], "others": [7, 8]})
    assert np.isnan(found["sensitivity"]).tolist() == [True, True, False]
    assert found["warning"][:2].tolist() == ["the other examples do not determine the model"] * 2


@pytest.mark.parametrize(
    "model", [HuberRegressor(alpha=1e-4, **TIGHT), QuantileRegressor(alpha=1e-4), SGDClassifier("hinge", alpha=1e-3)]
)
def test_a_penalty_determines_it(model):
    y = (Y > 0).astype(int) if isinstance(model, SGDClassifier) else Y
    m = mm.memory_map(model.fit(X, y), X, y)
    assert np.isfinite(mm.refit(m, top=2, by="leverage")["sensitivity"]).all()
    assert np.isfinite(m.leave_out({"it": [ALONE]})["sensitivity"]).all()
