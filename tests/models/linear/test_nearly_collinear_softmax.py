"""Softmax regression of nearly collinear columns, against the same model in other columns and many digits."""

import copy

import mpmath
import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression

import memorymaps as mm
from memorymaps.core.covariance_roots import CoupledCurvature
from memorymaps.data.in_memory import ArrayExamples
from memorymaps.models.linear.glm import data_sums

N = 90
RNG = np.random.default_rng(3)
A, B = RNG.normal(size=(2, N))
Y = RNG.integers(0, 3, N)
YEAR = RNG.integers(1900, 2020, N).astype(float)
GROUPS = np.eye(4)[RNG.integers(0, 4, N)]
POLYNOMIAL = np.polynomial.Polynomial

pytestmark = pytest.mark.filterwarnings("ignore")


def fitted(x, **settings):
    return LogisticRegression(**{"C": np.inf, "solver": "newton-cholesky", "tol": 1e-10, **settings}).fit(x, Y)


def with_coefficients(model, coefficients, intercept=None):
    other = copy.deepcopy(model)
    other.coef_, other.n_features_in_ = coefficients, coefficients.shape[1]
    other.intercept_ = model.intercept_ if intercept is None else intercept
    return other


def near_duplicate(e):
    """A fit to `a, b`, and the same model of `a, a + e b`, with its columns."""
    fit = fitted(np.c_[A, B])
    own = np.c_[fit.coef_[:, 0] - fit.coef_[:, 1] / e, fit.coef_[:, 1] / e]
    return fit, with_coefficients(fit, own), np.c_[A, A + e * B]


def same_leverages(m, expected, tolerance):
    np.testing.assert_allclose(m["leverage"], expected["leverage"], atol=tolerance)
    np.testing.assert_allclose(m["sensitivity"], expected["sensitivity"], atol=10 * tolerance)
    assert m["leverage"].sum() == pytest.approx(expected["leverage"].sum(), abs=30 * tolerance)


@pytest.mark.parametrize("e", [1e-5, 1e-7, 3e-8, 1e-10])
def test_near_duplicates(e):
    fit, other, x = near_duplicate(e)
    m = mm.memory_map(other, x, Y)
    same_leverages(m, mm.memory_map(fit, np.c_[A, B], Y), 1e-16 / e)
    assert m.provenance.description.rank == 6


def test_near_duplicates_refitted_and_left_out_in_groups():
    fit, other, x = near_duplicate(1e-7)
    maps = mm.memory_map(other, x, Y), mm.memory_map(fit, np.c_[A, B], Y)
    found, expected = (mm.refit(m, top=5) for m in maps)
    np.testing.assert_allclose(found["deviation"], expected["deviation"], atol=1e-5)  # where refits may end
    found, expected = (m.leave_out(np.arange(N) % 5) for m in maps)
    np.testing.assert_allclose(found["sensitivity"], expected["sensitivity"], rtol=1e-6)


def test_coefficients_move_as_those_of_other_columns():
    fit, other, x = near_duplicate(1e-6)
    moved, expected = (mm.memory_map(f, d, Y).origin.posterior for f, d in ((other, x), (fit, np.c_[A, B])))
    variance, plain = moved.parameter_variance(), expected.parameter_variance()
    np.testing.assert_allclose(variance[2] * 1e-12, plain[2], rtol=1e-6)  # b's coefficient is e times that of a + e b
    np.testing.assert_allclose(variance[0], plain[0], rtol=1e-6)


@pytest.mark.parametrize("degree", [3, 4])
def test_powers_of_a_year_in_statsmodels(degree):
    powers, scaled = np.arange(degree + 1), (YEAR - 1960) / 35
    fit = sm.MNLogit(Y, scaled[:, None] ** powers).fit(disp=0, method="newton", tol=1e-10)
    line = POLYNOMIAL([-1960 / 35, 1 / 35])
    raw = np.stack([POLYNOMIAL(column)(line).coef for column in np.asarray(fit.params).T], axis=1)
    other = sm.MNLogit(Y, YEAR[:, None] ** powers).fit(start_params=raw.T.ravel(), maxiter=0, disp=0, method="bfgs")
    other.params[...] = raw
    m = mm.memory_map(other)
    same_leverages(m, mm.memory_map(fit), 1e-5)
    assert m["leverage"].sum() == pytest.approx(2 * (degree + 1), abs=1e-6)


@pytest.mark.parametrize("c", [np.inf, 1e20])
def test_near_duplicates_beside_columns_that_are_combinations(c):
    plain = np.c_[GROUPS[:, 1:], A, B]
    fit = fitted(plain)
    first, alpha, beta = fit.coef_[:, :3], fit.coef_[:, 3], fit.coef_[:, 4]
    zero = np.zeros(3)
    other = with_coefficients(fit, np.c_[zero, first, alpha - 1e7 * beta, 1e7 * beta, zero])
    other.C = c
    m = mm.memory_map(other, np.c_[GROUPS, A, A + 1e-7 * B, A], Y)
    np.testing.assert_allclose(m["leverage"], mm.memory_map(fit, plain, Y)["leverage"], atol=1e-6)
    assert m["leverage"].sum() == pytest.approx(12, abs=1e-5)


