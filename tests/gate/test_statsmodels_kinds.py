"""Results that only look like those of a supported model are told by what they are; every remedy is executed."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.linalg import null_space
from statsmodels.base._penalized import PenalizedMixin
from statsmodels.base._penalties import L2
from statsmodels.gam.api import BSplines, GLMGam

import memorymaps as mm
from memorymaps.posteriors.registry import UnsupportedModelError

rng = np.random.default_rng(0)
N = 100
X = sm.add_constant(rng.normal(size=(N, 4)))
Y = X @ [1.0, 2.0, 0.0, 0.0, 1.0] + rng.normal(size=N)
COUNTS = rng.poisson(np.exp(0.3 * X[:, 1]))
BITS = (Y > 1).astype(float)
GROUPS = np.arange(N) // 4
POISSON = sm.families.Poisson()

pytestmark = pytest.mark.filterwarnings("ignore")


class PenalisedGLM(PenalizedMixin, sm.GLM):
    pass


class PenalisedLogit(PenalizedMixin, sm.Logit):
    pass


RELATIVES = {
    "gee": lambda: sm.GEE(Y, X, groups=GROUPS).fit(),
    "gee exchangeable": lambda: sm.GEE(Y, X, groups=GROUPS, cov_struct=sm.cov_struct.Exchangeable()).fit(),
    "gee poisson": lambda: sm.GEE(COUNTS, X, groups=GROUPS, family=POISSON).fit(),
    "ordinal gee": lambda: sm.OrdinalGEE(np.digitize(Y, [0, 2]), X[:, 1:], groups=GROUPS).fit(),
    "nominal gee": lambda: sm.NominalGEE(np.digitize(Y, [0, 2]), X, groups=GROUPS).fit(),
    "glm under a constraint": lambda: sm.GLM(Y, X).fit_constrained("x1 = 0"),
    "poisson under a constraint": lambda: sm.Poisson(COUNTS, X).fit_constrained("x1 = x2", disp=0),
    "ols of chosen columns": lambda: sm.OLS(Y, X).fit_regularized(alpha=0.3, refit=True),
    "glm of chosen columns": lambda: sm.GLM(COUNTS, X, family=POISSON).fit_regularized(alpha=0.2, refit=True),
    "ols elastic net": lambda: sm.OLS(Y, X).fit_regularized(alpha=0.3),
    "ols ridge": lambda: sm.OLS(Y, X).fit_regularized(alpha=0.3, L1_wt=0),
    "logit l1": lambda: sm.Logit(BITS, X).fit_regularized(alpha=3, disp=0),
    "gam": lambda: GLMGam(Y, exog=X[:, :1], smoother=BSplines(X[:, 1:2], df=[8], degree=[3]), alpha=[1.0]).fit(),
    "penalised glm": lambda: PenalisedGLM(COUNTS, X, family=POISSON, penal=L2(), pen_weight=20.0).fit(),
    "penalised logit": lambda: PenalisedLogit(BITS, X, penal=L2(), pen_weight=20.0).fit(disp=0),
    "gls": lambda: sm.GLS(Y, X, sigma=np.linspace(1, 2, N)).fit(),
    "glsar": lambda: sm.GLSAR(Y, X, 1).iterative_fit(3),
    "rlm": lambda: sm.RLM(Y, X).fit(),
    "quantile": lambda: sm.QuantReg(Y, X).fit(),
    "generalised poisson": lambda: sm.GeneralizedPoisson(COUNTS, X).fit(disp=0),
    "negative binomial p": lambda: sm.NegativeBinomialP(COUNTS, X).fit(disp=0),
    "zero inflated": lambda: sm.ZeroInflatedPoisson(COUNTS, X).fit(disp=0),
    "mixed": lambda: sm.MixedLM(Y, X, groups=GROUPS).fit(),
    "conditional logit": lambda: sm.ConditionalLogit(BITS, X[:, 1:], groups=GROUPS).fit(disp=0),
    "cox elastic net": lambda: sm.PHReg(np.exp(Y), X[:, 1:]).fit_regularized(alpha=0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RELATIVES)
def test_relatives_are_refused(name):
    results = RELATIVES[name]()
    with pytest.raises(UnsupportedModelError, match="statsmodels"):
        mm.memory_map(results)


PLAIN = {
    "ols": lambda: sm.OLS(Y, X).fit(),
    "ols with robust errors": lambda: sm.OLS(Y, X).fit(cov_type="HC3"),
    "wls": lambda: sm.WLS(Y, X, weights=np.linspace(1, 2, N)).fit(),
    "glm": lambda: sm.GLM(COUNTS, X, family=POISSON).fit(),
    "glm by bfgs": lambda: sm.GLM(COUNTS, X, family=POISSON).fit(method="bfgs", disp=0),
    "logit": lambda: sm.Logit(BITS, X[:, :3]).fit(disp=0),
    "probit": lambda: sm.Probit(BITS, X[:, :3]).fit(disp=0),
    "poisson": lambda: sm.Poisson(COUNTS, X).fit(disp=0),
    "negative binomial": lambda: sm.NegativeBinomial(np.where(COUNTS > 1, 3 * COUNTS, COUNTS), X).fit(disp=0),
    "mnlogit": lambda: sm.MNLogit(np.digitize(Y, [0, 2]), X[:, :3]).fit(disp=0),
    "a subclass of ols": lambda: type("Mine", (sm.OLS,), {})(Y, X).fit(),
    "a subclass of glm": lambda: type("Mine", (sm.GLM,), {})(COUNTS, X, family=POISSON).fit(),
    "cox": lambda: sm.PHReg(np.exp(Y), X[:, 1:]).fit(),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_fits_and_harmless_subclasses_are_mapped_without_a_warning(name):
    m = mm.memory_map(PLAIN[name]())
    assert m.summary().warnings == ()


def test_the_remedy_for_estimating_equations_works():
    with pytest.raises(UnsupportedModelError, match=r"working correlation.*sm.GLM\(endog, exog, family=…\)"):
        mm.memory_map(RELATIVES["gee poisson"]())
    assert len(mm.memory_map(sm.GLM(COUNTS, X, family=POISSON).fit())) == N


def test_the_remedy_for_chosen_columns_works():
    results = RELATIVES["ols of chosen columns"]()
    with pytest.raises(UnsupportedModelError, match=r"exog\[:, np.flatnonzero\(results.params\)\]"):
        mm.memory_map(results)
    assert len(mm.memory_map(sm.OLS(Y, X[:, np.flatnonzero(results.params)]).fit())) == N


@pytest.mark.parametrize("constraint", ["x1 = 2", "x1 = 2, x2 = x3"])
def test_the_remedy_for_constraints_gives_the_refits(constraint):
    def fit(rows):
        return sm.GLM(Y[rows], X[rows]).fit_constrained(constraint)

    results = fit(np.arange(N))
    with pytest.raises(UnsupportedModelError, match=r"null_space\(R\), R of shape .*offset=exog @ params"):
        mm.memory_map(results)
    free = null_space(np.asarray(results.constraints.coefs))
    m = mm.memory_map(sm.GLM(Y, X @ free, offset=X @ results.params).fit())
    assert m["leverage"].sum() == pytest.approx(free.shape[1])
    for row in (3, 40):
        left_out = X[row] @ fit(np.delete(np.arange(N), row)).params
        assert m["loo_prediction"][row] == pytest.approx(left_out, rel=1e-6)
