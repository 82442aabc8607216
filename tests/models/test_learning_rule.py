"""Newton, online Newton and VON for GLMs, and the learning rule as an object: exact maps, exact deletions, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.core.bayesian_learning_rule import BLR, GaussianCandidate
from memorymaps.core.covariance_roots import CovarianceRoot
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.expected import GaussianExpectation
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.models.linear.newton_methods import learning_rule_at, newton, online_newton, von


def data(n=60, p=4):
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    f = X @ rng.normal(size=p)
    targets = {
        "gaussian": f + rng.normal(size=n),
        "bernoulli": (rng.random(n) < 1 / (1 + np.exp(-f))).astype(float),
        "poisson": rng.poisson(np.exp(0.5 * f)).astype(float),
        "categorical": (rng.normal(size=(n, 3)) + f[:, None] * [0, 1, -1]).argmax(1),
    }
    return X, targets


LIKELIHOODS = {"gaussian": Gaussian(0.7), "bernoulli": Bernoulli(), "poisson": Poisson(), "categorical": Categorical()}


def last(states):
    *_, state = states
    return state


def columns(m, names=("leverage", "error", "sensitivity", "loo_loss", "deviation")):
    return {name: m[name] for name in names}


def same(a, b, **tolerance):
    for name, values in columns(a).items():
        np.testing.assert_allclose(values, b[name], err_msg=name, **tolerance)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_newton_is_at_the_optimum_with_the_hessian_there(name):
    X, targets = data()
    y, likelihood = targets[name], LIKELIHOODS[name]
    state = last(newton(X, y, likelihood=likelihood, prior=0.5))
    f = X @ state.mean.T
    gradient = likelihood.error(f, y).T @ X + 0.5 * state.mean
    assert np.abs(gradient).max() < 1e-9
    dense = np.einsum("nab,np,nq->apbq", likelihood.curvature(f, y), X, X).reshape(*2 * (state.mean.size,))
    np.testing.assert_allclose(state.precision, dense + 0.5 * np.eye(state.mean.size), rtol=1e-9, atol=1e-12)


def test_newtons_map_is_that_of_scikit_learns_ridge_and_logistic_regression():
    X, targets = data()
    y = targets["gaussian"]
    state = last(newton(X, y, likelihood=Gaussian(1.0), prior=2.0))
    exact = mm.memory_map(Ridge(alpha=2.0, fit_intercept=False).fit(X, y), X, y)
    m = mm.memory_map(state, X, y)
    for name in ("leverage", "error", "sensitivity", "loo_prediction"):
        np.testing.assert_allclose(m[name], exact[name], rtol=1e-9, atol=1e-12)
    y = targets["bernoulli"]
    model = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-12, max_iter=1000).fit(X, y)
    state = last(newton(X, y, likelihood=Bernoulli(), prior=2.0))
    same(mm.memory_map(state, X, y), mm.memory_map(model, X, y), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_online_newton_ends_where_newton_does(name):
    X, targets = data()
    options = {"likelihood": LIKELIHOODS[name], "prior": 0.5}
    exact = mm.memory_map(last(newton(X, targets[name], **options)), X, targets[name])
    state = last(online_newton(X, targets[name], rate=0.2, steps=200, **options))
    same(mm.memory_map(state, X, targets[name]), exact, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_von_of_linear_regression_is_the_exact_posterior():
    X, targets = data()
    options = {"likelihood": Gaussian(0.7), "prior": 0.5}
    exact, found = (last(rule(X, targets["gaussian"], **options)) for rule in (newton, von))
    np.testing.assert_allclose(found.mean, exact.mean, rtol=1e-7)
    np.testing.assert_allclose(found.precision, exact.precision, rtol=1e-9)
    a, b = (mm.memory_map(each, X, targets["gaussian"]) for each in (exact, found))
    for name in ("leverage", "error", "sensitivity", "deviation"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-6)


@pytest.mark.slow
def test_von_of_logistic_regression_is_laplace_where_the_posterior_is_narrow():
    """Data repeated 200 times: `q` is narrow, and the variational optimum is Laplace's."""
    X, targets = data()
    X, y = np.tile(X, (200, 1)), np.tile(targets["bernoulli"], 200)
    options = {"likelihood": Bernoulli(), "prior": 0.5}
    exact, found = last(newton(X, y, **options)), last(von(X, y, rate=0.3, steps=80, **options))
    a, b = (mm.memory_map(each, X[:60], y[:60]) for each in (exact, found))
    same(a, b, rtol=0.01)


