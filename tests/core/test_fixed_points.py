"""Fixed points of variational Gaussian processes, and the iteration that finds them, against direct minimisation."""

import numpy as np
import pytest
from scipy.optimize import minimize

from memorymaps.core.fixed_point_iteration import Iteration, solve_fixed_points
from memorymaps.core.likelihoods.expected import ExpectedLikelihood, GaussianExpectation, expected_derivatives
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Poisson
from memorymaps.core.likelihoods.links import Probit
from memorymaps.core.variational_fixed_point import VariationalLosses, VariationalObjective

RNG = np.random.default_rng(0)


def always(x):
    return np.ones(len(x), dtype=bool)


def test_oscillating_and_contracting_problems_are_solved_together():
    """`r = b − A x`, eigenvalues of `A` up to 8: steps of rate one diverge."""
    matrices = np.stack([np.diag([0.5, 1.0, 8.0]), np.diag([3.0, 0.1, 1.0])])
    b = RNG.normal(size=(2, 3))
    problem = Iteration(lambda x, rows: b[rows] - np.einsum("bij,bj->bi", matrices[rows], x), always)
    x, residual = solve_fixed_points(problem, np.zeros((2, 3)), np.ones(2), 50, 1e-9)
    np.testing.assert_allclose(x, b / np.diagonal(matrices, axis1=1, axis2=2), rtol=1e-6)
    assert np.all(residual <= 1e-9)


def test_a_problem_without_a_fixed_point_keeps_its_residual():
    problem = Iteration(lambda x, rows: np.exp(x), always)
    residual = solve_fixed_points(problem, np.zeros((1, 1)), np.ones(1), 20, 1e-9)[1]
    assert residual[0] > 1e-9


def test_steps_stay_where_residuals_exist():
    """`r = 1 − log x` from `x = 0.01`."""
    problem = Iteration(lambda x, rows: 1 - np.log(x), lambda x: (x > 0).all(axis=1))
    x, _ = solve_fixed_points(problem, np.full((1, 1), 0.01), np.ones(1), 60, 1e-10)
    assert x[0, 0] == pytest.approx(np.e, rel=1e-8)


@pytest.mark.parametrize("likelihood", [Bernoulli(), Bernoulli(link=Probit()), Poisson()])
def test_derivatives_are_those_of_the_averaged_loss(likelihood):
    f, v, h = RNG.normal(size=(5, 1)), np.full((5, 1, 1), 0.8), 1e-5
    y = np.array([0.0, 1.0, 1.0, 0.0, 1.0])

    def loss(f, v):
        return GaussianExpectation(likelihood, v).nll(f, y)

    first, second = expected_derivatives(ExpectedLikelihood(likelihood).averaged_over(v), f, y)
    np.testing.assert_allclose(first[:, 0], (loss(f + h, v) - loss(f - h, v)) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(second[:, 0, 0], (loss(f, v + h) - loss(f, v - h)) / h, rtol=1e-6)
    np.testing.assert_allclose(
        second[:, 0, 0], (loss(f + 1e-3, v) - 2 * loss(f, v) + loss(f - 1e-3, v)) / 1e-6, rtol=1e-4
    )


N, M = 20, 3
FEATURES, TARGET = RNG.normal(size=(N, 1, M)), RNG.poisson(1.5, size=N).astype(float)
WEIGHT, RESIDUAL = RNG.uniform(0.5, 2.0, size=N), RNG.uniform(0, 0.2, size=N)


def minimum(weight):
    """Mean and covariance at the minimum of the counts' `Σ w (exp(f + V/2) − y f) + KL(q ‖ N(0, I))`."""
    z, lower = FEATURES[:, 0], np.tril_indices(M)

    def loss(x):
        root = np.zeros((M, M))
        root[lower] = x[M:]
        f, v = z @ x[:M], np.sum((z @ root) ** 2, axis=1) + RESIDUAL
        kl = 0.5 * (x[:M] @ x[:M] + np.sum(root**2)) - np.sum(np.log(np.abs(np.diagonal(root))))
        return weight @ (np.exp(f + v / 2) - TARGET * f) + kl

    start = np.concatenate([np.zeros(M), 0.3 * np.eye(M)[lower]])
    x = minimize(loss, start, method="BFGS", options={"gtol": 1e-9, "maxiter": 500}).x
    root = np.zeros((M, M))
    root[lower] = x[M:]
    return x[:M], root @ root.T


def test_counts_without_an_example_are_at_the_minimum_of_their_objective():
    losses = VariationalLosses(
        ExpectedLikelihood(Poisson()), FEATURES, np.zeros((N, 1)), RESIDUAL[:, None, None], np.eye(1), TARGET
    )
    prior = VariationalObjective(losses, WEIGHT, np.eye(M)[None], np.zeros((1, M)))
    fit = prior.fixed_points(WEIGHT[None], 200, 1e-9)
    optimum = prior.at_optimum(fit.mean[0], fit.precision[0])
    assert prior.distance > 1
    assert optimum.distance < 1e-12
    weight = np.tile(WEIGHT, (3, 1))
    weight[1, 4], weight[2, [3, 7, 8]] = 0.0, 0.0
    found = optimum.fixed_points(weight, 100, 1e-9)
    np.testing.assert_allclose(found.mean[0], 0, atol=1e-9)
    for k in (1, 2):
        mean, covariance = minimum(weight[k])
        root = fit.root[0, 0]
        np.testing.assert_allclose(fit.mean[0, 0] + root @ found.mean[k, 0], mean, atol=1e-5)
        changed = root @ np.linalg.inv(found.precision[k, 0]) @ root.T
        np.testing.assert_allclose(changed, covariance, atol=1e-5)
