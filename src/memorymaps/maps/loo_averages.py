"""Averages over a map: training and leave-one-out loss, accuracy or root mean squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memorymaps.core.arrays import Array

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable


@dataclass(frozen=True)
class LeaveOneOut:
    """Averages over the training set, with every example predicted by a model that has seen it and one that has not.

    Attributes
    ----------
    n, defined : examples in the map, and those whose leave-one-out prediction exists.
    loss, loo_loss : mean negative log-likelihood, nats an example.
    score, loo_score : accuracy for classes, root mean squared error otherwise; `metric` says which.
    weight : sum of the weights of the `defined` examples, where they are not all one.
    """

    n: int
    defined: int
    loss: float
    loo_loss: float
    metric: str
    score: float
    loo_score: float
    weight: float | None = None

    def __str__(self) -> str:
        weighted = "" if self.weight is None else f" (weighted, sum of weights {self.weight:,.6g})"
        return (
            f"over {self.defined:,} of {self.n:,} examples{weighted}: loss {self.loss:.4f} seen, {self.loo_loss:.4f} "
            f"left out; {self.metric} {self.score:.4f} seen, {self.loo_score:.4f} left out"
        )


def leave_one_out(m: ExampleTable) -> LeaveOneOut:
    """Training and leave-one-out loss, and accuracy or root mean squared error, weighted as training was.

    `loo_loss = Σ w ℓ_i(f_i + Δf_i)/Σ w` [MPE Eq. 15]. Where weights are precisions they are in the loss already and
    count no second time; the root mean squared error is weighted in both cases. Each example is left out with its whole
    weight: a row that stands for `w` equal rows leaves with all of them. Examples whose deviation is undefined are left
    out of all averages and counted.
    """
    good = np.isfinite(m["loo_loss"])
    weight, seen, unseen = weights_of(m)[good], *(score[good] for score in _scores(m))
    classes = _is_classes(m)
    return LeaveOneOut(
        n=len(m),
        defined=int(np.count_nonzero(good)),
        loss=weighted_mean(m, m["loss"]),
        loo_loss=weighted_mean(m, m["loo_loss"]),
        metric="accuracy" if classes else "RMSE",
        score=_score(seen, weight, classes),
        loo_score=_score(unseen, weight, classes),
        weight=None if np.all(weight == 1) else float(np.sum(weight)),
    )


def weights_of(m: ExampleTable) -> Array:
    """Weights of the examples in training, `[n]`; ones in maps that keep none."""
    return np.asarray(m["weight"], dtype=float) if "weight" in m.table.column_names else np.ones(len(m))


def loss_weights(m: ExampleTable) -> Array:
    """How much each example counts in an average loss, `[n]`: its weight, or 1 where the weight is in the loss."""
    weight = weights_of(m)
    return (weight > 0).astype(float) if m.provenance.weights_are_precisions else weight


def weighted_mean(m: ExampleTable, losses: Array) -> float:
    """Weighted mean of losses `[n]` of a map's examples, over those whose leave-one-out loss is defined; else NaN."""
    weight = loss_weights(m) * np.isfinite(m["loo_loss"])
    return _mean(np.where(weight > 0, losses, 0.0), weight)


def _mean(values: Array, weight: Array) -> float:
    total = float(np.sum(weight))
    return float(weight @ values) / total if total > 0 else float("nan")


def _score(values: Array, weight: Array, classes: bool) -> float:
    mean = _mean(np.asarray(values, dtype=float), weight)
    return mean if classes else float(np.sqrt(mean))


def _is_classes(m: ExampleTable) -> bool:
    return (
        bool(m.provenance.description.classes) or m.provenance.description.likelihood == "Categorical" or is_binary(m)
    )


def is_binary(m: ExampleTable) -> bool:
    """Whether targets are 0 or 1 without names, and predictions the probability of 1."""
    d = m.provenance.description
    one = d.likelihood == "Bernoulli" and not d.classes and m.provenance.outputs == 1
    return one and bool(np.isin(m["target"], (0, 1)).all())


def _scores(m: ExampleTable) -> tuple[Array, Array]:
    """Right or wrong for classes, squared errors otherwise; with and without the example."""
    if is_binary(m):
        return (m["prediction"] > 0.5) == (m["target"] == 1), (m["loo_prediction"] > 0.5) == (m["target"] == 1)
    if _is_classes(m):
        return m["prediction"] == m["target"], m["loo_prediction"] == m["target"]
    residual = m["residual"].reshape(len(m), -1)
    target = m["prediction"].reshape(len(m), -1) - residual
    return np.sum(residual**2, axis=1), np.sum((m["loo_prediction"].reshape(len(m), -1) - target) ** 2, axis=1)
