"""A weight is a precision or a number of equal rows: losses, averages and groups say the same as rows written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge

import memorymaps as mm
from memorymaps.analysis.scale_refitted import loo_loss_scale_refitted

RNG = np.random.default_rng(3)
N = 24
X = RNG.normal(size=(N, 2))
ONES = sm.add_constant(X)
Y = X @ [1.0, -0.5] + RNG.normal(size=N)
BITS = (Y > 0).astype(float)
COUNTS = RNG.poisson(np.exp(0.4 * X[:, 0] + 1))
F = RNG.integers(1, 7, N)
W = RNG.uniform(0.2, 4, N)
OWNER = np.repeat(np.arange(N), F)  # of the rows written out
FAMILIES = {
    "gaussian": (sm.families.Gaussian(), Y),
    "binomial": (sm.families.Binomial(), BITS),
    "poisson": (sm.families.Poisson(), COUNTS),
    "gamma": (sm.families.Gamma(sm.families.links.Log()), np.exp(Y)),
    "inverse gaussian": (sm.families.InverseGaussian(sm.families.links.Log()), np.exp(Y / 2)),
}


def close(found, expected, rel=1e-7):
    np.testing.assert_allclose(found, expected, rtol=rel, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_counts_are_the_rows_written_out(name):
    family, y = FAMILIES[name]
    tight = {"tol": 1e-12, "maxiter": 200, "tol_criterion": "params"}
    short = mm.memory_map(sm.GLM(y, ONES, family=family, freq_weights=F).fit(**tight))
    long = mm.memory_map(sm.GLM(np.repeat(y, F), np.repeat(ONES, F, axis=0), family=family).fit(**tight))
    close(short["leverage"], np.bincount(OWNER, long["leverage"]), 1e-6)
    close(short["loss"][OWNER], long["loss"], 1e-6)
    if name != "gaussian":  # groups of rows are refitted, single rows on request
        short = mm.refit(short, top=N, tolerance=1e-5)
    a, b = short.leave_one_out(), long.leave_one_out()
    close([a.loss, a.score, a.weight], [b.loss, b.score, F.sum()], 1e-6)
    # a row that stands for several is left out with all of them
    groups = long.leave_out({str(i): np.flatnonzero(i == OWNER).tolist() for i in range(N)})
    close(short["loo_loss"], groups["leave_out_loss"], 1e-6)
    close(a.loo_loss, np.average(groups["leave_out_loss"], weights=F), 1e-6)
    # groups
    some = [1, 5, 9]
    one = short.leave_out({"g": some})
    other = long.leave_out({"g": np.flatnonzero(np.isin(OWNER, some)).tolist()})
    for key in ("leverage", "loss", "leave_out_loss", "rest_loss", "rest_leave_out_loss"):
        close(one[key], other[key], 1e-6)


def test_weighted_least_squares_is_scored_by_each_observations_own_variance():
    results = sm.WLS(Y, ONES, weights=W).fit()
    m = mm.memory_map(results)
    sd = np.sqrt(results.scale / W)
    close(m["loss"], -stats.norm.logpdf(Y, results.fittedvalues, sd))
    for i in (0, 7):
        keep = np.arange(N) != i
        refit = sm.WLS(Y[keep], ONES[keep], weights=W[keep]).fit()
        close(m["loo_loss"][i], -stats.norm.logpdf(Y[i], ONES[i] @ refit.params, sd[i]))
    loo = m.leave_one_out()
    close([loo.loss, loo.loo_loss], [m["loss"].mean(), m["loo_loss"].mean()])
    close(loo.score, math.sqrt(np.average((Y - results.fittedvalues) ** 2, weights=W)))
    same = mm.memory_map(LinearRegression().fit(X, Y, sample_weight=W), X, Y, sample_weight=W)
    close(same["loo_loss"], m["loo_loss"])


@pytest.mark.parametrize("weight", [None, W], ids=["OLS", "WLS"])
def test_left_out_loss_with_the_scale_refitted(weight):
    w = np.ones(N) if weight is None else weight
    m = mm.memory_map(sm.WLS(Y, ONES, weights=w).fit())
    for i in range(N):
        keep = np.arange(N) != i
        refit = sm.WLS(Y[keep], ONES[keep], weights=w[keep]).fit()
        expected = -stats.norm.logpdf(Y[i], ONES[i] @ refit.params, math.sqrt(refit.scale / w[i]))
        close(loo_loss_scale_refitted(m)[i], expected, 1e-9)
    assert not np.allclose(loo_loss_scale_refitted(m), m["loo_loss"], rtol=1e-3)


def test_left_out_loss_with_the_scale_refitted_of_counts_takes_all_rows():
    m = mm.memory_map(sm.GLM(Y, ONES, freq_weights=F).fit())
    for i in (0, 11):
        keep = i != OWNER
        refit = sm.OLS(Y[OWNER][keep], ONES[OWNER][keep]).fit()
        expected = -stats.norm.logpdf(Y[i], ONES[i] @ refit.params, math.sqrt(refit.scale))
        close(loo_loss_scale_refitted(m)[i], expected, 1e-7)


def test_scale_refitted_is_refused_where_it_has_no_closed_form():
    for model, y in ((Ridge().fit(X, Y), Y), (LogisticRegression().fit(X, BITS), BITS)):
        m = mm.memory_map(model, X, y)
        with pytest.raises(TypeError, match="column loo_loss, which holds the scale"):
            loo_loss_scale_refitted(m)
        assert np.all(np.isfinite(m["loo_loss"]))  # the remedy


@pytest.mark.parametrize(
    ("family", "y"), [FAMILIES["gamma"], FAMILIES["inverse gaussian"]], ids=["gamma", "inverse gaussian"]
)
def test_variance_weights_divide_the_dispersion(family, y):
    results = sm.GLM(y, ONES, family=family, var_weights=W).fit(tol=1e-12)
    mu, phi = results.fittedvalues, results.scale / W
    if isinstance(family, sm.families.Gamma):
        expected = -stats.gamma(a=1 / phi, scale=mu * phi).logpdf(y)
    else:
        expected = -stats.invgauss(mu * phi, scale=1 / phi).logpdf(y)
    close(mm.memory_map(results)["loss"], expected)


def test_binomial_counts_are_their_trials():
    trials = RNG.integers(2, 9, N)
    wins = RNG.binomial(trials, 1 / (1 + np.exp(-X[:, 0])))
    short = mm.memory_map(sm.GLM(np.column_stack([wins, trials - wins]), ONES, family=sm.families.Binomial()).fit())
    each = np.concatenate([[1.0] * a + [0.0] * (t - a) for a, t in zip(wins, trials, strict=True)])
    long = mm.memory_map(sm.GLM(each, np.repeat(ONES, trials, axis=0), family=sm.families.Binomial()).fit())
    owner = np.repeat(np.arange(N), trials)
    close(short["loss"], np.bincount(owner, long["loss"]) / trials, 1e-6)
    close(short.leave_one_out().loss, long.leave_one_out().loss, 1e-6)
    assert short.provenance.loss_is_density


DENSITIES = {
    "least squares": (lambda: mm.memory_map(LinearRegression().fit(X, Y), X, Y), True),
    "logistic": (lambda: mm.memory_map(LogisticRegression().fit(X, BITS), X, BITS), True),
    "poisson": (lambda: mm.memory_map(PoissonRegressor(alpha=0).fit(X, COUNTS), X, COUNTS), True),
    "quasi-poisson": (
        lambda: mm.memory_map(sm.GLM(COUNTS, ONES, family=sm.families.Poisson()).fit(scale="X2")),
        False,
    ),
    "quasi-binomial": (lambda: mm.memory_map(sm.GLM(BITS, ONES, family=sm.families.Binomial()).fit(scale="X2")), False),
    "tweedie": (
        lambda: mm.memory_map(
            sm.GLM(COUNTS.astype(float), ONES, family=sm.families.Tweedie(sm.families.links.Log(), 1.5)).fit()
        ),
        False,
    ),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_a_loss_is_a_log_density_or_says_that_it_is_not(name, tmp_path):
    make, expected = DENSITIES[name]
    m = make()
    assert m.provenance.loss_is_density == expected
    assert ("no log densities" in str(m.summary())) == (not expected)
    assert mm.load(m.save(tmp_path / "m.parquet")).provenance.loss_is_density == expected


def test_an_example_without_weight_counts_for_nothing():
    w = W.copy()
    w[[2, 5]] = 0
    keep = w > 0
    m = mm.memory_map(Ridge().fit(X, Y, sample_weight=w), X, Y, sample_weight=w)
    part = mm.memory_map(Ridge().fit(X[keep], Y[keep], sample_weight=w[keep]), X[keep], Y[keep], sample_weight=w[keep])
    a, b = m.leave_one_out(), part.leave_one_out()
    close([a.loss, a.loo_loss, a.score, a.loo_score], [b.loss, b.loo_loss, b.score, b.loo_score])
