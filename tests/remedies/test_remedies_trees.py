"""What messages about trees, forests and boosting say to type, typed."""

import ast
import re

import numpy as np
import pytest
from remedies import remedy
from scipy import stats
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

import memorymaps as mm
from memorymaps.models import BoostedTrees
from memorymaps.models.trees import boosting_tangents

RNG = np.random.default_rng(0)
N = 80
X = RNG.normal(size=(N, 3))
Y = X @ [1.0, -0.5, 0.2] + 0.3 * RNG.normal(size=N)
BITS = (Y + RNG.normal(size=N) > 0).astype(int)
THREE = np.argsort(np.argsort(Y)) * 3 // N
COUNTS = RNG.poisson(np.exp(Y / 2)).astype(float)


def hist(**settings):
    return HistGradientBoostingRegressor(**{"max_iter": 8, "min_samples_leaf": 6, "early_stopping": False, **settings})


def gradient(**settings):
    return GradientBoostingRegressor(**{"n_estimators": 8, "min_samples_leaf": 4, **settings})


def forest(**settings):
    return RandomForestRegressor(**{"n_estimators": 15, "random_state": 0, "min_samples_leaf": 3, **settings})


def is_mapped(model, *data, **settings):
    m = mm.memory_map(model, *data, **settings)
    assert len(m) == N
    assert m["leverage"].sum() > 0.5


@remedy("is no boosted ensemble: call memory_map without posterior=")
@pytest.mark.parametrize("model", [Ridge(), DecisionTreeRegressor(min_samples_leaf=3)])
def test_the_recipe_of_another_model(said, model):
    model.fit(X, Y)
    with said:
        mm.memory_map(model, X, Y, posterior=BoostedTrees())
    is_mapped(model, X, Y)


@remedy("leave out likelihood=", at="models/trees")
def test_a_likelihood_beside_the_recipe(said):
    model = hist().fit(X, Y)
    with said:
        mm.memory_map(model, X, Y, likelihood="gaussian", posterior=BoostedTrees())
    is_mapped(model, X, Y, posterior=BoostedTrees())


SETTINGS = {
    "init": (gradient(init=Ridge()), Y), "lightgbm goss": ("lgb", {"data_sample_strategy": "goss"}),
    "lightgbm dart": ("lgb", {"boosting": "dart"}), "lightgbm l1": ("lgb", {"lambda_l1": 0.1}),
    "lightgbm bagging": ("lgb", {"bagging_freq": 1, "bagging_fraction": 0.5}),
    "lightgbm smoothing": ("lgb", {"path_smooth": 1.0}), "lightgbm linear": ("lgb", {"linear_tree": True}),
    "lightgbm delta": ("lgb", {"max_delta_step": 0.1}), "xgboost dart": ("xgb", {"booster": "dart"}),
    "lightgbm monotone": ("lgb", {"monotone_constraints": [1, 0, 0]}),
    "xgboost subsample": ("xgb", {"subsample": 0.5}), "xgboost alpha": ("xgb", {"reg_alpha": 0.1}),
    "xgboost alpha of that name": ("xgb", {"alpha": 0.1}),
    "xgboost linear": ("xgb", {"booster": "gblinear"}), "xgboost forest": ("xgb", {"num_parallel_tree": 2}),
    "xgboost monotone": ("xgb", {"monotone_constraints": "(1,0,0)"}),
    "xgboost vector leaves": ("xgb", {"multi_strategy": "multi_output_tree"}),
    "lightgbm quantised": ("lgb", {"use_quantized_grad": True}), "lightgbm roots": ("lgb", {"reg_sqrt": True}),
    "catboost langevin": ("cat", {"langevin": True}), "catboost newton": ("cat", {"boosting_type": "Ordered"}),
    "catboost backtracking": ("cat", {"model_shrink_rate": 0.1}),
}  # fmt: skip


def setting(name):
    """A model with a setting that is refused, and its targets."""
    kind, changed = SETTINGS[name]
    if not isinstance(kind, str):
        return kind, changed
    if kind == "cat":
        library = pytest.importorskip("catboost")
        own = {"iterations": 8, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0}
        return library.CatBoostRegressor(**{**own, **changed}), COUNTS
    if kind == "lgb":
        library = pytest.importorskip("lightgbm")
        return library.LGBMRegressor(n_estimators=8, min_child_samples=5, verbose=-1, n_jobs=1, **changed), Y
    library = pytest.importorskip("xgboost")
    return library.XGBRegressor(n_estimators=8, max_depth=3, n_jobs=1, **changed), Y


@remedy("was trained with … = …, …: refit with … = …")
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_settings_that_leaves_do_not_determine(said, name):
    model, y = setting(name)
    model.fit(X, y)
    deep = () if name.startswith("catboost") else (False,)
    for _ in range(3):  # one setting at a time
        with said:
            mm.memory_map(model, X, y)
        key, value = re.search(r"refit with (\w+) = (.*)", said.text).groups()
        model = type(model)(**{**model.get_params(*deep), key: ast.literal_eval(value)}).fit(X, y)
        try:
            is_mapped(model, X, y)
            return
        except mm.UnsupportedModelError:
            continue
    raise AssertionError("still refused")


