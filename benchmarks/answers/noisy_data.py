"""Development data of which some labels are changed on purpose: inputs, labels, and which are wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from data import DATA, Data, spambase
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer

WORDS = 500  # of a text that are counted


def some(X: np.ndarray, y: np.ndarray, n: int, seed: int) -> Data:
    """`n` examples drawn at random, of classes of at least 10; classes as numbers without gaps."""
    rows = np.random.default_rng(1000 + seed).permutation(len(y))[:n]
    X, y = X[rows], y[rows]
    if y.dtype.kind != "f":
        kept = np.isin(y, np.flatnonzero(np.bincount(y) >= 10))
        X, y = X[kept], np.unique(y[kept], return_inverse=True)[1]
    return np.ascontiguousarray(X), y


def digits() -> Data:
    """scikit-learn's 8 × 8 digits."""
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def _images(name: str) -> Data:
    """The first 20,000 images, averaged to 14 × 14 pixels."""
    with np.load(DATA / name) as file:
        X, y = file["x_train"][:20_000], file["y_train"][:20_000].astype(int)
    return X.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(X), -1) / 255, y


def _texts(name: str, label: str) -> Data:
    table = pd.read_parquet(DATA / "text" / name)
    X = TfidfVectorizer(max_features=WORDS, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit_transform(
        table["text"]
    )
    return X.toarray(), table[label].to_numpy().astype(int)


def bikes() -> Data:
    """Rented bicycles in an hour, logarithm, by hour, weather and season; standardised."""
    table = pd.read_parquet(DATA / "tabular" / "bike_sharing_hour.parquet")
    hour = pd.get_dummies(table["hr"], prefix="hr", drop_first=True).to_numpy(float)
    X = np.column_stack([hour, table[["temp", "hum", "windspeed", "workingday", "yr", "mnth"]].to_numpy(float)])
    return (X - X.mean(axis=0)) / X.std(axis=0), np.log1p(table["cnt"].to_numpy(float))


SOURCES: dict[str, Callable[[], Data]] = {
    "digits": digits,
    "MNIST": lambda: _images("mnist.npz"),
    "Fashion-MNIST": lambda: _images("fmnist.npz"),
    "spambase": spambase,
    "sms_spam": lambda: _texts("sms_spam.parquet", "label"),
    "trec": lambda: _texts("trec.parquet", "label"),
    "bikes": bikes,
}


def planted(y: np.ndarray, share: float, confusable: bool, seed: int, next_class: np.ndarray) -> Data:
    """Labels some of which are another class (the one it is mistaken for, if confusable), and which; numbers: moved.

    Numbers are replaced by those of other examples, confusable ones by two standard deviations more or less.
    """
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(y), int(share * len(y)), replace=False)
    noisy, wrong = y.copy(), np.isin(np.arange(len(y)), rows)
    if y.dtype.kind == "f":
        noisy[rows] = (
            y[rows] + rng.choice([-2, 2], len(rows)) * y.std() if confusable else rng.permutation(y)[: len(rows)]
        )
    else:
        classes = len(next_class)
        noisy[rows] = next_class[y[rows]] if confusable else (y[rows] + rng.integers(1, classes, len(rows))) % classes
    return noisy, wrong


def nearest_class(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each class the other one whose mean input is nearest: what it is mistaken for."""
    means = np.stack([X[y == k].mean(axis=0) for k in range(int(y.max()) + 1)])
    distance = ((means[:, None] - means) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return distance.argmin(axis=1)
