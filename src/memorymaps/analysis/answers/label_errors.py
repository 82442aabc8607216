"""Which labels are probably wrong: the most suspicious examples, with suggested labels."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats as distributions

from memorymaps.analysis.cleanlab import left_out_probabilities
from memorymaps.analysis.measures import externally_studentised
from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array
from memorymaps.files.executors.workers import ExecutorArgument
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.loo_averages import is_binary, is_classes
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.result_table import ResultTable
from memorymaps.maps.trust import Level
from memorymaps.posteriors.cross_fitting import cross_fitted_outputs

_FALSE_DISCOVERIES = 0.05  # share of false ones among the counted targets of a regression


@dataclass(frozen=True, repr=False)
class LabelIssues(ResultTable):
    """Examples by how suspicious their label is, most suspicious first; last those without a left-out prediction.

    Columns: `id`; `given`, `suggested` (labels, or targets of a regression); `score` (the larger, the more suspicious,
    in units of `ranked_by`); `probability` (of the given label, left out; in regressions the p-value of the left-out
    residual).

    Attributes
    ----------
    ranked_by : what ranks the examples.
    count : number of labels that the left-out probabilities confidently contradict, wrong labels and examples that are
        hard for the model alike; None where these probabilities are not trusted.
    recall : share of labels that would be counted if they were changed to another class at random: left-out
        probabilities do not depend on an example's own label, so that this needs no refit.
    """

    ranked_by: str
    count: int | None
    recall: float | None

    def __str__(self) -> str:
        """The ten most suspicious, and the count."""
        return f"{self._count()}; ranked by {self.ranked_by}\n{self.table.slice(0, 10).to_pandas().to_string()}"

    def _count(self) -> str:
        if self.count is None:
            return "no count: left-out probabilities are not trusted"
        recall = "" if self.recall is None else f" ({self.recall:.0%} of labels changed at random would be found)"
        return f"{self.count:,} of {len(self):,} labels are confidently contradicted{recall}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def label_issues(m: MemoryMap, *, folds: int | None = None, executor: ExecutorArgument = None) -> LabelIssues:
    """Which labels are probably wrong, most suspicious first.

    Classes are ranked by the left-out loss `−log p_{−i}(y_i)` where the map's verdict trusts left-out losses (or they
    are out-of-bag), by the error otherwise and for losses of margins (hinge), which give no probabilities. The count is
    that of confident learning [Northcutt, Jiang & Chuang 2021], `#{i : argmax_{k : p_{−i}(k) ≥ t_k} p_{−i}(k) ≠ y_i}`
    with thresholds `t_k`, the mean probability of class `k` over the examples labelled `k`. Regressions are ranked by
    the left-out (externally studentised) residual; counted are those that the Benjamini–Hochberg procedure finds at 5 %
    false discoveries. cleanlab's `find_label_issues` takes the same probabilities, `for_cleanlab(m)`.

    Parameters
    ----------
    m : map of a classifier, or of a regression with one Gaussian output.
    folds : predict each example by refits without its fold instead, `folds` of them.
    executor : number of processes, or any `concurrent.futures.Executor`, for the refits of `folds`.

    Raises
    ------
    ValueError
        Left-out figures of this map are not to be used, and `folds` was not given; `folds` for a loss of margins.
    TypeError
        The map is neither of classes nor of one Gaussian output.

    Examples
    --------
    >>> from memorymaps import memory_map
    >>> from memorymaps.data.datasets import demo_model
    >>> found = label_issues(memory_map(*demo_model()))
    >>> found["given"][:3].tolist(), found["suggested"][:3].tolist()
    ([8, 5, 9], [1, 9, 8])
    """
    if not isinstance(m, MemoryMap):
        raise TypeError(f"got a {type(m).__name__}: expected the map that memory_map(model, X, y) returns")
    if is_classes(m):
        return _of_classes(m, folds, executor)
    if m.provenance.description.likelihood == "Gaussian" and m.provenance.outputs == 1:
        return _of_targets(m)
    raise TypeError(
        f"the map is of a {m.provenance.description.likelihood} likelihood with {m.provenance.outputs} output(s): "
        "label_issues needs a classifier's, or a regression's with one Gaussian output; m.top(by='error') ranks others"
    )


def _of_classes(m: MemoryMap, folds: int | None, executor: ExecutorArgument) -> LabelIssues:
    verdict = m.trust["loo_loss"]
    out_of_bag = m.provenance.estimator.name == "out_of_bag"
    if folds is None and verdict.level == Level.UNUSABLE and not out_of_bag:
        raise ValueError(
            f"left-out losses of this map are {verdict.level} ({'; '.join(verdict.reasons)}): pass folds=5, which "
            "predicts each example by a refit without its fold"
        )
    trusted = m.provenance.loss_is_density and (verdict.level != Level.RANKS or out_of_bag)
    if folds is None and not trusted:
        return _by_error(m)
    given, p = left_out_probabilities(m) if folds is None else _cross_fitted(m, folds, executor)
    own = p[np.arange(len(p)), given]
    ranked_by = "left-out loss" if folds is None else f"loss in {folds}-fold cross-fitting"
    known = np.isfinite(p).all(axis=1)
    count, recall = confident_count(given[known], p[known])
    score = -np.log(np.maximum(own, np.finfo(float).tiny))
    return _table(m, _labels(m)[np.where(known, p.argmax(axis=1), given)], score, own, (ranked_by, count, recall))


def _by_error(m: MemoryMap) -> LabelIssues:
    nothing, predicted = np.full(len(m), np.nan), m["loo_prediction"]
    suggested = (predicted > 0.5).astype(m["target"].dtype) if is_binary(m) else predicted
    return _table(m, suggested, m["error"], nothing, ("error", None, None))


def _labels(m: MemoryMap) -> Array:
    return np.asarray(m.provenance.description.classes or (0, 1))


def _cross_fitted(m: MemoryMap, folds: int, executor: ExecutorArgument) -> tuple[Array, Array]:
    """The same from refits without each fold."""
    given, origin = left_out_probabilities(m)[0], require_origin(m)
    f = cross_fitted_outputs(origin, folds, True, executor)[m["row"]]
    mean = origin.posterior.likelihood.mean(f)
    p = np.concatenate([1 - mean, mean], axis=1) if mean.shape[1] == 1 else mean
    return given, np.asarray(p)


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


def _of_targets(m: MemoryMap) -> LabelIssues:
    t = np.asarray(externally_studentised(m), dtype=float)
    probability = 2 * distributions.norm.sf(np.abs(t))
    known = probability[np.isfinite(probability)]
    adjusted = distributions.false_discovery_control(known) if len(known) else known
    count = int(np.count_nonzero(adjusted < _FALSE_DISCOVERIES))
    counts = ("|left-out residual| in standard deviations", count, None)
    return _table(m, m["loo_prediction"], np.abs(t), probability, counts)


def _table(
    m: MemoryMap, suggested: Array, score: Array, probability: Array, counts: tuple[Any, Any, Any]
) -> LabelIssues:
    order = np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")
    columns = {
        "id": m["id"], "given": m["target"], "suggested": suggested, "score": score, "probability": probability,
    }  # fmt: skip
    batch = to_record_batch({name: values[order] for name, values in columns.items()})
    return LabelIssues(pa.Table.from_batches([batch]), *counts)
