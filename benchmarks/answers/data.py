"""Development data of several benchmarks, from the folder that `MEMORYMAPS_DATA` names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(os.environ.get("MEMORYMAPS_DATA", ""))
Data = tuple[np.ndarray, np.ndarray]


def spambase() -> Data:
    """Spam or not, word frequencies on a logarithmic scale, standardised."""
    table = pd.read_parquet(DATA / "tabular" / "spambase.parquet")
    X = np.log1p(table.drop(columns=["spam", "esl_test"]).to_numpy(float))
    return (X - X.mean(axis=0)) / X.std(axis=0), table["spam"].to_numpy().astype(int)


def fashion() -> Data:
    """Fashion-MNIST, 10,000 images averaged to 7 × 7 pixels."""
    with np.load(DATA / "fmnist.npz") as file:
        images = next(file[k] for k in file.files if file[k].ndim == 3)[:10_000]
        labels = next(file[k] for k in file.files if file[k].ndim == 1 and len(file[k]) >= 10_000)[:10_000]
    return images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49) / 255, labels.astype(int)


def bikes() -> Data:
    """Number of rented bicycles in an hour, from weather and hour, standardised."""
    table = pd.read_parquet(DATA / "tabular" / "bike_sharing_hour.parquet").select_dtypes("number")
    X = table.drop(columns=[c for c in ("cnt", "casual", "registered", "instant") if c in table]).to_numpy(float)
    X = X[:, X.std(axis=0) > 0]
    return (X - X.mean(axis=0)) / X.std(axis=0), table["cnt"].to_numpy(float)
