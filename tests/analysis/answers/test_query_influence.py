"""The influence of training examples on given predictions equals that of refitting without them."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import memorymaps as mm
from memorymaps.data.examples import DataError
from memorymaps.models.linear.newton_refit import LinearRefit
from memorymaps.viz import ExplorerOptions
from memorymaps.viz.explorer.packing import pack


def _diabetes(n=120):
    X, y = load_diabetes(return_X_y=True)
    return X[:n], y[:n], X[n : n + 6], y[n : n + 6]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        Ridge(alpha=0.1),
        Ridge(alpha=0.1, fit_intercept=False),
        make_pipeline(Ridge(alpha=0.1)),
        KernelRidge(alpha=0.5, kernel="rbf", gamma=3.0),
        GaussianProcessRegressor(1e3 * RBF(0.3) + WhiteKernel(300.0), optimizer=None),
    ],
)
def test_least_squares_with_any_kernel_is_refitting(model):
    X, y, new, _ = _diabetes()
    model.fit(X, y)
    found = mm.influence_on(mm.memory_map(model, X, y), new, top=200)
    assert len(found) == len(new) * len(X)
    for query, i, change in zip(found["query"], found["id"], found["change"], strict=True):
        if i % 10 == 0:
            rest = np.arange(len(X)) != i
            truth = clone(model).fit(X[rest], y[rest]).predict(new) - model.predict(new)
            np.testing.assert_allclose(change, truth[query], rtol=1e-6, atol=1e-6)


def test_weighted_targets_side_by_side_are_refitted():
    X, y, new, _ = _diabetes()
    Y, weight = np.column_stack([y, -y + 30 * X[:, 0]]), np.linspace(0.5, 2.0, len(y))
    model = Ridge(alpha=0.1).fit(X, Y, weight)
    found = mm.influence_on(mm.memory_map(model, X, Y, sample_weight=weight), new, top=200)
    of = {(q, i): change for q, i, change in zip(found["query"], found["id"], found["change"], strict=True)}
    for i in (0, 50, 119):
        rest = np.arange(len(X)) != i
        truth = clone(model).fit(X[rest], Y[rest], weight[rest]).predict(new) - model.predict(new)
        np.testing.assert_allclose([of[q, i] for q in range(len(new))], truth, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_logistic_losses_are_close_to_those_of_refitting():
    X, y = load_breast_cancer(return_X_y=True)
    y = np.where(y == 1, "benign", "malignant")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-10)).fit(X[:450], y[:450])
    Z = model[:-1].transform(X)
    found = mm.influence_on(mm.memory_map(model[-1], Z[:450], y[:450]), Z[450:], y[450:], top=3)
    estimate, truth = [], []
    for query, i, change in list(zip(found["query"], found["id"], found["loss_change"], strict=True))[::9]:
        rest = np.arange(450) != i
        refit = clone(model[-1]).fit(Z[:450][rest], y[:450][rest])
        row, label = Z[450 + query : 451 + query], list(model.classes_).index(y[450 + query])
        before, after = (float(np.log(each.predict_proba(row)[0, label])) for each in (model[-1], refit))
        estimate.append(change)
        truth.append(before - after)
    slope = np.dot(estimate, truth) / np.dot(truth, truth)
    assert abs(slope - 1) < 0.05
    assert np.linalg.norm(np.subtract(estimate, truth)) < 0.1 * np.linalg.norm(truth)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 4])
def test_at_a_training_example_it_is_the_map(classes):
    X, y = load_digits(n_class=classes, return_X_y=True)
    X, y = X[:60] / 16, y[:60]
    m = mm.memory_map(LogisticRegression(C=0.1, tol=1e-10, max_iter=1000).fit(X, y), X, y)
    m, rows = mm.refit(m, top=len(m), tolerance=1e-4), [5, 17]
    found = mm.influence_on(m, X[rows], y[rows], top=None)
    assert found["refitted"].all()
    for k, row in enumerate(rows):
        own = found["loss_change"][(found["query"] == k) & (found["id"] == row)]
        f = m["output"][row] + m["deviation"][row]
        step = m.origin.posterior.likelihood.nll(f.reshape(1, -1), y[[row]])[0] - m["loss"][row]
        np.testing.assert_allclose(own, step, rtol=1e-5)


def test_of_many_examples_those_that_matter_most_are_refitted(monkeypatch):
    X, y = load_breast_cancer(return_X_y=True)
    X, y = StandardScaler().fit_transform(X)[:90], y[:90]
    model = LogisticRegression(C=10.0, tol=1e-10, max_iter=1000).fit(X[:80], y[:80])
    m = mm.memory_map(model, X[:80], y[:80])
    every = mm.influence_on(m, X[80:], y[80:], top=None)
    monkeypatch.setattr(LinearRefit, "affordable_single_removals", lambda _: 20)
    some = mm.influence_on(m, X[80:], y[80:], top=None)
    monkeypatch.setattr(LinearRefit, "affordable_single_removals", lambda _: 0)
    none = mm.influence_on(m, X[80:], y[80:], top=None)
    assert every["refitted"].all()
    assert not none["refitted"].any()
    assert len(np.unique(some["id"][some["refitted"]])) == 20
    change = {name: found.table.to_pandas().set_index(["query", "id"])["change"] for name, found in
              (("every", every), ("some", some), ("none", none))}  # fmt: skip
    refitted = some.table.to_pandas().set_index(["query", "id"])["refitted"]
    np.testing.assert_array_equal(change["some"][refitted], change["every"].loc[refitted.index[refitted]])
    np.testing.assert_array_equal(change["some"][~refitted], change["none"].loc[refitted.index[~refitted]])
    assert change["none"][~refitted].abs().max() < change["none"].abs().max()
    listed = mm.influence_on(m, X[80:], y[80:], top=3)
    assert len(listed) == 60


def test_penalties_on_mean_losses_take_the_examples_share_along():
    X, y, new, _ = _diabetes()
    y = np.round(y / 10)
    model = PoissonRegressor(alpha=0.3, tol=1e-10, max_iter=1000).fit(X, y)
    found = mm.influence_on(mm.memory_map(model, X, y), new, top=200)
    estimate, truth = [], []
    for query, i, change in zip(found["query"], found["id"], found["change"], strict=True):
        if i % 20 == 0:
            rest = np.arange(len(X)) != i
            estimate.append(change)
            truth.append((clone(model).fit(X[rest], y[rest]).predict(new) - model.predict(new))[query])
    assert np.linalg.norm(np.subtract(estimate, truth)) < 0.02 * np.linalg.norm(truth)


def test_helpful_and_harmful_examples_are_sorted_by_the_loss():
    X, y, new, target = _diabetes()
    found = mm.influence_on(
        mm.memory_map(Ridge(alpha=0.1).fit(X, y), X, y, ids=[f"p{i}" for i in range(120)]), new, target, top=4
    )
    helpful, harmful = found.helpful(2), found.harmful(2)
    assert np.all(np.diff(helpful["loss_change"]) <= 0)
    assert np.all(helpful["loss_change"] > 0)
    assert np.all(np.diff(harmful["loss_change"]) >= 0)
    assert np.all(harmful["loss_change"] < 0)
    assert set(helpful["id"].tolist()) & set(harmful["id"].tolist()) == set()


def test_without_targets_regression_is_ranked_by_the_change():
    X, y, new, _ = _diabetes()
    found = mm.influence_on(mm.memory_map(Ridge(alpha=0.1).fit(X, y), X, y), new, top=4)
    assert len(found) == 4 * len(new)
    assert np.all(np.isnan(found["loss_change"]))
    assert np.all(np.diff(np.abs(found["change"]).reshape(len(new), 4), axis=1) <= 0)
    with pytest.raises(ValueError, match="pass target="):
        found.helpful(0)


def test_a_statsmodels_result_takes_rows_of_its_design_and_offsets():
    rng = np.random.default_rng(0)
    X, offset = sm.add_constant(rng.normal(size=(80, 2))), rng.normal(size=80) / 5
    y = rng.poisson(np.exp(0.5 + X[:, 1] / 2 + offset))
    fit = sm.GLM(y, X, family=sm.families.Poisson(), offset=offset).fit(tol=1e-12)
    found = mm.influence_on(mm.memory_map(fit), X[:3], y[:3], offset=offset[:3], top=2)
    for query, i, change in zip(found["query"], found["id"], found["change"], strict=True):
        rest = np.arange(80) != i
        refit = sm.GLM(y[rest], X[rest], family=sm.families.Poisson(), offset=offset[rest]).fit(tol=1e-12)
        truth = np.exp(X[query] @ refit.params + offset[query]) - fit.fittedvalues[query]
        assert change == pytest.approx(truth, rel=0.1)


def test_a_networks_full_posterior_is_its_dense_formula(torch):
    X, y = load_iris(return_X_y=True)
    inputs, labels = torch.tensor(X, dtype=torch.float64), torch.tensor(y)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    m = mm.memory_map(net, inputs, labels, likelihood="categorical", posterior=mm.Laplace("full", prior=1.0))
    found = mm.influence_on(m, inputs[:2], labels[:2], top=150)
    root = m.origin.posterior.covariance_root(inputs)
    stats = m.origin.batch_statistics(m.origin.examples.take(np.arange(150)))
    for i in (0, 70, 149):
        weighted = np.linalg.solve(np.eye(3) - stats.curvature[i] @ stats.variance[i], stats.error[i])
        moved = stats.f[:2] + np.einsum("qcr,dr,d->qc", root[:2], root[i], weighted)
        truth = stats.likelihood.mean(moved) - stats.likelihood.mean(stats.f[:2])
        np.testing.assert_allclose(found["change"][found["id"] == i], truth, rtol=1e-6, atol=1e-12)


def test_what_cannot_be_asked_is_refused():
    X, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(X, y)
    m = mm.memory_map(model, X, y)
    with pytest.raises(DataError, match="targets 7: expected classes of the map"):
        mm.influence_on(m, X[:1], [7])
    for top, kind in ((0, ValueError), ("a", TypeError), (2.5, TypeError)):
        with pytest.raises(kind, match=r"top = .*how many examples"):
            mm.influence_on(m, X[:1], y[:1], top=top)
    with pytest.raises(DataError, match="no queries"):
        mm.influence_on(m, X[:0])
    with pytest.raises(DataError, match="target"):
        mm.influence_on(m, X[:1], 1)
    with pytest.raises(ValueError, match="expected a position from 0 to 1"):
        mm.influence_on(m, X[:2]).helpful(2)
    with pytest.raises(DataError, match="2"):
        mm.influence_on(m, X[:1], y[:2])
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    with pytest.raises(TypeError, match="no cross-covariances"):
        mm.influence_on(mm.memory_map(forest, X, y), X[:1])
    model.fit(X[:, ::-1], y)
    with pytest.raises(DataError, match="draw the map again"):
        mm.influence_on(m, X[:1], y[:1])


@pytest.mark.parametrize("names", [None, [f"row {k}" for k in range(40, 0, -1)]])
def test_influences_are_columns_of_the_page_one_for_each_query(names):
    X, y, new, targets = _diabetes(40)
    m = mm.memory_map(Ridge(alpha=0.1).fit(X, y), X, y, ids=names)
    for target in (targets[:2], None):
        every = mm.influence_on(m, new[:2], target, top=None)
        table = every.by_example().set_index("id")
        assert table.columns.tolist() == ["influence on 0", "influence on 1"]
        second = every["query"] == 1
        value = every["change" if target is None else "loss_change"][second]
        np.testing.assert_array_equal(table["influence on 1"].loc[every["id"][second]], value)
        page = pack(m, ExplorerOptions(columns=every.by_example(), color="influence on 0"))
        np.testing.assert_allclose(page.table["influence on 0"], table["influence on 0"].loc[m["id"]], rtol=1e-6)
    few = mm.influence_on(m, new[:2], targets[:2], top=1).by_example()
    assert few["influence on 0"].notna().sum() == 2


def test_influences_of_groups_are_no_columns_of_examples():
    X, y, new, _ = _diabetes(40)
    m = mm.memory_map(Ridge(alpha=0.1).fit(X, y), X, y)
    with pytest.raises(TypeError, match="without groups="):
        mm.influence_on(m, new[:1], groups={"a": [0, 1]}).by_example()
    assert len(mm.influence_on(m, new[:1]).by_example()) <= 20
