"""Trees with fixed structure: leverage is a derivative, removal is a refit on the same leaves."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import memorymaps as mm
from memorymaps.analysis.refinement import refine
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Gaussian, Poisson
from memorymaps.data.examples import DataError
from memorymaps.maps.group_removal import leave_out
from memorymaps.models.trees.boosting import (
    FixedStructureBoosting,
    MultiOutputTreeBoosting,
    refit_leaf_values,
    without_examples,
)
from memorymaps.models.trees.boosting_posterior import BoostedTrees
from memorymaps.models.trees.boosting_tangents import tangent_variance
from memorymaps.models.trees.boosting_variance import leaf_space_variance, sampled_variance
from memorymaps.models.trees.sklearn_boosting import leaf_indices_from_values
from memorymaps.posteriors.registry import UnsupportedModelError

rng = np.random.default_rng(3)
N = 300
X = rng.normal(size=(N, 4))
Y = X[:, 0] + np.sin(2 * X[:, 1]) + 0.3 * rng.normal(size=N)
LABEL = np.where(Y + rng.normal(size=N) > 0, "yes", "no")
COUNT = rng.poisson(np.exp(0.5 * Y)).astype(float)
THREE = np.digitize(Y, [-0.5, 0.7])
W = rng.uniform(0.5, 2, N)


# --- single trees and forests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
def test_a_single_tree_without_an_example_is_the_mean_of_the_rest_of_its_leaf(weight):
    tree = DecisionTreeRegressor(min_samples_leaf=5, random_state=0).fit(X, Y, sample_weight=weight)
    m = mm.memory_map(tree, X, Y, sample_weight=weight)
    w, leaf = np.ones(N) if weight is None else weight, tree.apply(X)
    for i in range(0, N, 7):
        rest = (leaf == leaf[i]) & (np.arange(N) != i)
        assert m["loo_prediction"][i] == pytest.approx(np.average(Y[rest], weights=w[rest]), rel=1e-10)
    assert m["leverage"].sum() == pytest.approx(tree.get_n_leaves())


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
def test_a_forest_is_linear_in_its_targets(bootstrap, weight):
    forest = ExtraTreesRegressor(20, min_samples_leaf=2, bootstrap=bootstrap, random_state=0)
    m = mm.memory_map(forest.fit(X, Y, sample_weight=weight), X, Y, sample_weight=weight, estimator="cavity")
    averaging = m.origin.posterior.leaf_model.forest
    for i in range(0, N, 31):
        target = averaging.target.copy()
        target[i] = m["loo_prediction"][i]  # the left-out prediction, given as target, predicts itself
        moved = dataclasses.replace(averaging, target=target)
        assert moved.outputs(moved.leaf_means())[i, 0] == pytest.approx(m["loo_prediction"][i], rel=1e-10)
        unit = dataclasses.replace(averaging, target=np.eye(N)[:, [i]])
        assert unit.outputs(unit.leaf_means())[i, 0] == pytest.approx(m["leverage"][i], rel=1e-10)


def test_removal_from_a_forest_is_its_leaf_means_without_the_group():
    forest = RandomForestRegressor(15, min_samples_leaf=3, random_state=0).fit(X, Y)
    m = mm.memory_map(forest, X, Y)
    gone, leaves = np.array([3, 4, 200]), forest.apply(X)
    moves, _ = m.origin.posterior.parameter_change([gone])
    found = m.origin.posterior.output_change(m.origin.examples.take([3, 100]).inputs, moves)[:, 0, 0]
    for row, change in zip((3, 100), found, strict=True):
        trees = []
        for t, rows in enumerate(forest.estimators_samples_):
            kept = rows[(leaves[rows, t] == leaves[row, t]) & ~np.isin(rows, gone)]
            trees.append(np.mean(Y[kept]) if len(kept) else np.nan)
        assert change == pytest.approx(np.nanmean(trees) - forest.predict(X[[row]])[0], rel=1e-8, abs=1e-12)
    assert leave_out(m, {"a": [3, 4]})["leverage"][0] == pytest.approx(m["leverage"][[3, 4]].sum())


def test_left_out_predictions_of_unpruned_forests_are_out_of_bag():
    y = Y + 1e-6 * np.arange(N)  # no two targets alike: every leaf is one example
    forest = RandomForestRegressor(100, oob_score=True, random_state=0).fit(X, y)
    m = mm.memory_map(forest, X, y)
    np.testing.assert_allclose(m["loo_prediction"], forest.oob_prediction_, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("class_weight", [None, "balanced", "balanced_subsample", {"yes": 3.0, "no": 1.0}])
@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_voting_forests(kind, class_weight):
    forest = kind(20, min_samples_leaf=3, class_weight=class_weight, random_state=0, bootstrap=True).fit(X, LABEL)
    m = mm.memory_map(forest, X, LABEL, estimator="cavity")
    np.testing.assert_allclose(m["mean"], forest.predict_proba(X), atol=1e-12)
    assert set(m["prediction"]) <= {"yes", "no"}
    share = m.origin.posterior.leaf_model.forest.leverage()
    np.testing.assert_allclose(m["leverage"], share, rtol=1e-10)  # two classes: one degree of freedom
    assert np.all(m["memorization"] > -1e-12)
    np.testing.assert_allclose(m["loo_mean"].sum(axis=1), 1)


@pytest.mark.parametrize("class_weight", ["balanced", {"yes": 3.0, "no": 1.0}])
def test_voting_forests_combine_class_and_example_weights(class_weight):
    forest = RandomForestClassifier(10, min_samples_leaf=3, class_weight=class_weight, random_state=0)
    m = mm.memory_map(forest.fit(X, LABEL, sample_weight=W), X, LABEL, sample_weight=W)
    np.testing.assert_allclose(m["mean"], forest.predict_proba(X), atol=1e-12)


def test_several_classes_count_one_degree_less():
    tree = DecisionTreeClassifier(max_leaf_nodes=6, random_state=0).fit(X, THREE)
    assert mm.memory_map(tree, X, THREE)["leverage"].sum() == pytest.approx(6 * 2)


def test_several_targets_share_their_leverage():
    targets = np.column_stack([Y, 2 * Y + X[:, 2]])
    m = mm.memory_map(RandomForestRegressor(10, min_samples_leaf=4, random_state=0).fit(X, targets), X, targets)
    share = m.origin.posterior.leaf_model.forest.leverage()
    np.testing.assert_allclose(m["leverage"], 2 * share)


# --- boosting on plain data ----------------------------------------------------------------------------------------


def ensemble(likelihood, target, c=1, trees=12, ridge=0.5, weight=W):
    leaves = rng.integers(0, 6, (N, trees, c)).astype(np.int32)
    return FixedStructureBoosting(leaves, target, weight, likelihood, learning_rate=0.3, ridge=ridge)


def joint(likelihood, target, c, trees=12):
    leaves = np.repeat(rng.integers(0, 6, (N, trees, 1)).astype(np.int32), c, axis=2)
    return MultiOutputTreeBoosting(leaves, target, W, likelihood, learning_rate=0.3, ridge=0.5)


def with_zero_trees(model):
    zero = rng.random(model.leaves.shape[1:]) < 0.3
    return dataclasses.replace(model, leaves=np.where(zero, 0, model.leaves).astype(np.int32), zero_trees=zero)


def half(model):
    return dataclasses.replace(model, drawn=rng.random((N, model.shape[1])) < 0.5)


CASES = {
    "gaussian": ensemble(Gaussian(), Y),
    "bernoulli": ensemble(Bernoulli(), (LABEL == "yes").astype(float)),
    "poisson": ensemble(Poisson(), COUNT),
    "categorical": ensemble(Categorical(), THREE, 3),
    "joint": joint(Categorical(), THREE, 3),
    "drawn": half(ensemble(Bernoulli(), (LABEL == "yes").astype(float))),
    "drawn categorical": half(ensemble(Categorical(), THREE, 3)),
    "zero trees": with_zero_trees(ensemble(Categorical(), THREE, 3)),
}


@pytest.mark.parametrize("drawn", [False, True])
def test_squared_error_leverage_is_the_derivative_by_the_target(drawn):
    model = half(ensemble(Gaussian(), Y)) if drawn else ensemble(Gaussian(), Y)
    run = refit_leaf_values(model)
    h = W * leaf_space_variance(model, run)[:, 0, 0]
    for i in range(0, N, 17):
        for step in (1e-3, 1.0):  # linear: any step
            moved = dataclasses.replace(model, target=Y + step * (np.arange(N) == i))
            assert (refit_leaf_values(moved).f - run.f)[i, 0] / step == pytest.approx(h[i], abs=1e-6 * h[i] + 1e-12)


@dataclasses.dataclass(frozen=True)
class FixedDenominators:
    """A likelihood with the curvatures of another fit in the denominators, and one perturbed gradient."""

    inner: object
    path: list
    perturbation: np.ndarray
    stage: list

    def error(self, f, y):
        return self.inner.error(f, y) - self.perturbation

    def fisher_diagonal(self, f, y):
        return self.inner.fisher_diagonal(self._before(), y)

    def curvature(self, f, y):
        return self.inner.curvature(self._before(), y)

    def _before(self):
        self.stage[0] += 1
        return self.path[self.stage[0] - 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_variance_is_the_derivative_by_minus_the_gradient_with_fixed_denominators(name):
    c = CASES[name].shape[2]
    model = dataclasses.replace(CASES[name], base=np.zeros(c), weight=np.ones(N))
    likelihood, run = model.likelihood, refit_leaf_values(model)
    variance = leaf_space_variance(model, run)
    for i in (0, 50, 200):
        for k in range(c):
            perturbation = np.zeros((N, c))
            perturbation[i, k] = 1e-6
            up, down = (
                dataclasses.replace(
                    model, likelihood=FixedDenominators(likelihood, run.staged_outputs, s * perturbation, [0])
                )
                for s in (1, -1)
            )
            moved = (refit_leaf_values(up).f - refit_leaf_values(down).f)[i] / 2e-6
            assert variance[i, k, k] == pytest.approx(moved[k], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_tangents_and_the_leaf_space_agree(name):
    model = CASES[name]
    run = refit_leaf_values(model)
    np.testing.assert_allclose(tangent_variance(model, run), leaf_space_variance(model, run), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["joint", "drawn"])
def test_random_probes_refuse_coupled_outputs_and_row_subsampling(name):
    with pytest.raises(DataError, match="every example in every iteration"):
        sampled_variance(CASES[name], refit_leaf_values(CASES[name]), 4, seed=0)


def test_two_joint_classes_are_one_binary_output():
    bit = (LABEL == "yes").astype(int)
    two = joint(Categorical(), bit, 2)
    one = FixedStructureBoosting(
        two.leaves[:, :, :1], bit.astype(float), W, Bernoulli(), learning_rate=0.3, ridge=0.25
    )  # Λ₂ = [[Λ, −Λ], …]
    start = {"base": np.zeros(1)}
    two, one = dataclasses.replace(two, **start), dataclasses.replace(one, **start)
    f, g = refit_leaf_values(two).f, refit_leaf_values(one).f[:, 0]
    np.testing.assert_allclose(f[:, 1] - f[:, 0], g, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian", "bernoulli", "poisson"])
@pytest.mark.parametrize("fitted", [True, False])
def test_random_probes_converge_to_the_exact_variance(name, fitted):
    model = dataclasses.replace(CASES[name], base=None if fitted else np.zeros(1))
    run = refit_leaf_values(model)
    exact, probes = leaf_space_variance(model, run)[:, 0, 0], 4096
    ratio = sampled_variance(model, run, probes, seed=0)[:, 0, 0] / exact
    assert abs(ratio.mean() - 1) < 0.01
    assert ratio.std() < 1.3 * np.sqrt(2 / probes)


def test_a_stump_is_its_leaf_means():
    leaves = (X[:, 0] > 0).astype(np.int32)[:, None, None]
    model = FixedStructureBoosting(leaves, Y, np.ones(N), Gaussian(), learning_rate=1.0, ridge=0.0)
    counts = np.bincount(leaves.ravel())
    np.testing.assert_allclose(
        leaf_space_variance(model, refit_leaf_values(model))[:, 0, 0], 1 / counts[leaves.ravel()]
    )
    i = 5
    rest = (leaves.ravel() == leaves.ravel()[i]) & (np.arange(N) != i)
    assert refit_leaf_values(without_examples(model, [i])).f[i, 0] == pytest.approx(Y[rest].mean(), rel=1e-12)


def test_leaves_are_recovered_from_tree_contributions():
    leaf = rng.integers(0, 30, 500)
    steps = rng.normal(size=30)[leaf] + 1e-15 * rng.normal(size=500)
    found = leaf_indices_from_values(steps[:, None, None]).ravel()
    assert len(np.unique(np.column_stack([leaf, found]), axis=0)) == len(np.unique(leaf)) == found.max() + 1


# --- scikit-learn's boosting ---------------------------------------------------------------------------------------

HIST = {"max_iter": 15, "min_samples_leaf": 5}
BOOSTED = {
    "hist": (HistGradientBoostingRegressor(**HIST), Y),
    "hist poisson": (HistGradientBoostingRegressor(loss="poisson", **HIST), COUNT),
    "hist binary": (HistGradientBoostingClassifier(**HIST), LABEL),
    "hist balanced": (HistGradientBoostingClassifier(class_weight="balanced", **HIST), LABEL),
    "hist classes": (HistGradientBoostingClassifier(**HIST), THREE),
    "gradient": (GradientBoostingRegressor(n_estimators=20), Y),
    "gradient binary": (GradientBoostingClassifier(n_estimators=20), LABEL),
    "gradient classes": (GradientBoostingClassifier(n_estimators=20), THREE),
    "gradient drawn": (GradientBoostingRegressor(n_estimators=20, subsample=0.5, random_state=3), Y),
    "gradient drawn classes": (
        GradientBoostingClassifier(n_estimators=20, subsample=0.6, max_features=2, random_state=1),
        THREE,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", BOOSTED)
def test_boosting_is_reproduced_and_mapped(name, weight):
    model, target = BOOSTED[name]
    m = mm.memory_map(model.fit(X, target, sample_weight=weight), X, target, sample_weight=weight)
    assert np.all(m["leverage"] > 0)
    assert np.all(m["warning"] == 0)
    refined = refine(m, top=20)
    chosen = refined["refined"]
    assert np.corrcoef(m["loo_loss"][chosen], refined["loo_loss"][chosen])[0, 1] > 0.95


def test_refined_deviations_are_refits_on_fixed_leaves():
    model = HistGradientBoostingRegressor(**HIST).fit(X, Y)
    m = refine(mm.memory_map(model, X, Y), top=5)
    plain = m.origin.posterior.leaf_model.model
    for row in m["row"][m["refined"]]:
        expected = refit_leaf_values(without_examples(plain, [row])).f[row, 0]
        assert m["loo_prediction"][row] == pytest.approx(expected, rel=1e-10)


@pytest.mark.slow
def test_leverage_under_row_subsampling_is_the_librarys_own_derivative():
    x, settings = X[:, :1], {"subsample": 0.5, "random_state": 3, "max_depth": 2}  # one column: no two splits tie
    model = GradientBoostingRegressor(n_estimators=20, min_samples_leaf=5, **settings).fit(x, Y, sample_weight=W)
    m = mm.memory_map(model, x, Y, sample_weight=W)
    for i in range(0, N, 37):
        moved = [model.fit(x, Y + s * (np.arange(N) == i), sample_weight=W).predict(x[[i]])[0] for s in (1e-5, -1e-5)]
        assert m["leverage"][i] == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-6, abs=1e-9)


def test_rows_are_drawn_as_the_library_draws_them():
    drawn = GradientBoostingRegressor(n_estimators=5, subsample=0.3, random_state=8).fit(X, Y)
    seen = mm.memory_map(drawn, X, Y).origin.posterior.leaf_model.model.drawn
    assert np.all(seen.sum(axis=0) == int(0.3 * N))
    for t, tree in enumerate(drawn.estimators_[:, 0]):
        assert seen[:, t].sum() == tree.tree_.n_node_samples[0]
        counts = np.bincount(tree.apply(X)[seen[:, t]], minlength=tree.tree_.node_count)
        np.testing.assert_array_equal(counts[tree.tree_.children_left < 0], tree.tree_.n_node_samples[
            tree.tree_.children_left < 0
        ])  # fmt: skip


def test_missing_values_and_categories_follow_the_library():
    x = X.copy()
    x[rng.random(X.shape) < 0.2] = np.nan
    x[:, 3] = rng.integers(0, 5, N)
    model = HistGradientBoostingRegressor(categorical_features=[3], **HIST).fit(x, Y)
    assert np.all(mm.memory_map(model, x, Y)["leverage"] > 0)


@pytest.mark.parametrize("model", [HistGradientBoostingRegressor, HistGradientBoostingClassifier])
def test_examples_held_out_for_early_stopping_have_no_weight(model):
    target = Y if model is HistGradientBoostingRegressor else LABEL
    m = mm.memory_map(model(early_stopping=True, random_state=4, **HIST).fit(X, target), X, target)
    assert np.count_nonzero(m["weight"] == 0) == N // 10
    assert np.all((m["leverage"] == 0) == (m["weight"] == 0))


@pytest.mark.slow
def test_a_split_drawn_without_a_seed_is_that_of_the_fit():
    model = HistGradientBoostingClassifier(early_stopping=True, **HIST).fit(X, THREE)
    m = mm.memory_map(model, X, THREE)
    assert np.count_nonzero(m["weight"] == 0) == N // 10
    again = HistGradientBoostingClassifier(early_stopping=False, max_iter=model.n_iter_, min_samples_leaf=5)
    kept = m["weight"] > 0
    again.fit(X[kept], THREE[kept])  # splits and values may differ by the bins alone, which the same rows determine
    np.testing.assert_allclose(again.decision_function(X), model.decision_function(X), atol=1e-6)


@pytest.mark.parametrize("kind", [GradientBoostingRegressor, GradientBoostingClassifier])
def test_rows_held_out_by_gradient_boosting_have_no_weight(kind):
    target = Y if kind is GradientBoostingRegressor else LABEL
    m = mm.memory_map(kind(n_estimators=20, n_iter_no_change=3, random_state=4).fit(X, target), X, target)
    assert np.count_nonzero(m["weight"] == 0) == N // 10


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"random_state": 0, "subsample": 0.5}])
def test_early_stopping_that_cannot_be_reproduced_is_refused(more):
    model = GradientBoostingRegressor(n_iter_no_change=3, **more).fit(X, Y)
    with pytest.raises(UnsupportedModelError, match="random_state=0, without row subsampling"):
        mm.memory_map(model, X, Y)
    remedy = model.set_params(random_state=0, subsample=1.0).fit(X, Y)
    assert np.any(mm.memory_map(remedy, X, Y)["leverage"] > 0)


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_wine, load_iris])
def test_trees_without_a_split_contribute_nothing(load):
    x, y = load(return_X_y=True)
    model = HistGradientBoostingClassifier(random_state=0).fit(x, y)  # classes are separated before 100 iterations
    plain = mm.memory_map(model, x, y).origin.posterior.leaf_model.model
    staged = np.stack(list(model.staged_decision_function(x)))
    empty = np.all(np.diff(staged, axis=0) == 0, axis=1)
    assert np.any(empty)
    assert not np.all(empty)
    np.testing.assert_array_equal(plain.zero_trees[1:], empty)
    f = refit_leaf_values(plain).staged_outputs[1:]
    np.testing.assert_allclose(f - f.mean(2, keepdims=True), staged - staged.mean(2, keepdims=True), atol=1e-5)


def test_warm_starts():
    model = HistGradientBoostingRegressor(warm_start=True, **HIST).fit(X, Y)
    model.set_params(max_iter=25).fit(X, Y)
    assert "25 iterations" in mm.memory_map(model, X, Y).provenance.description.algorithm
    model.set_params(max_iter=30, learning_rate=0.3).fit(X, Y)
    with pytest.raises(UnsupportedModelError, match="a changed learning rate"):
        mm.memory_map(model, X, Y)
    forest = RandomForestRegressor(5, warm_start=True, random_state=0).fit(X, Y)
    forest.set_params(n_estimators=9).fit(X, Y)
    assert "9 trees" in str(mm.memory_map(forest, X, Y).provenance.description.coverage)


def test_how_leverage_was_obtained_is_recorded():
    model = HistGradientBoostingRegressor(**HIST).fit(X, Y)
    assert "exact" in str(mm.memory_map(model, X, Y).provenance.description.coverage)
    m = mm.memory_map(model, X, Y, posterior=BoostedTrees(probes=50, seed=7))
    assert "50 random probes, seed 7, relative standard error 0.20" in str(m.provenance.description.coverage)


# --- typical use ---------------------------------------------------------------------------------------------------


def test_a_pipeline_maps_its_forest():
    model = make_pipeline(StandardScaler(), RandomForestRegressor(10, random_state=0)).fit(X, Y)
    alone = RandomForestRegressor(10, random_state=0).fit(StandardScaler().fit_transform(X), Y)
    inner = mm.memory_map(alone, StandardScaler().fit_transform(X), Y)
    outer = mm.memory_map(model, X, Y)
    np.testing.assert_allclose(outer["leverage"], inner["leverage"])
    columns = [leave_out(m, {"a": [3, 4]})["rest_sensitivity"] for m in (outer, inner)]
    np.testing.assert_allclose(*columns)


def test_sparse_inputs():
    x = sparse.random(N, 20, 0.3, format="csr", random_state=0)
    model = RandomForestRegressor(10, min_samples_leaf=3, random_state=0).fit(x, Y)
    dense = RandomForestRegressor(10, min_samples_leaf=3, random_state=0).fit(x.toarray(), Y)
    expected = mm.memory_map(dense, x.toarray(), Y)["leverage"]
    np.testing.assert_allclose(mm.memory_map(model, x, Y)["leverage"], expected)


@pytest.mark.parametrize("kind", [RandomForestRegressor, HistGradientBoostingRegressor, GradientBoostingClassifier])
def test_unfitted(kind):
    with pytest.raises(NotFittedError):
        mm.memory_map(kind(), X, Y)


@pytest.mark.parametrize("kind", [DecisionTreeRegressor, HistGradientBoostingRegressor, ExtraTreesRegressor])
def test_targets_that_are_all_the_same_are_refused(kind):
    with pytest.raises(DataError, match=r"always \[2.0\].*different targets"):
        mm.memory_map(kind().fit(X, np.full(N, 2.0)), X, np.full(N, 2.0))


def test_one_row():
    with pytest.raises(DataError, match="fitted exactly"):
        mm.memory_map(DecisionTreeRegressor().fit(X[:1], Y[:1]), X[:1], Y[:1])
    with pytest.raises(DataError, match="fitted exactly"):
        mm.memory_map(HistGradientBoostingRegressor(max_iter=1).fit(X[:1], Y[:1]), X[:1], Y[:1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingRegressor(subsample=0.5),
        GradientBoostingRegressor(loss="huber"),
        GradientBoostingRegressor(init="zero"),
        HistGradientBoostingRegressor(loss="quantile", quantile=0.5),
        HistGradientBoostingRegressor(monotonic_cst=[1, 0, 0, 0]),
        RandomForestRegressor(criterion="absolute_error", n_estimators=3),
    ],
    ids=lambda model: str(model)[-40:],
)
def test_what_leaves_do_not_determine_is_refused(model):
    with pytest.raises(UnsupportedModelError, match="refit"):
        mm.memory_map(model.fit(X, Y), X, Y)


def test_several_class_targets_are_refused():
    targets = np.column_stack([THREE, THREE])
    with pytest.raises(UnsupportedModelError, match="one forest for each"):
        mm.memory_map(RandomForestClassifier(3).fit(X, targets), X, targets)


def test_other_data_than_the_training_data_is_refused():
    forest = RandomForestRegressor(10, random_state=0).fit(X, Y)
    for x, y in ((X[::-1], Y[::-1]), (X, Y + 1), (X[:200], Y[:200])):
        with pytest.raises((UnsupportedModelError, DataError), match="trained"):
            mm.memory_map(forest, x, y)
    boosting = HistGradientBoostingRegressor(**HIST).fit(X, Y)
    with pytest.raises(UnsupportedModelError, match="sample_weight"):
        mm.memory_map(boosting, X, Y, sample_weight=W)
    with pytest.raises(DataError, match="offset"):
        mm.memory_map(boosting, X, Y, offset=W)


FITTED_ROWS = [
    DecisionTreeRegressor(min_samples_leaf=5), RandomForestRegressor(5), ExtraTreesRegressor(5, min_samples_leaf=5),
    HistGradientBoostingRegressor(**HIST), GradientBoostingRegressor(n_estimators=10),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, W, (W > 0.7).astype(float)], ids=["unweighted", "weighted", "zeros"])
@pytest.mark.parametrize("model", FITTED_ROWS, ids=lambda model: type(model).__name__)
def test_rows_given_twice_are_refused(model, weight):
    model.fit(X, Y, sample_weight=weight)  # without a ridge twice the rows have the same leaf values
    for more in (slice(None), slice(3)):
        x, y = np.concatenate([X, X[more]]), np.concatenate([Y, Y[more]])
        w = None if weight is None else np.concatenate([weight, weight[more]])
        with pytest.raises(
            (DataError, UnsupportedModelError), match=r"not those of the fit: rows|exactly the examples"
        ):
            mm.memory_map(model, x, y, sample_weight=w)
    m = mm.memory_map(model, X, Y, sample_weight=weight)  # the remedy: each once
    assert len(m) == N


def test_rows_that_are_the_same_in_the_fit_are_no_fault():
    x, y = np.concatenate([X, X[:50]]), np.concatenate([Y, Y[:50]])
    for model in FITTED_ROWS:
        assert len(mm.memory_map(model.fit(x, y), x, y)) == N + 50


def test_more_examples_than_are_checked():
    x, y = np.tile(X, (20, 1)), np.tile(Y, 20) + rng.normal(size=20 * N)
    for model in (DecisionTreeRegressor(max_depth=3), HistGradientBoostingRegressor(max_iter=3)):
        m = mm.memory_map(model.fit(x, y), x, y)
        np.testing.assert_allclose(m["prediction"], model.predict(x), rtol=1e-6, atol=1e-6)
    with pytest.raises(UnsupportedModelError, match="sample_weight"):
        mm.memory_map(model, x, y, sample_weight=np.tile(W, 20))


def test_a_recipe_for_boosting_does_not_fit_a_forest():
    forest = RandomForestRegressor(3).fit(X, Y)
    with pytest.raises(UnsupportedModelError, match="no boosted ensemble"):
        mm.memory_map(forest, X, Y, posterior=BoostedTrees())
    with pytest.raises(ValueError, match="positive"):
        BoostedTrees(probes=0)


@pytest.mark.slow
def test_probes_treat_several_classes_one_at_a_time():
    model = HistGradientBoostingClassifier(**HIST).fit(X, THREE)
    exact = mm.memory_map(model, X, THREE)["leverage"]
    sampled = mm.memory_map(model, X, THREE, posterior=BoostedTrees(probes=1024))["leverage"]
    assert 1 < sampled.sum() / exact.sum() < 1.15
    assert np.corrcoef(sampled, exact)[0, 1] > 0.98


@pytest.mark.slow
def test_exact_leverage_of_large_ensembles_is_refused():
    x = rng.normal(size=(4500, 4))
    y = x[:, 0] + rng.normal(size=4500)
    model = HistGradientBoostingRegressor(max_iter=450, min_samples_leaf=5, max_leaf_nodes=31).fit(x, y)
    with pytest.raises(DataError, match=r"GB, or .* s: use BoostedTrees\(probes="):
        mm.memory_map(model, x, y, posterior=BoostedTrees())


@pytest.mark.slow
def test_long_ensembles_of_few_examples_are_exact_on_request(monkeypatch):
    monkeypatch.setattr("memorymaps.models.trees.boosting_tangents._MAX_LEAF_VALUES", 1_500)
    model = HistGradientBoostingRegressor(max_iter=150, min_samples_leaf=5, max_leaf_nodes=31).fit(X, Y)
    exact = mm.memory_map(model, X, Y, posterior=BoostedTrees())
    sampled = mm.memory_map(model, X, Y, posterior=BoostedTrees(probes=1024))
    assert exact.origin.posterior.leaf_model.model.num_leaf_values > 1_500
    assert np.mean(sampled["leverage"] / exact["leverage"]) == pytest.approx(1, abs=0.02)
    assert np.std(sampled["leverage"] / exact["leverage"]) < 1.3 * np.sqrt(2 / 1024)


def test_bundled_data_end_to_end():
    x, y = load_diabetes(return_X_y=True, as_frame=True)
    m = mm.memory_map(RandomForestRegressor(50, random_state=0).fit(x, y), x, y)
    assert len(m.top(3)) == 3
    x, y = load_breast_cancer(return_X_y=True)
    m = mm.memory_map(HistGradientBoostingClassifier(max_iter=20).fit(x, y), x, y)
    assert 0 < m["leverage"].max() < 1


def test_a_class_without_a_vote_has_the_loss_of_its_expected_share():
    """One example of a class of its own: no tree that has not drawn it votes for that."""
    x, label = X.copy(), np.where(LABEL[0] == LABEL, 0, 1)
    label[:1] = 2
    forest = RandomForestClassifier(50, random_state=0).fit(x, label)
    m = mm.memory_map(forest, x, label, progress=False)
    drawn = np.stack([np.bincount(rows, minlength=len(x)) for rows in forest.estimators_samples_], axis=1)
    assert m["loo_loss"][0] == pytest.approx(np.log(np.mean(np.sum(drawn == 0, axis=1)) + 2), rel=1e-9)
    assert m["loo_loss"].max() < np.log(50)


def test_a_single_tree_has_no_votes():
    tree = DecisionTreeClassifier(min_samples_leaf=3, random_state=0).fit(X, LABEL)
    assert mm.memory_map(tree, X, LABEL, progress=False).origin.posterior.likelihood.smallest == 1e-12


@pytest.mark.slow
def test_too_few_trees_for_out_of_bag_losses_are_said():
    few = mm.memory_map(RandomForestClassifier(8, min_samples_leaf=3, random_state=0).fit(X, LABEL), X, LABEL)
    assert any("of the out-of-bag losses" in line for line in few.summary().warnings)


@pytest.mark.slow
def test_too_few_trees_for_out_of_bag_sizes_are_said():
    few = mm.memory_map(RandomForestClassifier(8, min_samples_leaf=3, random_state=0).fit(X, LABEL), X, LABEL)
    assert any("8 trees: the random draws make up" in line for line in few.summary().warnings)
    many = mm.memory_map(RandomForestClassifier(400, min_samples_leaf=3, random_state=0).fit(X, LABEL), X, LABEL)
    assert not any("random draws" in line for line in many.summary().warnings)
