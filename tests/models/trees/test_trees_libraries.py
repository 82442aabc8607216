"""LightGBM, XGBoost and CatBoost: refitted leaf values give their predictions; equal trees have equal leverage."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import NotFittedError

import memorymaps as mm
from memorymaps.data.examples import DataError
from memorymaps.models.trees.boosting import refit_leaf_values
from memorymaps.models.trees.boosting_posterior import BoostedTrees
from memorymaps.posteriors.registry import UnsupportedModelError

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")
cb = pytest.importorskip("catboost")

rng = np.random.default_rng(5)
N = 400
X = rng.integers(0, 40, (N, 4)).astype(float)  # few values: the bins of all libraries are the same
Y = X[:, 0] / 10 + np.sin(X[:, 1] / 5) + 0.3 * rng.normal(size=N)
BIT = (Y + rng.normal(size=N) > Y.mean()).astype(int)
LABEL = np.where(BIT == 1, "yes", "no")
COUNT = rng.poisson(np.exp(0.3 * Y)).astype(float)
THREE = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
W = rng.uniform(0.5, 2, N)
HOLES = np.where(rng.random(X.shape) < 0.2, np.nan, X)
LGB = {"n_estimators": 15, "min_child_samples": 5, "verbose": -1, "n_jobs": 1}
XGB = {"n_estimators": 15, "max_depth": 3, "n_jobs": 1}

CAT = {"iterations": 15, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0}
NEWTON = {**CAT, "leaf_estimation_iterations": 1}

MODELS = {
    "lightgbm": (lgb.LGBMRegressor(**LGB, reg_lambda=1.0), HOLES, Y),
    "lightgbm columns": (lgb.LGBMRegressor(**LGB, colsample_bytree=0.5), X, Y),
    "lightgbm extra": (lgb.LGBMRegressor(**LGB, extra_trees=True), X, Y),
    "lightgbm binary": (lgb.LGBMClassifier(**LGB), HOLES, LABEL),
    "lightgbm balanced": (lgb.LGBMClassifier(**LGB, class_weight="balanced"), X, LABEL),
    "lightgbm positives": (lgb.LGBMClassifier(**LGB, scale_pos_weight=3.0), X, BIT),
    "lightgbm poisson": (lgb.LGBMRegressor(**LGB, objective="poisson"), X, COUNT),
    "lightgbm classes": (lgb.LGBMClassifier(**LGB), X, THREE),
    "lightgbm no average": (lgb.LGBMRegressor(**LGB, boost_from_average=False), X, Y),
    "xgboost": (xgb.XGBRegressor(**XGB), HOLES, Y),
    "xgboost columns": (xgb.XGBRegressor(**XGB, colsample_bynode=0.5), X, Y),
    "xgboost base": (xgb.XGBRegressor(**XGB, base_score=0.7), X, Y),
    "xgboost binary": (xgb.XGBClassifier(**XGB), HOLES, BIT),
    "xgboost binary base": (xgb.XGBClassifier(**XGB, base_score=0.7), X, BIT),
    "xgboost positives": (xgb.XGBClassifier(**XGB, scale_pos_weight=3.0), X, BIT),
    "xgboost poisson": (xgb.XGBRegressor(**XGB, objective="count:poisson"), X, COUNT),
    "xgboost classes": (xgb.XGBClassifier(**XGB), X, THREE),
    "catboost": (cb.CatBoostRegressor(**CAT), HOLES, Y),
    "catboost binary": (cb.CatBoostClassifier(**NEWTON), X, LABEL),
    "catboost poisson": (cb.CatBoostRegressor(**NEWTON, loss_function="Poisson"), X, COUNT),
    "catboost classes": (cb.CatBoostClassifier(**CAT), HOLES, THREE),
    "xgboost delta": (xgb.XGBRegressor(**XGB, max_delta_step=0.4), X, Y),
}


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", MODELS)
def test_refitted_outputs_are_the_librarys(name, weight):
    model, x, y = MODELS[name]
    m = mm.memory_map(model.fit(x, y, sample_weight=weight), x, y, sample_weight=weight)
    assert np.all(m["leverage"] >= 0)
    assert m["leverage"].sum() > 1
    assert np.all(m["warning"] == 0)
    predicted = np.ravel(model.predict(x))
    if model.__class__.__name__.endswith("Regressor"):
        np.testing.assert_allclose(m["prediction"], predicted, rtol=1e-4, atol=1e-4)
    else:
        assert np.mean(m["prediction"] == predicted) > 0.99


SEPARATED = {
    "lightgbm": (
        lgb.LGBMClassifier(verbose=-1, n_jobs=1),
        lambda: tuple(a[:300] for a in load_digits(return_X_y=True)),
    ),
    "xgboost": (xgb.XGBClassifier(n_jobs=1), lambda: load_iris(return_X_y=True)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEPARATED)
def test_trees_without_a_split_contribute_what_the_library_says(name):
    model, load = SEPARATED[name]
    x, y = load()
    m = mm.memory_map(model.fit(x, y), x, y, progress=False)
    zero = m.origin.posterior.leaf_model.model.zero_trees
    assert np.any(zero)
    assert not np.all(zero)
    np.testing.assert_allclose(m["mean"], model.predict_proba(x), atol=1e-5)


def test_the_same_trees_have_the_same_leverage():
    shared = {"learning_rate": 0.1, "max_leaf_nodes": 8, "min_samples_leaf": 20}
    hist = HistGradientBoostingRegressor(max_iter=20, early_stopping=False, **shared)
    light = lgb.LGBMRegressor(
        n_estimators=20, num_leaves=8, min_child_samples=20, verbose=-1, n_jobs=1, min_data_in_bin=1
    )
    extreme = xgb.XGBRegressor(
        n_estimators=20, max_leaves=8, grow_policy="lossguide", max_depth=0, learning_rate=0.1, min_child_weight=20,
        reg_lambda=0, tree_method="hist", n_jobs=1,
    )  # fmt: skip
    maps = [mm.memory_map(model.fit(X, Y), X, Y) for model in (hist, light, extreme)]
    for other in maps[1:]:
        np.testing.assert_allclose(other["prediction"], maps[0]["prediction"], rtol=1e-4)
        np.testing.assert_allclose(other["leverage"], maps[0]["leverage"], rtol=1e-4)
        np.testing.assert_allclose(other["sensitivity"], maps[0]["sensitivity"], rtol=1e-3, atol=1e-5)


def test_boosters_and_wrappers_agree():
    light = lgb.LGBMRegressor(**LGB).fit(X, Y)
    wrapped = mm.memory_map(light, X, Y)
    np.testing.assert_allclose(mm.memory_map(light.booster_, X, Y)["leverage"], wrapped["leverage"])
    again = lgb.Booster(model_str=light.booster_.model_to_string())
    np.testing.assert_allclose(mm.memory_map(again, X, Y)["leverage"], wrapped["leverage"])
    extreme = xgb.XGBClassifier(**XGB).fit(X, BIT)
    wrapped = mm.memory_map(extreme, X, BIT)
    np.testing.assert_allclose(mm.memory_map(extreme.get_booster(), X, BIT)["leverage"], wrapped["leverage"])
    trained = xgb.train({"max_depth": 3, "objective": "reg:squarederror"}, xgb.DMatrix(X, Y), 10)
    assert mm.memory_map(trained, X, Y)["leverage"].sum() > 1


def test_early_stopped_models_are_mapped_as_they_predict():
    train = lgb.Dataset(X[:300], Y[:300])
    rest = lgb.Dataset(X[300:], Y[300:], reference=train)
    settings = {"min_data_in_leaf": 5, "verbose": -1, "num_threads": 1}
    light = lgb.train(settings, train, 200, valid_sets=[rest], callbacks=[lgb.early_stopping(5, verbose=False)])
    m = mm.memory_map(light, X[:300], Y[:300])
    assert f"{light.best_iteration} iterations" in m.provenance.description.algorithm
    extreme = xgb.XGBRegressor(**{**XGB, "n_estimators": 200}, early_stopping_rounds=5)
    extreme.fit(X[:300], Y[:300], eval_set=[(X[300:], Y[300:])], verbose=False)
    m = mm.memory_map(extreme, X[:300], Y[:300])
    assert f"{extreme.best_iteration + 1} iterations" in m.provenance.description.algorithm
    np.testing.assert_allclose(m["prediction"], extreme.predict(X[:300]), rtol=1e-4)


def test_continued_training():
    first = xgb.XGBRegressor(**XGB).fit(X, Y)
    more = xgb.XGBRegressor(**XGB).fit(X, Y, xgb_model=first)
    assert "30 iterations" in mm.memory_map(more, X, Y).provenance.description.algorithm
    changed = xgb.XGBRegressor(**XGB, learning_rate=0.1).fit(X, Y, xgb_model=first)
    with pytest.raises(UnsupportedModelError, match="a changed learning rate"):
        mm.memory_map(changed, X, Y)


def test_sparse_inputs():
    x = sparse.random(N, 10, 0.3, format="csr", random_state=0)
    for model in (lgb.LGBMRegressor(**LGB), xgb.XGBRegressor(**XGB)):
        assert mm.memory_map(model.fit(x, Y), x, Y)["leverage"].sum() > 1


def test_categories():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(np.array(list("pqr"))[THREE])})
    model = lgb.LGBMRegressor(**LGB).fit(frame, Y)
    assert mm.memory_map(model, frame, Y)["leverage"].sum() > 1
    model = xgb.XGBRegressor(**XGB, enable_categorical=True).fit(frame, Y)
    assert mm.memory_map(model, frame, Y)["leverage"].sum() > 1


@pytest.mark.parametrize("count", [3, 4, 30])
@pytest.mark.parametrize("target", [Y, BIT, THREE], ids=["numeric", "binary", "classes"])
def test_leaves_below_sorted_category_splits_of_lightgbm_have_its_ridge(count, target):
    pd = pytest.importorskip("pandas")
    codes = np.random.default_rng(count).integers(0, count, N)
    y = target + codes % 3 if target is Y else target ^ (codes % 2) if target is BIT else (target + codes) % 3
    frame = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(codes).rename_categories(str)})
    frame.loc[:20, "b"] = None
    kind = lgb.LGBMRegressor if target is Y else lgb.LGBMClassifier
    model = kind(**LGB, min_data_per_group=5, cat_l2=7.0).fit(frame, y)
    m = mm.memory_map(model, frame, y)  # refuses leaf values that it does not reproduce
    structure = m.origin.posterior.leaf_model.model
    assert (structure.leaf_ridge is not None) == (count > 3)  # with the missing one
    raw = model.predict(frame, raw_score=True).reshape(N, -1)
    np.testing.assert_allclose(refit_leaf_values(structure).f, raw, rtol=1e-5, atol=1e-5)


NEW_DROPOUT = tuple(int(part) for part in xgb.__version__.split(".")[:2]) >= (3, 4)  # an option of every tree booster
DROPOUT = {"rate_drop": 0.3} if NEW_DROPOUT else {"rate_drop": 0.3, "booster": "dart"}
REFUSED = [
    (lgb.LGBMRegressor(**LGB, subsample=0.5, subsample_freq=1), "bagging_fraction = '1'"),
    (lgb.LGBMRegressor(**LGB, subsample=0.5, subsample_freq=1), "model file names no rows"),
    (lgb.LGBMRegressor(**LGB, boosting_type="dart"), "boosting = 'gbdt'"),
    (lgb.LGBMRegressor(**LGB, data_sample_strategy="goss"), "data_sample_strategy = 'bagging'"),
    (lgb.LGBMRegressor(**LGB, reg_alpha=1.0), "lambda_l1 = '0'"),
    (lgb.LGBMRegressor(**LGB, linear_tree=True), "linear_tree = False"),
    (lgb.LGBMRegressor(**LGB, monotone_constraints=[1, 0, 0, 0]), "monotone_constraints"),
    (lgb.LGBMRegressor(**LGB, objective="huber"), "'huber': expected"),
    (cb.CatBoostRegressor(**CAT, loss_function="MAE"), "'MAE': refit"),
    (cb.CatBoostRegressor(**CAT, boosting_type="Ordered"), "boosting_type = 'Plain'"),
    (cb.CatBoostRegressor(**CAT, leaf_estimation_method="Gradient"), "leaf_estimation_method = 'Newton'"),
    (xgb.XGBRegressor(**XGB, subsample=0.5), "model file names no rows"),
    (xgb.XGBRegressor(**XGB, subsample=0.5), "subsample = '1'"),
    (xgb.XGBRegressor(**XGB, **DROPOUT), "rate_drop = 0.0" if NEW_DROPOUT else "booster = 'gbtree'"),
    (xgb.XGBRegressor(**XGB, reg_alpha=1.0), "reg_alpha = 0"),
    (xgb.XGBRegressor(**XGB, num_parallel_tree=3), "num_parallel_tree = '1'"),
    (xgb.XGBRegressor(**XGB, monotone_constraints=(1, 0, 0, 0)), "monotone_constraints"),
    (xgb.XGBRegressor(**XGB, objective="reg:absoluteerror"), "'reg:absoluteerror': expected"),
]


def test_catboost_leaf_values_of_several_classes_are_the_librarys():
    model = cb.CatBoostClassifier(**CAT, depth=3).fit(X, THREE, sample_weight=W)
    plain = mm.memory_map(model, X, THREE, sample_weight=W).origin.posterior.leaf_model.model
    run, library = refit_leaf_values(plain), model.get_leaf_values().reshape(15, 8, 3)
    for t in range(15):
        own = model.calc_leaf_indexes(X)[:, t]
        for k in range(3):
            found = run.values[plain.first_leaf[t, k] + plain.leaves[:, t, k]]
            np.testing.assert_allclose(found, library[t, own, k], rtol=1e-6, atol=1e-7)


REPEATED = {
    "binary": (cb.CatBoostClassifier(**CAT, leaf_estimation_iterations=10), X, BIT),
    "separated": (cb.CatBoostClassifier(**CAT, leaf_estimation_iterations=10, learning_rate=0.5), X, X[:, 1] > 9),
    "without looking back": (
        cb.CatBoostClassifier(**CAT, leaf_estimation_iterations=4, leaf_estimation_backtracking="No"), X, BIT,
    ),
    "poisson, steps halved": (
        cb.CatBoostRegressor(**CAT, leaf_estimation_iterations=5, loss_function="Poisson"), X, 8 * COUNT + 20,
    ),
    "squared error": (cb.CatBoostRegressor(**CAT, leaf_estimation_iterations=3), X, Y),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", REPEATED)
def test_several_newton_steps_give_the_leaf_values_of_catboost(name, weight):
    model, x, y = REPEATED[name]
    y = np.asarray(y, dtype=float)
    model.fit(x, y, sample_weight=weight)
    m = mm.memory_map(model, x, y, sample_weight=weight)
    run = refit_leaf_values(m.origin.posterior.leaf_model.model)
    predicted = model.predict(x, prediction_type="RawFormulaVal")
    np.testing.assert_allclose(run.f[:, 0], predicted, atol=1e-6 * (1 + np.abs(predicted).max()))
    assert np.all(m["leverage"] > 0)
    assert np.all(m["warning"] == 0)


def test_halved_steps_are_found_from_leaf_values():
    model, x, y = REPEATED["poisson, steps halved"]
    scales = mm.memory_map(model.fit(x, y), x, y).origin.posterior.leaf_model.model.scales
    assert any(scale < 1 for tree in scales for scale in tree)


@pytest.mark.slow
def test_a_catboost_classifier_as_it_comes_is_mapped():
    x, y = load_breast_cancer(return_X_y=True)
    settings = {"verbose": 0, "allow_writing_files": False, "thread_count": 1, "iterations": 60}
    model = cb.CatBoostClassifier(**settings).fit(x, y)
    assert model.get_all_params()["leaf_estimation_iterations"] == 10
    m = mm.memory_map(model, x, y)
    np.testing.assert_allclose(m["output"], model.predict(x, prediction_type="RawFormulaVal"), atol=1e-4)


def test_several_newton_steps_for_several_classes_are_refused():
    model = cb.CatBoostClassifier(**CAT, leaf_estimation_iterations=3).fit(X, THREE)
    with pytest.raises(UnsupportedModelError, match="refit with leaf_estimation_iterations = 1"):
        mm.memory_map(model, X, THREE)
    remedy = cb.CatBoostClassifier(**CAT, leaf_estimation_iterations=1).fit(X, THREE)
    assert np.all(mm.memory_map(remedy, X, THREE)["leverage"] > 0)


def test_classes_of_equal_size_do_not_make_a_fixed_base_value_fitted():
    y = np.arange(399) % 3
    model = cb.CatBoostClassifier(**CAT).fit(X[:399], y)
    posterior = mm.memory_map(model, X[:399], y).origin.posterior
    moves, _ = posterior.parameter_change([np.flatnonzero(y == 0)[:60]])
    np.testing.assert_array_equal(moves[0, :3], 0)  # a fitted base would follow the shares of classes


@pytest.mark.slow
def test_several_classes_of_a_catboost_as_it_comes():
    x, y = load_iris(return_X_y=True)
    model = cb.CatBoostClassifier(verbose=0, allow_writing_files=False, thread_count=1, iterations=300).fit(x, y)
    m = mm.memory_map(model, x, y)
    assert "leverage: exact" in str(m.provenance.description.coverage)
    assert np.all(m["leverage"] > 0)
    assert np.all(m["warning"] == 0)


def test_several_classes_of_catboost_are_exact_or_refused():
    model = cb.CatBoostClassifier(**CAT).fit(X, THREE)
    with pytest.raises(DataError, match="trees of one output"):
        mm.memory_map(model, X, THREE, posterior=BoostedTrees(probes=8))


@pytest.mark.parametrize(("model", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_leaves_do_not_determine_is_refused(model, message):
    with pytest.raises(UnsupportedModelError, match=message):
        mm.memory_map(model.fit(X, Y), X, Y)


def test_custom_objectives_are_refused():
    def robust(y, f):
        return np.tanh(f - y), np.ones_like(f)

    for model in (lgb.LGBMRegressor(**LGB, objective=robust), xgb.XGBRegressor(**XGB, objective=robust)):
        with pytest.raises(UnsupportedModelError, match=r"objective|custom"):
            mm.memory_map(model.fit(X, Y), X, Y)


def test_several_targets_are_refused():
    targets = np.column_stack([Y, Y])
    with pytest.raises(UnsupportedModelError, match="fit one model for each target"):
        mm.memory_map(xgb.XGBRegressor(**XGB).fit(X, targets), X, targets)


NO_RIDGE = {
    "lightgbm": (lgb.LGBMRegressor(**LGB), Y),
    "lightgbm binary": (lgb.LGBMClassifier(**LGB), BIT),
    "lightgbm classes": (lgb.LGBMClassifier(**LGB), THREE),
    "xgboost": (xgb.XGBRegressor(**XGB, reg_lambda=0), Y),
    "xgboost binary": (xgb.XGBClassifier(**XGB, reg_lambda=0), BIT),
    "xgboost classes": (xgb.XGBClassifier(**XGB, reg_lambda=0), THREE),
    "xgboost poisson": (xgb.XGBRegressor(**XGB, reg_lambda=0, objective="count:poisson"), COUNT),
    "catboost": (cb.CatBoostRegressor(**CAT, l2_leaf_reg=0), Y),
    "catboost binary": (cb.CatBoostClassifier(**CAT, l2_leaf_reg=0), BIT),
}


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, W], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("name", NO_RIDGE)
def test_rows_given_twice_are_refused(name, weight):
    model, y = NO_RIDGE[name]
    model.fit(X, y, sample_weight=weight)
    twice = None if weight is None else np.tile(weight, 2)
    with pytest.raises(DataError, match="not those of the fit: rows"):
        mm.memory_map(model, np.tile(X, (2, 1)), np.tile(y, 2), sample_weight=twice)
    assert len(mm.memory_map(model, X, y, sample_weight=weight)) == N


@pytest.mark.parametrize("kind", [lgb.LGBMClassifier, xgb.XGBRegressor, xgb.XGBClassifier, cb.CatBoostClassifier])
def test_unfitted(kind):
    with pytest.raises(NotFittedError):
        mm.memory_map(kind(), X, BIT)


def test_one_row():
    with pytest.raises(DataError, match="fitted exactly"):
        mm.memory_map(xgb.XGBRegressor(**XGB).fit(X[:1], Y[:1]), X[:1], Y[:1])


@pytest.mark.slow
def test_large_ensembles_are_sampled_by_default():
    model = lgb.LGBMRegressor(n_estimators=1200, min_child_samples=5, verbose=-1, n_jobs=1, num_leaves=8).fit(X, Y)
    m = mm.memory_map(model, X, Y)
    assert "32 random probes" in str(m.provenance.description.coverage)
    many = mm.memory_map(model, X, Y, posterior=BoostedTrees(probes=256, seed=1))
    assert np.std(m["leverage"] / many["leverage"]) < 1.5 * np.sqrt(2 / 32 + 2 / 256)


def test_refitted_leaf_values_are_the_librarys():
    model = lgb.LGBMRegressor(**LGB).fit(X, Y)
    plain = mm.memory_map(model, X, Y).origin.posterior.leaf_model.model
    run = refit_leaf_values(plain)
    for t in range(1, 15):
        values = [model.booster_.get_leaf_output(t, leaf) for leaf in range(int(plain.leaves[:, t].max()) + 1)]
        first = plain.first_leaf[t, 0]
        np.testing.assert_allclose(run.values[first : first + len(values)], values, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lightgbm", "xgboost", "catboost"])
def test_refits_are_the_librarys_without_the_example(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = (x[:, 0] + 0.5 * rng.normal(size=60) > 0).astype(int)
    if kind == "lightgbm":
        model = pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1)
        outputs = lambda fit, x: fit.predict(x, raw_score=True)  # noqa: E731
    elif kind == "xgboost":
        model = pytest.importorskip("xgboost").XGBClassifier(n_estimators=5, max_depth=2)
        outputs = lambda fit, x: fit.predict(x, output_margin=True)  # noqa: E731
    else:
        model = pytest.importorskip("catboost").CatBoostClassifier(
            iterations=5, depth=2, verbose=0, boosting_type="Plain", leaf_estimation_iterations=1, random_seed=0,
            leaf_estimation_method="Newton", allow_writing_files=False, bootstrap_type="No",
        )  # fmt: skip
        outputs = lambda fit, x: fit.predict(x, prediction_type="RawFormulaVal")  # noqa: E731
    m = mm.refit(mm.memory_map(model.fit(x, y), x, y), top=3)
    for i in np.flatnonzero(m["refitted"]):
        kept = np.arange(60) != i
        fresh = type(model)(**model.get_params()).fit(x[kept], y[kept])
        change = outputs(fresh, x[[i]])[0] - outputs(model, x[[i]])[0]
        assert m["deviation"][i] == pytest.approx(change, abs=1e-5)
