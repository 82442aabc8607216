"""How suspicious each label is, by the figures that are to be used for a map's family."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats as distributions

from memorymaps.analysis.answers.baseline_scores import has_stages, margins, recorded_outputs, staged_outputs
from memorymaps.analysis.answers.kernel_least_squares import affordable_kernel, left_out_outputs, tempered
from memorymaps.analysis.cleanlab import left_out_probabilities
from memorymaps.analysis.measures import externally_studentised
from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array
from memorymaps.files.executors.workers import ExecutorArgument
from memorymaps.maps.loo_averages import is_binary, is_classes
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.trajectory import Trajectory
from memorymaps.maps.trust import Level
from memorymaps.posteriors.capabilities import ModelKernel, capabilities_of
from memorymaps.posteriors.cross_fitting import cross_fitted_outputs

_SMALLEST = 1e-12  # probability whose logarithm is taken
_FALSE_DISCOVERIES = 0.05  # share of false ones among the counted targets of a regression


@dataclass(frozen=True)
class Suspicion:
    """Of `n` labels: what they may be instead `[n]`, the score (the larger, the more suspicious), and a probability.

    `ranked_by`, `count` and `recall` as in `LabelIssues`.
    """

    suggested: Array
    score: Array
    probability: Array
    ranked_by: str
    count: int | None = None
    recall: float | None = None


def suspicion(
    m: MemoryMap, folds: int | None, executor: ExecutorArgument = None, path: str | Path | None = None
) -> Suspicion:
    """By what ranks best for the family, of those figures that its verdict allows (docs/answers/wrong_labels.md)."""
    if folds is not None:
        if not is_classes(m):
            raise TypeError(
                f"folds = {folds!r} for a {m.provenance.description.likelihood} likelihood: cross-fitting is for "
                "classes. label_issues(m) without folds ranks these targets"
            )
        return by_cross_fitting(m, folds, executor, path)
    if not is_classes(m):
        return _of_numbers(m)
    if m.provenance.loss_is_density and left_out_is_used(m):
        return by_leaf_votes(m) if has_leaf_votes(m) and not has_stages(m) else by_left_out_margin(m)
    if has_stages(m):
        return by_stages(m)
    _require_splits(m)
    kernel = affordable_kernel(m)
    return by_error(m) if kernel is None else by_model_kernel(m, kernel)


def _require_splits(m: MemoryMap) -> None:
    """Raise where the error is that of leaves that were made for the example itself."""
    held, verdict = m.provenance.description.held_fixed, m.trust["loo_loss"]
    if held and verdict.level == Level.UNUSABLE:
        raise ValueError(
            f"left-out losses of this map are {verdict.level} ({'; '.join(verdict.reasons)}): pass folds=5, which "
            "predicts each example by a refit without its fold"
        )


def left_out_is_used(m: MemoryMap) -> bool:
    """Whether the verdict trusts left-out losses, or they are those of out-of-bag trees."""
    out_of_bag = m.provenance.estimator.name == "out_of_bag"
    return out_of_bag or m.trust["loo_loss"].level not in (Level.RANKS, Level.UNUSABLE)


def by_left_out_margin(m: MemoryMap) -> Suspicion:
    """`max_{k ≠ y} log p_{−i}(k) − log p_{−i}(y_i)`."""
    given, p = left_out_probabilities(m)
    return _by_probabilities(m, given, p, -_log_margins(p, given), "left-out margin")


def _log_margins(p: Array, given: Array) -> Array:
    return margins(np.log(np.maximum(p, _SMALLEST)), given)


def loss_and_margin(log_p: Array, given: Array) -> Array:
    """`−log p(y) + ½ max_{k ≠ y} log p(k)`, the mean of the loss and the margin, of `log p [n, c]`.

    The loss finds labels drawn at random, the margin those of the class that an example is mistaken for.
    """
    return -(log_p[np.arange(len(given)), given] + margins(log_p, given)) / 2


def has_leaf_votes(m: MemoryMap) -> bool:
    """Whether the other examples in the same leaves vote for classes."""
    return m.origin is not None and capabilities_of(m.origin.posterior).leaf_votes is not None


def leaf_votes(m: MemoryMap) -> Array:
    """Shares `[n, c]` of the classes among the other examples in the same leaves; NaN where there are none."""
    origin = require_origin(m)
    votes = capabilities_of(origin.posterior).leaf_votes
    assert votes is not None
    return votes(origin.examples.take(m["row"]))


def by_leaf_votes(m: MemoryMap) -> Suspicion:
    """`‖p − onehot(y_i)‖₂` of the votes `p` of the other examples in the same leaves; counted out-of-bag."""
    (given, out_of_bag), p = left_out_probabilities(m), leaf_votes(m)
    score = np.linalg.norm(p - np.eye(p.shape[1])[given], axis=1)
    found = _by_probabilities(m, given, out_of_bag, score, "error of the others' votes in the same leaves")
    return replace(found, suggested=_labels(m, p.shape[1])[np.where(np.isfinite(score), p.argmax(axis=1), given)])


def by_cross_fitting(
    m: MemoryMap, folds: int, executor: ExecutorArgument = None, path: str | Path | None = None
) -> Suspicion:
    """`−log p(y_i)` of refits without the example's fold."""
    given, origin = left_out_probabilities(m)[0], require_origin(m)
    f = cross_fitted_outputs(origin, folds, True, executor, path)[m["row"]]
    mean = np.asarray(origin.posterior.likelihood.mean(f))
    p = np.concatenate([1 - mean, mean], axis=1) if mean.shape[1] == 1 else mean
    loss = -np.log(np.maximum(p[np.arange(len(p)), given], np.finfo(float).tiny))
    return _by_probabilities(m, given, p, loss, f"loss in {folds}-fold cross-fitting")