@pytest.mark.parametrize("other", [GROUPS, np.c_[A, B, A]], ids=["dummies", "duplicate"])
def test_columns_that_are_combinations_stay_as_they_were(other):
    plain = GROUPS[:, 1:] if other is GROUPS else np.c_[A, B]
    m = mm.memory_map(fitted(other), other, Y)
    np.testing.assert_allclose(m["leverage"], mm.memory_map(fitted(plain), plain, Y)["leverage"], atol=1e-9)
    assert m.provenance.description.relative_error is None


def contrasts(probabilities):
    """`HᵀΛH [n, 2, 2]` for orthonormal `H [3, 2]` with `Hᵀ1 = 0`: a common change of all outputs has no effect."""
    h = np.linalg.qr(np.c_[np.ones(3), np.eye(3)[:, :2]])[0][:, 1:]
    full = probabilities[:, :, None] * np.eye(3) - probabilities[:, :, None] * probabilities[:, None]
    return h.T @ full @ h


def exact_sum(model, x, c):
    """`tr S⁻¹(S − D)`, the sum of leverages, in 60 digits."""
    with mpmath.workdps(60):
        x = [[mpmath.mpf(float(value)) for value in (*row, 1.0)] for row in x]
        p, curvature = len(x[0]), contrasts(model.predict_proba(np.asarray(x, dtype=float)[:, :-1]))
        data = mpmath.zeros(2 * p)
        for row, own in zip(x, curvature, strict=True):
            for place in np.ndindex(2, p, 2, p):
                s, j, t, q = place
                data[s * p + j, t * p + q] += mpmath.mpf(float(own[s, t])) * row[j] * row[q]
        ridge = mpmath.diag([0 if j % p == p - 1 else 1 / mpmath.mpf(c) for j in range(2 * p)])
        solved = (data + ridge) ** -1 * data
        return float(mpmath.fsum(solved[j, j] for j in range(2 * p)))


@pytest.mark.parametrize("c", [1e10, 1e13, 1e16])
def test_weak_penalties_of_near_duplicates(c):
    _, other, x = near_duplicate(1e-5)
    other.C = c
    m = mm.memory_map(other, x, Y)
    assert m["leverage"].sum() == pytest.approx(exact_sum(other, x, c), rel=2e-6 if c == 1e10 else 1e-9)


@pytest.mark.parametrize("e", [1e-3, 1e-5, 1e-6, 3e-7])
def test_rounding_of_sums_of_products_is_what_is_stated(monkeypatch, e):
    monkeypatch.setattr(data_sums, "nearly_collinear", lambda rows: False)
    fit, other, x = near_duplicate(e)
    m, expected = mm.memory_map(other, x, Y), mm.memory_map(fit, np.c_[A, B], Y)["leverage"]
    off = np.linalg.norm(m["leverage"] - expected) / np.linalg.norm(expected)
    stated = m.origin.posterior.structure.rounding
    assert stated / 100 < off < stated
    assert m.provenance.description.relative_error == (stated if stated >= 1e-4 else None)


def test_rounding_of_the_nearest_columns_is_stated_and_lowers_trust():
    one = fitted(A[:, None])
    model, x, plain = with_coefficients(one, np.c_[one.coef_, np.zeros(3)]), np.c_[A, A + 2e-13 * B], np.c_[A, B]
    m, expected = mm.memory_map(model, x, Y), mm.memory_map(model, plain, Y)["leverage"]
    stated = m.provenance.description.relative_error
    assert np.linalg.norm(m["leverage"] - expected) / np.linalg.norm(expected) < stated
    assert stated < 0.1
    assert m.trust["leverage"].level in ("estimated", "ranks only")  # the fit stands off its optimum, too


def test_directions_that_are_cut_in_spite_of_the_data_are_stated():
    x = np.c_[A, A + 1e-8 * B]
    free = np.ones((2, 3), dtype=bool)
    p = np.full(3, 1 / 3)
    curvature = np.tile(np.diag(p) - np.outer(p, p), (N, 1, 1))
    cut = CoupledCurvature(2, 3, nearly_collinear=True)
    cut.add(x, curvature)
    root, _ = cut.posterior_root(np.zeros((2, 3)), free)
    assert root.rank == 2
    assert root.rounding >= 1


def test_sums_of_workers_are_those_of_one():
    _, other, x = near_duplicate(1e-7)
    model = mm.memory_map(other, x, Y).origin.posterior.model
    kind = data_sums._coupled_curvature(model, ArrayExamples.of(x, Y))
    full, halves = np.c_[x, np.ones(N)], [kind(3, 3), kind(3, 3)]
    for half, rows in zip(halves, np.array_split(full, 2), strict=True):
        half.add(rows, np.tile(np.eye(3), (len(rows), 1, 1)))
    halves[0].merge(halves[1])
    np.testing.assert_allclose(halves[0].diagonal(), np.tile(np.sum(full**2, axis=0)[:, None], 3), rtol=1e-12)
