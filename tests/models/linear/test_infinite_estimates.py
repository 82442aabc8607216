"""Fits whose loss has no minimum say so; examples without which there is none get the limits of their refits."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm

pytestmark = pytest.mark.filterwarnings("ignore")  # statsmodels' and scikit-learn's, of separation and convergence

RNG = np.random.default_rng(0)
N, GROUP = 60, 12
COLUMNS = RNG.normal(size=(N, 2))
MEMBER = np.arange(N) < GROUP
X = np.column_stack([COLUMNS, MEMBER])
DESIGN = sm.add_constant(X)
BINARY = np.where(MEMBER, 1, RNG.random(N) < 1 / (1 + np.exp(-COLUMNS[:, 0]))).astype(int)
ONE_CLASS = np.where(MEMBER, 2, RNG.integers(0, 3, N))
COUNTS = np.where(MEMBER, 0, RNG.poisson(np.exp(COLUMNS[:, 0] / 2)))
TIME = RNG.exponential(size=N)
EVENT = np.where(MEMBER, 0, RNG.random(N) < 0.7).astype(int)
CLASSES = (COLUMNS[:, 0] > 0).astype(int)

PROBIT = sm.families.Binomial(sm.families.links.Probit())
CLOGLOG = sm.families.Binomial(sm.families.links.CLogLog())
UNPENALISED = {"C": np.inf, "max_iter": 10_000}
GROUPS = {
    "GLM": lambda: (sm.GLM(BINARY, DESIGN, family=sm.families.Binomial()).fit(),),
    "probit": lambda: (sm.GLM(BINARY, DESIGN, family=PROBIT).fit(),),
    "cloglog": lambda: (sm.GLM(BINARY, DESIGN, family=CLOGLOG).fit(),),
    "Logit": lambda: (sm.Logit(BINARY, DESIGN).fit(disp=0),),
    "lbfgs": lambda: (LogisticRegression(**UNPENALISED).fit(X, BINARY), X, BINARY),
    "newton": lambda: (LogisticRegression(solver="newton-cholesky", **UNPENALISED).fit(X, BINARY), X, BINARY),
    "Poisson": lambda: (sm.GLM(COUNTS, DESIGN, family=sm.families.Poisson()).fit(),),
    "PoissonRegressor": lambda: (PoissonRegressor(alpha=0, max_iter=10_000).fit(X, COUNTS), X, COUNTS),
    "MNLogit": lambda: (sm.MNLogit(ONE_CLASS, DESIGN).fit(disp=0, maxiter=100),),
    "softmax": lambda: (LogisticRegression(**UNPENALISED).fit(X, ONE_CLASS), X, ONE_CLASS),
    "ordered": lambda: (OrderedModel(ONE_CLASS, X, distr="logit").fit(disp=0, method="bfgs", maxiter=1000),),
    "Cox": lambda: (sm.PHReg(TIME, X, status=EVENT).fit(),),
    "Cox, Efron": lambda: (sm.PHReg(np.ceil(5 * TIME), X, status=EVENT, ties="efron").fit(),),
}


@pytest.mark.parametrize("name", GROUPS)
def test_a_column_whose_estimate_is_infinite_is_named(name):
    m = mm.memory_map(*GROUPS[name]())
    infinite = m.provenance.description.infinite_estimates
    assert {"x2", "x3"} & set(infinite)  # the group, where columns are counted from 0 and from 1
    assert not {"x0", "const"} & set(infinite)
    assert "the loss has no minimum on these data" in m.summary().warnings[0]
    assert m.trust["leverage"].level != "exact"


@pytest.mark.parametrize("name", ["GLM", "probit", "Poisson"])
def test_the_other_examples_are_seen_as_without_the_group_and_its_column(name):
    results = GROUPS[name]()[0]
    m = mm.memory_map(results)
    other = sm.GLM(results.model.endog[~MEMBER], DESIGN[~MEMBER, :3], family=results.model.family).fit(tol=1e-12)
    expected = mm.memory_map(other)
    for column in ("leverage", "sensitivity", "loo_loss"):
        np.testing.assert_allclose(m[column][~MEMBER], expected[column], rtol=1e-5, atol=1e-9)


SEPARATED = {
    "GLM": lambda: (sm.GLM(CLASSES, DESIGN, family=sm.families.Binomial()).fit(),),
    "Logit": lambda: (sm.Logit(CLASSES, DESIGN).fit(disp=0),),
    "lbfgs": lambda: (LogisticRegression(**UNPENALISED).fit(X, CLASSES), X, CLASSES),
}


@pytest.mark.parametrize("name", SEPARATED)
def test_separated_classes_have_no_minimum_and_no_sizes(name):
    m = mm.memory_map(*SEPARATED[name]())
    assert len(m.provenance.description.infinite_estimates) == 4
    assert "the loss has no minimum" in m.summary().warnings[0]
    assert "not the training data" not in " ".join(m.summary().warnings)
    assert not m.trust["sensitivity"].sizes


FINITE = {
    "overlapping classes": lambda: (sm.GLM(BINARY, DESIGN[:, :3], family=sm.families.Binomial()).fit(),),
    "a penalty": lambda: (LogisticRegression(max_iter=1000).fit(X, BINARY), X, BINARY),
    "hardly a penalty": lambda: (LogisticRegression(C=1e10, max_iter=10_000).fit(X, BINARY), X, BINARY),
    "stopped after four steps": lambda: (
        LogisticRegression(C=np.inf, max_iter=4).fit(COLUMNS, BINARY),
        COLUMNS,
        BINARY,
    ),
    "a rare event": lambda: (sm.GLM((np.arange(N) == 5) | (BINARY > 9), DESIGN[:, :1], family=PROBIT).fit(),),
    "Cox": lambda: (sm.PHReg(TIME, COLUMNS, status=EVENT).fit(),),
    "ordered": lambda: (OrderedModel(ONE_CLASS, COLUMNS, distr="probit").fit(disp=0, method="bfgs"),),
}


@pytest.mark.parametrize("name", FINITE)
def test_estimates_that_are_finite_are_not_called_infinite(name):
    assert mm.memory_map(*FINITE[name]()).provenance.description.infinite_estimates == ()


def test_a_few_examples_among_very_many_are_found():
    """Sums are over all examples, not over a sample of them."""
    n = 70_000
    few = np.isin(np.arange(n), [11, 30_011, 50_017])
    x, y = np.column_stack([np.arange(n) % 7, few]).astype(float), np.where(few, 1, np.arange(n) % 2)
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(x, y)
    assert mm.memory_map(model, x, y).provenance.description.infinite_estimates == ("x1",)


def test_the_last_of_its_kind_in_a_group_has_the_limit_of_its_refits():
    """Twelve examples of a group, one of them 0: without it the group's probability is 1."""
    design, y = np.column_stack([MEMBER, ~MEMBER]).astype(float), np.where(MEMBER, 1, np.arange(N) % 2)
    y[3] = 0
    m = mm.memory_map(sm.GLM(y, design, family=sm.families.Binomial()).fit(tol=1e-12))
    assert np.isclose(m["sensitivity"][3], 1 / 12)
    assert np.isinf(m["loo_loss"][3])
    assert m["warning"][3] == int(mm.Warn.UNDEFINED)
    assert "left-out loss is infinite" in m.summary().warnings[0]
    assert m.leave_one_out().defined == N - 1
    again = mm.refit(m, top=5)
    assert np.isclose(again["sensitivity"][3], 1 / 12)
    assert again["warning"][3] == int(mm.Warn.UNDEFINED)


