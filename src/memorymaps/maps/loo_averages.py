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
    """

    n: int
    defined: int
    loss: float
    loo_loss: float
    metric: str
    score: float
    loo_score: float

    def __str__(self) -> str:
        return (
            f"over {self.defined:,} of {self.n:,} examples: loss {self.loss:.4f} seen, {self.loo_loss:.4f} left out; "
            f"{self.metric} {self.score:.4f} seen, {self.loo_score:.4f} left out"
        )


def leave_one_out(m: ExampleTable) -> LeaveOneOut:
    """Training and leave-one-out loss, and accuracy or root mean squared error.

    `loo_loss = mean ℓ_i(f_i + Δf_i)` [MPE Eq. 15]. Examples whose deviation is undefined are left out of all
    averages and counted.
    """
    good = np.isfinite(m["loo_loss"])
    seen, unseen = _scores(m)
    classes = _is_classes(m)
    reduce = np.mean if classes else _root_mean
    return LeaveOneOut(
        n=len(m),
        defined=int(np.count_nonzero(good)),
        loss=float(np.mean(m["loss"][good])),
        loo_loss=float(np.mean(m["loo_loss"][good])),
        metric="accuracy" if classes else "RMSE",
        score=float(reduce(seen[good])),
        loo_score=float(reduce(unseen[good])),
    )


def _is_classes(m: ExampleTable) -> bool:
    return (
        bool(m.provenance.description.classes) or m.provenance.description.likelihood == "Categorical" or is_binary(m)
    )


def is_binary(m: ExampleTable) -> bool:
    """Whether targets are 0 or 1 without names, and predictions the probability of 1."""
    d = m.provenance.description
    one = d.likelihood == "Bernoulli" and not d.classes and m.provenance.outputs == 1
    return one and bool(np.isin(m["target"], (0, 1)).all())


def _root_mean(squares: Array) -> float:
    return float(np.sqrt(np.mean(squares)))


def _scores(m: ExampleTable) -> tuple[Array, Array]:
    """Right or wrong for classes, squared errors otherwise; with and without the example."""
    if is_binary(m):
        return (m["prediction"] > 0.5) == (m["target"] == 1), (m["loo_prediction"] > 0.5) == (m["target"] == 1)
    if _is_classes(m):
        return m["prediction"] == m["target"], m["loo_prediction"] == m["target"]
    residual = m["residual"].reshape(len(m), -1)
    target = m["prediction"].reshape(len(m), -1) - residual
    return np.sum(residual**2, axis=1), np.sum((m["loo_prediction"].reshape(len(m), -1) - target) ** 2, axis=1)
