"""Maps of posterior samples (NumPyro, PyMC) and of a bagged ensemble, against exact results."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier

import memorymaps as mm
from memorymaps.core.likelihoods.expected import ExpectedLikelihood
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian
from memorymaps.models.draws.draws import Sampler

RNG = np.random.default_rng(11)
N, DELTA = 60, 1.0
X = np.column_stack([np.ones(N), RNG.normal(size=N)])
Y = (RNG.random(N) < 1 / (1 + np.exp(-X @ [0.3, 1.5]))).astype(int)
Y[np.argmax(X[:, 1])] = 0  # one unlikely label at large x

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the samplers


def quadrature():
    """The posterior of both coefficients on a grid: weights of `N + 1` posteriors (all data, each left out), and f."""
    axes = np.meshgrid(np.linspace(-2.5, 3, 141), np.linspace(-1.5, 5, 141))
    b = np.stack([axis.ravel() for axis in axes], axis=1)
    f = b @ X.T
    logs = -np.logaddexp(0, np.where(Y == 1, -f, f))
    posterior = logs.sum(axis=1) - DELTA * np.sum(b**2, axis=1) / 2
    left = np.column_stack([posterior, posterior[:, None] - logs])
    weights = np.exp(left - left.max(axis=0))
    return weights / weights.sum(axis=0), f, logs


def check_against_the_exact_posterior(data):
    """Map of a result with `eta`, `y` and a log likelihood: against quadrature, Laplace and `arviz.loo`."""
    import arviz

    from memorymaps.models.draws.arviz import from_arviz

    m = mm.memory_map(from_arviz(data, "eta", ExpectedLikelihood(Bernoulli()), y="y", log_likelihood="y"))
    weights, f, logs = quadrature()
    mean, left = weights[:, 0] @ f, np.array([weights[:, 1 + i] @ f[:, i] for i in range(N)])
    variance = weights[:, 0] @ f**2 - mean**2
    np.testing.assert_allclose(m["output"], mean, atol=0.06)
    mu = 1 / (1 + np.exp(-f))
    np.testing.assert_allclose(m["leverage"], variance * (weights[:, 0] @ (mu * (1 - mu))), rtol=0.15)
    truth = -np.log(np.array([weights[:, 1 + i] @ np.exp(logs[:, i]) for i in range(N)]))
    good = m["pareto_k"] < 0.7
    assert good.mean() > 0.95
    np.testing.assert_allclose(m["psis_loo_loss"][good], truth[good], rtol=0.03, atol=0.01)
    np.testing.assert_allclose(m["gaussian_loo_loss"], truth, atol=0.08)
    move = left - mean
    assert np.corrcoef(m["deviation"], move)[0, 1] > 0.97
    theirs = arviz.loo(data, pointwise=True)
    np.testing.assert_allclose(-m["psis_loo_loss"], theirs.loo_i.values, rtol=1e-5)
    laplace = mm.memory_map(LogisticRegression(C=1 / DELTA, fit_intercept=False, tol=1e-8).fit(X, Y), X, Y)
    np.testing.assert_allclose(m["leverage"], laplace["leverage"], rtol=0.3)
    assert np.corrcoef(m["sensitivity"], laplace["sensitivity"])[0, 1] > 0.97
    assert len(set(m.top(10)["id"]) & set(laplace.top(10)["id"])) >= 8


@pytest.mark.slow
def test_numpyro():
    numpyro = pytest.importorskip("numpyro")
    arviz = pytest.importorskip("arviz")
    import jax
    from numpyro import distributions

    def model(x, y):
        b = numpyro.sample("b", distributions.Normal(0, DELTA**-0.5).expand([2]))
        eta = numpyro.deterministic("eta", x @ b)
        numpyro.sample("y", distributions.Bernoulli(logits=eta), obs=y)

    mcmc = numpyro.infer.MCMC(numpyro.infer.NUTS(model), num_warmup=300, num_samples=2000, progress_bar=False)
    mcmc.run(jax.random.PRNGKey(0), X, Y)
    check_against_the_exact_posterior(arviz.from_numpyro(mcmc))


def test_pymc():
    pymc = pytest.importorskip("pymc")
    with pymc.Model():
        b = pymc.Normal("b", 0, DELTA**-0.5, shape=2)
        eta = pymc.Deterministic("eta", X @ b)
        pymc.Bernoulli("y", logit_p=eta, observed=Y)
        data = pymc.sample(
            2000, tune=300, chains=1, cores=1, random_seed=0, progressbar=False,
            compute_convergence_checks=False, idata_kwargs={"log_likelihood": True},
        )  # fmt: skip
    check_against_the_exact_posterior(data)


# --- a black box that only predicts ----------------------------------------------------------------------------------


def members(ensemble, answer):
    """Predict function of a black box: inputs → one prediction per member, draws first."""
    columns = ensemble.estimators_features_
    return lambda x: np.stack(
        [answer(e, np.asarray(x)[:, c]) for e, c in zip(ensemble.estimators_, columns, strict=True)]
    )


@pytest.mark.slow
def test_a_bagged_ridge_is_close_to_the_exact_posterior_of_ridge():
    y = X @ [0.3, 1.5] + 0.5 * RNG.normal(size=N)
    bag = BaggingRegressor(Ridge(0.1, fit_intercept=False), 400, random_state=0).fit(X, y)
    noise = np.mean((bag.predict(X) - y) ** 2)
    black = Sampler(members(bag, lambda e, x: e.predict(x)), Gaussian(noise), name="bagged ridge")
    m = mm.memory_map(black, X, y)
    truth = mm.memory_map(Ridge(0.1, fit_intercept=False).fit(X, y), X, y)
    np.testing.assert_allclose(m["prediction"], bag.predict(X), rtol=1e-10)
    assert 0.5 < m["leverage"].sum() / truth["leverage"].sum() < 2  # a bootstrap is no posterior: sizes to a factor
    assert np.corrcoef(m["leverage"], truth["leverage"])[0, 1] > 0.9
    assert m.provenance.description.model == "bagged ridge"


@pytest.mark.slow
def test_a_bagged_black_box_identifies_the_most_influential_example():
    x = np.sort(RNG.uniform(0, 6, 80))[:, None]
    y = np.sin(x[:, 0]) + 0.1 * RNG.normal(size=80)
    y[40] += 3
    bag = BaggingRegressor(KNeighborsRegressor(5), 200, random_state=0).fit(x, y)
    m = mm.memory_map(Sampler(members(bag, lambda e, x: e.predict(x)), Gaussian(0.05)), x, y)
    assert m.top(1, by="error")["id"][0] == 40
    again = BaggingRegressor(KNeighborsRegressor(5), 200, random_state=0).fit(np.delete(x, 40, 0), np.delete(y, 40))
    moved = again.predict(x[[40]])[0] - bag.predict(x[[40]])[0]
    assert np.sign(m["deviation"][40]) == np.sign(moved)


def test_probabilities_of_a_black_box_become_logits():
    bag = BaggingClassifier(DecisionTreeClassifier(max_depth=2), 100, random_state=0).fit(X, Y)

    def logit(e, x):
        p = np.clip(e.predict_proba(x)[:, 1], 0.02, 0.98)
        return np.log(p / (1 - p))

    m = mm.memory_map(Sampler(members(bag, logit), ExpectedLikelihood(Bernoulli())), X, Y)
    p = np.clip(np.stack([e.predict_proba(X)[:, 1] for e in bag.estimators_]), 0.02, 0.98)
    np.testing.assert_allclose(m["output"], np.log(p / (1 - p)).mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(m["prediction"], p.mean(axis=0), atol=0.06)  # a normal with the votes' two moments
    assert np.all(m["leverage"] > 0)
