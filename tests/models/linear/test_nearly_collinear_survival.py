"""Ordered classes and proportional hazards of nearly collinear columns, against the same models in other columns."""

import numpy as np
import pytest
from statsmodels.duration.hazard_regression import PHReg, PHRegResults
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm
from memorymaps.core.likelihoods.links import Probit
from memorymaps.core.likelihoods.ordinal import Ordinal
from memorymaps.data.examples import DataError

N = 80
RNG = np.random.default_rng(5)
TREND = (np.linspace(1900, 2020, N) - 1960) / 35
A, B = RNG.normal(size=N), RNG.normal(size=N)
CLASSES = np.digitize(TREND + RNG.logistic(size=N), [-1, 1])
TIME = RNG.exponential(np.exp(-0.5 * A + 0.3 * B))
EVENT = (np.arange(N) < 60).astype(int)
YEAR = RNG.integers(1900, 2020, N).astype(float)
POLYNOMIAL = np.polynomial.Polynomial

pytestmark = pytest.mark.filterwarnings("ignore")


def ordered(x, start=None, link="logit"):
    steps = {"maxiter": 5000, "gtol": 1e-10} if start is None else {"maxiter": 0}
    return OrderedModel(CLASSES, x, distr=link).fit(start, method="bfgs", disp=0, **steps)


def hazards(x, beta=None):
    model = PHReg(TIME, x, status=EVENT)
    return model.fit(disp=0) if beta is None else PHRegResults(model, beta, np.eye(len(beta)))


def same_leverages(fit, other, tolerance):
    m, expected = mm.memory_map(fit), mm.memory_map(other)
    np.testing.assert_allclose(m["leverage"], expected["leverage"], atol=tolerance)
    np.testing.assert_allclose(m["sensitivity"], expected["sensitivity"], atol=10 * tolerance)
    return m, expected


def near_duplicate(params, e):
    """Parameters for columns `a, a + e b` of the model with parameters for `a, b`."""
    return np.r_[params[0] - params[1] / e, params[1] / e, params[2:]]


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("e", [1e-5, 1e-7, 1e-8, 1e-10])
def test_ordered_classes_of_near_duplicates(e, link):
    fit = ordered(np.c_[A, B], link=link)
    other = ordered(np.c_[A, A + e * B], near_duplicate(np.asarray(fit.params), e), link)
    m, _ = same_leverages(other, fit, 1e-16 / e)
    assert m["leverage"].sum() == pytest.approx(4, abs=1e-15 / e)


def test_ordered_classes_of_near_duplicates_refitted():
    fit = ordered(np.c_[A, B])
    other = ordered(np.c_[A, A + 1e-6 * B], near_duplicate(np.asarray(fit.params), 1e-6))
    found, expected = (mm.refit(mm.memory_map(each), top=5) for each in (other, fit))
    np.testing.assert_allclose(found["deviation"], expected["deviation"], atol=1e-6)


def test_refits_that_leave_a_column_undetermined_are_not_numbers():
    rare = (np.arange(N) == np.flatnonzero(CLASSES == 1)[3]).astype(float)
    refits = mm.memory_map(ordered(np.c_[A, rare], np.array([0.5, 0.2, -1.0, 0.5]))).origin.posterior.refits
    _, remaining = refits.parameter_change(np.flatnonzero(rare), 50)
    assert remaining == 1


def test_rows_of_the_curvature_are_its_root():
    f = np.sort(RNG.normal(size=(7, 3)), axis=1)
    for likelihood in (Ordinal(), Ordinal(Probit())):
        rows = likelihood.curvature_rows(f)
        np.testing.assert_allclose(rows.mT @ rows, likelihood.curvature(f, np.zeros(7)), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("e", [1e-6, 1e-7, 1e-8, 1e-10])
def test_hazards_of_near_duplicates(e):
    fit = hazards(np.c_[A, B])
    same_leverages(hazards(np.c_[A, A + e * B], near_duplicate(fit.params, e)), fit, 2e-16 / e)


@pytest.mark.parametrize("far", [1e5, 1e7, 1e9])
def test_hazards_of_columns_far_from_zero(far):
    fit = hazards(np.c_[A, B])
    same_leverages(hazards(np.c_[A + far, B], fit.params), fit, 1e-15 * far)


def test_hazards_of_large_columns_that_differ_by_one():
    fit = hazards(np.c_[A, B])
    alpha, beta = fit.params
    same_leverages(hazards(np.c_[1e7 * A, 1e7 * A + B], np.array([alpha / 1e7 - beta, beta])), fit, 1e-8)


@pytest.mark.parametrize("degree", [3, 4])
def test_hazards_of_powers_of_a_year(degree):
    powers = np.arange(1, degree + 1)
    fit = hazards(((YEAR - 1960) / 35)[:, None] ** powers)
    raw = POLYNOMIAL(np.r_[0, fit.params])(POLYNOMIAL([-1960 / 35, 1 / 35])).coef[1:]
    same_leverages(hazards(YEAR[:, None] ** powers, raw), fit, 1e-7)


NEAR = np.c_[A, A + 1e-7 * B, B]  # B is their difference, 1e7 times: its rest is the rounding of A, 1e-9


@pytest.mark.parametrize(
    "make", [lambda: ordered(NEAR, np.array([0, 0, 0, -1, 0.5])), lambda: hazards(NEAR, np.zeros(3))]
)
def test_rounding_of_combinations_with_large_factors_is_not_a_column(make):
    with pytest.raises(DataError, match="combinations of others"):
        mm.memory_map(make())


def test_rounding_of_the_nearest_columns_is_stated_and_lowers_trust():
    e, one = 2e-13, hazards(A[:, None])
    x, plain, beta = np.c_[A, A + e * B], np.c_[A, B], np.r_[one.params, 0.0]
    m, expected = mm.memory_map(hazards(x, beta)), mm.memory_map(hazards(plain, beta))["leverage"]
    stated = m.provenance.description.relative_error
    assert np.linalg.norm(m["leverage"] - expected) / np.linalg.norm(expected) < stated < 0.1
    assert m.trust["leverage"].level in ("estimated", "ranks only")  # the fit stands off its optimum, too


@pytest.mark.parametrize("other", [2 * A - B, np.full(N, 0.3), np.full(N, 1e7)], ids=["combination", "0.3", "1e7"])
def test_columns_that_are_combinations_are_refused_as_such(other):
    with pytest.raises(DataError, match="constant or combinations of others to rounding"):
        mm.memory_map(hazards(np.c_[A, B, other], np.array([0.1, 0.1, 0.0])))


def test_columns_that_are_constant_in_each_stratum_are_refused_as_such():
    strata = np.arange(N) % 3
    model = PHReg(TIME, np.c_[A, strata == 1], status=EVENT, strata=strata)
    with pytest.raises(DataError, match="among the subjects at risk at each event"):
        mm.memory_map(PHRegResults(model, np.array([0.1, 0.0]), np.eye(2)))
