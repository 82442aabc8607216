"""Refits of statsmodels results are statsmodels' own fits without the examples, for every kind of result."""

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm

rng = np.random.default_rng(0)
N = 120
X = sm.add_constant(rng.normal(size=(N, 2)))
F = X @ [0.3, 1.0, -0.5]
Y = F + rng.normal(size=N)
BITS, COUNTS, THREE = (Y > 0).astype(float), rng.poisson(np.exp(F / 2)).astype(float), np.digitize(Y, [-0.5, 1.0])
WEIGHT = rng.uniform(0.5, 2.0, N)
QUIET = {"disp": 0, "maxiter": 500}
GTOL = 1e-7  # scores of an OrderedModel are finite differences, off by 5e-9: 1e-9 is reached by chance
KINDS = {
    "OLS": lambda k: sm.OLS(Y[k], X[k]).fit(),
    "WLS": lambda k: sm.WLS(Y[k], X[k], weights=WEIGHT[k]).fit(),
    "GLM": lambda k: sm.GLM(COUNTS[k], X[k], family=sm.families.Poisson()).fit(tol=1e-12),
    "Logit": lambda k: sm.Logit(BITS[k], X[k]).fit(tol=1e-12, **QUIET),
    "Probit": lambda k: sm.Probit(BITS[k], X[k]).fit(tol=1e-12, **QUIET),
    "Poisson": lambda k: sm.Poisson(COUNTS[k], X[k]).fit(tol=1e-12, **QUIET),
    "MNLogit": lambda k: sm.MNLogit(THREE[k], X[k]).fit(tol=1e-12, **QUIET),
    "OrderedModel": lambda k: OrderedModel(THREE[k], X[k, 1:], distr="logit").fit(method="bfgs", gtol=GTOL, **QUIET),
}


def outputs(results, x):
    """Changes of these are changes of outputs, of classes up to a constant."""
    name, params = type(results.model).__name__, np.asarray(results.params, dtype=float)
    if name == "OrderedModel":
        return results.model.transform_threshold_params(params)[1:-1] - x[1:] @ params[:2]
    return np.r_[0.0, x @ params] if name == "MNLogit" else np.atleast_1d(x @ params)


@pytest.mark.parametrize("name", KINDS)
def test_refits_are_statsmodels_own(name):
    fit, everyone = KINDS[name], np.arange(N)
    results = fit(everyone)
    m = mm.refit(mm.memory_map(results, estimator="cavity"), top=3)
    rows = np.flatnonzero(m["refitted"])
    assert len(rows) == 3
    for i in rows:
        change = outputs(fit(np.delete(everyone, i)), X[i]) - outputs(results, X[i])
        found = np.atleast_1d(m["deviation"][i])
        shift = (change - found).mean() if name == "MNLogit" else 0.0
        np.testing.assert_allclose(found, change - shift, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "MNLogit"])
def test_groups_are_statsmodels_own_fits(name):
    fit, rows = KINDS[name], np.arange(0, N, 3)
    results = fit(np.arange(N))
    m = mm.memory_map(results)
    found, left = m.leave_out({"a third": rows}), fit(np.setdiff1d(np.arange(N), rows))
    f = np.stack([outputs(left, x) for x in X])
    mean = m.origin.posterior.likelihood.mean
    truth = np.abs(mean(f) - mean(np.stack([outputs(results, x) for x in X]))).sum(1)
    assert found["sensitivity"][0] == pytest.approx(truth[rows].sum(), rel=1e-3)
    assert found["warning"].tolist() == [""]


def test_an_ordered_class_that_vanishes_is_named():
    m = mm.memory_map(KINDS["OrderedModel"](np.arange(N)))
    groups = m.leave_out({"a class": np.flatnonzero(THREE == 1)})
    assert "do not determine the model" in groups["warning"][0]
    assert np.isnan(groups.coefficients()).to_numpy().all()


def test_thresholds_and_slopes_without_a_group_are_statsmodels_own():
    fit, rows = KINDS["OrderedModel"], np.arange(0, N, 3)
    everyone, left = fit(np.arange(N)), fit(np.setdiff1d(np.arange(N), rows))
    groups = mm.memory_map(everyone).leave_out({"a third": rows})

    def parameters(results):
        return np.r_[results.model.transform_threshold_params(results.params)[1:-1], np.asarray(results.params)[:2]]

    found = groups.coefficients()
    assert found.columns.tolist()[2:] == ["x1", "x2"]
    np.testing.assert_allclose(found.to_numpy()[0], parameters(left), rtol=1e-4, atol=1e-5)
    change = parameters(everyone) - parameters(left)
    np.testing.assert_allclose(groups.dfbetas().to_numpy()[0, 2:], change[2:] / everyone.bse[:2], rtol=0.05)


TIME = np.round(rng.exponential(np.exp(-F)) + 0.05, 1)  # with ties
EVENT, ENTRY, STRATUM = (rng.random(N) < 0.7).astype(int), rng.uniform(0, 0.04, N), rng.integers(0, 2, N)


