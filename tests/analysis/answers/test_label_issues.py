"""Planted wrong labels are found, and what cannot be trusted is refused with a call that works."""

import dataclasses

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import (
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    SGDClassifier,
)
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC, SVR, LinearSVC

import memorymaps as mm
from memorymaps.analysis.answers import kernel_least_squares
from memorymaps.analysis.answers.label_scores import confident_count
from memorymaps.analysis.cleanlab import for_cleanlab


@pytest.fixture(scope="module")
def noisy_digits():
    X, y = load_digits(n_class=4, return_X_y=True)
    X, y, changed = X[:300] / 16, y[:300], np.arange(0, 300, 20)
    labels = y.copy()
    labels[changed] = (y[changed] + 1) % 4
    return X, y, labels, changed


@pytest.mark.slow
@pytest.mark.parametrize("names", [None, ("zero", "one", "two", "three")])
def test_planted_wrong_labels_come_first_with_the_right_ones_suggested(noisy_digits, names):
    X, y, labels, changed = noisy_digits
    if names:
        y, labels = np.asarray(names)[y], np.asarray(names)[labels]
    m = mm.memory_map(LogisticRegression(C=0.1, tol=1e-8).fit(X, labels), X, labels)
    found = mm.label_issues(m)
    first = found["id"][: len(changed)]
    assert set(first.tolist()) == set(changed.tolist())
    assert (found["suggested"][: len(changed)] == y[first]).mean() > 0.9
    assert np.all(np.diff(found["score"]) <= 0)
    p = for_cleanlab(m)["pred_probs"][found["id"]]
    codes = for_cleanlab(m)["labels"][found["id"]]
    others = np.where(np.eye(4, dtype=bool)[codes], 0, p).max(axis=1)
    np.testing.assert_allclose(found["score"], np.log(others / p[np.arange(len(p)), codes]), rtol=1e-9)
    np.testing.assert_allclose(found["probability"], p[np.arange(len(p)), codes], rtol=1e-12)
    assert 0 < found.count <= len(changed)
    assert "labels are confidently contradicted" in str(found)


def test_the_recall_is_that_of_changing_labels_one_by_one():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(4, 0.3), size=200)
    given = np.array([rng.choice(4, p=each) for each in p])
    count, recall = confident_count(given, p)
    threshold = np.array([p[given == k, k].mean() for k in range(4)])

    def contradicted(row, label):
        candidates = [k for k in range(4) if p[row, k] >= threshold[k]]
        return bool(candidates) and max(candidates, key=lambda k: p[row, k]) != label

    assert count == sum(contradicted(row, given[row]) for row in range(200))
    changed = [contradicted(row, k) for row in range(200) for k in range(4) if k != given[row]]
    assert recall == pytest.approx(np.mean(changed))


def test_forests_are_ranked_by_the_votes_in_their_leaves(noisy_digits):
    X, _, labels, changed = noisy_digits
    m = mm.memory_map(RandomForestClassifier(100, random_state=0).fit(X, labels), X, labels)
    found = mm.label_issues(m)
    assert found.ranked_by == "error of the others' votes in the same leaves"
    assert np.isfinite(found["score"]).all()
    assert np.isin(found["id"][: len(changed)], changed).mean() > 0.9
    out_of_bag = mm.label_issues(dataclasses.replace(m, origin=None))
    assert (out_of_bag.ranked_by, out_of_bag.count) == ("left-out margin", found.count)


def votes(leaves, one_hot, weight, counts):
    """Shares of the others in each leaf, averaged over the trees that count."""
    total, trees = np.zeros(one_hot.shape), np.zeros((len(one_hot), 1))
    for leaf, used in zip(leaves.T, counts.T, strict=True):
        same = (leaf[:, None] == leaf) * weight
        np.fill_diagonal(same, 0)
        size = same.sum(axis=1, keepdims=True)
        known = (size > 0) & used[:, None]
        total += np.where(known, same @ one_hot / np.where(size > 0, size, 1), 0)
        trees += known
    return total / trees


