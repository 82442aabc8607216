"""Gaussian process classifiers without single examples: maps against the mode fitted again by dense Newton steps."""

import itertools

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, DotProduct, Matern, WhiteKernel

from memorymaps import Warn, memory_map
from memorymaps.models.kernels import latent_refits
from memorymaps.models.kernels.gram_root import GramRoot

KERNELS = {
    "RBF, variance 100": 100 * RBF(1.0),
    "RBF, variance 900": 900 * RBF(1.0),
    "Matern": 100 * Matern(1.0, nu=1.5),
    "linear": 100 * DotProduct(1.0),
    "white noise": 100 * RBF(1.0) + WhiteKernel(5.0),
}


def mode(gram, y):
    """`y − π` at the latent mode, by Newton steps halved until the log posterior rises."""
    duals = np.zeros(len(y))

    def value(a):
        f = gram @ a
        return np.sum(y * f - np.logaddexp(0, f)) - a @ f / 2

    for _ in range(200):
        f = gram @ duals
        p = 1 / (1 + np.exp(-f))
        w = p * (1 - p)
        b = w * f + y - p
        step = b - w * np.linalg.solve(np.eye(len(y)) + gram * w, gram @ b) - duals
        if np.max(np.abs(gram @ step)) < 1e-8:
            break
        while value(duals + step) < value(duals) - 1e-10:
            step = step / 2
        duals = duals + step
    return duals


def without_each(gram, y):
    """`Δf [n]` of each example's output at the mode without it."""
    f, rows = gram @ mode(gram, y), np.arange(len(y))
    left = [gram[i, rows != i] @ mode(gram[np.ix_(rows != i, rows != i)], y[rows != i]) for i in rows]
    return np.asarray(left) - f


def two_classes(n=36, twins=0):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    X = rng.normal(size=(n, 2)) + np.outer(y, [1.5, 0])
    y[:2] = 1 - y[:2]  # wrong labels
    X[n - twins :] = X[:twins]
    return X, y


@pytest.mark.slow
@pytest.mark.parametrize("twins", [0, 10])
@pytest.mark.parametrize("name", KERNELS)
def test_maps_are_those_of_refits_where_one_step_is_not(name, twins):
    X, y = two_classes(twins=twins)
    model = GaussianProcessClassifier(KERNELS[name], optimizer=None).fit(X, y)
    truth = without_each(model.kernel_(X), y)
    step, m = memory_map(model, X, y, estimator="cavity"), memory_map(model, X, y)
    largest = np.argsort(-np.abs(truth))[:3]
    left = m["output"] + truth
    loss = np.logaddexp(0, left) - y * left
    assert np.linalg.norm(step["deviation"] - truth) > 2 * np.linalg.norm(m["deviation"] - truth)
    np.testing.assert_allclose(m["deviation"][largest], truth[largest], rtol=0.05)
    assert np.linalg.norm(m["deviation"] - truth) < 0.06 * np.linalg.norm(truth)
    assert m["loo_loss"].sum() == pytest.approx(loss.sum(), rel=0.03)
    assert not np.any(m["warning"] & int(Warn.LONG_STEP))
    np.testing.assert_allclose(m["deviation"][m["refitted"]], truth[m["refitted"]], rtol=2e-3, atol=1e-3)
    assert f"{m['refitted'].sum()} of 36 examples are verified" in str(m.trust["sensitivity"])


@pytest.mark.parametrize("scheme", ["one_vs_rest", "one_vs_one"])
def test_several_classes(scheme):
    rng = np.random.default_rng(1)
    y = np.arange(36) % 3
    X = rng.normal(size=(36, 2)) + 1.2 * np.array([[0, 0], [1, 1], [1, -1]])[y]
    model = GaussianProcessClassifier(400 * RBF(1.0), optimizer=None, multi_class=scheme).fit(X, y)
    truth = np.zeros((36, 3))
    for k, (a, b) in enumerate(itertools.combinations(range(3), 2)):
        rows = np.flatnonzero(np.isin(y, (a, b))) if scheme == "one_vs_one" else np.arange(36)
        gram = 400 * RBF(1.0)(X[rows])
        truth[rows, k] = without_each(gram, (y[rows] == (a if scheme == "one_vs_one" else k)).astype(float))
    m = memory_map(model, X, y)
    assert m["refitted"].sum() > 5
    assert np.linalg.norm(m["deviation"] - truth) < 0.06 * np.linalg.norm(truth)


def test_refits_are_those_of_the_library():
    X, y = two_classes()
    model = GaussianProcessClassifier(KERNELS["RBF, variance 100"], optimizer=None).fit(X, y)
    m = memory_map(model, X, y)
    for i in np.flatnonzero(m["refitted"])[:5]:
        kept = np.arange(36) != i
        fresh = GaussianProcessClassifier(model.kernel, optimizer=None).fit(X[kept], y[kept]).base_estimator_
        left = model.kernel_(X[[i]], X[kept]) @ (fresh.y_train_ - fresh.pi_)
        assert m["output"][i] + m["deviation"][i] == pytest.approx(left[0], rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", ["RBF, variance 100", "linear", "white noise"])
def test_predictions_elsewhere_without_an_example(name):
    X, y = two_classes()
    model = GaussianProcessClassifier(KERNELS[name], optimizer=None).fit(X, y)
    queries, rows = np.random.default_rng(3).normal(size=(4, 2)), np.array([0, 1, 7])
    found = memory_map(model, X, y).origin.posterior.capabilities.example_refits.at(queries)(rows)
    gram, cross = model.kernel_(X), model.kernel_(queries, X)
    f = cross @ mode(gram, y)
    for place, i in enumerate(rows):
        kept = np.arange(36) != i
        left = cross[:, kept] @ mode(gram[np.ix_(kept, kept)], y[kept])
        np.testing.assert_allclose(found[:, place, 0], left - f, rtol=2e-3, atol=2e-3)


def test_long_steps_that_are_not_refitted_are_marked(monkeypatch):
    X, y = two_classes()
    model = GaussianProcessClassifier(KERNELS["RBF, variance 900"], optimizer=None).fit(X, y)
    monkeypatch.setattr(latent_refits.LatentRefit, "affordable", lambda self: 2)
    m = memory_map(model, X, y)
    assert m["refitted"].sum() == 2
    assert np.any(m["warning"] & int(Warn.LONG_STEP))
    assert not m.trust["sensitivity"].sizes
    assert not m.trust["loo_loss"].sizes


def test_a_root_of_the_gram_matrix_is_one_at_other_inputs_too():
    rng = np.random.default_rng(0)
    X, queries, kernel = rng.normal(size=(30, 2)), rng.normal(size=(5, 2)), 100 * DotProduct(1.0)
    root = GramRoot.of(kernel(X))
    assert root.features.shape == (30, 3)
    np.testing.assert_allclose(root.features @ root.features.T, kernel(X), atol=1e-10)
    np.testing.assert_allclose(root.at(kernel(queries, X)) @ root.features.T, kernel(queries, X), atol=1e-8)
