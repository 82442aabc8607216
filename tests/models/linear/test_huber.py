"""Huber regression: its scale is held, what that changes against refits, and refits far from the quadratic piece."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import HuberRegressor, PoissonRegressor
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.maps.trust import Level

TIGHT = {"tol": 1e-10, "max_iter": 10_000}
N = 150
X, Y = load_diabetes(return_X_y=True)
X, Y = StandardScaler().fit_transform(X)[:N, :4], Y[:N]


def mapped(**settings):
    model = HuberRegressor(**settings, **TIGHT).fit(X, Y)
    return model, mm.memory_map(model, X, Y)


def change(model, removed):
    """Of the predictions, by a refit that estimates its scale again."""
    rest = np.setdiff1d(np.arange(N), removed)
    return np.abs(clone(model).fit(X[rest], Y[rest]).predict(X) - model.predict(X))


def test_the_scale_is_said_to_be_held_once():
    m = mapped()[1]
    words = "held as in the fit: the residuals' scale, by HuberRegressor"
    for figure in ("sensitivity", "loo_loss", "groups"):
        assert words in m.trust[figure].reasons
    assert m.trust["leverage"].reasons == m.trust["ranks"].reasons
    assert "scale" not in " ".join(m.provenance.description.notes)
    assert str(m.leave_out({"a few": [0, 1, 2]})).count("the residuals' scale, by HuberRegressor") == 1


def test_sensitivities_with_the_scale_held_are_those_of_refits_that_estimate_it_again():
    model, m = mapped()
    rows = np.argsort(-m["sensitivity"])[::5]
    truth = np.array([change(model, np.array([row]))[row] for row in rows.tolist()])
    found = m["sensitivity"][rows]
    assert found @ truth / (truth @ truth) == pytest.approx(1, abs=0.02)
    assert np.linalg.norm(found - truth) < 0.05 * np.linalg.norm(truth)  # 0.7 to 6 % measured
    assert m.trust["sensitivity"].level == Level.ESTIMATED


def test_groups_of_small_residuals_change_the_scale_and_are_ranks_only():
    model, m = mapped(alpha=10.0)
    small = np.argsort(np.abs(Y - model.predict(X)))[: int(0.3 * N)]
    random = np.random.default_rng(0).permutation(N)[: int(0.3 * N)]
    found = m.leave_out({"small": small, "random": random})
    share = [found["sensitivity"][k] / change(model, rows)[rows].sum() for k, rows in enumerate((small, random))]
    assert share[0] < 0.7
    assert share[1] == pytest.approx(1, abs=0.1)
    assert m.trust["groups"].level == Level.RANKS
    assert "ranks only, as the scale of refits follows the group's residuals" in found.held


def refitted_at_the_scale(model, removed):
    """Predictions without some examples, by BFGS, the scale held."""
    rest, scale = np.setdiff1d(np.arange(N), removed), model.scale_
    a, threshold = np.column_stack([np.ones(N), X]), model.epsilon * scale
    penalty = model.alpha * np.append(0.0, np.ones(X.shape[1]))

    def value(theta):
        r = Y[rest] - a[rest] @ theta
        size = np.abs(r)
        loss = np.where(size <= threshold, r**2, 2 * threshold * size - threshold**2) / scale
        slope = -2 * a[rest].T @ np.clip(r, -threshold, threshold) / scale
        return loss.sum() + penalty @ theta**2, slope + 2 * penalty * theta

    theta = np.append(model.intercept_, model.coef_)
    for _ in range(10):
        theta = minimize(value, theta, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 20_000}).x
    assert np.linalg.norm(value(theta)[1]) < 1e-4
    return a @ theta


def test_groups_with_all_examples_on_the_quadratic_piece_are_refitted():
    model, m = mapped(epsilon=1.05)
    size = np.abs(Y - model.predict(X))
    inside = np.flatnonzero(size < 1.06 * model.scale_)
    assert len(inside) < N / 3
    groups = {"on the quadratic piece": inside, "most of it": inside[3:], "high": np.argsort(-Y)[:45]}
    found = m.leave_out(groups)
    for k, rows in enumerate(groups.values()):
        truth = np.abs(refitted_at_the_scale(model, rows) - refitted_at_the_scale(model, rows[:0]))
        assert found["warning"][k] == ""
        assert found["sensitivity"][k] == pytest.approx(truth[rows].sum(), rel=1e-3)


def test_a_coefficient_that_a_weak_penalty_alone_determines_is_refitted():
    x, y = np.column_stack([X[:40, :2], np.eye(40)[5]]), np.exp(X[:40, 2])
    model = HuberRegressor(alpha=1e-4, **TIGHT).fit(x, y)
    found = mm.memory_map(model, x, y).leave_out({"it": [5], "it and another": [5, 6]})
    moved = abs(model.coef_[2])  # to zero
    assert found["sensitivity"][0] == pytest.approx(moved, rel=1e-3)
    assert found["warning"].tolist() == ["", ""]


def test_an_example_that_alone_determines_a_coefficient_is_not_called_refitted_without_a_change():
    x, y = np.column_stack([X[:40, :2], np.eye(40)[5]]), np.exp(X[:40, 2])
    m = mm.memory_map(PoissonRegressor(alpha=0, **TIGHT).fit(x, y), x, y)
    assert np.isnan(m["sensitivity"][5])
    assert np.isnan(mm.refit(m, top=3)["sensitivity"][5])
    found = m.leave_out({"it": [5], "it and another": [5, 6], "others": [7, 8]})
    assert np.isnan(found["sensitivity"]).tolist() == [True, True, False]
    assert found["warning"].tolist() == ["the other examples do not determine the model"] * 2 + [""]
