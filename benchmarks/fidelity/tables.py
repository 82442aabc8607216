"""Data sets of the comparisons with refits: scikit-learn's bundled ones, and tables in `MEMORYMAPS_DATA`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

TABULAR = Path(os.environ.get("MEMORYMAPS_DATA", "")) / "tabular"
Data = Callable[[], tuple[np.ndarray, np.ndarray]]


def bundled(name: str, rows: int | None = None, classes: int | None = None) -> Data:
    """A data set of scikit-learn, standardised."""

    def load():
        x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        if classes is not None:
            x, y = x[y < classes], y[y < classes]
        y = (y - y.mean()) / y.std() if name == "diabetes" else y
        return StandardScaler().fit_transform(x)[:rows], y[:rows]

    return load


def positive_diabetes():
    x, y = datasets.load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def table(name: str, every: int = 1) -> pd.DataFrame:
    path = TABULAR / name
    return (pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)).iloc[::every]


def one_hot(frame: pd.DataFrame) -> np.ndarray:
    return pd.get_dummies(frame.astype(str)).to_numpy(float)


def flights():
    d = table("nycflights_sample.parquet").iloc[:3000]
    return one_hot(d[["carrier", "origin", "dest", "hour"]]), (d["arr_delay"] > 15).to_numpy(int)


def ames():
    d = table("ames.parquet", 3)
    text = [c for c in d.columns if not pd.api.types.is_numeric_dtype(d[c])][:12]
    return one_hot(d[text]), (d["Sale_Price"] > d["Sale_Price"].median()).to_numpy(int)


def diamonds():
    d = table("diamonds.parquet", 60)
    return StandardScaler().fit_transform(d[["carat", "depth", "table"]]), d["price"].to_numpy(float)


def bikes():
    d = table("bike_sharing_hour.parquet", 20)
    x = np.column_stack([one_hot(d[["season", "weathersit", "weekday"]]), d[["temp", "hum", "windspeed"]]])
    return x, d["registered"].to_numpy(float)


def births():
    d = table("birthwt.csv")
    return StandardScaler().fit_transform(d[["age", "lwt", "smoke", "ht", "ui", "ptl"]]), d["low"].to_numpy()


def directors():
    d = table("ornstein.csv")
    x = np.column_stack([np.log(d["assets"]), pd.get_dummies(d[["sector", "nation"]], drop_first=True).to_numpy(float)])
    return x, d["interlocks"].to_numpy(float)


def spam():
    d = table("spambase.parquet", 5)
    return StandardScaler().fit_transform(d.iloc[:, :57]), d.iloc[:, 57].to_numpy(int)


def houses(every: int = 40) -> Data:
    def load():
        d = table("california_housing.parquet", every)
        x = StandardScaler().fit_transform(d.drop(columns="median_house_value"))
        return x, d["median_house_value"].to_numpy(float) / 1e5

    return load


def tiny(name: str, target: str) -> Data:
    def load():
        d = table(name).drop(columns="case")
        return d.drop(columns=target).to_numpy(float), d[target].to_numpy(float)

    return load
