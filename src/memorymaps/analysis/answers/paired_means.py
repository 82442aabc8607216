"""Left-out losses and scores of several models on the same examples, with standard errors of their differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.averages import weighted_mean
from memorymaps.maps.loo_averages import is_classes, loss_weights, mean_error, score_of, score_terms, scores, weights_of

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable

_UNITS = {
    "probabilities of classes": ("Bernoulli", "Categorical", "SimplexCategorical", "Votes", "Ordinal"),
    "probabilities of counts": ("Poisson", "NegativeBinomial"),
    "densities": ("Gaussian", "Gamma", "InverseGaussian", "HeteroscedasticGaussian", "MultivariateGaussian"),
}
_SAME = 1e-5  # relative difference of targets that are the same number, one of them perhaps in 32 bits


@dataclass(frozen=True)
class PairedMeans:
    """One average of several models over the same `n` examples, for differences whose errors are those of pairs.

    Attributes
    ----------
    name : what is averaged: `"loss"`, `"accuracy"` or `"RMSE"`.
    values : `[k]`, of each model.
    errors : `[k]`, standard errors over the examples.
    """

    name: str
    values: Array
    errors: Array
    _terms: Array  # [k, n], whose means are the values, to first order
    _weight: Array
    _table: ExampleTable

    @property
    def examples(self) -> int:
        """Number of examples `n`."""
        return int(self._terms.shape[1])

    def difference(self, i: int, j: int) -> tuple[float, float]:
        """`value_i − value_j` and its standard error, from the differences of the same examples (paired)."""
        terms = self._terms[i] - self._terms[j]
        return float(self.values[i] - self.values[j]), mean_error(self._table, terms, self._weight)

    def best(self) -> int:
        """The model of the smallest loss or error, or of the largest accuracy; the first of equal ones.

        Raises
        ------
        ValueError
            No model has a value.
        """
        if np.all(np.isnan(self.values)):
            raise ValueError("no example has a left-out prediction in all maps: refit(m, top=…) computes them")
        sign = -1 if self.name == "accuracy" else 1
        return int(np.nanargmin(sign * self.values))


def paired_losses(tables: Sequence[ExampleTable]) -> PairedMeans:
    """Mean left-out losses over the examples that have one in all tables, row by row the same; `loss_difference` first.

    Weighted as training was where all models have the same weights, else every example counts once.
    """
    rows = _defined(tables)
    weight = _common_weight([loss_weights(table) for table in tables])[rows]
    terms = np.stack([np.asarray(table["loo_loss"], dtype=float)[rows] for table in tables])
    return _paired("loss", terms, np.array([weighted_mean(each, weight) for each in terms]), weight, tables[0])


def paired_scores(tables: Sequence[ExampleTable]) -> PairedMeans:
    """Left-out accuracies, or root mean squared errors, in the same way."""
    rows, classes = _defined(tables), is_classes(tables[0])
    weight = _common_weight([weights_of(table) for table in tables])[rows]
    each = [np.asarray(scores(table)[1], dtype=float)[rows] for table in tables]
    values = np.array([score_of(found, weight, classes) for found in each])
    terms = np.stack([score_terms(found, weight, classes) for found in each])
    return _paired("accuracy" if classes else "RMSE", terms, values, weight, tables[0])


def _paired(name: str, terms: Array, values: Array, weight: Array, table: ExampleTable) -> PairedMeans:
    errors = np.array([mean_error(table, each, weight) for each in terms])
    return PairedMeans(name, values, errors, terms, weight, table)


def _defined(tables: Sequence[ExampleTable]) -> Array:
    finite = [np.isfinite(table["loo_loss"]) & (weights_of(table) > 0) for table in tables]
    return np.flatnonzero(np.all(finite, axis=0))


def _common_weight(weights: Sequence[Array]) -> Array:
    same = all(np.allclose(weights[0], other) for other in weights[1:])
    return weights[0] if same else np.ones(len(weights[0]))


def target_difference(tables: Sequence[ExampleTable]) -> str:
    """Why the same rows of some tables are other examples, in words; empty where the targets are the same."""
    first = tables[0]["target"]
    for table in tables[1:]:
        other = table["target"]
        if other.shape != first.shape or not np.all(_same(first, other)):
            many = (
                "their shapes" if other.shape != first.shape else f"{np.count_nonzero(~_same(first, other)):,} of them"
            )
            return f"targets differ, {many}: predictions of different targets have no common scale"
    kinds = {is_classes(table) for table in tables}
    return "some are of classes and some of numbers" if len(kinds) > 1 else ""


def _same(x: Array, y: Array) -> Array:
    if x.dtype.kind in "biuf" and y.dtype.kind in "biuf":
        return np.isclose(x, y, rtol=_SAME, atol=0)
    return np.asarray(x.astype(str) == y.astype(str))


def loss_difference(tables: Sequence[ExampleTable]) -> str:
    """Why left-out losses of some maps are in different units, in words; empty where they are comparable.

    Comparable are log probabilities of classes, of counts, and log densities of numbers, each among themselves. Hinge,
    quantile and Huber losses and quasi-likelihoods are no log densities: their scale differs from model to model.
    """
    for table in tables:
        if not table.provenance.loss_is_density:
            return (
                f"{table.provenance.description.likelihood} losses are no log densities, their scale is the model's own"
            )
    units = {_unit(table) for table in tables}
    if len(units) > 1:
        return f"losses are of different units, {' and '.join(sorted(units))}"
    weights = [weights_of(table) for table in tables]
    precisions = any(table.provenance.weights_are_precisions for table in tables)
    if precisions and not all(np.allclose(weights[0], other) for other in weights[1:]):
        return "weights differ between the maps, and are precisions: part of the loss"
    return ""


def _unit(table: ExampleTable) -> str:
    likelihood = table.provenance.description.likelihood
    return next((unit for unit, names in _UNITS.items() if likelihood in names), f"{likelihood} losses")