@pytest.mark.slow
def test_von_minimises_the_variational_objective():
    X, targets = data(40, 2)
    y, prior = targets["bernoulli"], 0.5
    state = last(von(X, y, likelihood=Bernoulli(), prior=prior, rate=0.3, steps=200))

    def objective(z):
        m, root = z[:2], np.array([[np.exp(z[2]), 0], [z[3], np.exp(z[4])]])
        v = np.sum((X @ root) ** 2, 1)[:, None, None]
        loss = np.sum(GaussianExpectation(Bernoulli(), v).nll((X @ m)[:, None], y))
        return loss + 0.5 * prior * (m @ m + np.sum(root**2)) - z[2] - z[4]

    best = minimize(objective, np.zeros(5), method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9}).x
    root = np.array([[np.exp(best[2]), 0], [best[3], np.exp(best[4])]])
    np.testing.assert_allclose(state.mean[0], best[:2], rtol=1e-4)
    np.testing.assert_allclose(np.linalg.inv(state.precision), root @ root.T, rtol=1e-3)


@pytest.mark.slow
def test_150_samples_of_von_give_the_error_and_variance_of_its_map():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    state = last(von(X, y.astype(float), likelihood=Bernoulli(), prior=1.0, rate=0.2, steps=60))
    m = mm.memory_map(state, X, y.astype(float))
    rng = np.random.default_rng(0)
    theta = state.mean[0] + rng.standard_normal((150, 30)) @ state.root[0].T
    f = X @ theta.T
    p = 1 / (1 + np.exp(-f))
    spread = p.std(1) / np.sqrt(150)
    assert np.all(
        np.abs(m["residual"] - (p.mean(1) - y)) < 5 * spread + 5e-3
    )  # rare large values: the variance of 150 draws is inaccurate
    v = m.origin.posterior.marginals(X).variance[:, 0, 0]
    np.testing.assert_allclose(f.var(1) / v, 1, atol=0.6)
    np.testing.assert_allclose(np.mean(f.var(1) / v), 1, atol=0.1)
    sampled = last(von(X, y.astype(float), likelihood=Bernoulli(), prior=1.0, rate=0.2, steps=60, samples=150))
    np.testing.assert_allclose(mm.memory_map(sampled, X, y)["leverage"].sum(), m["leverage"].sum(), rtol=0.05)


@pytest.mark.slow
def test_minibatches_and_diagonals_are_near_the_exact_map():
    X, targets = data()
    y, options = targets["bernoulli"], {"likelihood": Bernoulli(), "prior": 2.0}
    exact = last(newton(X, y, **options))
    noisy = last(online_newton(X, y, rate=0.02, batch_size=20, steps=1500, **options))
    np.testing.assert_allclose(noisy.mean, exact.mean, atol=0.1)
    np.testing.assert_allclose(noisy.precision, exact.precision, atol=0.15 * exact.precision.max())
    diagonal = last(online_newton(X, y, rate=0.1, structure="diag", steps=500, **options))
    np.testing.assert_allclose(diagonal.mean, exact.mean, rtol=1e-5)
    np.testing.assert_allclose(diagonal.precision, np.diagonal(exact.precision), rtol=1e-5)
    v = mm.memory_map(diagonal, X, y).origin.posterior.marginals(X).variance[:, 0, 0]
    np.testing.assert_allclose(v, X**2 @ (1 / diagonal.precision))


# --- the rule -------------------------------------------------------------------------------------------------------


