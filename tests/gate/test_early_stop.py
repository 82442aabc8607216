"""Fits that stopped early: warned of where their sizes are off, measured against the optimum; every remedy works."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import HuberRegressor, Lasso, LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

import memorymaps as mm
from memorymaps.analysis.long_steps import _marked
from memorymaps.core.likelihoods.exponential_family import Bernoulli
from memorymaps.maps.premises import FAR, GAP_ERROR, GAP_SLOPE, not_stationary
from memorymaps.maps.provenance import Provenance
from memorymaps.maps.trust import Level
from memorymaps.models.linear.newton_methods import newton, online_newton, von

DIABETES = load_diabetes(return_X_y=True)
rng = np.random.default_rng(0)
X = rng.normal(size=(150, 4)) * [1.0, 5.0, 0.2, 1.0]
Y = X @ [1.0, 0.2, -2.0, 0.0] + rng.standard_t(3, 150)
LABELS = (Y + rng.normal(size=150) > 0).astype(int)


def quietly(model, x, y):
    with warnings.catch_warnings(action="ignore"):
        return model.fit(x, y)


def gap(m):
    return m.provenance.description.optimum_gap


STEPS = (4, 6, 8, 12, 16, 20)


@pytest.mark.slow
@pytest.mark.parametrize("steps", STEPS)
def test_the_warning_is_that_of_sizes_at_the_optimum(steps):
    x, y = load_breast_cancer(return_X_y=True)
    model = quietly(make_pipeline(StandardScaler(), LogisticRegression(max_iter=steps)), x, y)
    m, polished = mm.memory_map(model, x, y), mm.memory_map(model, x, y, polish=True)
    plain = mm.memory_map(model, x, y, estimator="cavity")["sensitivity"]
    exact = mm.memory_map(model, x, y, estimator="cavity", polish=True)["sensitivity"]
    top = np.union1d(np.argsort(-plain)[:25], np.argsort(-exact)[:25])
    error = np.linalg.norm(plain[top] - exact[top]) / np.linalg.norm(exact[top])
    assert gap(m)[1] == pytest.approx(error, rel=1e-6)
    slope_off, loss_off = abs(gap(m)[0] - 1), abs(gap(m)[2] - 1)
    off = max(slope_off, loss_off) > GAP_SLOPE or max(gap(m)[1], gap(m)[3]) > GAP_ERROR
    assert not_stationary(m) == (off or m.provenance.description.distance >= FAR)
    assert any("polish=True" in line for line in m.summary().warnings) == not_stationary(m)
    assert not not_stationary(polished)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("scaled", "steps", "leverage", "ranks"),
    [
        (True, 1000, Level.EXACT, Level.ESTIMATED),
        (True, 16, Level.ESTIMATED, Level.ESTIMATED),
        (True, 8, Level.RANKS, Level.ESTIMATED),
        (False, 200, Level.RANKS, Level.RANKS),
        (False, 3, Level.UNUSABLE, Level.UNUSABLE),
    ],
)
def test_leverage_and_ranks_are_trusted_no_further_than_they_are_those_of_the_optimum(scaled, steps, leverage, ranks):
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x) if scaled else x
    model = LogisticRegression(max_iter=steps, tol=1e-6).fit(x, y)
    m, best = mm.memory_map(model, x, y), mm.memory_map(model, x, y, polish=True)
    assert (m.trust["leverage"].level, m.trust["ranks"].level) == (leverage, ranks)
    error = np.linalg.norm(m["leverage"] - best["leverage"]) / np.linalg.norm(best["leverage"])
    most = {Level.EXACT: 0.01, Level.ESTIMATED: 0.1}.get(leverage, np.inf)
    assert error <= most
    rho = spearmanr(m["leverage"], best["leverage"]).statistic
    assert rho >= {Level.RANKS: 0.5, Level.UNUSABLE: -1.0}.get(leverage, 0.99)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_leverage_of_least_squares_does_not_depend_on_where_the_solver_stopped():
    model = quietly(Ridge(solver="saga", max_iter=1, tol=1e-12, random_state=0), X * [1, 100, 1, 1], Y)
    m = mm.memory_map(model, X * [1, 100, 1, 1], Y)
    exact = mm.memory_map(Ridge().fit(X * [1, 100, 1, 1], Y), X * [1, 100, 1, 1], Y)
    np.testing.assert_allclose(m["leverage"], exact["leverage"], rtol=1e-9)
    assert m.trust["leverage"].level == Level.EXACT
    assert m.trust["sensitivity"].level in (Level.RANKS, Level.UNUSABLE)


@pytest.mark.parametrize(
    ("steps", "sizes", "ranks"), [(5, Level.RANKS, Level.ESTIMATED), (20, Level.ESTIMATED, Level.ESTIMATED)]
)
def test_least_squares_that_stopped_early_are_not_exact_but_for_their_leverage(steps, sizes, ranks):
    x, y = StandardScaler().fit_transform(DIABETES[0]), DIABETES[1]
    trust = mm.memory_map(quietly(Ridge(solver="sag", max_iter=steps, tol=1e-12, random_state=0), x, y), x, y).trust
    assert [verdict.level for verdict in trust] == [Level.EXACT, sizes, sizes, ranks, sizes]
    assert all(len(verdict.reasons) == len(set(verdict.reasons)) for verdict in trust)


@pytest.mark.parametrize("steps", [3, 20, 1000])
def test_leverage_of_a_lasso_is_exact_only_with_the_coefficients_of_the_optimum(steps):
    x, y = load_breast_cancer(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[:300], y[:300]
    alpha = 0.3 * np.max(np.abs(x.T @ (y - y.mean()))) / len(y)
    best = mm.memory_map(Lasso(alpha, tol=1e-12, max_iter=10**5).fit(x, y), x, y)
    m = mm.memory_map(quietly(Lasso(alpha, tol=1e-12, max_iter=steps), x, y), x, y)
    error = np.linalg.norm(m["leverage"] - best["leverage"]) / np.linalg.norm(best["leverage"])
    assert m.trust["leverage"].level == (Level.RANKS if error > 0.3 else Level.EXACT)
    assert (error > 0.3) == (steps < 1000)
    assert spearmanr(m["leverage"], best["leverage"]).statistic > 0.5


def test_a_lasso_without_zeros_is_not_exact_without_an_example_some_coefficient_may_be_zero():
    x, y = StandardScaler().fit_transform(DIABETES[0]), DIABETES[1]
    model = Lasso(alpha=0.005, tol=1e-12, max_iter=10**5).fit(x, y)
    assert np.all(model.coef_)
    trust = mm.memory_map(model, x, y).trust
    assert [verdict.level for verdict in trust] == [Level.EXACT, *[Level.ESTIMATED] * 4]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [5, 20, 40, 1000])
def test_ranks_of_kernel_machines_that_stopped_early_are_trusted_no_further_than_measured(steps):
    x, y = load_breast_cancer(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[:300], y[:300]
    best = mm.memory_map(SVC(tol=1e-8).fit(x, y), x, y)
    m = mm.memory_map(quietly(SVC(tol=1e-8, max_iter=steps), x, y), x, y)
    rho = spearmanr(m["sensitivity"], best["sensitivity"]).statistic
    assert rho >= {Level.ESTIMATED: 0.9, Level.RANKS: 0.4, Level.UNUSABLE: -1}[m.trust["ranks"].level]
    assert (m.trust["ranks"].level == Level.ESTIMATED) == (steps == 1000)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [3, 30, 100])
def test_ranks_of_networks_that_stopped_early_are_trusted_no_further_than_measured(steps):
    x, y = load_breast_cancer(return_X_y=True)
    x, y = StandardScaler().fit_transform(x)[:250], y[:250]
    model = MLPClassifier((8,), "tanh", alpha=0.1, max_iter=steps, learning_rate_init=0.01, batch_size=250, tol=0.0,
                          random_state=1)  # fmt: skip
    m = mm.memory_map(quietly(model, x, y), x, y)
    further = model.set_params(solver="lbfgs", warm_start=True, max_iter=4000, tol=1e-12)
    rho = spearmanr(m["sensitivity"], mm.memory_map(quietly(further, x, y), x, y)["sensitivity"]).statistic
    assert m.trust["ranks"].level == (Level.UNUSABLE if steps == 3 else Level.RANKS)
    assert rho >= (0.5 if steps > 3 else -1)
    assert "of the weights as they are" in str(m.trust["leverage"])


@pytest.mark.parametrize("method", [newton, online_newton, von])
def test_iterates_of_newtons_methods_are_trusted_no_further_than_measured(method):
    x, y = load_breast_cancer(return_X_y=True)
    x, y = np.c_[np.ones(300), StandardScaler().fit_transform(x)[:300, :8]], y[:300] * 1.0
    states = list(method(x, y, likelihood=Bernoulli(), prior=0.1, steps=250))
    best = mm.memory_map(states[-1], x, y)
    assert best.provenance.description.distance < 1e-5
    for state in states[:60:4]:
        m = mm.memory_map(state, x, y)
        error = np.linalg.norm(m["leverage"] - best["leverage"]) / np.linalg.norm(best["leverage"])
        assert error < {Level.EXACT: 0.01, Level.ESTIMATED: 0.1}.get(m.trust["leverage"].level, np.inf)
        rho = spearmanr(m["sensitivity"], best["sensitivity"]).statistic
        assert rho > {Level.ESTIMATED: 0.9, Level.RANKS: 0.7, Level.UNUSABLE: -1}[m.trust["ranks"].level]


def test_both_verdicts_occur():
    x, y = load_breast_cancer(return_X_y=True)
    models = [quietly(make_pipeline(StandardScaler(), LogisticRegression(max_iter=k)), x, y) for k in STEPS]
    maps = [mm.memory_map(model, x, y) for model in models]
    assert {not_stationary(m) for m in maps} == {True, False}
    near = next(m for m in maps if not not_stationary(m))
    assert any("where the largest sizes differ by" in note for note in near.provenance.description.notes)


def test_a_converged_fit_is_not_compared():
    assert gap(mm.memory_map(LogisticRegression(tol=1e-8).fit(X, LABELS), X, LABELS)) is None


def test_the_gap_survives_a_file():
    description = dataclasses.replace(
        mm.memory_map(LogisticRegression(tol=1e-8).fit(X, LABELS), X, LABELS).provenance.description,
        distance=0.2, optimum_gap=(1.02, 0.05, 1.0, 0.03),
    )  # fmt: skip
    made = mm.memory_map(LogisticRegression(tol=1e-8).fit(X, LABELS), X, LABELS).provenance
    made = dataclasses.replace(made, description=description)
    assert Provenance.from_dict(json.loads(json.dumps(made.to_dict()))).description == description


def test_stochastic_gradients_that_ran_away_are_mapped_warned_of_and_polished():
    far = X * [1.0, 1000.0, 1.0, 1.0]
    model = quietly(SGDRegressor(random_state=0), far, Y)
    m = mm.memory_map(model, far, Y)
    assert "polish=True" in m.summary().warnings[0]
    polished = mm.memory_map(model, far, Y, polish=True)
    assert polished.provenance.description.distance < 1e-2
    assert not not_stationary(polished)


@pytest.mark.slow
def test_smooth_losses_of_ramps_are_polished():
    for make, y, early, late in (
        (HuberRegressor, Y, {"max_iter": 6}, {"max_iter": 5000, "tol": 1e-9}),
        (LinearSVC, LABELS, {"max_iter": 5, "random_state": 0}, {"max_iter": 10**6, "tol": 1e-9, "random_state": 0}),
    ):
        model, tight = quietly(make(**early), X, y), quietly(make(**late), X, y)
        if make is HuberRegressor:  # its scale is held
            model.scale_ = tight.scale_
        polished = mm.memory_map(model, X, y, polish=True)
        truth = mm.memory_map(tight, X, y)["sensitivity"]
        assert polished.provenance.description.distance < 1e-2
        assert np.linalg.norm(polished["sensitivity"] - truth) < 0.02 * np.linalg.norm(truth)


def test_outputs_far_from_every_kink_have_a_smoothed_curvature():
    x, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), SGDClassifier(random_state=0)).fit(x, y)
    assert np.isfinite(mm.memory_map(model, x, y)["leverage"]).all()


def test_refits_of_support_vector_machines_end():
    m = mm.memory_map(SVC(kernel="linear").fit(X, LABELS), X, LABELS, estimator="cavity")
    refits = m.origin.posterior.capabilities.refit
    assert 0 < refits.settings["max_iter"] < 10**6  # without a limit libsvm goes on where rounding stops it


def test_marked_examples_are_warned_of_where_they_matter():
    m = mm.memory_map(LogisticRegression(tol=1e-8).fit(X, LABELS), X, LABELS)
    order = np.argsort(m["sensitivity"])
    small, large = _marked(m, order[:3]), _marked(m, order[-3:])
    assert small.summary().warnings == ()
    assert "3 of 150 examples whose Newton step may be too long" in large.summary().warnings[0]
    for marked in (small, large):
        assert any("3 of 150 examples carry a warning" in why for why in marked.trust["sensitivity"].reasons)
