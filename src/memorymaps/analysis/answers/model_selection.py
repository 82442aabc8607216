"""Which of several fitted models to take: their left-out losses on the same examples, and how far these differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from memorymaps.analysis.answers.paired_means import (
    PairedMeans,
    loss_difference,
    paired_losses,
    paired_scores,
    target_difference,
)
from memorymaps.analysis.predictive import loo_predictive
from memorymaps.core.arrays import Array
from memorymaps.files.executors.workers import ExecutorArgument, opened
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.ids import are_row_numbers
from memorymaps.maps.loo_averages import cross_fitted_table
from memorymaps.maps.memory_map import MemoryMap, require_map
from memorymaps.maps.result_table import SummarisedTable
from memorymaps.maps.table import ExampleTable
from memorymaps.maps.trust import Level
from memorymaps.posteriors.cross_fitting import check_folds

_CROSS_FITTED = "cross-fitted"
_VERDICTS = {"loss": "loo_loss", "predictive": "loo_loss", "score": "loo_prediction"}  # the figure that by= rests on
_RANKS_CAUTION = (
    f"values with the verdict {str(Level.RANKS)!r} may be off by more than their errors: retrain_check(m) measures it, "
    "cross_fit=5 refits"
)


@dataclass(frozen=True, repr=False)
class ModelSelection(SummarisedTable):
    """Models by their left-out loss or score, the best first.

    Columns: `name`; `value`, `value_se` (of what ranks, and its standard error over the examples); `difference`,
    `difference_se` (to the best model: paired, over the same examples); `effective_parameters` (Σ leverage); `trust`
    (the map's verdict on its left-out loss, or on its left-out predictions where scores rank; see `MemoryMap.trust`).

    Attributes
    ----------
    ranked_by : `"left-out loss"`, `"left-out accuracy"` or `"left-out RMSE"`, or the same cross-fitted.
    examples, total : number of examples with a left-out prediction in all maps, and of all examples of the maps.
    """

    ranked_by: str
    examples: int
    total: int

    @property
    def best(self) -> str:
        """The name of the best model."""
        return str(self["name"][0])

    @property
    def within_one_error(self) -> list[str]:
        """Names of the models whose paired difference to the best is at most its standard error, the best first."""
        near = np.abs(self["difference"]) <= self["difference_se"]
        near[0] = True
        return [str(name) for name in self["name"][near]]

    @property
    def simplest(self) -> str:
        """Of the models within one standard error of the best that of the fewest effective parameters.

        The one-standard-error rule [Breiman, Friedman, Olshen & Stone 1984], with the error of the paired difference.
        """
        names = [str(name) for name in self["name"]]
        return min(self.within_one_error, key=lambda name: self["effective_parameters"][names.index(name)])

    def _text(self) -> str:
        where = f"{self.examples:,} of {self.total:,} examples"
        frame = self.to_pandas().to_string(index=False, float_format=lambda value: f"{value:.4f}")
        near = ", ".join(self.within_one_error[1:]) or "none"
        caution = f"\n{_RANKS_CAUTION}" if str(Level.RANKS) in self["trust"] else ""
        return f"by {self.ranked_by} over {where}; within one standard error of the best: {near}\n{frame}{caution}"


def select_model(
    maps: Mapping[str, MemoryMap] | Sequence[MemoryMap],
    *,
    by: Literal["loss", "predictive", "score"] = "loss",
    cross_fit: int | None = None,
    executor: ExecutorArgument = None,
    path: str | Path | None = None,
) -> ModelSelection:
    """Rank models that were fitted to the same examples by their left-out loss, without refits.

    `Σ w ℓ_i(f_i + Δf_i)/Σ w` of each map [MPE Eq. 15], standard errors over the examples, and paired differences to the
    best. Only log densities of one kind are ranked by loss: not hinge, quantile or Huber losses, whose scale is the
    model's own, nor counts against densities; `by="score"` ranks these. Where a map's verdict says that its left-out
    figures are not to be used (trees), `cross_fit=5` predicts every example by a refit without its fold; this is
    5-fold cross-validation, at its cost.

    Parameters
    ----------
    maps : fitted models' maps by name, or a list of them, which are named by their position.
    by : `"loss"`, at the left-out prediction; `"predictive"`, for Gaussian noise, `−log N(y_i; f_i + Δf_i, φ/w + V)`
        with the left-out posterior variance (`loo_predictive`), by which Gaussian processes are chosen; `"score"`:
        accuracy for classes, root mean squared error otherwise.
    cross_fit : number of folds, for left-out predictions by refits.
    executor : number of processes, or any `concurrent.futures.Executor`, for the refits of cross-fitting.
    path : folder that keeps each of these refits when it is finished, those of each map in a folder of its position:
        after a kill, the same call goes on from there.

    Raises
    ------
    ValueError
        Fewer than two maps, of different examples or targets, losses of different units, or left-out figures that are
        not to be used.
    TypeError
        No maps; `by="predictive"` of another likelihood than Gaussian.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from memorymaps import memory_map
    >>> X, y = load_diabetes(return_X_y=True)
    >>> found = select_model({f"{a}": memory_map(Ridge(alpha=a).fit(X, y), X, y) for a in (0.001, 0.1, 10.0)})
    >>> found.best, found.within_one_error
    ('0.001', ['0.001', '0.1'])
    """
    named = _named(maps)
    aligned = _same_examples(named)
    if by not in _VERDICTS:
        raise ValueError(f"by = {by!r}: expected one of {', '.join(map(repr, _VERDICTS))}")
    check_folds(cross_fit, path, "select_model(maps, cross_fit=5, path=…)")
    if cross_fit is None:
        _check_usable(named, by)
    elif by != "score":
        _check_scale(named)
    tables: list[ExampleTable] = list(aligned)
    if cross_fit is not None:
        with opened(executor) as workers:
            engine = None if workers is None else workers.executor
            folders = [None if path is None else Path(path) / str(k) for k in range(len(aligned))]
            tables = [cross_fitted_table(m, cross_fit, engine, at) for m, at in zip(aligned, folders, strict=True)]
    if by == "predictive":
        tables = [_with_predictive_losses(m, cross_fit) for m in aligned]
    if by != "score":
        _check_units(tables)
    means = paired_scores(tables) if by == "score" else paired_losses(tables)
    how = "left-out" if cross_fit is None else f"{cross_fit}-fold cross-fitted"
    columns = _columns(named, means, _trust(aligned, by) if cross_fit is None else [_CROSS_FITTED] * len(aligned))
    table = pa.Table.from_batches([to_record_batch(columns)])
    what = "predictive loss" if by == "predictive" else means.name
    return ModelSelection(table, f"{how} {what}", means.examples, len(aligned[0]))


def _with_predictive_losses(m: MemoryMap, cross_fit: int | None) -> MemoryMap:
    if cross_fit is not None:
        raise ValueError(f"by='predictive' with cross_fit={cross_fit}: refits have no variances. Leave cross_fit out")
    place = m.table.column_names.index("loo_loss")
    losses = pa.array(-loo_predictive(m).log_density)
    return dataclasses.replace(m, table=m.table.set_column(place, "loo_loss", losses))


def _named(maps: Mapping[str, MemoryMap] | Sequence[MemoryMap]) -> dict[str, MemoryMap]:
    if not isinstance(maps, (Mapping, Sequence)):
        raise TypeError(
            f"got a {type(maps).__name__}: expected maps by name, select_model({{'C = 1': a, 'C = 10': b}})"
        )
    named = {str(k): m for k, m in (maps.items() if isinstance(maps, Mapping) else enumerate(maps))}
    for name, m in named.items():
        require_map(m, repr(name))
    if len(named) < 2:
        raise ValueError(f"{len(named)} map(s): expected at least two, select_model({{'C = 1': a, 'C = 10': b}})")
    return named


def _same_examples(named: Mapping[str, MemoryMap]) -> list[MemoryMap]:
    """The maps with their rows in the first one's order."""
    (first_name, first), *others = named.items()
    ids, aligned = first["id"].tolist(), [first]
    known = set(ids)
    for name, m in others:
        missing = len(known.symmetric_difference(m["id"].tolist()))
        if missing:
            raise ValueError(
                f"{name!r} is not of the examples of {first_name!r}: {missing:,} ids are in one map only. Select the "
                "common ones, m.select(ids), or draw the maps on the same data"
            )
        aligned.append(m.select(ids))
    differ = target_difference(aligned)
    if differ:
        by_rows = all(are_row_numbers(m) for m in named.values())
        hint = ". Joined by row numbers: pass memory_map(…, ids=…) the examples' names" * by_rows
        raise ValueError(f"{differ}: expected maps of models of one target{hint}")
    return aligned


def _check_usable(named: Mapping[str, MemoryMap], by: str) -> None:
    for name, m in named.items():
        verdict = m.trust[_VERDICTS[by]]
        if verdict.level == Level.UNUSABLE and m.provenance.estimator.name != "out_of_bag":
            raise ValueError(
                f"left-out figures of {name!r} are {verdict.level} ({'; '.join(verdict.reasons)}): pass cross_fit=5, "
                "which predicts each example by a refit without its fold"
            )


def _check_scale(named: Mapping[str, MemoryMap]) -> None:
    """Raise for noise scales estimated in training: a refit of the predictions does not estimate them again."""
    for name, m in named.items():
        if m.provenance.description.dispersion_estimated:
            raise ValueError(
                f"the loss of {name!r} has a noise scale that was estimated from its own training residuals, which "
                "cross-fitting holds: select_model(maps, by='score', cross_fit=…) ranks by the predictions alone"
            )


def _check_units(tables: Sequence[ExampleTable]) -> None:
    differ = loss_difference(tables)
    if differ:
        raise ValueError(f"{differ}: select_model(maps, by='score') ranks by accuracy or root mean squared error")


def _trust(aligned: Sequence[MemoryMap], by: str) -> list[str]:
    return [str(m.trust[_VERDICTS[by]].level) for m in aligned]


def _columns(named: Mapping[str, MemoryMap], means: PairedMeans, trust: list[str]) -> dict[str, Any]:
    best, names = means.best(), list(named)
    pairs = np.array([means.difference(k, best) for k in range(len(names))])
    pairs[best] = 0.0
    gain = -pairs[:, 0] if means.name == "accuracy" else pairs[:, 0]
    order: Array = np.argsort(np.nan_to_num(gain, nan=np.inf), kind="stable")
    effective = np.array([float(np.sum(m["leverage"])) for m in named.values()])
    columns = {
        "name": np.asarray(names), "value": means.values, "value_se": means.errors, "difference": pairs[:, 0],
        "difference_se": pairs[:, 1], "effective_parameters": effective, "trust": np.asarray(trust),
    }  # fmt: skip
    return {name: values[order] for name, values in columns.items()}
