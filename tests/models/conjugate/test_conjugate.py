"""Conjugate families: leaving out is recomputing, exactly; divergences are those of torch.distributions and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import memorymaps as mm
from memorymaps.models.conjugate.discrete import BetaBernoulli, DirichletCategorical, GammaPoisson
from memorymaps.models.conjugate.family import ImproperError
from memorymaps.models.conjugate.gaussian import NormalMean, NormalWishart
from memorymaps.models.conjugate.kalman_smoother import StateSpace

RNG = np.random.default_rng(5)
N = 24
W = RNG.uniform(0.3, 2, N)
TWO = np.array([[1.5, 0.4], [0.4, 0.8]])
CASES = {
    "beta": (BetaBernoulli(2.0, 0.5), RNG.integers(0, 2, N)),
    "three betas": (BetaBernoulli([1.0, 2.0, 0.3], [1.0, 0.5, 4.0]), RNG.integers(0, 2, (N, 3))),
    "dirichlet": (DirichletCategorical([0.5, 1.0, 2.0]), RNG.integers(0, 3, N)),
    "gamma": (GammaPoisson(1.5, 0.7), RNG.poisson(3, N)),
    "normal": (NormalMean(0.5, 4.0, 0.7), RNG.normal(2, 1, N)),
    "vectors": (NormalMean([0.0, 1.0], TWO, 0.5 * TWO + np.eye(2)), RNG.normal(2, 1, (N, 2))),
    "normal, noise unknown": (NormalWishart(0.5, 0.8, 1.5, 2.0), RNG.normal(2, 1, N)),
    "vectors, noise unknown": (NormalWishart([0.0, 1.0], 0.8, 3.5, TWO), RNG.normal(2, 1, (N, 2))),
}
each = pytest.mark.parametrize(("family", "y"), CASES.values(), ids=CASES)


def mean_of(family, natural):
    return family.mean_parameter_marginal(natural)[0]


def rows(name, m):
    return m[name].reshape(len(m), -1)


# --- exact deletion ---------------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
def test_deletion_is_recomputing_the_posterior(family, y, weight):
    given = family.given(y, sample_weight=weight)
    for group in ([3], [0, 5, 17]):
        keep = np.setdiff1d(np.arange(N), group)
        again = family.given(y[keep], sample_weight=None if weight is None else weight[keep])
        np.testing.assert_allclose(given.without(group), again.natural, rtol=1e-12, atol=1e-12)


@each
@pytest.mark.parametrize("weight", [None, W], ids=["plain", "weighted"])
def test_the_map_leaves_out_as_the_recomputed_posterior_does(family, y, weight):
    given = family.given(y, sample_weight=weight)
    m = mm.memory_map(given)
    without = np.asarray([mean_of(family, given.without([i])) for i in range(N)])
    whole = np.tile(mean_of(family, given.natural), (N, 1))
    np.testing.assert_allclose(rows("deviation", m), without - whole, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(m["kl"], [given.divergence([i]) for i in range(N)], rtol=1e-9, atol=1e-12)
    found = m.leave_out({"g": [1, 2, 9]})
    moved = np.abs(mean_of(family, given.without([1, 2, 9])) - whole[0]).sum()
    assert found["sensitivity"][0] == pytest.approx(3 * moved, rel=1e-8)


def test_leverage_is_the_credibility_of_one_observation():
    for name, worth in (("beta", 2.5), ("gamma", 0.7), ("normal, noise unknown", 0.8)):
        family, y = CASES[name]
        m = mm.memory_map(family.given(y, sample_weight=W))
        np.testing.assert_allclose(m["leverage"], W / (worth + W.sum()), rtol=1e-10)
    family, y = CASES["dirichlet"]
    np.testing.assert_allclose(mm.memory_map(family.given(y))["leverage"], 2 / (3.5 + N), rtol=1e-10)


def test_several_binary_variables_are_as_many_maps():
    family, y = CASES["three betas"]
    m = mm.memory_map(family.given(y))
    parts = [mm.memory_map(BetaBernoulli(a, b).given(y[:, k])) for k, (a, b) in enumerate(family.natural())]
    np.testing.assert_allclose(m["leverage"], sum(part["leverage"] for part in parts), rtol=1e-10)
    np.testing.assert_allclose(m["kl"], sum(part["kl"] for part in parts), rtol=1e-9)
    np.testing.assert_allclose(m["loo_mean"], np.column_stack([part["loo_prediction"] for part in parts]), rtol=1e-10)


# --- divergences and log scores ---------------------------------------------------------------------------------------


def torch_distributions(torch, name, natural, family):
    d = torch.distributions
    t = torch.as_tensor(natural)
    if "beta" in name:
        return d.Independent(d.Beta(t[:, 0], t[:, 1]), 1)
    if name == "dirichlet":
        return d.Dirichlet(t)
    if name == "gamma":
        return d.Gamma(t[0], t[1])
    covariance = np.linalg.inv(natural[:, 1:])
    return d.MultivariateNormal(torch.as_tensor(covariance @ natural[:, 0]), torch.as_tensor(covariance))


@pytest.mark.parametrize("name", ["beta", "three betas", "dirichlet", "gamma", "normal", "vectors"])
def test_divergences_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    family, y = CASES[name]
    given = family.given(y)
    q = torch_distributions(torch, name, given.natural, family)
    for group in ([0], [4, 5, 6]):
        p = torch_distributions(torch, name, given.without(group), family)
        assert given.divergence(group) == pytest.approx(float(torch.distributions.kl_divergence(p, q)), rel=1e-8)


def test_divergence_of_unknown_noise_is_that_of_gamma_and_normal():
    torch = pytest.importorskip("torch")
    d = torch.distributions
    family, y = CASES["normal, noise unknown"]
    given = family.given(y)
    (m0, k0, s0, n0), (m1, k1, s1, n1) = (family.standard_parameters(v) for v in (given.without([2, 3]), given.natural))
    gammas = [d.Gamma(torch.tensor(n / 2), torch.tensor(s[0, 0] / 2)) for n, s in ((n0, s0), (n1, s1))]
    # E over τ of KL(N(m₀, 1/κ₀τ) ‖ N(m₁, 1/κ₁τ))
    normal = 0.5 * (k1 / k0 - 1 + np.log(k0 / k1) + k1 * (m0[0] - m1[0]) ** 2 * n0 / s0[0, 0])
    assert given.divergence([2, 3]) == pytest.approx(float(d.kl_divergence(*gammas)) + normal, rel=1e-9)


@pytest.mark.slow
def test_divergence_of_an_unknown_covariance_by_simulation():
    family, y = CASES["vectors, noise unknown"]
    given = family.given(y)
    a, b = given.without([2, 3]), given.natural

    def log_density(natural, mu, precision):
        m, kappa, inverse_scale, nu = family.standard_parameters(natural)
        wishart = stats.wishart(float(nu), np.linalg.inv(inverse_scale)).logpdf(precision)
        return wishart + stats.multivariate_normal(m, np.linalg.inv(kappa * precision)).logpdf(mu)

    m, kappa, inverse_scale, nu = family.standard_parameters(a)
    rng, ratios = np.random.default_rng(0), []
    for precision in stats.wishart(float(nu), np.linalg.inv(inverse_scale)).rvs(4000, random_state=rng):
        mu = rng.multivariate_normal(m, np.linalg.inv(kappa * precision))
        ratios.append(log_density(a, mu, precision) - log_density(b, mu, precision))
    assert given.divergence([2, 3]) == pytest.approx(np.mean(ratios), abs=4 * np.std(ratios) / np.sqrt(4000))


def test_log_scores_are_those_of_the_predictive_distributions():
    def score(name, predictive):
        family, y = CASES[name]
        given = family.given(y)
        truth = [-predictive(family, given.without([i])).logpdf(y[i]) for i in range(N)]
        np.testing.assert_allclose(mm.memory_map(given)["loo_predictive_loss"], truth, rtol=1e-9)

    def student(family, natural):
        m, kappa, inverse_scale, nu = family.standard_parameters(natural)
        d = len(m)
        df = nu - d + 1
        return stats.multivariate_t(m, inverse_scale * (kappa + 1) / (kappa * df), df=df)

    def normal(family, natural):
        covariance = np.linalg.inv(natural[:, 1:])
        return stats.multivariate_normal(covariance @ natural[:, 0], covariance + family.noise)

    score("normal, noise unknown", student)
    score("vectors, noise unknown", student)
    score("normal", normal)
    score("vectors", normal)
    family, y = CASES["gamma"]
    given = family.given(y)
    truth = [-stats.nbinom(a, b / (b + 1)).logpmf(v) for (a, b), v in zip(map(given.without, range(N)), y, strict=True)]
    np.testing.assert_allclose(mm.memory_map(given)["loo_predictive_loss"], truth, rtol=1e-9)
    family, y = CASES["dirichlet"]
    m = mm.memory_map(family.given(y))
    assert "diaconis1979conjugate" in m.citation()
    np.testing.assert_allclose(m["loo_predictive_loss"], -np.log(m["loo_mean"][np.arange(N), y]), rtol=1e-10)
    np.testing.assert_allclose(m["loo_predictive_loss"], m["loo_loss"], rtol=1e-10)
    assert 0 <= m.leave_one_out().loo_score <= 1


def test_exposures_are_weights_of_rates():
    exposure, counts = RNG.uniform(0.5, 4, N), RNG.poisson(3, N)
    given = GammaPoisson(1.5, 0.7).given(counts / exposure, sample_weight=exposure)
    np.testing.assert_allclose(given.natural, [1.5 + counts.sum(), 0.7 + exposure.sum()])
    a, b = given.without([4])
    truth = -stats.nbinom(a, b / (b + exposure[4])).logpmf(counts[4])
    assert mm.memory_map(given)["loo_predictive_loss"][4] == pytest.approx(truth, rel=1e-9)


# --- state space ------------------------------------------------------------------------------------------------------

T = 30
TREND = StateSpace([[1, 1], [0, 1]], [[1, 0]], np.diag([0.1, 0.02]), [[0.5]], [0, 0], 3 * np.eye(2))
WIDE = StateSpace([[0.9]], [[1.0], [0.5]], [[0.3]], TWO, [0.0], [[2.0]])
SERIES = {"trend": (TREND, np.cumsum(RNG.normal(size=T))), "two sensors of one state": (WIDE, RNG.normal(size=(T, 2)))}


def dense(space, y, weight):
    """Joint Gaussian of all states, conditioned in one solve."""
    k = len(space.first_mean)
    precision, push = np.zeros((T * k, T * k)), np.zeros(T * k)
    precision[:k, :k] += np.linalg.inv(space.first_variance)
    push[:k] += precision[:k, :k] @ space.first_mean
    step = np.hstack([-space.transition, np.eye(k)])
    for t in range(T):
        if t:
            where = slice((t - 1) * k, (t + 1) * k)
            precision[where, where] += step.T @ np.linalg.inv(space.process) @ step
        here = slice(t * k, (t + 1) * k)
        r = weight[t] * np.linalg.inv(space.noise)
        precision[here, here] += space.observation.T @ r @ space.observation
        push[here] += space.observation.T @ r @ np.atleast_1d(y[t])
    covariance = np.linalg.inv(precision)
    return covariance @ push, covariance


@pytest.mark.parametrize(("space", "y"), SERIES.values(), ids=SERIES)
@pytest.mark.parametrize("weight", [np.ones(T), np.r_[0, RNG.uniform(0.2, 2, T - 1)]], ids=["plain", "weighted"])
def test_the_smoother_and_its_deletions_are_the_dense_gaussian(space, y, weight):
    m = mm.memory_map(space.given(y, sample_weight=weight))
    k, c = len(space.first_mean), space.observation
    mean, covariance = dense(space, y, weight)
    for t in (0, 7, T - 1):
        here = slice(t * k, (t + 1) * k)
        np.testing.assert_allclose(rows("output", m)[t], c @ mean[here], rtol=1e-8, atol=1e-10)
        v = c @ covariance[here, here] @ c.T
        assert m["leverage"][t] == pytest.approx(weight[t] * np.trace(np.linalg.solve(space.noise, v)), rel=1e-8)
        left = np.where(np.arange(T) == t, 0, weight)
        other, wide = dense(space, y, left)
        np.testing.assert_allclose(rows("loo_prediction", m)[t], c @ other[here], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(space.given(y, sample_weight=weight).without([t])[0][t], c @ other[here], rtol=1e-8)
        total = c @ wide[here, here] @ c.T + space.noise
        predictive = stats.multivariate_normal(c @ other[here], total)
        assert m["loo_predictive_loss"][t] == pytest.approx(-predictive.logpdf(y[t]), rel=1e-8)
        gap = c @ other[here] - y[t]
        assert np.sum(rows("deletion_residual", m)[t] ** 2) == pytest.approx(
            gap @ np.linalg.solve(total, gap), rel=1e-8
        )
        inverse = np.linalg.inv(covariance)
        moved = other - mean
        kl = np.trace(inverse @ wide) - T * k + moved @ inverse @ moved
        kl += np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(wide)[1]
        assert m["kl"][t] == pytest.approx(kl / 2, rel=1e-6, abs=1e-9)
    assert m["leverage"].sum() == pytest.approx(m.provenance.description.effective_parameters, rel=1e-10)


# --- broken -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BetaBernoulli(0.0, 1.0), "alpha = 0.0: expected finite numbers > 0"),
        (lambda: BetaBernoulli([1.0, np.nan], [1.0, 1.0]), "alpha"),
        (lambda: DirichletCategorical([1.0, -1.0]), "concentration"),
        (lambda: DirichletCategorical([1.0]), "c ≥ 2 classes"),
        (lambda: GammaPoisson(1.0, np.inf), "rate"),
        (lambda: NormalMean(0.0, -1.0, 1.0), "variance .* positive definite"),
        (lambda: NormalMean([0.0, 0.0], np.ones((2, 2)), 1.0), "variance"),
        (lambda: NormalWishart([0.0, 0.0], 1.0, 1.0, 1.0), "more than d − 1 = 1"),
        (lambda: NormalWishart(0.0, 0.0), "kappa"),
        (
            lambda: StateSpace(np.eye(2), [[1.0]], np.eye(2), [[1.0]], [0, 0], np.eye(2)),
            r"observation .* expected \(1, 2\)",
        ),
        (lambda: StateSpace([[1.0]], [[1.0]], [[-1.0]], [[1.0]], [0], [[1.0]]), "process"),
        (lambda: StateSpace([[1.0]], [[1.0]], [[1.0]], [[0.0]], [0], [[1.0]]), "noise"),
    ],
)
def test_improper_parameters_are_refused(make, words):
    with pytest.raises(ImproperError, match=words):
        make()


@pytest.mark.parametrize(
    ("family", "y", "kind"),
    [
        (BetaBernoulli(), [0, 1, 2], mm.TargetError),
        (BetaBernoulli([1.0, 1.0], 1.0), [0, 1], mm.TargetError),
        (DirichletCategorical([1.0, 1.0]), [0, 1, 2], mm.TargetError),
        (GammaPoisson(), [1, -1], mm.TargetError),
        (NormalMean(), [0.0, np.nan], mm.TargetError),
        (NormalMean([0.0, 0.0]), [0.0, 1.0], mm.TargetError),
        (NormalWishart(), [[0.0, 1.0]], mm.TargetError),
        (TREND, [0.0, np.nan], mm.TargetError),
        (BetaBernoulli(), [], mm.DataError),
    ],
)
def test_targets_outside_the_support_are_refused(family, y, kind):
    with pytest.raises(kind):
        family.given(y)


def test_a_prior_without_data_and_data_twice_are_refused():
    for family in (BetaBernoulli(), TREND):
        with pytest.raises(ValueError, match=r"given\(y\)"):
            mm.memory_map(family)
        with pytest.raises(ValueError, match="carries its data"):
            mm.memory_map(family.given([0.0, 1.0]), [0, 1], [0, 1])
    with pytest.raises(mm.DataError, match="sample_weight"):
        BetaBernoulli().given([0, 1], sample_weight=[1, -1])
    with pytest.raises(mm.DataError, match="ids has 1 rows"):
        BetaBernoulli().given([0, 1], ids=["a"])
