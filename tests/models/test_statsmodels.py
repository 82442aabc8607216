"""Against statsmodels: hat values, Cook's distance, DFFITS, DFBETAS, studentised residuals, one-step parameters."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from oracles import dense_leverage

import memorymaps as mm
from memorymaps.analysis import measures as me
from memorymaps.models import ExpectedInformation

rng = np.random.default_rng(7)
N = 80
X = sm.add_constant(rng.normal(size=(N, 3)))
ETA = X @ np.array([0.3, 0.5, -0.4, 0.2])
MU = np.exp(ETA)
W = rng.uniform(0.5, 2, N)
F = sm.families
L = F.links
TRIALS = rng.integers(1, 12, N)
SUCCESSES = rng.binomial(TRIALS, 1 / (1 + np.exp(-ETA)))
BITS = (rng.uniform(size=N) < 1 / (1 + np.exp(-ETA))).astype(float)
POISSON = rng.poisson(MU)
GAMMA = rng.gamma(2.0, MU / 2)
POSITIVE = rng.wald(MU, 4.0)

TIGHT = {"tol": 1e-14, "maxiter": 300, "tol_criterion": "params"}


def glm(y, family, **extra):
    return lambda: sm.GLM(y, X, family=family, **extra).fit(**TIGHT)


GLMS = {
    "gaussian": glm(ETA + rng.normal(size=N), F.Gaussian()),
    "gaussian log": glm(MU + 0.1 * rng.normal(size=N), F.Gaussian(L.Log())),
    "binomial": glm(BITS, F.Binomial()),
    "binomial probit": glm(BITS, F.Binomial(L.Probit())),
    "binomial cloglog": glm(BITS, F.Binomial(L.CLogLog())),
    "binomial counts": glm(np.column_stack([SUCCESSES, TRIALS - SUCCESSES]), F.Binomial()),
    "poisson": glm(POISSON, F.Poisson()),
    "poisson sqrt": glm(POISSON, F.Poisson(L.Sqrt())),
    "poisson offset": glm(POISSON, F.Poisson(), offset=rng.normal(size=N) * 0.2, exposure=W),
    "poisson weights": glm(POISSON, F.Poisson(), freq_weights=rng.integers(1, 4, N).astype(float)),
    "gamma": glm(GAMMA, F.Gamma(L.Log())),
    "gamma inverse": lambda: sm.GLM(GAMMA, np.abs(X), family=F.Gamma(L.InversePower())).fit(
        tol=1e-14, maxiter=300, tol_criterion="params"
    ),
    "gamma var weights": glm(GAMMA, F.Gamma(L.Log()), var_weights=W),
    "inverse gaussian": glm(POSITIVE, F.InverseGaussian(L.Log())),
    "negative binomial": glm(POISSON, F.NegativeBinomial(alpha=0.4)),
    "tweedie": glm(POISSON.astype(float), F.Tweedie(var_power=1.5, link=L.Log())),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GLMS)
def test_glm_influence(name):
    results = GLMS[name]()
    m = mm.memory_map(results, posterior=ExpectedInformation())
    theirs = results.get_influence(observed=False)  # Fisher weights, as IRLS
    near = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(me.hat_values(m), theirs.hat_matrix_diag, **near)
    if name == "poisson weights":  # theirs forgets frequency weights in Pearson residuals; ours removes all copies
        return
    np.testing.assert_allclose(me.internally_studentised(m), theirs.resid_studentized, **near)
    np.testing.assert_allclose(me.cooks_distance(m), theirs.cooks_distance[0], **near)
    sign = -1 if name == "gamma inverse" else 1  # theirs takes dμ/df for positive; the refit below decides
    np.testing.assert_allclose(me.dfbetas_internal(m), sign * theirs.dfbetas, **near)
    np.testing.assert_allclose(me.dfbeta(m), sign * theirs.d_params, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GLMS)
def test_glm_influence_with_observed_information(name):
    results = GLMS[name]()
    m = mm.memory_map(results, estimator="cavity")
    if results.model.hessian_factor(results.params).min() < 0:  # they take its root
        assert (me.hat_values(m) >= 0).all()
        return
    theirs = results.get_influence()
    near = {"rtol": 1e-8, "atol": 1e-10}
    np.testing.assert_allclose(me.hat_values(m), theirs.hat_matrix_diag, **near)
    if name != "poisson weights":
        np.testing.assert_allclose(me.cooks_distance(m), theirs.cooks_distance[0], **near)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gaussian log", "gamma", "inverse gaussian", "tweedie", "negative binomial"])
def test_observed_information_is_nearer_to_the_refits(name):
    results = GLMS[name]()
    observed = mm.memory_map(results, estimator="cavity")  # without refits unasked
    expected = mm.memory_map(results, estimator="cavity", posterior=ExpectedInformation())
    assert "observed information" in str(observed.summary())
    assert "expected (Fisher) information" in str(expected.summary())
    truth = mm.refit(observed, top=N)["sensitivity"]
    errors = [np.linalg.norm(m["sensitivity"] - truth) / np.linalg.norm(truth) for m in (observed, expected)]
    assert errors[0] < max(0.01, errors[1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gamma inverse", "poisson weights"])
def test_where_statsmodels_is_wrong_the_refit_agrees_with_the_map(name):
    results = GLMS[name]()
    ours = me.dfbeta(mm.memory_map(results))
    keep, model = np.arange(N) != 3, results.model
    family = model.family
    refit = sm.GLM(model.endog[keep], model.exog[keep], family=family, freq_weights=model.freq_weights[keep]).fit(
        tol=1e-14
    )
    truth = results.params - refit.params
    assert np.linalg.norm(ours[3] - truth) < 0.1 * np.linalg.norm(truth)


@pytest.mark.parametrize("name", ["gaussian", "binomial", "poisson", "negative binomial"])
def test_glm_dffits(name):
    results = GLMS[name]()
    theirs = np.abs(results.get_influence(observed=False).d_linpred_scaled)
    np.testing.assert_allclose(
        np.abs(me.dffits_internal(mm.memory_map(results, posterior=ExpectedInformation()))),
        theirs,
        rtol=1e-10,
        atol=1e-10,
    )


LINEAR = {
    "ols": lambda: sm.OLS(ETA + rng.normal(size=N), X).fit(),
    "ols formula": lambda: smf.ols("np.log(GAMMA) ~ X1 + C(g)", frame()).fit(),
}


def frame():
    data = pd.DataFrame(X[:, 1:], columns=["X1", "X2", "X3"]).assign(GAMMA=GAMMA, g=list("abcd") * (N // 4), B=BITS)
    data.index = [f"case {k}" for k in range(N)]
    return data


@pytest.mark.parametrize("name", LINEAR)
def test_ols_influence(name):
    results = LINEAR[name]()
    m, theirs = mm.memory_map(results), results.get_influence()
    pairs = {
        "hat": (me.hat_values(m), theirs.hat_matrix_diag),
        "internal": (me.internally_studentised(m), theirs.resid_studentized_internal),
        "external": (me.externally_studentised(m), theirs.resid_studentized_external),
        "cooks": (me.cooks_distance(m), theirs.cooks_distance[0]),
        "dffits": (me.dffits(m), theirs.dffits[0]),
        "dffits internal": (me.dffits_internal(m), theirs.dffits_internal[0]),
        "dfbetas": (me.dfbetas(m), theirs.dfbetas),
        "covratio": (me.covratio(m), theirs.cov_ratio),
        "press": (me.press_residuals(m), theirs.resid_press),
        "one-step parameters": (np.asarray(results.params) - me.dfbeta(m), theirs.params_not_obsi),
    }
    for measure, (ours, expected) in pairs.items():
        np.testing.assert_allclose(ours, np.asarray(expected), rtol=1e-10, atol=1e-10, err_msg=measure)


def test_wls_influence_is_that_of_the_weighted_rows():
    y = ETA + rng.normal(size=N)
    results = sm.WLS(y, X, weights=W).fit()
    rows = sm.OLS(np.sqrt(W) * y, np.sqrt(W)[:, None] * X).fit().get_influence()
    m = mm.memory_map(results)
    np.testing.assert_allclose(me.hat_values(m), rows.hat_matrix_diag, rtol=1e-10)
    np.testing.assert_allclose(me.externally_studentised(m), rows.resid_studentized_external, rtol=1e-10)
    np.testing.assert_allclose(me.cooks_distance(m), rows.cooks_distance[0], rtol=1e-10)
    np.testing.assert_allclose(me.dffits(m), rows.dffits[0], rtol=1e-10)
    np.testing.assert_allclose(me.dfbetas(m), rows.dfbetas, rtol=1e-10, atol=1e-10)


def test_logit_influence():
    results = sm.Logit(BITS, X).fit(disp=0, tol=1e-14)
    m, theirs = mm.memory_map(results), results.get_influence()
    np.testing.assert_allclose(me.hat_values(m), theirs.hat_matrix_diag, rtol=1e-10)
    np.testing.assert_allclose(me.internally_studentised(m), theirs.resid_studentized, rtol=1e-10)
    np.testing.assert_allclose(me.cooks_distance(m), theirs.cooks_distance[0], rtol=1e-10)
    np.testing.assert_allclose(me.dfbetas(m), theirs.dfbetas, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(results.params - me.dfbeta(m), theirs.params_one, rtol=1e-12, atol=1e-12)


DISCRETE = {
    "probit": (lambda: sm.Probit(BITS, X).fit(disp=0, tol=1e-14), 4),
    "poisson": (lambda: sm.Poisson(POISSON, X, exposure=W).fit(disp=0, tol=1e-14), 4),
    "negative binomial": (lambda: sm.NegativeBinomial(POISSON + TRIALS, X).fit(disp=0), 4),
    "mnlogit": (lambda: sm.MNLogit(np.arange(N) % 3, X).fit(disp=0, tol=1e-14), 8),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_models_are_the_dense_laplace_posterior(name):
    fit, parameters = DISCRETE[name]
    m = mm.memory_map(fit())
    at = m.origin.batch_statistics(next(iter(m.origin.examples)))
    free = slice(1, None) if name == "mnlogit" else slice(None)
    h, _ = dense_leverage(X, at.curvature[:, free, free], np.zeros(parameters))
    np.testing.assert_allclose(m["leverage"], h, rtol=1e-8)
    assert m["leverage"].sum() == pytest.approx(parameters)
    assert m.provenance.description.distance < 1e-4


def test_formula_names_ids_and_dropped_rows():
    data = frame()
    data.loc["case 5", "X1"] = np.nan
    m = mm.memory_map(smf.logit("B ~ X1 + C(g)", data).fit(disp=0))
    assert len(m) == N - 1
    assert "case 5" not in m["id"].tolist()
    assert m.provenance.description.parameters == ("Intercept", "C(g)[T.b]", "C(g)[T.c]", "C(g)[T.d]", "X1")


def test_multinomial_labels():
    kinds = np.array(["bus", "car", "train"])[np.arange(N) % 3]
    m = mm.memory_map(sm.MNLogit(kinds, X).fit(disp=0))
    assert m["target"].tolist() == kinds.tolist()


def test_duplicate_index_is_refused():
    data = frame()
    data.index = ["same"] * N
    with pytest.raises(mm.DataError, match="ids must be unique"):
        mm.memory_map(smf.ols("X1 ~ X2", data).fit())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "fit",
    [
        lambda: sm.OLS(ETA, X).fit_regularized(alpha=0.1),
        lambda: sm.Logit(BITS, X).fit_regularized(disp=0, alpha=0.1),
        lambda: sm.RLM(ETA + W, X).fit(),
        lambda: sm.GLM(BITS, X, family=F.Binomial(L.Cauchy())).fit(),
        lambda: sm.NegativeBinomial(POISSON + TRIALS, X, loglike_method="nb1").fit(disp=0),
        lambda: sm.GLS(ETA + W, X).fit(),
    ],
    ids=["penalised ols", "penalised logit", "robust", "cauchy link", "nb1", "gls"],
)
def test_what_is_not_supported_is_refused(fit):
    with pytest.raises(mm.UnsupportedModelError, match="supported"):
        mm.memory_map(fit())


def test_results_contain_their_data():
    with pytest.raises(ValueError, match="carry their training data"):
        mm.memory_map(sm.OLS(ETA, X).fit(), X, ETA)


@pytest.mark.filterwarnings("ignore")
def test_rank_deficient_design_as_r_does():
    y = ETA + rng.normal(size=N)
    wide = np.column_stack([X, X[:, 1] - X[:, 2], rng.normal(size=N)])
    m = mm.memory_map(sm.OLS(y, wide).fit())
    slim = mm.memory_map(sm.OLS(y, np.delete(wide, 4, axis=1)).fit())
    assert m.provenance.description.aliased == ("x4",)
    for column in ("leverage", "deviation", "standardised_error"):
        np.testing.assert_allclose(m[column], slim[column], rtol=1e-9, atol=1e-12)
    betas = me.dfbetas(m)
    assert np.isnan(betas[:, 4]).all()
    np.testing.assert_allclose(np.delete(betas, 4, axis=1), me.dfbetas(slim), rtol=1e-8, atol=1e-10)
