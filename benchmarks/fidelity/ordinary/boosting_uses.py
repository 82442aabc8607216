"""LightGBM, XGBoost and CatBoost with their defaults (CatBoost with fewer trees: each use is refitted 25 times)."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import catboost as cb
import lightgbm as lgb
import xgboost as xgb

from ordinary.sklearn_uses import CLASSES, NUMBERS
from ordinary.use import OWN, Use, estimator_use

QUIET_CAT = {"verbose": 0, "iterations": 100, "thread_count": 1, "allow_writing_files": False}
BOOSTING = {
    "numbers": (
        functools.partial(lgb.LGBMRegressor, verbose=-1, n_jobs=1), functools.partial(xgb.XGBRegressor, n_jobs=1),
        functools.partial(cb.CatBoostRegressor, **QUIET_CAT),
    ),
    "classes": (
        functools.partial(lgb.LGBMClassifier, verbose=-1, n_jobs=1), functools.partial(xgb.XGBClassifier, n_jobs=1),
        functools.partial(cb.CatBoostClassifier, **QUIET_CAT),
    ),
}  # fmt: skip


def boosting() -> Iterator[Use]:
    """Each library's regressor and classifier on two data sets."""
    for make in BOOSTING["numbers"]:
        for name in ("diabetes", "prestige"):
            yield estimator_use(f"{make.func.__name__} {name}", "boosting", make, NUMBERS[name], truth=OWN)
    for make in BOOSTING["classes"]:
        for name in ("cancer", "births"):
            yield estimator_use(f"{make.func.__name__} {name}", "boosting", make, CLASSES[name], truth=OWN)


SOURCES = (boosting,)