@remedy("targets at once: fit one model for each target")
@pytest.mark.parametrize("strategy", ["one_output_per_tree", "multi_output_tree"])
def test_several_targets_of_xgboost(said, strategy):
    library = pytest.importorskip("xgboost")

    def make():
        return library.XGBRegressor(n_estimators=8, max_depth=3, n_jobs=1, multi_strategy=strategy)

    several = np.column_stack([Y, -Y])
    with said:
        mm.memory_map(make().fit(X, several), X, several)
    for y in several.T:
        model = library.XGBRegressor(n_estimators=8, max_depth=3, n_jobs=1).fit(X, y)
        is_mapped(model, X, y)


@pytest.fixture
def little_room(monkeypatch):
    monkeypatch.setattr(boosting_tangents, "_MAX_LEAF_VALUES", 30)
    monkeypatch.setattr(boosting_tangents, "_MAX_SECONDS", 0.0)


@remedy("use BoostedTrees(probes=32)")
def test_too_many_leaves(said, little_room):
    model = gradient().fit(X, Y)
    with said:
        mm.memory_map(model, X, Y, posterior=BoostedTrees())
    is_mapped(model, X, Y, posterior=BoostedTrees(probes=32))


@remedy("refit with fewer trees or leaves", at="models/trees/boosting_tangents.py")
def test_too_many_leaves_of_subsampled_rows(said, little_room):
    settings = {"subsample": 0.7, "random_state": 0}
    with said:
        mm.memory_map(gradient(**settings).fit(X, Y), X, Y, posterior=BoostedTrees())
    is_mapped(gradient(**settings, n_estimators=3).fit(X, Y), X, Y, posterior=BoostedTrees())
    is_mapped(gradient(**settings, max_leaf_nodes=3).fit(X, Y), X, Y, posterior=BoostedTrees())


@remedy("use BoostedTrees(probes=None), or fewer trees or leaves")
def test_probes_of_subsampled_rows(said):
    model = gradient(subsample=0.7, random_state=0).fit(X, Y)
    with said:
        mm.memory_map(model, X, Y, posterior=BoostedTrees(probes=64))
    is_mapped(model, X, Y, posterior=BoostedTrees(probes=None))


@remedy("is not fitted: call model.fit(X, y) before memory_map", at="models/trees/catboost.py")
@remedy("was trained with loss …: refit with …", at="models/trees/catboost.py")
@pytest.mark.slow
def test_catboost(said):
    library = pytest.importorskip("catboost")
    own = {
        "iterations": 8,
        "verbose": 0,
        "allow_writing_files": False,
        "thread_count": 1,
        "leaf_estimation_iterations": 1,
    }
    with said:
        mm.memory_map(library.CatBoostRegressor(**own), X, Y)
    with said:
        mm.memory_map(library.CatBoostRegressor(**own, loss_function="MAE").fit(X, Y), X, Y)
    losses = said.text.partition("refit with ")[2].splitlines()[0].split(" or ")
    targets = {"RMSE": Y, "Logloss": BITS, "Poisson": COUNTS, "MultiClass": THREE}
    for loss in losses:
        kind = library.CatBoostClassifier if loss in ("Logloss", "MultiClass") else library.CatBoostRegressor
        is_mapped(kind(**own, loss_function=loss).fit(X, targets[loss]), X, targets[loss])


@remedy("was trained with loss …: refit with …", at="models/trees/sklearn_boosting.py")
@pytest.mark.parametrize("make", [hist, gradient])
def test_losses_without_leaf_values(said, make):
    with said:
        mm.memory_map(make(loss="absolute_error").fit(X, Y), X, Y)
    losses = said.text.partition("refit with ")[2].splitlines()[0].split(" or ")
    assert "squared_error" in losses
    for loss in losses:
        if make is hist or loss == "squared_error":
            y = COUNTS if loss == "poisson" else Y
            is_mapped(make(loss=loss).fit(X, y), X, y)


@remedy("was trained with monotonic_cst, which changes leaf values: refit without")
def test_monotonic_boosting(said):
    with said:
        mm.memory_map(hist(monotonic_cst=[1, 0, 0]).fit(X, Y), X, Y)
    is_mapped(hist().fit(X, Y), X, Y)


@remedy("refit with random_state=0, or with subsample = 1.0")
def test_subsamples_without_a_seed(said):
    with said:
        mm.memory_map(gradient(subsample=0.7).fit(X, Y), X, Y)
    is_mapped(gradient(subsample=0.7, random_state=0).fit(X, Y), X, Y)
    is_mapped(gradient(subsample=1.0).fit(X, Y), X, Y)