@pytest.mark.parametrize("weighted", [False, True])
def test_the_votes_in_the_leaves_of_a_forest_are_those_of_the_other_examples(weighted):
    X, y = load_iris(return_X_y=True)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y)) if weighted else np.ones(len(y))
    forest = RandomForestClassifier(30, random_state=0).fit(X, y, sample_weight=weight)
    m = mm.memory_map(forest, X, y, sample_weight=weight).select(range(0, 150, 2))
    drawn = np.stack([np.isin(np.arange(len(y)), rows) for rows in forest.estimators_samples_], axis=1)
    leaves, one_hot = forest.apply(X), np.eye(3)[y]
    every = votes(leaves, one_hot, weight, np.ones_like(drawn))
    p = ((votes(leaves, one_hot, weight, ~drawn) + every) / 2)[::2]
    found, given = mm.label_issues(m), one_hot[::2]
    np.testing.assert_allclose(found["score"], np.sort(np.linalg.norm(p - given, axis=1))[::-1], atol=1e-12)


@pytest.mark.slow
def test_boosting_is_ranked_by_its_stages_and_by_cross_fitting_on_request(noisy_digits):
    X, _, labels, changed = noisy_digits
    model = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(X, labels)
    m = mm.memory_map(model, X, labels)
    found = mm.label_issues(m)
    assert found.ranked_by == "margin averaged over iterations and over the others' votes in the same leaves"
    assert found.count is None
    leaves = model.apply(X).reshape(len(X), -1)
    others = votes(leaves, np.eye(4)[labels], np.ones(len(X)), np.ones(leaves.shape, dtype=bool))
    p = ((np.mean(list(model.staged_predict_proba(X)), axis=0) + others) / 2)[found["id"]]
    own = np.eye(4)[labels[found["id"]]] == 1
    margin = np.log(np.where(own, 0, p).max(axis=1) / p[own])
    np.testing.assert_allclose(found["score"], margin, rtol=1e-6)
    np.testing.assert_array_equal(found["suggested"], p.argmax(axis=1))
    assert np.isin(found["id"][: len(changed)], changed).mean() > 0.7
    folds = mm.label_issues(m, folds=5)
    assert folds.ranked_by == "loss in 5-fold cross-fitting"
    np.testing.assert_allclose(folds["score"], -np.log(folds["probability"]), rtol=1e-9)
    assert np.isin(folds["id"][: len(changed)], changed).mean() > 0.8


def test_trees_without_stages_and_without_out_of_bag_figures_are_refused_and_cross_fitting_works(noisy_digits):
    X, _, labels, changed = noisy_digits
    model = RandomForestClassifier(20, bootstrap=False, min_samples_leaf=2, random_state=0).fit(X, labels)
    m = mm.memory_map(model, X, labels)
    with pytest.raises(ValueError, match="pass folds=5"):
        mm.label_issues(m)
    assert np.isin(mm.label_issues(m, folds=5)["id"][: len(changed)], changed).mean() > 0.8


KERNEL = "mean of left-out loss and margin, of least squares with the model's kernel"


def without(gram, codes, ridge, i):
    """Least squares with an intercept, fitted to the others: outputs at `i`."""
    rest = np.arange(len(codes)) != i
    target = 2.0 * np.eye(codes.max() + 1)[codes] - 1
    system = np.block([[gram[np.ix_(rest, rest)] + ridge * np.eye(rest.sum()), np.ones((rest.sum(), 1))],
                       [np.ones((1, rest.sum())), np.zeros((1, 1))]])  # fmt: skip
    solved = np.linalg.solve(system, np.vstack([target[rest], np.zeros((1, target.shape[1]))]))
    return gram[i, rest] @ solved[:-1] + solved[-1]


def test_support_vector_machines_are_ranked_by_least_squares_without_each_example(noisy_digits, monkeypatch):
    X, _, labels, changed = noisy_digits
    gamma = 1 / (X.shape[1] * X.var())
    m = mm.memory_map(make_pipeline(FunctionTransformer(), SVC(C=0.5, gamma=gamma)).fit(X, labels), X, labels)
    found = mm.label_issues(m)
    assert (found.ranked_by, found.count) == (KERNEL, None)
    assert "no count" in str(found)
    assert np.isin(found["id"][: len(changed)], changed).mean() > 0.9
    gram = rbf_kernel(X, gamma=gamma)
    f = np.stack([without(gram, labels, 1 / 0.5, i) for i in range(len(X))])
    given, temperatures = np.eye(4)[labels] == 1, np.exp(np.linspace(-4, 2, 3001))
    likelihood = [log_softmax(f / t, axis=1)[given].mean() for t in temperatures]
    log_p = log_softmax(f / temperatures[np.argmax(likelihood)], axis=1)[found["id"]]
    own = given[found["id"]]
    expected = np.where(own, -np.inf, log_p).max(axis=1) / 2 - log_p[own]
    np.testing.assert_allclose(found["score"], expected, rtol=5e-3, atol=5e-3)
    np.testing.assert_array_equal(found["suggested"], log_p.argmax(axis=1))
    some = mm.label_issues(m.select(changed.tolist()))
    np.testing.assert_allclose(some["score"], found["score"][np.isin(found["id"], changed)], rtol=1e-9)
    monkeypatch.setattr(kernel_least_squares, "_MOST", len(X) - 1)
    assert mm.label_issues(m).ranked_by == "error"