@pytest.mark.slow
@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_cox_regression_is_refitted_with_its_baseline(ties):
    def fit(k):
        return sm.PHReg(
            TIME[k], X[k, 1:], status=EVENT[k], entry=ENTRY[k], strata=STRATUM[k], ties=ties
        ).fit(disp=0)  # fmt: skip

    results, everyone = fit(np.arange(N)), np.arange(N)
    m = mm.refit(mm.memory_map(results), top=4)
    for i in np.flatnonzero(m["refitted"]):
        left = np.delete(everyone, i)
        beta = np.asarray(fit(left).params)
        hazard = 0.0
        for time in np.unique(TIME[left][(EVENT[left] == 1) & (STRATUM[left] == STRATUM[i])]):
            same = STRATUM[left] == STRATUM[i]
            risk = np.exp(X[left, 1:] @ beta) * (ENTRY[left] <= time) * (TIME[left] >= time) * same
            tied = (TIME[left] == time) & (EVENT[left] == 1) & same
            d = int(tied.sum())
            for j in range(d if ties == "efron" else 1):
                share = j / d if ties == "efron" else 0.0
                jump = (1 if ties == "efron" else d) / (risk.sum() - share * risk[tied].sum())
                own = 1 - share if ties == "efron" and TIME[i] == time and EVENT[i] else 1.0
                hazard += own * jump * np.exp(X[i, 1:] @ beta) * (ENTRY[i] <= time <= TIME[i])
        assert m["loo_prediction"][i] == pytest.approx(hazard, rel=1e-5)


def test_cox_groups_are_refitted():
    results = sm.PHReg(TIME, X[:, 1:], status=EVENT).fit()
    m = mm.memory_map(results)
    found = m.leave_out({"a third": np.arange(0, N, 3)})
    assert found["warning"].tolist() == [""]
    assert np.isfinite(found["rest_sensitivity"][0])


FAMILIES = {
    "Gaussian": (sm.families.Gaussian(), Y), "gamma": (sm.families.Gamma(sm.families.links.Log()), np.exp(Y / 3)),
    "Poisson": (sm.families.Poisson(), COUNTS), "binomial": (sm.families.Binomial(), BITS),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("precise", [False, True])
def test_frequency_weights_are_rows_written_out(name, precise):
    """With variance weights beside them losses of densities cannot tell both: the map says so; the remedy works."""
    family, y = FAMILIES[name]
    counts, precision = rng.integers(1, 4, N), WEIGHT if precise else np.ones(N)
    rows = np.repeat(np.arange(N), counts)
    short = sm.GLM(y, X, family=family, freq_weights=counts, var_weights=precision).fit(tol=1e-12)
    long = sm.GLM(y[rows], X[rows], family=family, var_weights=precision[rows]).fit(tol=1e-12)
    m, written = mm.memory_map(short), mm.memory_map(long)
    first = np.searchsorted(rows, np.arange(N))
    np.testing.assert_allclose(m["leverage"], counts * written["leverage"][first], rtol=1e-8)
    assert m.provenance.description.dispersion == pytest.approx(written.provenance.description.dispersion, rel=1e-8)
    group = {"first": np.arange(10)}, {"first": np.flatnonzero(rows < 10)}
    found, expected = m.leave_out(group[0]), written.leave_out(group[1])
    if precise and name in ("Gaussian", "gamma"):
        assert any("freq_weights and var_weights together" in line for line in m.summary().warnings)
        assert not written.summary().warnings
        return
    assert not m.summary().warnings
    np.testing.assert_allclose(m["loss"], written["loss"][first], rtol=1e-8)
    assert m.leave_one_out().loss == pytest.approx(written.leave_one_out().loss, rel=1e-8)
    for column in ("loss", "leave_out_loss", "rest_loss", "rest_leave_out_loss"):
        assert found[column][0] == pytest.approx(expected[column][0], rel=1e-6)


DAYS, DIED = rng.exponential(np.exp(-F)), rng.random(N) < 0.8


def cox(rows, ties="breslow"):
    return sm.PHReg(DAYS[rows], X[rows, 1:], status=DIED[rows].astype(float), ties=ties).fit(disp=0)


@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_hazard_ratios_without_a_group_are_statsmodels_own(ties):
    results, groups = cox(np.arange(N), ties), np.arange(N) % 6
    found = mm.memory_map(results).leave_out(groups)
    for k in range(6):
        left = cox(groups != k, ties)
        np.testing.assert_allclose(found["leave_out_coefficients"][k], left.params, rtol=1e-6)
        np.testing.assert_allclose(found["dfbetas"][k], (results.params - left.params) / results.bse, rtol=1e-5)
    assert list(found.coefficients().columns) == ["x1", "x2"]
    assert set(found["warning"]) == {""}


def test_hazard_ratios_without_many_groups_are_statsmodels_own():
    found = mm.memory_map(cox(np.arange(N))).leave_out(np.arange(N))
    for k in range(0, N, N // 6):
        left = cox(np.arange(N) != k)
        np.testing.assert_allclose(found["leave_out_coefficients"][k], left.params, rtol=1e-6)
    assert np.all(found["warning"] == "")
