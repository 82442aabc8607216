"""Fitted models of every family: how each is fitted, mapped, asked for its outputs, and refitted without an example."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tables
from sklearn.base import clone
from tables import Table
from verdict import Truth

import memorymaps as mm


@dataclass(frozen=True)
class Fit:
    """A fitted model, its data, and the truth about it."""

    model: Any
    data: Table
    truth: Truth


@dataclass(frozen=True)
class Family:
    """A kind of model on a table.

    Attributes
    ----------
    fit : `(table, total weight that penalties per unit of weight are held at) → fitted model`.
    outputs : `(model, x) → f [n, c]`, by the model's own predictions or parameters.
    kind : of its targets, see `tables.targets`.
    carries : whether the fitted model has its training data, as statsmodels' results.
    refit : `(fitted model, table without a row, total weight) → model`, where `fit` does not do: from the fitted
        parameters, and raising where it has not converged.
    sizes : whether clean maps have sizes, not ranks only: refits are compared. Else faults are compared with the map
        of the right data.
    weighted : whether it takes weights.
    ordered : whether the fit depends on the order of the rows.
    coefficients : whether it keeps its fitted parameters as an array.
    noisy : whether fits are not repeatable to the accuracy of leaving one example out (stochastic gradients).
    wide : whether it can be fitted with many columns in reasonable time.
    penalty : hyperparameters that make a larger difference when they are changed after the fit.
    """

    name: str
    fit: Callable[[Table, float], Any]
    outputs: Callable[[Any, np.ndarray], np.ndarray]
    kind: str
    carries: bool = False
    sizes: bool = True
    refit: Callable[[Any, Table, float], Any] | None = None
    weighted: bool = True
    ordered: bool = False
    offset: bool = False
    coefficients: bool = True
    noisy: bool = False
    wide: bool = True
    penalty: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def map(self, model: Any, data: Table | None, **options: Any) -> mm.MemoryMap:
        given = {**self.options, **options}
        if self.carries:
            return mm.memory_map(model, **given)
        assert data is not None
        if data.weight is not None:
            given = {"sample_weight": data.weight, **given}
        return mm.memory_map(model, data.x, data.y, **given)

    def fitted(self, data: Table) -> Any:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            return self.fit(data, data.total)

    def truth(self, model: Any, data: Table) -> Truth:
        """By refits without each row, each made once; rows that the fit has not seen change nothing.

        A refit that starts at the fitted parameters also goes where the fit stopped short of: the change by a row is
        that from a refit without any left out.
        """

        @functools.cache
        def end() -> Any:
            try:
                with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
                    return model if self.refit is None else self.refit(model, data, data.total)
            except Exception:  # no optimum is reached: what there is, is the fit
                return model

        @functools.cache
        def after(row: int) -> np.ndarray:
            """Outputs `[c]` of a row without it; NaN where there is no fit without it."""
            try:
                with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
                    return self._f(self._without(model, data, row), data.x[[row]])[0]
            except Exception:
                return np.array([])

        def changes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            seen = rows[rows < len(data)]
            before = self._f(end(), data.x[seen])
            none = np.full(before.shape[1], np.nan)
            found = [f if len(f) == len(none) else none for f in map(after, seen.tolist())]
            return before, np.reshape(found, before.shape)

        return Truth(changes, data.y, data.weight)

    def _without(self, model: Any, data: Table, row: int) -> Any:
        rest = data.without(row)
        return self.fit(rest, data.total) if self.refit is None else self.refit(model, rest, data.total)

    def _f(self, model: Any, x: np.ndarray) -> np.ndarray:
        return np.reshape(np.asarray(self.outputs(model, x), dtype=float), (len(x), -1))

    @functools.cached_property
    def data(self) -> Table:
        return tables.table(self.kind)

    @functools.cached_property
    def model(self) -> Any:
        """Fitted on `data`; not to be changed."""
        return self.fitted(self.data)

    @functools.cached_property
    def own(self) -> Fit:
        """The fit of `data`; not to be changed."""
        return Fit(self.model, self.data, self.truth(self.model, self.data))

    @functools.cached_property
    def with_weights(self) -> Fit:
        """The fit of `data` with weights of every size; not to be changed."""
        return self.fit_of(self.data.with_(weight=tables.weights(len(self.data))))

    @functools.cached_property
    def of_half(self) -> Fit:
        """The fit of the first half of `data`; not to be changed."""
        return self.fit_of(self.data.rows(slice(0, len(self.data) // 2)))

    def fit_of(self, data: Table) -> Fit:
        model = self.fitted(data)
        return Fit(model, data, self.truth(model, data))

    @functools.cached_property
    def clean(self) -> mm.MemoryMap:
        """The map of the right data."""
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            return self.map(self.model, self.data)


def estimator_family(
    name: str, estimator: Any, kind: str, outputs: Callable[[Any, np.ndarray], np.ndarray] | None = None,
    **facts: Any,
) -> Family:  # fmt: skip
    """A family of scikit-learn's estimators, refitted as `clone(estimator).fit`."""

    def fit(data: Table, total: float) -> Any:
        weight = {} if data.weight is None else {"sample_weight": data.weight}
        return clone(estimator).fit(data.x, data.y, **weight)

    return Family(name, fit, outputs or default_outputs, kind, **facts)


def default_outputs(model: Any, x: np.ndarray) -> np.ndarray:
    """Decision values where there are some, else predictions."""
    return model.decision_function(x) if hasattr(model, "decision_function") else model.predict(x)


def log_outputs(model: Any, x: np.ndarray) -> np.ndarray:
    return np.log(model.predict(x))


def log_probabilities(model: Any, x: np.ndarray) -> np.ndarray:
    return np.log(np.clip(model.predict_proba(x), 1e-12, None))


def logit_probabilities(model: Any, x: np.ndarray) -> np.ndarray:
    p = np.clip(model.predict_proba(x)[:, 1], 1e-12, 1 - 1e-12)
    return np.log(p / (1 - p))