def test_the_last_event_of_a_group_leaves_a_rate_of_zero():
    design, y = np.column_stack([MEMBER, ~MEMBER]).astype(float), np.where(MEMBER, 0, 1 + np.arange(N) % 3)
    y[3] = 1
    m = mm.memory_map(sm.GLM(y, design, family=sm.families.Poisson()).fit(tol=1e-12))
    assert np.isclose(m["sensitivity"][3], 1 / 12)
    assert np.isinf(m["loo_loss"][3])


def test_the_last_of_a_class_in_a_group_of_softmax_has_the_limit_of_its_refits():
    """Probabilities of a group are its shares of the classes: 1, 5 and 6 of 12, and 0, 5 and 6 of 11."""
    design, y = np.column_stack([MEMBER, ~MEMBER]).astype(float), np.arange(N) % 3
    y[:GROUP] = np.repeat([0, 1, 2], [1, 5, 6])
    m = mm.memory_map(sm.MNLogit(y, design).fit(disp=0, method="newton", maxiter=100, tol=1e-12))
    expected = np.abs(np.array([0, 5, 6]) / 11 - np.array([1, 5, 6]) / 12).sum()
    assert np.isclose(m["sensitivity"][0], expected)
    assert np.isinf(m["loo_loss"][0])


def has_descent(rows):
    """Whether some direction `d` has `a·d ≥ 0` for all rows and not zero for all, by a linear program [Konis 2007]."""
    best = linprog(-rows.sum(0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=[(-1, 1)] * rows.shape[1])
    return -best.fun > 1e-6


def columns_and_classes(seed):
    """A few rows of few distinct values, whose classes are often separated."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(12, 30)), int(rng.integers(1, 4))
    x = rng.integers(0, 3, size=(n, p)).astype(float) if seed % 3 else rng.normal(size=(n, p))
    y = (rng.random(n) < 1 / (1 + np.exp(-(x - 1) @ (2 * rng.normal(size=p))))).astype(int)
    y[:2] = 0, 1
    return np.column_stack([np.ones(n), x]), y


@pytest.mark.parametrize("seed", range(40))
def test_estimates_are_infinite_where_a_linear_program_says_so(seed):
    design, y = columns_and_classes(seed)
    signed = np.where(y == 1, 1, -1)[:, None] * design
    m = mm.memory_map(sm.GLM(y, design, family=sm.families.Binomial()).fit(maxiter=100))
    assert bool(m.provenance.description.infinite_estimates) == has_descent(signed)


@pytest.mark.parametrize("seed", range(12))
def test_hazards_are_infinite_where_a_linear_program_says_so(seed):
    design, event = columns_and_classes(seed)
    x, time = design[:, 1:], np.random.default_rng(seed).exponential(size=len(event))
    pairs = [x[i] - x[j] for i in np.flatnonzero(event) for j in range(len(x)) if time[j] >= time[i] and j != i]
    m = mm.memory_map(sm.PHReg(time, x, status=event).fit())
    assert bool(m.provenance.description.infinite_estimates) == has_descent(np.array(pairs))


@pytest.mark.parametrize("seed", range(12))
def test_left_out_losses_are_infinite_where_a_linear_program_says_so(seed):
    """Without an example a direction exists along which its own output goes to infinity, away from its class."""
    design, y = columns_and_classes(100 + seed)
    signed = np.where(y == 1, 1, -1)[:, None] * design
    if has_descent(signed):
        pytest.skip("no minimum with all rows either")
    m = mm.memory_map(sm.GLM(y, design, family=sm.families.Binomial()).fit(maxiter=100))
    for i in np.argsort(-m["leverage"])[:5]:
        others = np.delete(signed, i, axis=0)
        away = linprog(signed[i], A_ub=-others, b_ub=np.zeros(len(others)), bounds=[(-1, 1)] * design.shape[1])
        assert np.isinf(m["loo_loss"][i]) == (-away.fun > 1e-6)