def test_one_step_of_a_conjugate_gaussian_deletes_exactly():
    X, targets = data()
    y, options = targets["gaussian"], {"likelihood": Gaussian(0.7), "prior": 0.5}
    rule = learning_rule_at(last(newton(X, y, **options)), X, y, rate=1.0)
    assert rule.relative_gap() < 1e-9
    members = [3, 17, 40]
    mean, precision = rule.without(members)
    rest = np.delete(np.arange(60), members)
    again = last(newton(X[rest], y[rest], **options))
    np.testing.assert_allclose(mean, again.mean[0], rtol=1e-9)
    np.testing.assert_allclose(precision, again.precision, rtol=1e-10)
    np.testing.assert_allclose(rule.deviation(members), rule.deviations()[members].sum(0))


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["full", "diag"])
def test_the_rule_steps_as_the_algorithm_does_and_has_its_fixed_point(structure):
    X, targets = data()
    y, options = targets["poisson"], {"likelihood": Poisson(), "prior": 0.5, "structure": structure}
    states = list(von(X, y, rate=0.3, steps=150, **options))
    assert learning_rule_at(states[-1], X, y).relative_gap() < 1e-6
    rule = learning_rule_at(states[-1], X, y, rate=0.3)
    np.testing.assert_allclose(rule.step(), rule.natural, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(rule.with_rate(0.15).deviation(2), rule.deviation(2) / 2)
    precision = learning_rule_at(states[3], X, y, rate=0.3).candidate.unpack(
        learning_rule_at(states[3], X, y, rate=0.3).step()
    )[1]
    np.testing.assert_allclose(precision, states[4].precision, rtol=1e-8)


def test_gradient_descent_is_the_rule_with_a_fixed_covariance():
    m, gradients = np.array([1.0, -2.0]), np.array([[0.3, 0.1], [-0.2, 0.4]])
    family = GaussianCandidate(2, "fixed")
    natural = family.natural_gradients(m, gradients, np.zeros((2, 2)))
    rule = BLR(family, family.pack(m, np.ones(2)), natural, -m, rate=0.1)  # the KL term cancels the decay of m
    np.testing.assert_allclose(family.unpack(rule.step())[0], m - 0.1 * gradients.sum(0))
    np.testing.assert_allclose(rule.without(1)[0], m + 0.1 * gradients[1])


def test_the_roots_are_those_of_the_precision():
    X, targets = data()
    state = last(newton(X, targets["categorical"], likelihood=Categorical(), prior=0.5))
    root = state.root.reshape(state.mean.size, -1)
    np.testing.assert_allclose(root @ root.T @ state.precision, np.eye(len(root)), atol=1e-9)
    assert CovarianceRoot(state.root).variance(X).shape == (60, 3, 3)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [({"prior": 0.0}, "δ > 0"), ({"rate": 1.5}, "ρ ≤ 1"), ({"structure": "kfac"}, "'full' or 'diag'")],
)
def test_wrong_numbers_are_refused(change, words):
    X, targets = data()
    with pytest.raises(ValueError, match=words):
        last(online_newton(X, targets["bernoulli"], **{"likelihood": Bernoulli(), "prior": 1.0} | change))


def test_wrong_data_is_refused():
    X, targets = data()
    X[3, 1] = np.nan
    with pytest.raises(mm.DataError, match="finite matrix"):
        last(newton(X, targets["bernoulli"], likelihood=Bernoulli(), prior=1.0))
    with pytest.raises(mm.TargetError):
        last(newton(X[:, :1], targets["gaussian"], likelihood=Bernoulli(), prior=1.0))


def test_rules_that_do_not_fit_are_refused():
    family = GaussianCandidate(2, "diag")
    good = {"candidate": family, "natural": np.zeros(4), "gradients": np.zeros((3, 4)), "prior": np.zeros(4)}
    for change, words in (
        ({"natural": np.zeros(3)}, "expects"),
        ({"rate": 0.0}, "ρ ≤ 1"),
        ({"gradients": np.full((3, 4), np.nan)}, "not finite"),
    ):
        with pytest.raises(ValueError, match=words):
            BLR(**good | change)
    with pytest.raises(ValueError, match="'fixed'"):
        GaussianCandidate(2, "kfac")
