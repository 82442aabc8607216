"""Averages under q against closed forms, adaptive quadrature and Bonnet's theorem."""

import numpy as np
import pytest
from scipy import integrate, stats

from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.expected import ExpectedLikelihood, GaussianExpectation
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gamma, Gaussian, Poisson
from memorymaps.core.likelihoods.links import Log, Probit

rng = np.random.default_rng(1)
F = rng.normal(size=(3, 1))
V = np.abs(rng.normal(size=(3, 1, 1))) + 0.1
CASES = {
    "gaussian": (Gaussian(0.5), np.array([0.3, -1.0, 2.0])),
    "bernoulli": (Bernoulli(), np.array([0.0, 1.0, 1.0])),
    "probit": (Bernoulli(link=Probit()), np.array([0.0, 1.0, 1.0])),
    "poisson": (Poisson(), np.array([0.0, 2.0, 5.0])),
    "gamma": (Gamma(0.5), np.array([0.3, 2.0, 5.0])),
}


def integrated(g, i):
    density = stats.norm(F[i, 0], np.sqrt(V[i, 0, 0]))
    return integrate.quad(
        lambda z: float(np.squeeze(g(np.array([[z]])))) * density.pdf(z), *density.interval(1 - 1e-15)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("what", ["nll", "mean", "error", "curvature"])
def test_averages_equal_adaptive_quadrature(name, what):
    likelihood, y = CASES[name]
    arguments = () if what == "mean" else (y,)
    ours = getattr(GaussianExpectation(likelihood, V), what)(F, *arguments)
    for i in range(3):
        value, _ = integrated(lambda z, i=i: getattr(likelihood, what)(z, *(a[i : i + 1] for a in arguments)), i)
        np.testing.assert_allclose(np.squeeze(ours[i]), value, rtol=2e-6)


def test_closed_means():
    np.testing.assert_allclose(GaussianExpectation(Poisson(), V).mean(F), np.exp(F + V[..., 0] / 2), rtol=1e-14)
    np.testing.assert_allclose(
        GaussianExpectation(Bernoulli(link=Probit()), V).mean(F), stats.norm.cdf(F / np.sqrt(1 + V[..., 0])), rtol=1e-12
    )


def test_bonnet_gradient_of_the_average_is_the_average_gradient(torch):
    f = torch.tensor(F, requires_grad=True)
    y = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    averaged = GaussianExpectation(Bernoulli(), torch.tensor(V))
    (gradient,) = torch.autograd.grad(averaged.nll(f, y).sum(), f)
    np.testing.assert_allclose(averaged.error(f, y).detach().numpy(), gradient.numpy(), rtol=1e-9)


@pytest.mark.slow
def test_correlated_softmax_against_a_million_draws():
    root = rng.normal(size=(3, 3)) * 0.7
    f, v = rng.normal(size=(1, 3)), (root @ root.T)[None]
    draws = rng.multivariate_normal(f[0], v[0], 1_000_000)
    averaged = GaussianExpectation(Categorical(), v)
    np.testing.assert_allclose(averaged.mean(f)[0], Categorical().mean(draws).mean(0), atol=3e-3)
    np.testing.assert_allclose(
        averaged.nll(f, np.array([1]))[0], Categorical().nll(draws, np.ones(len(draws), int)).mean(), rtol=5e-3
    )


def test_several_outputs_average_on_their_own():
    f, v = rng.normal(size=(2, 2)), np.broadcast_to(np.array([[0.5, 0.3], [0.3, 0.4]]), (2, 2, 2))
    joint = GaussianExpectation(Gaussian(1.0, Log()), v).mean(f)
    alone = GaussianExpectation(Gaussian(1.0, Log()), v[:, :1, :1]).mean(f[:, :1])
    np.testing.assert_allclose(joint[:, :1], alone, rtol=1e-12)


def test_a_likelihood_in_expectation_gives_a_map_of_averages():
    f, y, v = np.array([[0.3], [-1.0]]), np.array([1.0, 0.0]), np.full((2, 1, 1), 0.7)
    at, seen = ExpectedLikelihood(Bernoulli()).averaged_over(v), GaussianExpectation(Bernoulli(), v)
    np.testing.assert_array_equal(at.error(f, y), seen.error(f, y))
    assert np.all(
        np.abs(at.mean(f) - 0.5) < np.abs(ExpectedLikelihood(Bernoulli()).mean(f) - 0.5)
    )  # averaging is humbler
    assert Bernoulli().averaged_over(v) == Bernoulli()


@pytest.fixture(params=["numpy", "torch"])
def as_lib(request):
    return np.asarray if request.param == "numpy" else request.getfixturevalue("torch").tensor


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 5, 40])  # one part, and several
def test_softmax_moments_are_the_rule_point_by_point(n, as_lib):
    rng = np.random.default_rng(n)
    f, root, y = rng.normal(size=(n, 4)) * 3, rng.normal(size=(n, 4, 4)), rng.integers(0, 4, n)
    v = root @ root.transpose(0, 2, 1)
    f, v, y = as_lib(f), as_lib(v), as_lib(y)
    plain, fast = GaussianExpectation(Categorical(), v), ExpectedLikelihood(Categorical()).averaged_over(v)
    moved = f + 0.3
    for seen in (fast, fast.cached_at(f)):
        for at in (f, moved):
            for what in ("nll", "error", "curvature", "predictive_loss"):
                found, expected = (getattr(each, what)(at, y) for each in (seen, plain))
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
            for what in ("mean", "mean_jacobian"):
                found, expected = (getattr(each, what)(at) for each in (seen, plain))
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_softmax_moments_far_out_do_not_overflow():
    v = np.eye(3)[None] * 1e4
    found = ExpectedLikelihood(Categorical()).averaged_over(v).cached_at(np.array([[1e4, 0.0, -1e4]]))
    f, y = np.array([[1e4, 0.0, -1e4]]), np.array([2])
    assert np.isfinite(found.nll(f, y)).all()
    assert np.isfinite(found.predictive_loss(f, y)).all()


def test_likelihoods_that_only_share_the_targets_of_softmax_keep_their_own_mean():
    class Halved(Categorical):
        def mean(self, f):
            return super().mean(f / 2)

    v, f = 0.3 * np.eye(3)[None], np.array([[1.0, -0.5, 0.2]])
    np.testing.assert_allclose(
        ExpectedLikelihood(Halved()).averaged_over(v).cached_at(f).mean(f),
        GaussianExpectation(Halved(), v).mean(f),
        rtol=1e-12,
    )


def test_softmax_moments_of_no_examples():
    found = ExpectedLikelihood(Categorical()).averaged_over(np.zeros((0, 3, 3))).cached_at(np.zeros((0, 3)))
    assert found.mean_jacobian(np.zeros((0, 3))).shape == (0, 3, 3)
