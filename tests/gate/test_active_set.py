"""The warning of an L1 active set that changes when an example is left out, against refits."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn_versions import LASSO

import memorymaps as mm
from memorymaps.core.perturbation.deviation import Warn

rng = np.random.default_rng(0)
WIDE = rng.normal(size=(120, 200))
WIDE_Y = WIDE[:, :8] @ rng.normal(size=8) + rng.normal(size=120)


def _logistic(**options):
    return LogisticRegression(solver="liblinear", **options)


def _cases():
    x, y = load_diabetes(return_X_y=True)
    z, labels = load_breast_cancer(return_X_y=True)
    z = StandardScaler().fit_transform(z)
    return {
        "diabetes": (Lasso(0.02), x, y),
        "wide": (Lasso(0.3), WIDE, WIDE_Y),
        "elastic net": (ElasticNet(0.2), WIDE, WIDE_Y),
        "logistic": (_logistic(**LASSO), z, labels),
    }


def _output(model, x):
    return (model.decision_function(x) if hasattr(model, "decision_function") else model.predict(x))[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["diabetes", "wide", "elastic net", "logistic"])
def test_deviations_without_a_light_are_those_of_refits(name):
    model, x, y = _cases()[name]
    tight = clone(model).set_params(tol=1e-10, max_iter=200_000).fit(x, y)
    m = mm.memory_map(tight, x, y, estimator="cavity")
    rows = np.union1d(np.argsort(-m["sensitivity"])[:15], np.random.default_rng(0).permutation(len(y))[:25])
    refits = [clone(tight).fit(np.delete(x, row, 0), np.delete(y, row)) for row in rows]
    truth = np.asarray(
        [_output(refit, x[[row]]) - _output(tight, x[[row]]) for refit, row in zip(refits, rows, strict=True)]
    )
    found, flagged = m["deviation"].ravel()[rows], (m["warning"][rows] & int(Warn.ACTIVE_SET)) != 0
    unflagged = ~flagged
    assert 0.85 < found[unflagged] @ truth[unflagged] / (truth[unflagged] @ truth[unflagged]) < 1.15
    assert np.linalg.norm((found - truth)[unflagged]) < 0.3 * np.linalg.norm(truth[unflagged])
    accurate = np.abs(found - truth) < 0.05 * np.abs(truth)
    assert not np.any(flagged & accurate)
    assert np.mean(m["warning"] != 0) < 0.1
    if name == "logistic":
        assert np.any(flagged)
        assert any("without which other coefficients are zero" in line for line in m.summary().warnings)


@pytest.mark.slow
def test_examples_that_change_the_active_set_are_refitted():
    """The fifth coefficient is zero; without one example in six of this seed it is not."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(200, 5))
    y = x @ [1.0, -2.0, 0.5, 0.0, 0.3] + draws.normal(size=200)
    model = Lasso(0.05, tol=1e-12, max_iter=100_000).fit(x, y)
    formula, m = mm.memory_map(model, x, y, estimator="cavity"), mm.memory_map(model, x, y)
    changing = (formula["warning"] & int(Warn.ACTIVE_SET)) != 0
    assert changing.sum() > 20
    np.testing.assert_array_equal(m["refitted"][changing], True)
    assert not np.any(m["warning"])
    truth = [
        clone(model).fit(np.delete(x, i, 0), np.delete(y, i)).predict(x[[i]])[0] for i in range(200)
    ] - model.predict(x)
    np.testing.assert_allclose(m["deviation"].ravel()[changing], truth[changing], atol=1e-8)
    found = m["deviation"].ravel()
    assert np.linalg.norm(found - truth) < 0.03 * np.linalg.norm(truth)
    assert np.linalg.norm(formula["deviation"].ravel() - truth) > 0.3 * np.linalg.norm(truth)


def test_sign_constraints_are_warned_of_too():
    """One example holds a coefficient away from zero: without it the constraint binds."""
    x = np.r_[np.linspace(0, 1, 20), 4.0][:, None]
    y = np.r_[-0.2 * x[:-1, 0] + 0.02 * np.sin(40 * x[:-1, 0]), 3.0]
    m = mm.memory_map(LinearRegression(positive=True).fit(x, y), x, y, estimator="cavity")
    without = LinearRegression(positive=True).fit(x[:-1], y[:-1])
    assert without.coef_[0] == 0
    assert m["warning"][-1] == int(Warn.ACTIVE_SET)
    assert abs(m["loo_prediction"][-1] - without.predict(x[[-1]])[0]) > 0.15 * abs(m["deviation"][-1])


def test_smooth_penalties_have_no_such_warning():
    with warnings.catch_warnings(action="error"):
        m = mm.memory_map(LinearRegression().fit(WIDE[:, :5], WIDE_Y), WIDE[:, :5], WIDE_Y)
    assert not np.any(m["warning"] & int(Warn.ACTIVE_SET))
