"""Accuracy and confusion with and without each group, for members and the others."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood


class ClassCounts:
    """Weights of examples by group, membership, class, predicted class, and predicted class without the group."""

    def __init__(self) -> None:
        self._weight: Counter[tuple[int, bool, int, int, int]] = Counter()

    def add(self, k: int, inside: Array, f: Array, stats: Any) -> None:
        """Add a batch with outputs `f [n, c]` without group `k`."""
        likelihood = stats.likelihood
        before, after = (predicted_codes(likelihood, likelihood.mean(each)) for each in (stats.f, f))
        after = np.where(np.all(np.isfinite(f), axis=1), after, -1)
        keys = np.stack([inside, np.asarray(stats.y), before, after], axis=1).astype(np.int64)
        distinct, place = np.unique(keys, axis=0, return_inverse=True)
        weights = np.bincount(place.reshape(-1), weights=stats.weight, minlength=len(distinct))
        for (member, y, b, a), weight in zip(distinct.tolist(), weights.tolist(), strict=True):
            self._weight[k, bool(member), y, b, a] += weight

    def columns(self, groups: int) -> dict[str, Array]:
        """Accuracies before and after, of members and of the others: `[groups]` each."""
        table = self._frame()
        found = {}
        for prefix, member in (("", True), ("rest_", False)):
            part = table[table["member"] == member]
            for name, column in (("accuracy", "before"), ("leave_out_accuracy", "after")):
                found[prefix + name] = _shares(part, column, groups)
        return found

    def pairs(self, names: list[str], classes: tuple[Any, ...]) -> pd.DataFrame:
        """The counts: `group`, `member`, `given`, `predicted`, `predicted_without`, `weight`; unknown ones dropped."""
        table = self._frame()
        table = table[table["after"] >= 0]
        labels = (
            np.asarray(classes) if classes else np.arange(int(table[["y", "before", "after"]].to_numpy().max()) + 1)
        )
        columns = {"given": "y", "predicted": "before", "predicted_without": "after"}
        named = {new: labels[table[old].to_numpy(dtype=int)] for new, old in columns.items()}
        group = np.asarray(names, dtype=object)[table["group"].to_numpy(dtype=int)]
        return pd.DataFrame({"group": group, "member": table["member"], **named, "weight": table["weight"]})

    def _frame(self) -> pd.DataFrame:
        rows = [(*key, weight) for key, weight in self._weight.items()]
        return pd.DataFrame(rows, columns=["group", "member", "y", "before", "after", "weight"])


def _shares(table: pd.DataFrame, column: str, groups: int) -> Array:
    """Weighted share of `y == column` in each group; NaN where nothing has weight or outputs are not finite."""
    code, weight = table["group"].to_numpy(dtype=int), table["weight"].to_numpy(dtype=float)
    right = (table["y"] == table[column]).to_numpy(dtype=float)
    right[table[column].to_numpy() < 0] = np.nan
    with np.errstate(invalid="ignore"):
        return np.asarray(
            np.bincount(code, weights=weight * right, minlength=groups)
            / np.bincount(code, weights=weight, minlength=groups)
        )


def predicted_codes(likelihood: Likelihood, mean: Array) -> Array:
    """Class numbers `[n]` that means `[n, c]` predict."""
    predicted = likelihood.predict_target(mean)
    return np.asarray(predicted[:, 0] > 0.5 if predicted.ndim == 2 else predicted).astype(np.int64)
