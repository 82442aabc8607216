"""Likelihoods against SciPy's densities, autodiff and the definition of Fisher information."""

import numpy as np
import pytest
from scipy import integrate, stats

from memorymaps.core.likelihoods.base import TargetError
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import (
    Bernoulli,
    Gamma,
    Gaussian,
    InverseGaussian,
    NegativeBinomial,
    Poisson,
    Tweedie,
)
from memorymaps.core.likelihoods.heteroscedastic import HeteroscedasticGaussian
from memorymaps.core.likelihoods.links import ComplementaryLogLog, Identity, Log, Power, Probit
from memorymaps.core.likelihoods.mean_parameter import SimplexCategorical
from memorymaps.core.likelihoods.vote_share import Votes

rng = np.random.default_rng(0)
F = rng.normal(size=(6, 1)) * 0.7
POSITIVE = np.exp(rng.normal(size=6))
COUNTS = np.array([0.0, 1, 2, 3, 7, 1])
BITS = np.array([0.0, 1, 1, 0, 1, 0])

CASES = {
    "gaussian": (Gaussian(0.7), F, rng.normal(size=6)),
    "gaussian log": (Gaussian(0.7, Log()), F, rng.normal(size=6)),
    "gaussian 2": (Gaussian((0.7, 2.0)), rng.normal(size=(6, 2)), rng.normal(size=(6, 2))),
    "bernoulli": (Bernoulli(), F, BITS),
    "probit": (Bernoulli(link=Probit()), F, BITS),
    "cloglog": (Bernoulli(link=ComplementaryLogLog()), F, BITS),
    "multi-label": (Bernoulli(), rng.normal(size=(6, 3)), rng.integers(0, 2, (6, 3)).astype(float)),
    "poisson": (Poisson(), F, COUNTS),
    "poisson sqrt": (Poisson(link=Power(0.5)), np.abs(F) + 0.5, COUNTS),
    "gamma": (Gamma(0.4), F, POSITIVE),
    "gamma inverse": (Gamma(0.4, Power(-1.0)), np.abs(F) + 0.5, POSITIVE),
    "inverse gaussian": (InverseGaussian(0.3), F, POSITIVE),
    "inverse gaussian canonical": (InverseGaussian(0.3, Power(-2.0)), np.abs(F) + 0.5, POSITIVE),
    "negative binomial": (NegativeBinomial(0.6), F, COUNTS),
    "tweedie": (Tweedie(1.5, 0.8), F, COUNTS),
    "tweedie 2.5": (Tweedie(2.5, 0.8), F, POSITIVE),
    "heteroscedastic": (HeteroscedasticGaussian(), rng.normal(size=(6, 2)), rng.normal(size=6)),
    "categorical": (Categorical(), rng.normal(size=(6, 4)), np.array([0, 1, 2, 3, 0, 2])),
}
CANONICAL = ["gaussian", "gaussian 2", "bernoulli", "multi-label", "poisson", "gamma inverse", "categorical"]


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request):
    return CASES[request.param]


def test_error_is_the_gradient_of_the_loss(case, torch):
    likelihood, f, y = case
    t = torch.tensor(f, requires_grad=True)
    (gradient,) = torch.autograd.grad(likelihood.nll(t, torch.tensor(y)).sum(), t)
    np.testing.assert_allclose(likelihood.error(f, y), gradient.numpy(), rtol=1e-10, atol=1e-12)


def test_slope_is_the_derivative_of_the_mean(case, torch):
    likelihood, f, _ = case
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: likelihood.mean(row[None])[0]))(torch.tensor(f))
    np.testing.assert_allclose(likelihood.mean_jacobian(f), jacobian.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CANONICAL)
def test_curvature_is_the_hessian_for_canonical_links(name, torch):
    likelihood, f, y = CASES[name]
    for row in range(len(f)):
        t, target = torch.tensor(f[row : row + 1]), torch.tensor(y[row : row + 1])
        hessian = torch.autograd.functional.hessian(lambda z, target=target: likelihood.nll(z, target).sum(), t)
        np.testing.assert_allclose(likelihood.curvature(f, y)[row], hessian[0, :, 0].numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["bernoulli", "probit", "cloglog", "poisson", "poisson sqrt", "negative binomial"])
def test_curvature_is_the_variance_of_the_error_discrete(name):
    likelihood, f, _ = CASES[name]
    support = np.arange(2.0 if isinstance(likelihood, Bernoulli) else 400.0)
    for row in f:
        many = np.broadcast_to(row, (len(support), 1))
        mass = np.exp(-likelihood.nll(many, support))
        assert mass.sum() == pytest.approx(1, abs=1e-9)
        fisher = mass @ likelihood.error(many, support) ** 2
        np.testing.assert_allclose(likelihood.curvature(row[None], None)[0, 0], fisher, rtol=1e-8)


