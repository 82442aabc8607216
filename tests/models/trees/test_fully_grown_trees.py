"""Trees without bootstrap whose leaves hold one example each: removal in the same leaves leaves nothing, refits do."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, GradientBoostingRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

import memorymaps as mm
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.models.trees import sklearn_forests

rng = np.random.default_rng(11)
N = 60
X = rng.normal(size=(N, 3))
Y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.2 * rng.normal(size=N)
LABEL = np.where(Y + rng.normal(size=N) > 0, "yes", "no")


def without(model, i):
    """The left-out prediction by scikit-learn's own fit on the other rows."""
    kept = np.arange(N) != i
    return clone(model).fit(X[kept], Y[kept]).predict(X[[i]])[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [DecisionTreeRegressor(random_state=0), ExtraTreesRegressor(3, random_state=0)], ids=["tree", "forest"]
)
def test_small_models_are_refitted_without_each_example(model):
    m = mm.memory_map(model.fit(X, Y), X, Y)
    assert np.all(m["refitted"])
    np.testing.assert_allclose(m["loo_prediction"], [without(model, i) for i in range(N)], rtol=1e-12)
    np.testing.assert_allclose(m["loss"], 0, atol=1e-20)
    np.testing.assert_allclose(m["loo_loss"], 0.5 * (m["loo_prediction"] - Y) ** 2)
    assert m.summary().warnings == ()
    assert {m.trust[name].level for name in ("sensitivity", "loo_loss", "ranks")} == {"verified"}
    assert m.leave_one_out().caution == ""


@pytest.mark.slow
def test_few_trees_that_are_cross_fitted_are_warned_of():
    x, y = load_diabetes(return_X_y=True)
    m = mm.memory_map(ExtraTreesRegressor(50, random_state=0).fit(x, y), x, y)
    assert set(m["warning"].tolist()) == {int(Warn.CROSS_FITTED)}
    assert m.trust["sensitivity"].level == "ranks only"
    assert "without a fifth" in m.summary().warnings[0]
    refitted = mm.refit(m, top=2)  # the remedy that the warning names
    assert np.all(refitted["warning"][refitted["refitted"]] == 0)


@pytest.mark.slow
def test_larger_forests_are_cross_fitted():
    x, y = load_diabetes(return_X_y=True)
    m = mm.memory_map(ExtraTreesRegressor(random_state=0).fit(x, y), x, y)
    assert set(m["warning"].tolist()) == {int(Warn.NONE)}
    assert m.trust["sensitivity"].level == "estimated"
    assert "without a fifth" in m.trust["sensitivity"].reasons[0]
    assert m.summary().warnings == ()
    averages, folds = m.leave_one_out(), m.leave_one_out(cross_fit=5)
    assert averages.loo_score == pytest.approx(folds.loo_score)
    refitted = mm.refit(m, top=12)  # the remedy that the warning names
    chosen = refitted["refitted"]
    assert np.all(refitted["warning"][chosen] == 0)
    found, truth = m["sensitivity"][chosen], refitted["sensitivity"][chosen]
    assert found @ truth / (truth @ truth) == pytest.approx(1, abs=0.15)


def test_beyond_the_budget_sizes_are_undefined_and_the_remedy_works(monkeypatch):
    monkeypatch.setattr(sklearn_forests, "_UNASKED", 1.0)
    model = DecisionTreeRegressor(random_state=0).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    assert np.all(np.isnan(m["sensitivity"]))
    assert any("splits of trees held fixed no prediction is left" in line for line in m.summary().warnings)
    assert not m.trust["sensitivity"].sizes
    again = mm.refit(m, top=5)
    assert again["loo_prediction"][again["refitted"]][0] == pytest.approx(
        without(model, int(again["row"][again["refitted"]][0]))
    )
    assert np.isfinite(m.leave_one_out(cross_fit=5).loo_loss)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [DecisionTreeClassifier, ExtraTreesClassifier])
def test_classes_alone_in_a_leaf_are_refitted(kind):
    model = kind(random_state=0) if kind is DecisionTreeClassifier else kind(5, random_state=0)
    m = mm.memory_map(model.fit(X, LABEL), X, LABEL)
    assert np.all(np.isfinite(m["sensitivity"]))
    refitted = np.flatnonzero(m["refitted"])
    assert len(refitted)
    for i in refitted[:5]:
        kept = np.arange(N) != i
        expected = clone(model).fit(X[kept], LABEL[kept]).predict_proba(X[[i]])[0]
        np.testing.assert_allclose(m["loo_mean"][i], expected, atol=1e-12)


@pytest.mark.parametrize("wrap", [lambda tree: make_pipeline(StandardScaler(), tree), MultiOutputRegressor])
def test_wrapped_trees_are_refitted_too(wrap):
    target = np.column_stack([Y, -2 * Y + X[:, 2]]) if wrap is MultiOutputRegressor else Y
    m = mm.memory_map(wrap(DecisionTreeRegressor(random_state=0)).fit(X, target), X, target)
    assert np.all(m["refitted"])
    assert np.all(np.isfinite(m["sensitivity"]))


@pytest.mark.slow
def test_a_tree_without_a_seed_is_refitted_the_same_way_every_time():
    x = np.column_stack([X, X])  # every split is a tie between two columns
    model = DecisionTreeRegressor().fit(x, Y)
    first, second = (mm.memory_map(model, x, Y)["loo_prediction"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.all(mm.memory_map(ExtraTreeRegressor().fit(X, Y), X, Y)["refitted"])


def test_rows_of_weight_zero_are_no_rows():
    weight = np.where(np.arange(N) < 5, 0.0, 1.0)
    m = mm.memory_map(DecisionTreeRegressor(random_state=0).fit(X, Y, sample_weight=weight), X, Y, sample_weight=weight)
    np.testing.assert_array_equal(m["refitted"], weight > 0)


def test_boosting_that_fits_every_example_exactly_has_no_noise_to_estimate():
    model = GradientBoostingRegressor(n_estimators=60, learning_rate=1.0, max_depth=None).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    assert m.provenance.description.likelihood == "HalfSquaredError"
    assert m.provenance.description.dispersion is None
    assert not m.provenance.loss_is_density
    assert "only differences have a meaning" in str(m.trust["loo_loss"])
