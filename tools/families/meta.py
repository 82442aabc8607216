"""Models around models: pipelines, searches, column transformers, transformed targets, one model a target."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
)
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

import memorymaps as mm
from families import data as d
from families.family import Call, Families, call

_EXACT = {"tol": 1e-10, "max_iter": 10_000}
_MLP = {"hidden_layer_sizes": (4,), "activation": "tanh", "solver": "lbfgs", "alpha": 0.5, "random_state": 0}
_FRAME = pd.DataFrame({"age": d.X[:, 0], "dose": d.X[:, 1], "kind": d.THREE}, index=d.IDS)
_COLUMNS = ColumnTransformer([("numbers", StandardScaler(), ["age", "dose"]), ("words", OneHotEncoder(), ["kind"])])
_BITS = np.stack([d.BIT, (d.X[:, 1] > 0).astype(int)], axis=1)


def _behind(model: Any) -> Any:
    return make_pipeline(StandardScaler(), model)


_MODELS: dict[str, tuple[Any, Any, Any]] = {
    "pipeline Ridge": (_behind(Ridge()), d.X, d.REAL),
    "pipeline polynomial": (make_pipeline(PolynomialFeatures(2), StandardScaler(), Ridge()), d.X, d.REAL),
    "pipeline LogisticRegression": (_behind(LogisticRegression(**_EXACT)), d.X, d.THREE),
    "pipeline HuberRegressor": (_behind(HuberRegressor(alpha=0.1)), d.X, d.REAL),
    "pipeline ElasticNet": (_behind(ElasticNet(alpha=0.05)), d.X, d.REAL),
    "pipeline PoissonRegressor": (_behind(PoissonRegressor()), d.X, d.COUNT),
    "pipeline LinearSVC": (_behind(LinearSVC(C=0.5, random_state=0)), d.X, d.LABEL),
    "pipeline SVC": (_behind(SVC()), d.X, d.LABEL),
    "pipeline SVR": (_behind(SVR()), d.X, d.REAL),
    "pipeline GaussianProcessRegressor": (_behind(GaussianProcessRegressor(RBF(1.3), alpha=0.1)), d.X, d.REAL),
    "pipeline RandomForestClassifier": (
        _behind(RandomForestClassifier(8, min_samples_leaf=5, random_state=0)), d.TREE_X, d.TREE_LABEL,
    ),
    "pipeline HistGradientBoostingRegressor": (
        _behind(HistGradientBoostingRegressor(max_iter=8, random_state=0)), d.TREE_X, d.TREE_REAL,
    ),
    "pipeline of a pipeline": (make_pipeline(StandardScaler(), _behind(Ridge())), d.X, d.REAL),
    "pipeline MLPRegressor": (_behind(MLPRegressor(**_MLP, max_iter=2000)), d.X, d.REAL),
    "pipeline ColumnTransformer": (make_pipeline(_COLUMNS, LogisticRegression(**_EXACT)), _FRAME, d.LABEL),
    "GridSearchCV": (GridSearchCV(_behind(Ridge()), {"ridge__alpha": [0.1, 1.0]}, cv=3), d.X, d.REAL),
    "RandomizedSearchCV": (
        RandomizedSearchCV(LogisticRegression(**_EXACT), {"C": [0.1, 1.0, 5.0]}, n_iter=2, cv=3, random_state=0),
        d.X, d.LABEL,
    ),
    "TransformedTargetRegressor": (
        TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp), d.X, d.POSITIVE,
    ),
    "TransformedTargetRegressor pipeline": (
        TransformedTargetRegressor(_behind(Ridge()), transformer=StandardScaler()), d.X, d.REAL,
    ),
    "MultiOutputRegressor": (MultiOutputRegressor(Ridge()), d.X, d.TWO),
    "MultiOutputRegressor HuberRegressor": (MultiOutputRegressor(HuberRegressor(alpha=0.1)), d.X, d.TWO),
    "MultiOutputClassifier": (MultiOutputClassifier(LogisticRegression(**_EXACT)), d.X, _BITS),
    "MultiOutputClassifier balanced": (
        MultiOutputClassifier(LogisticRegression(class_weight="balanced", **_EXACT)), d.X, _BITS,
    ),
    "pipeline MultiOutputRegressor": (_behind(MultiOutputRegressor(Ridge())), d.X, d.TWO),
}  # fmt: skip


def _fitted(model: Any, x: Any, y: Any) -> Call:
    return call(model.fit(x, y), x, y)


def _parquet() -> Call:
    """A Parquet file, streamed in batches of 16; it stays until the process ends."""
    frame = pd.DataFrame(d.X, columns=["age", "dose", "size"])
    folder = Path(tempfile.mkdtemp(prefix="family-maps-"))
    frame.assign(y=d.REAL, w=d.WEIGHT, name=d.IDS).to_parquet(folder / "train.parquet")
    source = mm.ParquetExamples(folder / "train.parquet", "y", id="name", weight="w", batch_size=16)
    return call(LinearRegression().fit(frame, d.REAL, sample_weight=d.WEIGHT), source)


FAMILIES: Families = {
    **{f"meta {name}": functools.partial(_fitted, *parts) for name, parts in _MODELS.items()},
    "data ParquetExamples": _parquet,
    "data ArrayExamples": lambda: call(
        Ridge().fit(d.X, d.REAL), mm.ArrayExamples.of(d.X, d.REAL, d.IDS, d.WEIGHT, None)
    ),
}
