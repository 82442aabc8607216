"""`prune` against refits: its losses, its order, and what it refuses."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.preprocessing import scale

import memorymaps as mm
from memorymaps.analysis.answers import pruning
from memorymaps.analysis.answers.local_objective import LocalObjective
from memorymaps.analysis.answers.pruning import left_out_slopes
from memorymaps.models.linear.newton_refit import LinearRefit

X, Y = load_breast_cancer(return_X_y=True)
X = scale(X)


def logistic(rows):
    return LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(X[rows], Y[rows])


@pytest.fixture(scope="module")
def cancer():
    return mm.memory_map(logistic(np.arange(len(Y))), X, Y)


def log_loss(model, rows):
    return -np.log(model.predict_proba(X[rows])[np.arange(len(rows)), Y[rows]])


def test_the_curve_is_that_of_refits(cancer):
    found = mm.prune(cancer, keep=0.3)
    assert found["left_out_loss"][0] == pytest.approx(cancer.leave_one_out().loo_loss, rel=0.02)  # which refits some
    kept = np.asarray(found.kept)
    assert len(kept) == round(0.3 * len(Y))
    assert set(kept) | set(found.order[: len(Y) - len(kept)]) == set(range(len(Y)))
    model, removed = logistic(kept), np.setdiff1d(np.arange(len(Y)), kept)
    left_out = mm.memory_map(model, X[kept], Y[kept])
    losses = np.concatenate([left_out["loo_loss"], log_loss(model, removed)])
    point = np.flatnonzero(found["kept"] == len(kept))[0]
    assert found["left_out_loss"][point] == pytest.approx(losses.mean(), rel=0.02)


@pytest.mark.slow
def test_the_effect_on_the_left_out_loss_is_that_of_leaving_two_out():
    inputs, y = load_diabetes(return_X_y=True)
    inputs, y = inputs[:60], y[:60]
    m = mm.memory_map(Ridge(alpha=0.1).fit(inputs, y), inputs, y)
    objective = LocalObjective.of(m)
    change, linear, _ = left_out_slopes(objective.full_fit, np.arange(60))
    effect = linear + 0.5 * np.sum(change**2, axis=1)

    def residual(rows, j):
        """Of an example under the ridge regression of some rows; `Ridge.fit` takes longer, 3,660 times."""
        x, centre, mean = inputs[rows] - inputs[rows].mean(0), inputs[rows].mean(0), y[rows].mean()
        slopes = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ (y[rows] - mean))
        return mean + (inputs[j] - centre) @ slopes - y[j]

    def left_out_loss(rows):
        total = sum(residual(rows[rows != j], j) ** 2 for j in range(60))
        return total / (2 * m.provenance.description.dispersion)

    predicted = Ridge(alpha=0.1).fit(inputs[1:], y[1:]).predict(inputs[:1])[0]
    assert residual(np.arange(1, 60), 0) == pytest.approx(predicted - y[0], rel=1e-9)

    start = left_out_loss(np.arange(60))
    truth = [left_out_loss(np.setdiff1d(np.arange(60), [i])) - start for i in range(60)]
    assert spearmanr(effect, truth).statistic > 0.9
    assert np.polyfit(truth, effect, 1)[0] == pytest.approx(1, abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kept_examples_predict_new_ones_better_than_random_ones(seed):
    order = np.random.default_rng(seed).permutation(len(Y))
    train, test = order[:380], order[380:]
    found = mm.prune(mm.memory_map(logistic(train), X[train], Y[train], ids=train), keep=0.15)
    random = [np.random.default_rng(100 * seed + k).choice(train, len(found.kept), replace=False) for k in range(5)]
    ours = log_loss(logistic(np.asarray(found.kept)), test).mean()
    assert ours < np.mean([log_loss(logistic(rows), test).mean() for rows in random])


@pytest.mark.slow
def test_the_check_holds_examples_out(cancer):
    found = mm.prune(cancer, check=True)
    assert found["difference"][0] == found["held_out_error"][0] == 0
    folds = np.random.default_rng(0).permutation(np.arange(len(Y)) % 3)
    parts = [log_loss(logistic(np.flatnonzero(folds != k)), np.flatnonzero(folds == k)) for k in range(3)]
    assert found["held_out_loss"][0] == pytest.approx(np.concatenate(parts).mean(), rel=1e-4)
    assert found["difference"][-1] < -2 * found["difference_error"][-1]
    np.testing.assert_allclose(found["held_out_loss"], found["left_out_loss"], rtol=0.15)  # different thirds of data
    assert "by held-out loss" in str(found)
    assert "check=True compares with random subsets" in str(mm.prune(cancer))


def test_a_small_network_is_pruned_by_its_linearisation():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x = torch.as_tensor(X[:120, :4])
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).double()
    y = torch.as_tensor(Y[:120])
    fit = torch.optim.LBFGS(net.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        fit.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y, reduction="sum")
        loss = loss + 0.5 * sum((p**2).sum() for p in net.parameters())
        loss.backward()
        return loss

    fit.step(closure)
    m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace("full", prior=1.0))
    found = mm.prune(m, keep=60)
    assert len(found.kept) == 60
    assert np.all(np.isfinite(found["left_out_loss"]))


MEAN_LOSSES = {
    "Poisson": lambda: PoissonRegressor(alpha=0.3, tol=1e-10, max_iter=10_000),
    "gamma": lambda: GammaRegressor(alpha=0.1, tol=1e-10, max_iter=10_000),
    "elastic net": lambda: ElasticNet(alpha=0.1, l1_ratio=0.1, tol=1e-12, max_iter=100_000),
}


@pytest.mark.parametrize("name", MEAN_LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_penalties_of_the_mean_loss_follow_the_weight_that_is_left(name, weighted):
    rng, n = np.random.default_rng(0), 80
    X = rng.normal(size=(n, 4))
    y = rng.poisson(np.exp(X @ [0.6, -0.4, 0.3, 0.5])) + 1.0
    weight = rng.uniform(0.5, 2, n) if weighted else None
    model = MEAN_LOSSES[name]()
    m = mm.memory_map(model.fit(X, y, sample_weight=weight), X, y, sample_weight=weight)
    objective, kept = LocalObjective.of(m), rng.random(n) < 0.6
    fit = objective.minimum(kept, np.zeros(objective.root.shape[-1]))
    left = MEAN_LOSSES[name]().fit(X[kept], y[kept], sample_weight=None if weight is None else weight[kept])
    f = left.predict(X) if name == "elastic net" else np.log(left.predict(X))
    assert np.all(left.coef_ != 0)
    np.testing.assert_allclose(fit.f[:, 0], f, rtol=1e-5, atol=1e-6)
    rows = np.flatnonzero(kept)[:5]
    for row, change in zip(rows, fit.removals(rows).change, strict=True):
        without = kept.copy()
        without[row] = False
        exact = objective.minimum(without, fit.u)
        np.testing.assert_allclose(change, exact.u - fit.u, rtol=0.1, atol=2e-3)
    assert len(mm.prune(m, keep=0.5).kept) == n // 2


@pytest.mark.slow
def test_what_cannot_be_pruned_is_refused_with_what_to_type(cancer):
    inputs, y = load_diabetes(return_X_y=True)
    trees = mm.memory_map(RandomForestRegressor(10, random_state=0).fit(inputs, y), inputs, y)
    with pytest.raises(TypeError, match=r"m\.leave_out\(\{'chosen': ids\}\)"):
        mm.prune(trees)
    assert np.isfinite(trees.leave_out({"chosen": [1, 2]})["sensitivity"]).all()
    with pytest.raises(ValueError, match="expected all"):
        mm.prune(cancer.top(100))
    for keep in (0, -1, 569, 1.5, 0.0):
        with pytest.raises(ValueError, match=r"a share below 1, as 0\.5, or a number below 569"):
            mm.prune(cancer, keep=keep)
    with pytest.raises(ValueError, match="expected 2 to"):
        mm.prune(cancer, check=True, folds=1)
    least = mm.memory_map(LinearRegression().fit(inputs, y), inputs, y)
    with pytest.raises(ValueError, match="keep more"):
        mm.prune(least, keep=5)
    assert len(mm.prune(least, keep=50).kept) == 50


def test_those_kept_lead_to_the_fit_to_all(cancer):
    """A fifth of the examples has nearly the full fit's outputs: changes that would add up cancel."""
    full, n = logistic(np.arange(len(Y))).decision_function(X), len(Y) // 5
    found, rng = mm.prune(cancer, keep=n), np.random.default_rng(0)
    drift = np.sqrt(np.mean((logistic(np.asarray(found.kept)).decision_function(X) - full) ** 2))
    random = [logistic(rng.permutation(len(Y))[:n]).decision_function(X) for _ in range(5)]
    assert drift < 0.25 * np.sqrt(np.mean((np.stack(random) - full) ** 2))


