"""Trees, forests and boosted ensembles: scikit-learn, LightGBM, XGBoost, CatBoost; one thread, fixed seeds."""

from __future__ import annotations

import functools
from typing import Any

import catboost as cb
import lightgbm as lgb
import xgboost as xgb
from sklearn import ensemble, tree

from families import data as d
from families.family import Call, Families, call
from families.lookup import find

_LEAF = {"min_samples_leaf": 5, "random_state": 0}
_FOREST = {"n_estimators": 8, **_LEAF}
_BOOST = {"n_estimators": 10, "max_depth": 2, "random_state": 0}
_HIST = {"max_iter": 10, "min_samples_leaf": 10, "early_stopping": False, "random_state": 0}
_LGB = {"n_estimators": 10, "min_child_samples": 5, "verbose": -1, "n_jobs": 1, "deterministic": True}
_XGB = {"n_estimators": 10, "max_depth": 3, "n_jobs": 1}
_CAT = {"iterations": 10, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0}
_ONE = {**_CAT, "leaf_estimation_iterations": 1}

_MODELS: dict[str, tuple[Any, Any, Any]] = {
    "DecisionTreeRegressor": (tree.DecisionTreeRegressor(**_LEAF), d.TREE_X, d.TREE_REAL),
    "DecisionTreeClassifier": (tree.DecisionTreeClassifier(**_LEAF), d.TREE_X, d.TREE_THREE),
    "RandomForestRegressor": (ensemble.RandomForestRegressor(**_FOREST), d.TREE_X, d.TREE_REAL),
    "RandomForestClassifier": (ensemble.RandomForestClassifier(**_FOREST), d.TREE_X, d.TREE_LABEL),
    "RandomForestClassifier balanced": (
        ensemble.RandomForestClassifier(**_FOREST, class_weight="balanced_subsample"), d.TREE_X, d.TREE_THREE,
    ),
    "ExtraTreesRegressor": (ensemble.ExtraTreesRegressor(**_FOREST), d.TREE_X, d.TREE_REAL),
    "ExtraTreesClassifier": (ensemble.ExtraTreesClassifier(**_FOREST), d.TREE_X, d.TREE_THREE),
    "GradientBoostingRegressor": (ensemble.GradientBoostingRegressor(**_BOOST), d.TREE_X, d.TREE_REAL),
    "GradientBoostingRegressor subsample": (
        ensemble.GradientBoostingRegressor(**_BOOST, subsample=0.7), d.TREE_X, d.TREE_REAL,
    ),
    "GradientBoostingClassifier": (ensemble.GradientBoostingClassifier(**_BOOST), d.TREE_X, d.TREE_LABEL),
    "GradientBoostingClassifier three": (ensemble.GradientBoostingClassifier(**_BOOST), d.TREE_X, d.TREE_THREE),
    "HistGradientBoostingRegressor": (ensemble.HistGradientBoostingRegressor(**_HIST), d.TREE_HOLES, d.TREE_REAL),
    "HistGradientBoostingRegressor poisson": (
        ensemble.HistGradientBoostingRegressor(**_HIST, loss="poisson"), d.TREE_X, d.TREE_COUNT,
    ),
    "HistGradientBoostingClassifier": (ensemble.HistGradientBoostingClassifier(**_HIST), d.TREE_HOLES, d.TREE_LABEL),
    "HistGradientBoostingClassifier three": (
        ensemble.HistGradientBoostingClassifier(**_HIST), d.TREE_X, d.TREE_THREE,
    ),
    "LGBMRegressor": (lgb.LGBMRegressor(**_LGB, reg_lambda=1.0), d.TREE_HOLES, d.TREE_REAL),
    "LGBMRegressor poisson": (lgb.LGBMRegressor(**_LGB, objective="poisson"), d.TREE_X, d.TREE_COUNT),
    "LGBMClassifier": (lgb.LGBMClassifier(**_LGB), d.TREE_HOLES, d.TREE_LABEL),
    "LGBMClassifier positives": (lgb.LGBMClassifier(**_LGB, scale_pos_weight=3.0), d.TREE_X, d.TREE_BIT),
    "LGBMClassifier three": (lgb.LGBMClassifier(**_LGB), d.TREE_X, d.TREE_THREE),
    "XGBRegressor": (xgb.XGBRegressor(**_XGB), d.TREE_HOLES, d.TREE_REAL),
    "XGBRegressor poisson": (xgb.XGBRegressor(**_XGB, objective="count:poisson"), d.TREE_X, d.TREE_COUNT),
    "XGBClassifier": (xgb.XGBClassifier(**_XGB), d.TREE_HOLES, d.TREE_BIT),
    "XGBClassifier positives": (xgb.XGBClassifier(**_XGB, scale_pos_weight=3.0), d.TREE_X, d.TREE_BIT),
    "XGBClassifier three": (xgb.XGBClassifier(**_XGB), d.TREE_X, d.TREE_THREE),
    "CatBoostRegressor": (cb.CatBoostRegressor(**_CAT), d.TREE_HOLES, d.TREE_REAL),
    "CatBoostRegressor poisson": (cb.CatBoostRegressor(**_ONE, loss_function="Poisson"), d.TREE_X, d.TREE_COUNT),
    "CatBoostClassifier": (cb.CatBoostClassifier(**_ONE), d.TREE_X, d.TREE_LABEL),
    "CatBoostClassifier three": (cb.CatBoostClassifier(**_CAT), d.TREE_HOLES, d.TREE_THREE),
}  # fmt: skip


def _fitted(model: Any, x: Any, y: Any, **given: Any) -> Call:
    return call(model.fit(x, y, **given), x, y, **given)


def _sampled() -> Call:
    model = ensemble.HistGradientBoostingRegressor(**_HIST).fit(d.TREE_X, d.TREE_REAL)
    return call(model, d.TREE_X, d.TREE_REAL, posterior=find("BoostedTrees")(probes=16, seed=1))


def _booster() -> Call:
    data = xgb.DMatrix(d.TREE_X, d.TREE_REAL)
    booster = xgb.train({"max_depth": 3, "nthread": 1, "base_score": 0.5}, data, num_boost_round=8)
    return call(booster, d.TREE_X, d.TREE_REAL)


def _lightgbm_booster() -> Call:
    options = {"min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "deterministic": True}
    booster = lgb.train(options, lgb.Dataset(d.TREE_X, d.TREE_REAL), num_boost_round=8)
    return call(booster, d.TREE_X, d.TREE_REAL)


FAMILIES: Families = {
    **{f"trees {name}": functools.partial(_fitted, *parts) for name, parts in _MODELS.items()},
    "trees RandomForestRegressor weighted": lambda: _fitted(
        ensemble.RandomForestRegressor(**_FOREST), d.TREE_X, d.TREE_REAL, sample_weight=d.TREE_WEIGHT
    ),
    "trees RandomForestRegressor two targets": lambda: _fitted(ensemble.RandomForestRegressor(**_FOREST), d.X, d.TWO),
    "trees BoostedTrees probes": _sampled,
    "trees xgboost Booster": _booster,
    "trees lightgbm Booster": _lightgbm_booster,
}
