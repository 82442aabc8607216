"""Which labels are probably wrong: the most suspicious examples, with suggested labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from memorymaps.analysis.answers.label_scores import Suspicion, left_out_is_used, of_run, suspicion
from memorymaps.analysis.answers.token_issues import token_columns
from memorymaps.files.executors.workers import ExecutorArgument
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.memory_map import MemoryMap, require_map
from memorymaps.maps.result_table import SummarisedTable
from memorymaps.maps.trajectory import Trajectory
from memorymaps.posteriors.cross_fitting import check_folds


@dataclass(frozen=True, repr=False)
class LabelIssues(SummarisedTable):
    """Examples by how suspicious their label is, most suspicious first; last those without a left-out prediction.

    Columns: `id`; `position` (of tokens, where each example has several labels); `given`, `suggested` (labels, or
    targets of a regression); `score` (the larger, the more suspicious, in units of `ranked_by`); `probability` (of the
    given label, left out; of studentised residuals the p-value), NaN where the ranking is not by left-out figures.

    Attributes
    ----------
    ranked_by : what ranks the examples.
    count : number of labels that the left-out probabilities confidently contradict, wrong labels and examples that are
        hard for the model alike; None where these probabilities are not trusted, or there are none.
    recall : share of labels that would be counted if they were changed to another class at random: left-out
        probabilities do not depend on an example's own label, so that this needs no refit.
    """

    ranked_by: str
    count: int | None
    recall: float | None

    def _text(self) -> str:
        """The ten most suspicious, and the count."""
        return f"{self._count()}; ranked by {self.ranked_by}\n{self.table.slice(0, 10).to_pandas().to_string()}"

    def _count(self) -> str:
        if self.count is None:
            return "no count: there are no left-out probabilities to trust"
        recall = "" if self.recall is None else f" ({self.recall:.0%} of labels changed at random would be found)"
        return f"{self.count:,} of {len(self):,} labels are confidently contradicted{recall}"


def label_issues(
    m: MemoryMap | Trajectory,
    *,
    folds: int | None = None,
    executor: ExecutorArgument = None,
    path: str | Path | None = None,
) -> LabelIssues:
    """Which labels are probably wrong, most suspicious first.

    The ranking is by what measured best for each family (docs/answers/wrong_labels.md), and named in `ranked_by`:

    - classes whose left-out losses the map's verdict trusts: the left-out margin
      `max_{k ≠ y_i} log p_{−i}(k) − log p_{−i}(y_i)`;
    - forests with bootstrap: the error `‖p − onehot(y_i)‖₂` of the votes `p` of the other examples in the same leaves,
      the mean of those in the trees that did not draw the example and in all trees;
    - boosted trees: the margin of the mean of the probabilities averaged over the iterations and these votes in all
      trees;
    - a network's run recorded by a `Tracker`: the area under the margin `−mean_t (f_y − max_{k ≠ y} f_k)` over the
      recorded steps [Pleiss et al. 2020];
    - other networks and support vector machines with a kernel, of up to 5,000 examples: the mean of the
      left-out loss and margin, `−log p(y_i) + ½ max_{k ≠ y_i} log p(k)`, `p = softmax(f_{−i}/τ)` of least squares on
      class indicators with the model's own kernel, a network's tangent kernel [Cawley & Talbot 2004], `τ` by their
      likelihood [Guo et al. 2017];
    - other classifiers: the error `‖p − onehot(y_i)‖₂`;
    - numbers with Gaussian noise: the left-out (externally studentised) residual; forests: the out-of-bag residual;
      other numbers, and where left-out figures are not trusted: the error;
    - tokens (class numbers `[n, T]`, logits `f.view(n, T, K)`, cross entropy): each position by the same error of its
      own probabilities, left out with its whole example where that is trusted.

    The count is that of confident learning [Northcutt, Jiang & Chuang 2021],
    `#{i : argmax_{k : p_{−i}(k) ≥ t_k} p_{−i}(k) ≠ y_i}` with thresholds `t_k`, the mean probability of class `k` over
    the examples labelled `k`; of studentised residuals those that the Benjamini–Hochberg procedure finds at 5 % false
    discoveries. cleanlab's `find_label_issues` takes the same probabilities, `for_cleanlab(m)`.

    Parameters
    ----------
    m : map, or the `Trajectory` of a classifier's recorded run.
    folds : predict each example by refits without its fold instead, `folds` of them, for classes: ranked by the loss
        `−log p(y_i)` there, with a count.
    executor : number of processes, or any `concurrent.futures.Executor`, for the refits of `folds`.
    path : folder that keeps each of these refits when it is finished: after a kill, the same call goes on from there.

    Raises
    ------
    ValueError
        Trees whose left-out figures are not to be used and that are not fitted in stages, and `folds` was not given;
        `folds` for a loss of margins; `folds` or tokens of a map read from disk.
    TypeError
        `folds` for numbers, tokens or a run; several integer targets for each example that are no classes of tokens.

    Examples
    --------
    >>> from memorymaps import memory_map
    >>> from memorymaps.data.datasets import demo_model
    >>> found = label_issues(memory_map(*demo_model()))
    >>> found["given"][:3].tolist(), found["suggested"][:3].tolist()
    ([8, 5, 6], [1, 9, 1])
    """
    check_folds(folds, path, "label_issues(m, folds=5, path=…)")
    if isinstance(m, Trajectory):
        if folds is not None:
            raise TypeError("folds refits a map's model: label_issues(run) of a recorded run takes none")
        return _table(*of_run(m))
    require_map(m)
    if m["target"].ndim == 2 and m["target"].dtype.kind in "iu" and m.provenance.description.likelihood == "Custom":
        return _of_tokens(m, folds)
    return _table(m, suspicion(m, folds, executor, path))


def _of_tokens(m: MemoryMap, folds: int | None) -> LabelIssues:
    if folds is not None:
        raise TypeError(f"folds = {folds!r} for tokens: label_issues(m) without folds ranks them")
    left_out = left_out_is_used(m) and "deviation" in m.table.column_names
    columns = token_columns(m, left_out)
    order = np.argsort(-columns["score"], kind="stable")
    batch = to_record_batch({name: values[order] for name, values in columns.items()})
    return LabelIssues(pa.Table.from_batches([batch]), "left-out error" if left_out else "error", None, None)


def _table(m: MemoryMap, found: Suspicion) -> LabelIssues:
    order = np.argsort(-np.nan_to_num(found.score, nan=-np.inf), kind="stable")
    columns = {
        "id": m["id"], "given": m["target"], "suggested": found.suggested, "score": found.score,
        "probability": found.probability,
    }  # fmt: skip
    batch = to_record_batch({name: values[order] for name, values in columns.items()})
    return LabelIssues(pa.Table.from_batches([batch]), found.ranked_by, found.count, found.recall)
