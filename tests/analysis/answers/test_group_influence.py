"""The influence of groups on given predictions is that of refits without them; blocks and the top change nothing."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import memorymaps as mm
from memorymaps.analysis.answers import query_deviations

X, Y = load_diabetes(return_X_y=True)
X, Y, NEW, ASKED = X[:120], Y[:120], X[120:126], Y[120:126]
SITE = np.arange(120) % 4


def means(model, new):
    """Predicted means: of a Gaussian process at its latent mean, as maps take it."""
    if isinstance(model, GaussianProcessClassifier):
        inner = model.base_estimator_
        return 1 / (1 + np.exp(-inner.kernel_(new, inner.X_train_) @ (inner.y_train_ - inner.pi_)))
    p = model.predict_proba(new) if hasattr(model, "predict_proba") else model.predict(new)
    return p[:, 1] if p.ndim == 2 and p.shape[1] == 2 else p


def of_group(found, name):
    """Changes `[k, …]` of the queries without one group."""
    rows = np.flatnonzero(found["group"] == name)
    return found["change"][rows][np.argsort(found["query"][rows])]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        Ridge(alpha=0.1),
        make_pipeline(Ridge(alpha=0.1)),
        KernelRidge(alpha=0.5, kernel="rbf", gamma=3.0),
        GaussianProcessRegressor(1e3 * RBF(0.3) + WhiteKernel(300.0), optimizer=None),
    ],
)
def test_least_squares_groups_are_refits(model):
    model.fit(X, Y)
    found = mm.influence_on(mm.memory_map(model, X, Y), NEW, ASKED, groups=SITE)
    assert len(found) == 4 * len(NEW)
    assert set(found["warning"].tolist()) == {""}
    assert set(found["size"].tolist()) == {30}
    for site in range(4):
        refit = clone(model).fit(X[site != SITE], Y[site != SITE])
        truth = refit.predict(NEW) - model.predict(NEW)
        np.testing.assert_allclose(of_group(found, str(site)), truth, rtol=1e-6, atol=1e-6)


def test_weighted_targets_side_by_side():
    targets, weight = np.column_stack([Y, -Y + 30 * X[:, 0]]), np.linspace(0.5, 2.0, 120)
    model = Ridge(alpha=0.1).fit(X, targets, weight)
    found = mm.influence_on(mm.memory_map(model, X, targets, sample_weight=weight), NEW, groups={"a": [1, 2, 3, 50]})
    rest = ~np.isin(np.arange(120), [1, 2, 3, 50])
    truth = clone(model).fit(X[rest], targets[rest], weight[rest]).predict(NEW) - model.predict(NEW)
    np.testing.assert_allclose(of_group(found, "a"), truth, rtol=1e-7, atol=1e-8)


def binary(model, C):
    data, y = load_breast_cancer(return_X_y=True)
    data = StandardScaler().fit_transform(data)
    return model, data[:300, :8], y[:300], data[300:310, :8], C


GLMS = {
    "logistic": lambda: binary(LogisticRegression(C=0.1, tol=1e-10), 2e-3),
    "weak penalty": lambda: binary(LogisticRegression(C=100.0, tol=1e-10, max_iter=5000), 2e-3),
    "Gaussian process": lambda: binary(GaussianProcessClassifier(4.0 * RBF(3.0), optimizer=None), 2e-3),
    "softmax": lambda: (
        LogisticRegression(C=0.1, tol=1e-10, max_iter=2000),
        load_iris().data[::2],
        load_iris().target[::2],
        load_iris().data[1:20:2],
        2e-3,
    ),
    "Poisson": lambda: (
        PoissonRegressor(alpha=0.3, tol=1e-12, max_iter=1000),
        X * 10,
        np.round(Y / 10),
        NEW * 10,
        2e-3,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GLMS)
def test_groups_of_other_losses_are_refitted(name):
    model, data, y, new, tolerance = GLMS[name]()
    m = mm.memory_map(model.fit(data, y), data, y)
    groups = np.where(np.arange(len(y)) % 3 == 0, "first", "others")
    found = mm.influence_on(m, new, groups=groups)
    rest = groups != "first"
    truth = means(clone(model).fit(data[rest], y[rest]), new) - means(model, new)
    change = of_group(found, "first")
    assert np.linalg.norm(change - truth) < tolerance * np.linalg.norm(truth)
    assert set(found["warning"].tolist()) <= {""}


def test_losses_follow_from_the_changes():
    model, data, y, new, _ = GLMS["softmax"]()
    m, asked = mm.memory_map(model.fit(data, y), data, y), load_iris().target[1:20:2]
    found = mm.influence_on(m, new, asked, groups=np.arange(len(y)) % 3)
    p = model.predict_proba(new)
    for query, change, loss in zip(found["query"], found["change"], found["loss_change"], strict=True):
        assert loss == pytest.approx(np.log(p[query, 0] / (p[query] + change)[0]), rel=1e-6)  # all are of class 0
    assert len(found.helpful(0)) + len(found.harmful(0)) == 3
    assert np.all(np.diff(found["loss_change"][found["query"] == 3]) <= 0)


@pytest.mark.slow
def test_clones_of_kernel_machines_and_sparse_models_are_refits():
    model, data, y, new, _ = binary(SVC(C=1.0, gamma=0.05, tol=1e-8), 0)
    m = mm.memory_map(model.fit(data, y), data, y)
    found = mm.influence_on(m, new, groups={"first": np.arange(60)})
    truth = clone(model).fit(data[60:], y[60:]).decision_function(new) - model.decision_function(new)
    if found["warning"][0] == "":
        assert np.linalg.norm(found["change"] - truth) < 0.02 * np.linalg.norm(truth)
    else:
        assert "one Newton step" in found["warning"][0]
    model = Lasso(alpha=0.05, tol=1e-10, max_iter=100_000)
    m = mm.memory_map(model.fit(X, Y), X, Y)
    found = mm.influence_on(m, NEW, groups={"first": np.arange(40)})
    truth = clone(model).fit(X[40:], Y[40:]).predict(NEW) - model.predict(NEW)
    if found["warning"][0] == "":
        np.testing.assert_allclose(of_group(found, "first"), truth, rtol=1e-3, atol=1e-3)
    else:
        assert "one Newton step" in found["warning"][0]


def test_groups_that_cannot_be_removed_say_so_in_place_of_numbers():
    X, y = load_iris(return_X_y=True)
    m = mm.memory_map(SVC(gamma=0.3).fit(X, y), X, y)
    found = mm.influence_on(m, X[:2], y[:2], groups="target")
    assert np.all(np.isnan(found["change"]))
    assert all("no example of class" in words for words in found["warning"].tolist())
    with pytest.raises(ValueError, match=r"no group could be removed: cannot be refitted: .*: leave fewer rows out"):
        found.helpful(0)


def test_of_many_outputs_the_largest_change_is_displayed():
    X, y = load_digits(return_X_y=True)
    m = mm.memory_map(SVC(gamma=0.001).fit(X[:100], y[:100]), X[:100], y[:100])
    found = mm.influence_on(m, X[100:101], y[100:101], top=2)
    assert found["change"].shape == (len(found), 45)
    place = np.argmax(np.abs(found["change"][0]))
    assert f"{found['change'][0, place]:.3g} at {place}" in str(found)
    assert max(map(len, str(found).splitlines())) < 100


def test_groups_of_a_filtered_map_and_refusals():
    m = mm.memory_map(Ridge(alpha=0.1).fit(X, Y), X, Y)
    part = m.filter(np.arange(120) >= 60)
    rest = ~((np.arange(120) >= 60) & (SITE == 1))
    truth = Ridge(alpha=0.1).fit(X[rest], Y[rest]).predict(NEW) - Ridge(alpha=0.1).fit(X, Y).predict(NEW)
    np.testing.assert_allclose(of_group(mm.influence_on(part, NEW, groups=SITE[60:]), "1"), truth, rtol=1e-6)
    with pytest.raises(ValueError, match="expected some, not all"):
        mm.influence_on(m, NEW, groups={"all": np.arange(120)})
    with pytest.raises(ValueError, match="one for each of 120 examples"):
        mm.influence_on(m, NEW, groups=["a"])
    forest = RandomForestClassifier(5, random_state=0).fit(X, Y > 140)
    with pytest.raises(TypeError, match=r"m\.leave_out\(groups\)"):
        mm.influence_on(mm.memory_map(forest, X, Y > 140), NEW, groups=SITE)


def test_a_map_without_examples_is_refused():
    m = mm.memory_map(Ridge(alpha=0.1).fit(X, Y), X, Y)
    with pytest.raises(ValueError, match=r"the map has no examples.*m\.select\(ids\)"):
        mm.influence_on(m.select([]), NEW)
    assert mm.influence_on(m.select([7]), NEW[:1], top=None)["id"].tolist() == [7]


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("top", [None, 3, 60])
@pytest.mark.parametrize("target", [True, False], ids=["losses", "no losses"])
def test_blocks_of_any_size_give_the_same(monkeypatch, top, target):
    m = mm.memory_map(Ridge(alpha=0.1).fit(X, Y), X, Y)
    asked = ASKED if target else None
    whole = mm.influence_on(m, NEW, asked, top=top)
    monkeypatch.setattr(query_deviations, "_BLOCK_NUMBERS", 60)
    monkeypatch.setattr(query_deviations, "_QUERY_NUMBERS", 22)  # two queries at a time
    parts = mm.influence_on(m, NEW, asked, top=top)
    assert whole["id"].tolist() == parts["id"].tolist()
    assert whole["query"].tolist() == parts["query"].tolist()
    np.testing.assert_allclose(whole["change"], parts["change"], rtol=1e-10)
    rows = 120 if top is None else min(120, top if asked is None else 2 * top)
    assert len(whole) == rows * len(NEW)
    everyone = mm.influence_on(m, NEW, asked, top=None)
    if top == 3:
        for query in range(len(NEW)):
            all_ids, few = (found["id"][found["query"] == query].tolist() for found in (everyone, whole))
            assert few == (all_ids[:3] + all_ids[-3:] if target else all_ids[:3])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_examples(monkeypatch):
    data, y = load_digits(return_X_y=True)
    m = mm.memory_map(LogisticRegression(C=0.01, max_iter=2000).fit(data, y), data, y)
    largest = []
    effects = query_deviations.example_deviations

    def recorded(*arguments):
        for rows, deviation in effects(*arguments):
            largest.append(deviation.size)
            yield rows, deviation

    monkeypatch.setattr("memorymaps.analysis.answers.query_influence.example_deviations", recorded)
    monkeypatch.setattr(query_deviations, "_BLOCK_NUMBERS", query_deviations._BLOCK_NUMBERS // 8)
    found = mm.influence_on(m, data[:50], y[:50], top=2)
    assert len(found) == 4 * 50
    assert max(largest) <= query_deviations._BLOCK_NUMBERS
    assert sum(largest) == 50 * 1797 * 10
