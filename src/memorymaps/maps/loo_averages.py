"""Averages over a map: training and leave-one-out loss, accuracy or root mean squared error."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from memorymaps.core import averages
from memorymaps.core.arrays import Array
from memorymaps.core.averages import are_counts, standard_error, standard_error_of_counts
from memorymaps.core.perturbation.estimators import Perturbation
from memorymaps.files.executors.workers import ExecutorArgument
from memorymaps.maps.columns import columns_of, to_record_batch
from memorymaps.posteriors.cross_fitting import cross_fitted_outputs
from memorymaps.posteriors.group_refits import held_in_words

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable


@dataclass(frozen=True)
class LeaveOneOut:
    """Averages over the training set, of predictions by the model and of leave-one-out predictions.

    Attributes
    ----------
    n, defined : number of examples in the map that have a weight, and of those with a leave-one-out prediction.
    loss, loo_loss : mean negative log-likelihood, in nats per example.
    score, loo_score : accuracy for classes, root mean squared error otherwise; named by `metric`.
    folds : number of folds, if predictions are cross-fitted and not leave-one-out.
    caution : what the left-out figures cannot be trusted for, empty if nothing.
    held : what they hold at its value although it was computed from all examples, as in the map's trust.
    weight : sum of the weights of the `defined` examples; None if all are one.
    loss_se, loo_loss_se, score_se, loo_score_se : standard errors of these four means over the examples (see
        `mean_error`), in their units; NaN for fewer than two examples.
    gap_se : that of the paired difference `loo_loss − loss`.
    """

    n: int
    defined: int
    loss: float
    loo_loss: float
    metric: str
    score: float
    loo_score: float
    weight: float | None = None
    folds: int | None = None
    caution: str = ""
    loss_se: float = float("nan")
    loo_loss_se: float = float("nan")
    score_se: float = float("nan")
    loo_score_se: float = float("nan")
    gap_se: float = float("nan")
    held: str = ""

    def __str__(self) -> str:
        weighted = "" if self.weight is None else f" (weighted, sum of weights {self.weight:,.6g})"
        how = "left out" if self.folds is None else f"in {self.folds}-fold cross-fitting"
        caution = "".join(f" ({words})" for words in (self.caution, self.held) if words)
        return (
            f"over {self.defined:,} of {self.n:,} examples{weighted}: loss {with_error(self.loss, self.loss_se)} in "
            f"training, {with_error(self.loo_loss, self.loo_loss_se)} {how}; {self.metric} "
            f"{with_error(self.score, self.score_se)} in training, "
            f"{with_error(self.loo_score, self.loo_score_se)} {how}{caution}"
        )


def with_error(value: float, error: float) -> str:
    """A mean and its standard error, as text.

    Examples
    --------
    >>> with_error(0.5, 0.01), with_error(0.5, float("nan"))
    ('0.5000 ± 0.0100', '0.5000')
    """
    return f"{value:.4f}" if np.isnan(error) else f"{value:.4f} ± {error:.4f}"


def leave_one_out(m: ExampleTable) -> LeaveOneOut:
    """Training and leave-one-out loss, and accuracy or root mean squared error, weighted as training was.

    `loo_loss = Σ w ℓ_i(f_i + Δf_i)/Σ w` [MPE Eq. 15]. Weights that are precisions are part of the loss and not applied
    again; root mean squared errors are weighted in both cases. Each example is left out with its whole weight: a row
    that stands for `w` equal rows is left out with all of them. Examples whose deviation is undefined are excluded from
    all averages. Standard errors are those of the means over examples, at this model: how much the averages would
    change with other examples of the same distribution, not with another training set [Bengio & Grandvalet 2004].
    """
    defined = np.isfinite(m["loo_loss"]) & (weights_of(m) > 0)
    weight, score, loo_score = weights_of(m)[defined], *(values[defined] for values in scores(m))
    classes = is_classes(m)
    errors = _loss_errors(m, defined)
    return LeaveOneOut(
        n=int(np.count_nonzero(weights_of(m) > 0)),
        defined=int(np.count_nonzero(defined)),
        loss=weighted_mean(m, m["loss"]),
        loo_loss=weighted_mean(m, m["loo_loss"]),
        metric="accuracy" if classes else "RMSE",
        score=score_of(score, weight, classes),
        loo_score=score_of(loo_score, weight, classes),
        weight=None if np.all(weight == 1) else float(np.sum(weight)),
        caution=_caution(m),
        held=held_in_words(m.provenance.description),
        score_se=mean_error(m, score_terms(score, weight, classes), weight),
        loo_score_se=mean_error(m, score_terms(loo_score, weight, classes), weight),
        loss_se=errors[0],
        loo_loss_se=errors[1],
        gap_se=errors[2],
    )


def _loss_errors(m: ExampleTable, defined: Array) -> list[float]:
    """Standard errors of the loss, of the left-out loss, and of their difference."""
    weight, loss, loo_loss = (values[defined] for values in (loss_weights(m), m["loss"], m["loo_loss"]))
    return [mean_error(m, values, weight) for values in (loss, loo_loss, loo_loss - loss)]


def mean_error(m: ExampleTable, values: Array, weight: Array) -> float:
    """Standard error of a weighted mean of a map's examples; whole weights that are no precisions are numbers of rows.

    `s/√n` with equal weights; see `memorymaps.core.averages`.
    """
    counts = not m.provenance.weights_are_precisions and are_counts(weight)
    return standard_error_of_counts(values, weight) if counts else standard_error(values, weight)


def score_terms(values: Array, weight: Array, classes: bool) -> Array:
    """Terms `[n]` whose mean is the score, to first order: correctness `[n]`, or `√m + (v − m)/2√m` of squared errors.

    The standard error of a root mean squared error is that of its mean square over `2√m` (delta method).
    """
    if classes:
        return np.asarray(values, dtype=float)
    root = score_of(values, weight, classes)
    return root + (values - root**2) / (2 * root) if root > 0 else np.zeros(len(values))


def cross_fitted(
    m: ExampleTable, folds: int, executor: ExecutorArgument = None, path: str | Path | None = None
) -> LeaveOneOut:
    """The same averages with every example predicted by a refit without its fold: `folds` refits.

    Raises
    ------
    ValueError, TypeError
        As `cross_fitted_table`.
    """
    return dataclasses.replace(leave_one_out(cross_fitted_table(m, folds, executor, path)), folds=folds, caution="")


def cross_fitted_table(
    m: ExampleTable, folds: int, executor: ExecutorArgument = None, path: str | Path | None = None
) -> ExampleTable:
    """The map's columns with every example predicted by a refit without its fold: `folds` refits, kept in `path`.

    Raises
    ------
    ValueError
        The map was read from disk; `folds` is not from 2 to the number of examples.
    TypeError
        The posterior cannot refit its model.
    """
    origin = m.origin
    if origin is None:
        raise ValueError("cross_fit refits the model, and a map read from disk has none: use the map of memory_map")
    outputs = cross_fitted_outputs(origin, folds, is_classes(m), executor, path)[m["row"]]
    stats: Any = origin.batch_statistics(origin.examples.take(m["row"]))
    deviation = outputs - stats.f
    change = stats.likelihood.mean(outputs) - stats.likelihood.mean(stats.f)
    effect = Perturbation(stats.leverage, stats.leverage_norm, deviation, change, m["warning"])
    columns = {"id": m["id"], "row": m["row"], **columns_of(stats, effect, m.provenance.description)}
    return dataclasses.replace(m, table=pa.Table.from_batches([to_record_batch(columns)]))


def _caution(m: ExampleTable) -> str:
    held = m.provenance.description.held_fixed
    if not held or m.provenance.estimator.name == "out_of_bag":
        return ""
    return f"{held} held fixed: read as ranks; leave_one_out(cross_fit=5) refits"


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
    return averages.weighted_mean(np.where(weight > 0, losses, 0.0), weight)


def score_of(values: Array, weight: Array, classes: bool) -> float:
    """Accuracy, or root mean squared error: of correctness or squared errors `[n]` as `scores` returns them."""
    mean = averages.weighted_mean(np.asarray(values, dtype=float), weight)
    return mean if classes else float(np.sqrt(mean))


def is_classes(m: ExampleTable) -> bool:
    """Whether the targets are classes."""
    return (
        bool(m.provenance.description.classes) or m.provenance.description.likelihood == "Categorical" or is_binary(m)
    )


def is_binary(m: ExampleTable) -> bool:
    """Whether targets are 0 or 1 without class names, and predictions are the probability of 1."""
    d = m.provenance.description
    unnamed = d.likelihood == "Bernoulli" and not d.classes and m.provenance.outputs == 1
    return unnamed and bool(np.isin(m["target"], (0, 1)).all())


def scores(m: ExampleTable) -> tuple[Array, Array]:
    """Correctness for classes, squared errors otherwise: of the model and leave-one-out, `[n]` each."""
    if is_binary(m):
        return (m["prediction"] > 0.5) == (m["target"] == 1), (m["loo_prediction"] > 0.5) == (m["target"] == 1)
    if is_classes(m):
        return m["prediction"] == m["target"], m["loo_prediction"] == m["target"]
    residual = m["residual"].reshape(len(m), -1)
    target = m["prediction"].reshape(len(m), -1) - residual
    return np.sum(residual**2, axis=1), np.sum((m["loo_prediction"].reshape(len(m), -1) - target) ** 2, axis=1)
