"""L1 logistic regression by saga that ends with every coefficient at zero, its intercept wherever it is by then."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn_versions import LASSO

import memorymaps as mm

RNG = np.random.default_rng(0)
N = 80
X = RNG.normal(size=(N, 3))
TWO = (RNG.random(N) < 0.8).astype(int)
THREE = RNG.choice(3, N, p=[0.2, 0.2, 0.6])
WEIGHT = RNG.integers(1, 9, N).astype(float)


def fitted(y, x=X, weight=None, **settings):
    model = LogisticRegression(**LASSO, solver="saga", max_iter=1, random_state=0, **{"C": 0.002} | settings)
    return model.fit(x, y, sample_weight=weight)


def shares(y, weight):
    return np.bincount(y, weight) / np.sum(weight)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three"])
@pytest.mark.parametrize("weight", [np.ones(N), WEIGHT], ids=["", "weights"])
def test_refits_have_the_intercept_of_the_minimum(y, weight):
    model = fitted(y, weight=weight)
    assert not model.coef_.any()
    m = mm.memory_map(model, X, y, sample_weight=weight, polish=True)
    assert m.provenance.description.distance < 1e-6
    groups = {"ten": np.arange(10), "one": [0], "others": np.arange(20, 50)}
    found = m.leave_out(groups)
    for k, rows in enumerate(groups.values()):
        change = shares(np.delete(y, rows), np.delete(weight, rows)) - shares(y, weight)
        size = abs(change[1]) if len(change) == 2 else np.abs(change).sum()
        assert found["sensitivity"][k] == pytest.approx(len(rows) * size, rel=1e-5)
    refitted = mm.refit(m, top=5)
    rows = np.flatnonzero(refitted["refitted"])
    np.testing.assert_allclose(refitted["sensitivity"][rows], m["sensitivity"][rows], rtol=0.2)  # 0.3 to 3.4 before


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_coefficient_that_a_group_held_at_zero_is_let_go():
    x = X.copy()
    x[:, 0] = 2.0 * TWO - 1
    x[:30, 0] *= -1.2  # without these the first column tells the classes
    model = fitted(TWO, x, C=0.15)
    model.coef_, model.intercept_ = np.zeros((1, 3)), np.log(shares(TWO, np.ones(N))[1:] / (1 - TWO.mean()))
    refits = mm.memory_map(model, x, TWO).origin.posterior.capabilities.refit
    fresh = refits.fitted_without(np.arange(30))
    error = TWO[30:] - fresh.predict_proba(x[30:])[:, 1]
    assert fresh.coef_[0, 0] > 0
    assert np.sum(error) == pytest.approx(0, abs=1e-5)
    assert abs(x[30:, 0] @ error) == pytest.approx(1 / 0.15, rel=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("y", "seed"), [(TWO, 1), (THREE, 1), (TWO, 2), (THREE, 2)])
def test_outputs_that_are_all_the_same_are_not_said_to_be_of_other_targets(y, seed):
    x = 100 * np.random.default_rng(seed).normal(size=(N, 3)) + 50
    model = fitted(y, x, C=1e-5)
    assert not model.coef_.any()
    m = mm.memory_map(model, x, y)
    assert m.provenance.description.distance > 1
    assert "polish=True" in m.summary().warnings[0]
    assert m.trust["sensitivity"].level != "estimated"
    assert mm.memory_map(model, x, y, polish=True).provenance.description.distance < 1e-6
