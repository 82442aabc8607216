"""Ordered classes and survival: against statsmodels' covariances, dense definitions and refits."""

from __future__ import annotations

import contextlib
import os
import pathlib
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy.optimize import root
from scipy.stats import spearmanr
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.miscmodels.ordinal_model import OrderedModel

import memorymaps as mm
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.core.likelihoods.links import Probit
from memorymaps.core.likelihoods.ordinal import Ordinal
from memorymaps.data.examples import DataError

RNG = np.random.default_rng(4)
N = 150
X = RNG.normal(size=(N, 3))
LATENT = X @ [1.0, -0.7, 0.3] + RNG.logistic(size=N)
Y = np.digitize(LATENT, [-1.0, 0.3, 1.5])
DATA = os.environ.get("MEMORYMAPS_DATA") or None


def ordered(y, x, link, start=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OrderedModel(y, x, distr=link, **options).fit(start, method="bfgs", maxiter=2000, gtol=1e-8, disp=False)


# --- the likelihood ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [Ordinal(), Ordinal(Probit())], ids=["logit", "probit"])
def test_derivatives_are_those_of_the_loss(link):
    f, y, step = np.sort(RNG.normal(size=(9, 3)), axis=1), np.arange(9) % 4, 1e-6
    for k in range(3):
        moved = step * np.eye(3)[k]
        slope = (link.nll(f + moved, y) - link.nll(f - moved, y)) / (2 * step)
        np.testing.assert_allclose(link.error(f, y)[:, k], slope, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(
            link.mean_jacobian(f)[:, :, k], (link.mean(f + moved) - link.mean(f - moved)) / (2 * step), atol=1e-8
        )
    p = link.mean(f)
    outer = [link.error(f, np.full(9, j)) for j in range(4)]
    fisher = sum(p[:, j, None, None] * e[:, :, None] * e[:, None, :] for j, e in enumerate(outer))
    np.testing.assert_allclose(link.curvature(f, y), fisher, rtol=1e-8, atol=1e-12)


def test_two_ordered_classes_are_a_bernoulli():
    f, y = RNG.normal(size=(9, 1)), np.arange(9) % 2
    np.testing.assert_allclose(Ordinal().nll(f, y), Bernoulli().nll(-f, y.astype(float)))
    np.testing.assert_allclose(Ordinal().curvature(f, y), Bernoulli().curvature(f, y.astype(float)))


def test_far_tails_keep_their_digits():
    p = Ordinal().mean(np.array([[40.0, 41.0], [-41.0, -40.0]]))
    assert p[0, 1] == pytest.approx(np.exp(-40) - np.exp(-41), rel=1e-8)
    assert p[0, 2] == pytest.approx(np.exp(-41), rel=1e-8)
    assert p[1, 1] == pytest.approx(np.exp(-40) - np.exp(-41), rel=1e-8)


# --- ordered regression -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("offset", [None, 0.5 * RNG.normal(size=N)], ids=["plain", "offset"])
def test_the_map_is_that_of_the_fitted_model(link, offset):
    fit = ordered(Y, X, link, offset=offset)
    m = mm.memory_map(fit)
    np.testing.assert_allclose(m["mean"], fit.predict(), rtol=1e-9)
    assert m["loss"].sum() == pytest.approx(-fit.llf, rel=1e-9)
    assert m["leverage"].sum() == pytest.approx(6, rel=1e-9)  # three thresholds and three slopes
    assert m.provenance.description.distance < 1e-3
    assert m.provenance.description.parameters[3:] == ("x1", "x2", "x3")
    slopes = np.diag(m.origin.posterior.root @ m.origin.posterior.root.T)[3:]
    np.testing.assert_allclose(np.sqrt(slopes), fit.bse[:3], rtol=0.1)  # theirs: observed information


@pytest.mark.slow
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_leaving_out_agrees_with_refitting(link):
    fit = ordered(Y, X, link)
    m = mm.memory_map(fit)
    rows = np.unique(np.r_[m.top(10)["row"], 0:15])
    truth = []
    for i in rows:
        again = ordered(np.delete(Y, i), np.delete(X, i, axis=0), link, np.asarray(fit.params))
        truth.append(again.model.predict(again.params, X[[i]])[0] - fit.predict()[i])
    truth, estimate = np.asarray(truth), (m["loo_mean"] - m["mean"])[rows]
    assert np.sum(estimate * truth) / np.sum(truth**2) == pytest.approx(1, abs=0.05)
    assert np.linalg.norm(estimate - truth) < 0.1 * np.linalg.norm(truth)
    assert spearmanr(m["sensitivity"][rows], np.abs(truth).sum(1)).statistic > 0.98


@pytest.mark.slow
def test_separated_ordered_classes_are_warned_of_or_refused():
    y, warned = np.digitize(X @ [1.0, -0.7, 0.3], [-0.7, 0.7]), 0
    for steps in (20, 60, 2000):
        with warnings.catch_warnings(action="ignore"):
            results = OrderedModel(y, X, distr="logit").fit(method="bfgs", maxiter=steps, gtol=1e-9, disp=False)
        with contextlib.suppress(DataError):
            m = mm.memory_map(results)
            assert any("from the optimum" in line or "no minimum" in line for line in m.summary().warnings)
            assert not m.trust["sensitivity"].sizes
            warned += 1
    assert warned


def test_labels_and_groups():
    grade = pd.Series(pd.Categorical.from_codes(Y, ["bad", "fair", "good", "best"], ordered=True))
    frame = pd.DataFrame(X, columns=list("abc"), index=[f"case {i}" for i in range(N)])
    m = mm.memory_map(ordered(grade.set_axis(frame.index), frame, "logit"))
    assert m["id"][3] == "case 3"
    assert set(m["prediction"]) <= {"bad", "fair", "good", "best"}
    assert 0.4 < m.leave_one_out().loo_score < 1
    alone = m.leave_out({"one": ["case 3"]})
    refitted = mm.refit(m, top=N)
    assert alone["sensitivity"][0] == pytest.approx(refitted["sensitivity"][3], rel=1e-6)


def test_other_distributions_and_data_twice_are_refused():
    from scipy import stats

    fit = ordered(Y, X, stats.gumbel_l)
    with pytest.raises(mm.UnsupportedModelError, match="expected 'logit' or 'probit'"):
        mm.memory_map(fit)
    with pytest.raises(ValueError, match="carry their training data"):
        mm.memory_map(ordered(Y, X, "logit"), X, Y)
    fit = ordered(Y, X, "logit")
    params = np.asarray(fit.params).copy()
    fit._results.params = np.where(np.arange(6) == 1, np.nan, params)
    with pytest.raises(mm.DataError, match="not converged"):
        mm.memory_map(fit)


# --- survival ---------------------------------------------------------------------------------------------------------

TIME = RNG.exponential(np.exp(-0.8 * X[:, 0] + 0.4 * X[:, 1]))
CENSOR = RNG.exponential(2.0, size=N)
STATUS = (TIME <= CENSOR).astype(int)
TIME = np.minimum(TIME, CENSOR)
ENTRY = TIME * RNG.uniform(0, 0.3, size=N)
STRATA = np.arange(N) % 2


def survival(time=TIME, x=X, status=STATUS, **options):
    return PHReg(time, x, status, **options).fit()


KINDS = {
    "plain": {},
    "ties": {"time": np.ceil(4 * TIME)},
    "strata": {"strata": STRATA},
    "entry": {"entry": ENTRY},
    "offset": {"offset": 0.3 * RNG.normal(size=N)},
}


def breslow(beta, time, x=X, status=STATUS, strata=None, entry=None, offset=None):
    """Cumulative hazard of a subject at its own time, by loops (statsmodels' own leaves out the last jump)."""
    n = len(time)
    strata, entry = (np.zeros(n) if v is None else v for v in (strata, entry))
    relative = np.exp(x @ beta + (0 if offset is None else offset))

    def expected(i, x_i=None, t=None, s=0):
        """Subject `i`, or somebody else's covariates and time."""
        at, own = (time[i], relative[i]) if t is None else (t, np.exp(x_i @ beta))
        total, s, start = 0.0, (strata[i] if t is None else s), (entry[i] if t is None else 0)
        for when in np.unique(time[(status == 1) & (strata == s)]):
            if start <= when <= at:
                risk = (entry <= when) & (when <= time) & (strata == s)
                total += np.sum((status == 1) & (time == when) & (strata == s)) / relative[risk].sum()
        return own * total

    return expected


@pytest.mark.slow
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_cox_outputs_are_those_of_statsmodels(options):
    fit = survival(**options)
    m = mm.memory_map(fit)
    expected = breslow(fit.params, **{"time": TIME, **options})
    np.testing.assert_allclose(m["prediction"], [expected(i) for i in range(N)], rtol=1e-8, atol=1e-12)
    assert m["residual"].sum() == pytest.approx(0, abs=1e-8)
    assert "cain1984approximate" in m.citation()
    root = m.origin.posterior.root
    np.testing.assert_allclose(root @ root.T, fit.cov_params(), rtol=1e-6)
    assert m.provenance.description.distance < 1e-3


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_first_order_coefficient_changes_are_score_residuals(options):
    fit = survival(**options)
    posterior, examples = (lambda o: (o.posterior, o.examples))(mm.memory_map(fit).origin)
    batch = examples.take(slice(None))
    at = mm.memory_map(fit).origin.batch_statistics(batch)
    p = X.shape[1]
    moves = np.einsum("ncp,nc->np", posterior.covariance_root(batch.inputs)[:, :, -p:], at.error) @ posterior.root.T
    score = fit.score_residuals
    known = np.isfinite(score).all(axis=1)
    np.testing.assert_allclose(moves[known], -(score @ fit.cov_params())[known], rtol=1e-6, atol=1e-8)


COARSE = np.ceil(4 * TIME)


def efron(beta, weight, time=COARSE, x=X, status=STATUS):
    """Efron's partial likelihood with case weights, by loops: `−log L` and its gradient."""
    relative, value, gradient = np.exp(x @ beta), 0.0, np.zeros(x.shape[1])
    for when in np.unique(time[status == 1]):
        risk, tie = time >= when, (time == when) & (status == 1)
        d = np.count_nonzero(tie)
        value -= weight[tie] @ (x[tie] @ beta)
        gradient -= weight[tie] @ x[tie]
        for j in range(d):
            at_risk = weight * relative * (risk - j / d * tie)
            value += weight[tie].mean() * np.log(at_risk.sum())
            gradient += weight[tie].mean() * (at_risk @ x) / at_risk.sum()
    return value, gradient


def test_efron_losses_and_their_sum_are_efrons_partial_likelihood():
    fit = survival(COARSE, ties="efron")
    m = mm.memory_map(fit)
    value, gradient = efron(fit.params, np.ones(N))
    assert -fit.llf == pytest.approx(value, rel=1e-10)
    events = STATUS.sum()  # H sums to the number of events, and log jumps are −log of the risk sums
    assert m["loss"].sum() - events == pytest.approx(value, rel=1e-10)
    assert m["residual"].sum() == pytest.approx(0, abs=1e-8)
    root = m.origin.posterior.root
    np.testing.assert_allclose(root @ root.T, fit.cov_params(), rtol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)


@pytest.mark.slow
def test_first_order_changes_with_efrons_ties_are_derivatives_by_case_weights():
    fit = survival(COARSE, ties="efron")
    origin = mm.memory_map(fit).origin
    batch = origin.examples.take(slice(None))
    p, at, posterior = X.shape[1], origin.batch_statistics(batch), origin.posterior
    moves = np.einsum("ncp,nc->np", posterior.covariance_root(batch.inputs)[:, :, -p:], at.error) @ posterior.root.T

    def refitted(weight):
        return root(lambda b: efron(b, weight)[1], fit.params, tol=1e-13).x

    for i in range(0, N, 11):
        step = 1e-4 * (np.arange(N) == i)
        slope = (refitted(np.ones(N) - step) - refitted(np.ones(N) + step)) / 2e-4
        np.testing.assert_allclose(moves[i], slope, rtol=1e-5, atol=1e-8)


def patients(name):
    frame = pd.read_csv(pathlib.Path(DATA) / "tabular" / f"{name}.csv")
    columns = {"lung_ncctg": ["age", "sex", "ph.ecog"], "veteran": ["trt", "karno", "diagtime", "age", "prior"]}[name]
    frame = frame.dropna(subset=columns)
    x = frame[columns].to_numpy(float)
    status = (frame["status"] == frame["status"].max()).to_numpy().astype(int)
    return frame["time"].to_numpy(float), x - x.mean(0), status


def check_tied_refits(time, x, status, error):
    whole = survival(time, x, status, ties="efron")
    m = mm.memory_map(whole)
    count = np.array([np.sum((time == t) & (status == 1)) for t in time])
    rows = np.flatnonzero((status == 1) & (count >= 5))[::3]
    assert len(rows) > 15
    moves = []
    for i in rows:
        rest = [np.delete(v, i, axis=0) for v in (time, x, status)]
        moves.append(PHReg(*rest, ties="efron").fit(start_params=whole.params).params - whole.params)
    scale = np.std(moves, axis=0)
    a, b = (m["coefficient_shift"][rows] / scale).ravel(), (np.asarray(moves) / scale).ravel()
    assert a @ b / (b @ b) == pytest.approx(1, abs=0.05)
    assert np.linalg.norm(a - b) < error * np.linalg.norm(b)


def test_leaving_out_a_subject_of_a_tie_agrees_with_refitting_by_efron():
    check_tied_refits(COARSE, X, STATUS, 0.1)


@pytest.mark.skipif(DATA is None, reason="needs MEMORYMAPS_DATA")
@pytest.mark.parametrize("name", ["lung_ncctg", "veteran"])
def test_leaving_out_patients_of_a_tie_agrees_with_refitting_by_efron(name):
    time, x, status = patients(name)
    check_tied_refits(np.ceil(time / 60), x, status, 0.06)


def refits(time, x, status, rows):
    whole, moves, outputs = PHReg(time, x, status).fit(), [], []
    before = breslow(whole.params, time, x, status)
    for i in rows:
        rest = [np.delete(v, i, axis=0) for v in (time, x, status)]
        again = PHReg(*rest).fit(start_params=whole.params)
        moves.append(again.params - whole.params)
        outputs.append(breslow(again.params, *rest)(None, x[i], time[i]) - before(i))
    return whole, np.asarray(moves), np.asarray(outputs)


def check_refits(time, x, status, slope, error):
    m = mm.memory_map(PHReg(time, x, status).fit())
    rows = np.unique(np.r_[m.top(15)["row"], np.arange(0, len(time), 9)])
    _, moves, outputs = refits(time, x, status, rows)
    scale = moves.std(axis=0)
    a, b = (m["coefficient_shift"][rows] / scale).ravel(), (moves / scale).ravel()
    assert a @ b / (b @ b) == pytest.approx(1, abs=slope)
    assert np.linalg.norm(a - b) < error * np.linalg.norm(b)
    late = (
        time[rows] >= np.sort(time[status == 1])[-2]
    )  # the jump at their event, which vanishes without them, is a large part of H
    change, outputs = (m["loo_prediction"] - m["prediction"])[rows][~late], outputs[~late]
    assert change @ outputs / (outputs @ outputs) == pytest.approx(1, abs=0.1)
    assert np.linalg.norm(change - outputs) < 0.15 * np.linalg.norm(outputs)


@pytest.mark.slow
def test_leaving_out_a_subject_agrees_with_refitting():
    check_refits(TIME, X, STATUS, 0.1, 0.15)


@pytest.mark.skipif(DATA is None, reason="needs MEMORYMAPS_DATA")
@pytest.mark.parametrize("name", ["lung_ncctg", "veteran"])
def test_leaving_out_patients_agrees_with_refitting(name):
    time, x, status = patients(name)
    check_refits(time, x, status, 0.1, 0.15)


def test_without_ties_efrons_method_is_breslows():
    a, b = (mm.memory_map(survival(ties=ties)) for ties in ("efron", "breslow"))
    for column in ("leverage", "prediction", "coefficient_shift"):
        np.testing.assert_allclose(a[column], b[column], rtol=1e-6, atol=1e-9)


def test_survival_without_events_is_refused():
    with pytest.raises(ValueError, match="carry their training data"):
        mm.memory_map(survival(), X, STATUS)
    fit = survival()
    fit.model.status = np.full(N, 2.0)
    with pytest.raises((mm.TargetError, mm.DataError)):
        mm.memory_map(fit)


def test_class_numbers_in_a_formula_are_the_classes():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=90), "kind": np.repeat([0, 1, 2], 30)})
    by_formula = smf.mnlogit("kind ~ x", frame).fit(disp=0)
    by_arrays = sm.MNLogit(frame["kind"].to_numpy(), sm.add_constant(frame["x"].to_numpy())).fit(disp=0)
    m, same = mm.memory_map(by_formula), mm.memory_map(by_arrays)
    assert m.provenance.description.classes == (0, 1, 2)
    np.testing.assert_allclose(m["sensitivity"], same["sensitivity"], rtol=1e-8)