@pytest.mark.parametrize("name", ["gaussian log", "gamma", "gamma inverse", "inverse gaussian"])
def test_curvature_is_the_variance_of_the_error_continuous(name):
    likelihood, f, _ = CASES[name]
    f = f[:1]
    low, high = (-30, 30) if isinstance(likelihood, Gaussian) else (1e-9, 200)

    def squared_error(y):
        target = np.array([y])
        return float(np.exp(-likelihood.nll(f, target)[0]) * likelihood.error(f, target)[0, 0] ** 2)

    fisher, _ = integrate.quad(squared_error, low, high, points=[0.1, 1.0, 5.0], limit=500)
    np.testing.assert_allclose(likelihood.curvature(f, None)[0, 0, 0], fisher, rtol=1e-6)


def test_curvature_along_directions_is_that_of_the_whole_matrix(case):
    likelihood, f, y = case
    c = f.shape[1]
    whole, v = likelihood.curvature(f, y), np.random.default_rng(0).normal(size=(len(f), c, 3))
    np.testing.assert_allclose(likelihood.fisher_matvec(f, y, v), whole @ v, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(likelihood.fisher_diagonal(f, y), np.diagonal(whole, 0, 1, 2), rtol=1e-10, atol=1e-13)
    root = likelihood.fisher_root_matvec(f, y, np.broadcast_to(np.eye(c), whole.shape))
    np.testing.assert_allclose(root @ root.swapaxes(1, 2), whole, rtol=1e-10, atol=1e-13)
    few = likelihood.fisher_root(f, y)
    assert few.shape[2] == (c - 1 if type(likelihood) is Categorical else c)
    np.testing.assert_allclose(few @ few.swapaxes(1, 2), whole, rtol=1e-10, atol=1e-13)
    along, kappa = likelihood.score_preimage(f, y)
    x = along(np.broadcast_to(np.eye(c), whole.shape))  # every one-hot v gives a number of x
    expected = kappa[:, None] * likelihood.error(f, y)
    np.testing.assert_allclose((whole @ x[..., None])[..., 0], expected, rtol=1e-8, atol=1e-12)
    some = np.random.default_rng(1).permuted(np.tile(np.arange(c), (len(f), 1)), axis=1)[:, : max(1, c - 1)]
    columns = np.take_along_axis(root, some[:, None], axis=2)
    expected = columns.swapaxes(1, 2) @ columns
    np.testing.assert_allclose(likelihood.fisher_root_gram(f, y, some), expected, rtol=1e-10, atol=1e-13)


def test_columns_of_confident_predictions_lose_no_digits():
    f = np.array([[40.0, 0.0, -5.0], [0.0, 40.0, -5.0], [-5.0, 0.0, 40.0], [0.0, 900.0, -900.0]])
    columns = Categorical().fisher_root(f, None)
    found = columns @ columns.swapaxes(1, 2)
    p = Categorical().mean(f)
    rest = np.stack([np.delete(p, k, axis=1).sum(1) for k in range(3)], axis=1)  # 1 − p without cancellation
    np.testing.assert_allclose(np.diagonal(found, 0, 1, 2), p * rest, rtol=1e-12)
    np.testing.assert_allclose(Categorical().fisher_root(np.zeros((2, 1)), None), 0)


def test_curvature_of_mean_and_log_variance_is_the_variance_of_the_error():
    likelihood, f = HeteroscedasticGaussian(), np.array([[0.3, -0.4]])
    y, w = np.polynomial.hermite_e.hermegauss(20)
    y, w = f[0, 0] + np.exp(f[0, 1] / 2) * y, w / w.sum()
    e = likelihood.error(np.repeat(f, len(y), axis=0), y)
    np.testing.assert_allclose(likelihood.curvature(f, y[:1])[0], (e.T * w) @ e, rtol=1e-10, atol=1e-12)
    density = stats.norm(0.3, np.exp(-0.2)).logpdf(1.7)
    np.testing.assert_allclose(likelihood.nll(f, np.array([1.7])), -density, rtol=1e-12)


def test_losses_are_scipys_densities():
    m = np.exp(F[:, 0])
    expected = {
        "gaussian": -stats.norm(F[:, 0], np.sqrt(0.7)).logpdf(CASES["gaussian"][2]),
        "poisson": -stats.poisson(m).logpmf(COUNTS),
        "gamma": -stats.gamma(1 / 0.4, scale=0.4 * m).logpdf(POSITIVE),
        "inverse gaussian": -stats.invgauss(0.3 * m, scale=1 / 0.3).logpdf(POSITIVE),
        "negative binomial": -stats.nbinom(1 / 0.6, 1 / (1 + 0.6 * m)).logpmf(COUNTS),
        "probit": -stats.bernoulli(stats.norm.cdf(F[:, 0])).logpmf(BITS),
    }
    for name, loss in expected.items():
        likelihood, f, y = CASES[name]
        np.testing.assert_allclose(likelihood.nll(f, y), loss, rtol=1e-10, err_msg=name)


def test_torch_and_numpy_agree(case, torch):
    likelihood, f, y = case
    for numpy_answer, torch_answer in (
        (likelihood.nll(f, y), likelihood.nll(torch.tensor(f), torch.tensor(y))),
        (likelihood.error(f, y), likelihood.error(torch.tensor(f), torch.tensor(y))),
        (likelihood.curvature(f, y), likelihood.curvature(torch.tensor(f), torch.tensor(y))),
    ):
        np.testing.assert_allclose(numpy_answer, torch_answer.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("link", [Bernoulli().link, Probit()])
def test_saturated_probabilities_keep_their_accuracy(link):
    likelihood = Bernoulli(link=link)
    f = np.array([[-30.0], [30.0]])
    assert np.all(np.isfinite(likelihood.nll(f, np.array([1.0, 0.0]))))
    wrong = likelihood.error(f, np.array([1.0, 0.0]))
    assert np.all(np.abs(wrong) > 0.99)
    right = likelihood.error(f, np.array([0.0, 1.0]))
    assert np.all((np.abs(right) > 0) & (np.abs(right) < 1e-9))


def test_softmax_survives_huge_logits():
    f = np.array([[1000.0, 0.0, -1000.0]])
    assert Categorical().nll(f, np.array([2]))[0] == pytest.approx(2000)
    np.testing.assert_array_equal(Categorical().mean(f), [[1.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("likelihood", "bad", "word"),
    [
        (Gaussian(), [0.0, np.nan], "finite"),
        (Bernoulli(), [0.0, 2.0], r"\[0, 1\]"),
        (Poisson(), [1.0, -1.0], "≥ 0"),
        (Gamma(), [1.0, 0.0], "> 0"),
        (InverseGaussian(), [1.0, np.inf], "> 0"),
        (NegativeBinomial(), [1.0, -2.0], "≥ 0"),
        (Tweedie(), [1.0, -2.0], "≥ 0"),
        (Categorical(), [0, 1], "class numbers"),
    ],
)
def test_targets_outside_the_support_are_named(likelihood, bad, word):
    with pytest.raises(TargetError, match=word) as caught:
        likelihood.check_target(np.array(bad), 1)
    assert "row 1" in str(caught.value)


def test_targets_of_another_width_are_refused():
    with pytest.raises(TargetError, match=r"shape \(3, 2\).*1 output"):
        Gaussian().check_target(np.zeros((3, 2)), 1)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0, -1.0])
def test_tweedie_powers_with_other_names_are_refused(power):
    with pytest.raises(ValueError, match="Gaussian, Poisson"):
        Tweedie(power)


def test_identity_link_is_a_link():
    assert Poisson(link=Identity()).mean(np.array([[2.0]])) == 2.0


@pytest.mark.parametrize("likelihood", [Votes(), SimplexCategorical()])
def test_probabilities_curve_along_directions_as_their_whole_matrix_does(likelihood):
    f = np.random.default_rng(0).dirichlet(np.ones(4), size=6)
    test_curvature_along_directions_is_that_of_the_whole_matrix((likelihood, f, np.array([0, 1, 2, 3, 0, 2])))


@pytest.mark.parametrize("link", [ComplementaryLogLog(), Probit()])
def test_binary_links_stay_finite_where_the_mean_rounds_to_zero_or_one(link):
    f = np.array([[-700.0], [-40.0], [-1.0], [0.5], [6.0], [8.0], [40.0]])
    middle = slice(2, 4)
    ratio = link.derivative(f[middle]) / (link.mean(f[middle]) * link.complement(f[middle]))
    np.testing.assert_allclose(link.derivative_over_variance(f[middle]), ratio, rtol=1e-12)
    for y in (0.0, 1.0):
        family, target = Bernoulli(link=link), np.full(len(f), y)
        assert np.isfinite(family.error(f, target)).all()
        assert np.isfinite(family.observed_diagonal(f, target)).all()