def _by_probabilities(m: MemoryMap, given: Array, p: Array, score: Array, ranked_by: str) -> Suspicion:
    known = np.isfinite(p).all(axis=1)
    count, recall = confident_count(given[known], p[known])
    suggested = _labels(m)[np.where(known, p.argmax(axis=1), given)]
    return Suspicion(suggested, score, p[np.arange(len(p)), given], ranked_by, count, recall)


def by_stages(m: MemoryMap) -> Suspicion:
    """The margin of boosting's probabilities averaged over the iterations and the others' votes in the same leaves."""
    given, outputs = staged_outputs(m)
    likelihood, codes = require_origin(m).posterior.likelihood, given.astype(np.intp)
    mean = np.mean([likelihood.mean(f) for f in outputs], axis=0)
    p = mean if mean.shape[1] > 1 else np.concatenate([1 - mean, mean], axis=1)
    ranked_by = "margin averaged over iterations"
    if has_leaf_votes(m):
        votes = leaf_votes(m)
        p = np.where(np.isfinite(votes), (p + votes) / 2, p)
        ranked_by += " and over the others' votes in the same leaves"
    suggested = _labels(m, p.shape[1])[p.argmax(axis=1)]
    return Suspicion(suggested, -_log_margins(p, codes), _nothing(m), ranked_by)


def of_run(run: Trajectory) -> tuple[MemoryMap, Suspicion]:
    """The last map of a run, and minus the margin of the given label, averaged over the recorded steps."""
    ids, codes, outputs = recorded_outputs(run)
    last = run.at(run.steps[-1]).select(ids.tolist())
    return last, _by_margins(last, codes, outputs)


def _by_margins(m: MemoryMap, given: Array, outputs: Array) -> Suspicion:
    """By outputs `f [T, n, c]` in training; suggested is the class of the largest mean output."""
    mean = outputs.mean(axis=0)
    suggested = (mean[:, 0] > 0).astype(int) if mean.shape[1] == 1 else mean.argmax(axis=1)
    score = -np.mean([margins(f, given) for f in outputs], axis=0)
    return Suspicion(_labels(m, mean.shape[1])[suggested], score, _nothing(m), "area under the margin")


def by_model_kernel(m: MemoryMap, kernel: ModelKernel) -> Suspicion:
    """Loss and margin of `softmax(f_{−i}/τ)`, least squares with the model's kernel, each example left out."""
    classes = len(_labels(m, m.provenance.outputs))
    codes, f = left_out_outputs(kernel, require_origin(m), classes)
    rows = m["row"]
    suggested = _labels(m, classes)[f[rows].argmax(axis=1)]
    score = loss_and_margin(tempered(f, codes)[rows], codes[rows])
    ranked_by = "mean of left-out loss and margin, of least squares with the model's kernel"
    return Suspicion(suggested, score, _nothing(m), ranked_by)


def by_error(m: MemoryMap) -> Suspicion:
    """The error `‖μ − y‖₂` of the model itself."""
    return Suspicion(_predicted(m, "loo_prediction"), m["error"], _nothing(m), "error")


def _nothing(m: MemoryMap) -> Array:
    return np.full(len(m), np.nan)


def _predicted(m: MemoryMap, name: str) -> Array:
    predicted = m[name]
    return (predicted > 0.5).astype(m["target"].dtype) if is_binary(m) else predicted


def _labels(m: MemoryMap, outputs: int = 2) -> Array:
    return np.asarray(m.provenance.description.classes or np.arange(max(2, outputs)))


def _of_numbers(m: MemoryMap) -> Suspicion:
    """Left-out residuals where they are to be used, out-of-bag as they are; else the error."""
    if m.provenance.estimator.name == "out_of_bag" and m.provenance.outputs == 1:
        size = np.abs(m["loo_prediction"] - m["target"])
        return Suspicion(m["loo_prediction"], size, _nothing(m), "|out-of-bag residual|")
    gaussian = m.provenance.description.likelihood == "Gaussian"
    if gaussian and m.provenance.outputs == 1 and left_out_is_used(m):
        return _by_studentised_residual(m)
    return by_error(m)


def _by_studentised_residual(m: MemoryMap) -> Suspicion:
    t = np.abs(np.asarray(externally_studentised(m), dtype=float))
    probability = 2 * distributions.norm.sf(t)
    known = probability[np.isfinite(probability)]
    adjusted = distributions.false_discovery_control(known) if len(known) else known
    count = int(np.count_nonzero(adjusted < _FALSE_DISCOVERIES))
    return Suspicion(m["loo_prediction"], t, probability, "|left-out residual| in standard deviations", count)


def confident_count(given: Array, p: Array) -> tuple[int, float]:
    """Number of labels `[n]` that `p [n, c]` confidently contradicts, and the share found of labels changed at random.

    Examples
    --------
    >>> confident_count(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]))
    (1, 0.666...)
    """
    present = np.unique(given)
    threshold = np.full(p.shape[1], np.inf)
    threshold[present] = [p[given == k, k].mean() for k in present]
    confident = np.where(p >= threshold, p, -1.0)
    rows = np.flatnonzero(confident.max(axis=1) >= 0)
    differs = confident[rows].argmax(axis=1) != given[rows]
    # a changed label is missed where the confident class is the one that it was changed to
    found = np.where(differs, 1 - 1 / max(1, len(present) - 1), 1.0)
    return int(np.count_nonzero(differs)), float(np.sum(found)) / len(given)