@remedy("refit with random_state=0, without row subsampling, or with early stopping off")
def test_early_stopping(said):
    with said:
        mm.memory_map(gradient(n_iter_no_change=3).fit(X, Y), X, Y)
    with said:
        mm.memory_map(gradient(n_iter_no_change=3, random_state=0, subsample=0.7).fit(X, Y), X, Y)
    for settings in ({"n_iter_no_change": 3, "random_state": 0}, {"n_iter_no_change": None}):
        model = gradient(**settings, n_estimators=50).fit(X, Y)
        assert mm.memory_map(model, X, Y)["leverage"].sum() > 0.5


@remedy("read examples from memory_map(...).origin.examples")
def test_a_tree_posterior_at_other_inputs(said):
    m = mm.memory_map(forest().fit(X, Y), X, Y)
    with said:
        m.origin.posterior.marginals(X)
    (batch,) = m.origin.examples
    assert len(m.origin.posterior.marginals(batch.inputs).f) == N


@remedy("of the out-of-bag sizes; read them as ranks, or fit more trees")
@pytest.mark.slow
def test_few_trees(said):
    few = mm.memory_map(forest(n_estimators=20).fit(X, Y), X, Y)
    said.reads(str(few.summary()))
    many = mm.memory_map(forest(n_estimators=2000).fit(X, Y), X, Y)
    assert not any("random draws" in line for line in many.summary().warnings)
    assert stats.spearmanr(few["sensitivity"], many["sensitivity"])[0] > 0.5


@remedy("of the out-of-bag losses; read them as ranks, or fit more trees")
@pytest.mark.slow
def test_few_trees_for_losses(said):
    few, many = (
        mm.memory_map(RandomForestClassifier(k, min_samples_leaf=3, random_state=0).fit(X, THREE), X, THREE)
        for k in (12, 2000)
    )
    said.reads(str(few.summary()))
    assert not any("random draws" in line for line in many.summary().warnings)
    assert stats.spearmanr(few["loo_loss"], many["loo_loss"], nan_policy="omit")[0] > 0.5


@remedy("Pass the rows of the fit, each once and no others")
def test_forests_with_other_rows(said):
    model = forest().fit(X, Y)
    with said:
        mm.memory_map(model, X[:-1], Y[:-1])
    is_mapped(model, X, Y)


@remedy("does not predict means of leaves: refit with criterion='squared_error'")
@pytest.mark.parametrize("kind", [RandomForestRegressor, DecisionTreeRegressor])
def test_medians_in_leaves(said, kind):
    with said:
        mm.memory_map(kind(criterion="absolute_error", min_samples_leaf=3, random_state=0).fit(X, Y), X, Y)
    is_mapped(kind(criterion="squared_error", min_samples_leaf=3, random_state=0).fit(X, Y), X, Y)


@remedy("class targets: fit one forest for each target")
def test_several_classes_at_once(said):
    several = np.column_stack([BITS, THREE])

    def make():
        return RandomForestClassifier(15, random_state=0, min_samples_leaf=3)

    with said:
        mm.memory_map(make().fit(X, several), X, several)
    for y in several.T:
        is_mapped(make().fit(X, y), X, y)


@remedy("Pass exactly the examples, in their order, and the sample_weight that it was trained with")
def test_boosting_with_other_examples(said):
    weight = RNG.uniform(0.5, 2.0, N)
    model = hist().fit(X, Y, weight)
    with said:
        mm.memory_map(model, X, Y)
    is_mapped(model, X, Y, sample_weight=weight)
    library = pytest.importorskip("catboost")
    own = {"iterations": 8, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "model_shrink_rate": 0}
    with said:
        monotone = library.CatBoostRegressor(**own, monotone_constraints=[1, 0, 0]).fit(X, Y)
        mm.memory_map(monotone, X, Y)
    is_mapped(library.CatBoostRegressor(**own).fit(X, Y), X, Y)


@remedy("are not supported with an offset (init_score, base_margin): leave it out")
def test_an_offset_of_trees(said):
    model = hist().fit(X, Y)
    with said:
        mm.memory_map(model, X, Y, offset=np.ones(N))
    is_mapped(model, X, Y)


@remedy("Splits do not change when an example is left out; refine(m) refits the leaf values exactly.")
def test_leaf_values_refitted(said):
    m = mm.memory_map(hist().fit(X, Y), X, Y)
    said.reads(str(m.summary()))
    refined = mm.refine(m, top=5)
    assert refined["refined"].sum() == 5
    ids = refined["id"][refined["refined"]]
    alone = m.leave_out({str(i): [i] for i in ids})
    np.testing.assert_allclose(refined.select(ids)["sensitivity"], alone["sensitivity"], rtol=1e-6)


@remedy("of the out-of-bag losses; read them as ranks, or fit more trees")
@pytest.mark.slow
def test_few_trees_of_classes(said):
    make = lambda k: RandomForestClassifier(k, random_state=0, min_samples_leaf=3).fit(X, BITS)  # noqa: E731
    few = mm.memory_map(make(10), X, BITS)
    said.reads(str(few.summary()))
    many = mm.memory_map(make(2000), X, BITS)
    assert not any("out-of-bag losses" in line for line in many.summary().warnings)
    assert stats.spearmanr(few["loo_loss"], many["loo_loss"])[0] > 0.5