def test_the_temperature_makes_up_for_the_scale_of_outputs_and_is_bounded():
    rng = np.random.default_rng(0)
    f, codes = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    f[np.arange(60), codes] += 1
    log_p = kernel_least_squares.tempered(f, codes)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1)
    np.testing.assert_allclose(kernel_least_squares.tempered(3 * f, codes), log_p, atol=1e-3)
    assert np.isfinite(kernel_least_squares.tempered(np.eye(3)[codes], codes)).all()


def test_targets_of_a_regression_are_found_by_the_false_discovery_rate():
    X, y = load_diabetes(return_X_y=True)
    y = y.copy()
    y[[3, 50, 400]] += 600
    found = mm.label_issues(mm.memory_map(LinearRegression().fit(X, y), X, y))
    assert set(found["id"][:3].tolist()) == {3, 50, 400}
    assert 3 <= found.count <= 5
    np.testing.assert_array_equal(found["given"][:3], y[found["id"][:3]])


@pytest.mark.parametrize("model", [PoissonRegressor(), HuberRegressor(max_iter=1000), SVR(C=10.0), LinearRegression()])
def test_numbers_of_other_likelihoods_are_ranked_by_the_error(model):
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:150], np.round(y[:150])
    y = np.stack([y, y], axis=1).astype(int) if isinstance(model, LinearRegression) else y
    y[[3, 50]] += 900
    m = mm.memory_map(model.fit(X, y), X, y)
    found = mm.label_issues(m)
    assert (found.ranked_by, found.count) == ("error", None)
    assert set(found["id"][:2].tolist()) == {3, 50}
    np.testing.assert_array_equal(found["score"], -np.sort(-m["error"]))
    with pytest.raises(TypeError, match="without folds"):
        mm.label_issues(m, folds=5)


def test_forests_of_numbers_are_ranked_by_their_out_of_bag_residual():
    X, y = load_diabetes(return_X_y=True)
    y = y.copy()
    y[[3, 50, 400]] += 600
    forest = RandomForestRegressor(60, oob_score=True, random_state=0).fit(X, y)
    found = mm.label_issues(mm.memory_map(forest, X, y))
    assert found.ranked_by == "|out-of-bag residual|"
    assert set(found["id"][:3].tolist()) == {3, 50, 400}
    np.testing.assert_allclose(found["score"], np.abs(forest.oob_prediction_ - y)[found["id"]], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("n_class", [2, 4])
@pytest.mark.parametrize("model", [LinearSVC(), SVC(), SGDClassifier(loss="modified_huber", random_state=0)])
def test_margins_are_no_probabilities(model, n_class):
    X, y = load_digits(n_class=n_class, return_X_y=True)
    m = mm.memory_map(model.fit(X[:150] / 16, y[:150]), X[:150] / 16, y[:150])
    found = mm.label_issues(m)
    assert (found.ranked_by, found.count) == (KERNEL if isinstance(model, SVC) else "error", None)
    for ask in (lambda: mm.label_issues(m, folds=5), lambda: for_cleanlab(m)):
        with pytest.raises(ValueError, match="margins and no probabilities"):
            ask()
    assert len(m.top(3, by="error")) == 3


def test_wrong_arguments_are_named():
    X, y = load_iris(return_X_y=True)
    m = mm.memory_map(LogisticRegression(max_iter=1000).fit(X, y), X, y)
    for folds, kind in ((1, ValueError), (151, ValueError), ("5", TypeError), (2.5, TypeError)):
        with pytest.raises(kind, match="number of folds = "):
            mm.label_issues(m, folds=folds)
    with pytest.raises(TypeError, match="expected the map that memory_map"):
        mm.label_issues(LogisticRegression())
