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
    """Averages over the training set, of predictions by the model and of leave-one-out predictions.

    Attributes
    ----------
    n, defined : number of examples in the map, and of those with a leave-one-out prediction.
    loss, loo_loss : mean negative log-likelihood, in nats per example.
    score, loo_score : accuracy for classes, root mean squared error otherwise; named by `metric`.
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
            f"over {self.defined:,} of {self.n:,} examples: loss {self.loss:.4f} in training, "
            f"{self.loo_loss:.4f} left out; {self.metric} {self.score:.4f} in training, {self.loo_score:.4f} left out"
        )


def leave_one_out(m: ExampleTable) -> LeaveOneOut:
    """Training and leave-one-out loss, and accuracy or root mean squared error.

    `loo_loss = mean ℓ_i(f_i + Δf_i)` [MPE Eq. 15]. Examples whose deviation is undefined are excluded from
    all averages.
    """
    defined = np.isfinite(m["loo_loss"])
    score, loo_score = _scores(m)
    classes = _is_classes(m)
    reduce = np.mean if classes else _root_mean
    return LeaveOneOut(
        n=len(m),
        defined=int(np.count_nonzero(defined)),
        loss=float(np.mean(m["loss"][defined])),
        loo_loss=float(np.mean(m["loo_loss"][defined])),
        metric="accuracy" if classes else "RMSE",
        score=float(reduce(score[defined])),
        loo_score=float(reduce(loo_score[defined])),
    )


def _is_classes(m: ExampleTable) -> bool:
    return (
        bool(m.provenance.description.classes) or m.provenance.description.likelihood == "Categorical" or is_binary(m)
    )


def is_binary(m: ExampleTable) -> bool:
    """Whether targets are 0 or 1 without class names, and predictions are the probability of 1."""
    d = m.provenance.description
    unnamed = d.likelihood == "Bernoulli" and not d.classes and m.provenance.outputs == 1
    return unnamed and bool(np.isin(m["target"], (0, 1)).all())


def _root_mean(squares: Array) -> float:
    return float(np.sqrt(np.mean(squares)))


def _scores(m: ExampleTable) -> tuple[Array, Array]:
    """Correctness for classes, squared errors otherwise: of the model and leave-one-out, `[n]` each."""
    if is_binary(m):
        return (m["prediction"] > 0.5) == (m["target"] == 1), (m["loo_prediction"] > 0.5) == (m["target"] == 1)
    if _is_classes(m):
        return m["prediction"] == m["target"], m["loo_prediction"] == m["target"]
    residual = m["residual"].reshape(len(m), -1)
    target = m["prediction"].reshape(len(m), -1) - residual
    return np.sum(residual**2, axis=1), np.sum((m["loo_prediction"].reshape(len(m), -1) - target) ** 2, axis=1)