def test_a_noisy_regression_is_pruned_as_well():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 5))
    z = Z @ [1.0, -1.0, 0.5, 0.0, 0.3] + 2 * rng.standard_t(3, size=300)
    m = mm.memory_map(Ridge(alpha=0.1).fit(Z[:200], z[:200]), Z[:200], z[:200])
    kept = np.asarray(mm.prune(m, keep=20).kept)
    full = Ridge(alpha=0.1).fit(Z[:200], z[:200]).predict(Z[200:])
    random = [rng.permutation(200)[:20] for _ in range(20)]
    ours, theirs = (
        [np.mean((Ridge(alpha=0.1).fit(Z[rows], z[rows]).predict(Z[200:]) - full) ** 2) for rows in sets]
        for sets in ([kept], random)
    )
    assert ours[0] < 0.5 * np.mean(theirs)


def test_refits_of_the_check_that_have_not_converged_are_told(monkeypatch):
    Z, y = X[:100, :3], Y[:100]
    m = mm.memory_map(LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(Z, y), Z, y)
    monkeypatch.setattr(pruning, "_SHARES", (0.8, 0.6))
    assert "had not converged" not in str(mm.prune(m, keep=0.8, check=True))
    refit = LinearRefit.refit
    monkeypatch.setattr(LinearRefit, "refit", lambda *args: (refit(*args)[0], 0.5))
    found = mm.prune(m, keep=0.8, check=True)
    assert found.unsettled == 3 * (1 + 4 * 2)
    assert "27 refits of the check had not converged" in str(found)
    assert "random examples predict better" not in str(found)
    place = found.table.column_names.index("difference")
    worse = dataclasses.replace(found, table=found.table.set_column(place, "difference", pa.array([0.0, -1.0, 9.0])))
    assert "as many random examples predict better with 60% kept" in str(worse)


def test_an_example_that_alone_determines_a_coefficient_is_kept():
    rng = np.random.default_rng(0)
    Z = np.column_stack([rng.normal(size=(60, 2)), np.arange(60) == 7])
    z = Z @ [1.0, -1.0, 2.0] + rng.normal(size=60)
    found = mm.prune(mm.memory_map(LinearRegression().fit(Z, z), Z, z), keep=10)
    assert 7 in found.kept
    assert len(found.kept) == 10
