"""Which training examples made a prediction: the change of given predictions when examples or groups are removed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from memorymaps.analysis.answers.query_deviations import (
    example_deviations,
    group_deviations,
    no_cross_covariances,
    query_blocks,
    refitted_deviations,
)
from memorymaps.analysis.answers.query_ranking import RankedEffects
from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.settings import as_count
from memorymaps.data.coercion import as_array, as_inputs, checked_column, checked_offset, count_rows, take_rows
from memorymaps.data.examples import DataError
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.group_removal import resolve_groups
from memorymaps.maps.result_table import RemovalTable
from memorymaps.posteriors.capabilities import Capabilities, capabilities_of
from memorymaps.posteriors.group_refits import held_in_words

if TYPE_CHECKING:
    import pandas as pd

    from memorymaps.maps.memory_map import MemoryMap

_DISPLAYED = 10  # outputs whose changes are all displayed
_CANDIDATES = 3  # times as many as are listed: one step may misplace those that refits find to matter most


@dataclass(frozen=True, repr=False)
class QueryInfluence(RemovalTable):
    """What removing a training example, or a group, does to a prediction; rows for each query and its top examples.

    Columns: `query` (position among the queries); `id` (of the training example), or `group` and `size`; `change` (of
    the query's predicted mean, `c` values, in units of the target or as probabilities); `loss_change` (of the query's
    loss, in nats: positive for helpful examples, negative for harmful ones); of examples `refitted` (whether the model
    was fitted again without it, or one step taken); of groups `warning` (what to distrust, empty if nothing).
    `caution`: what all changes by one step cannot be trusted for; `held`: what they hold at its value, as in
    `m.trust`; both are displayed below the rows.
    """

    caution: str = ""

    def _sentences(self) -> tuple[str, ...]:
        return self.caution, self.held

    def helpful(self, query: int) -> QueryInfluence:
        """The examples without which the query's loss is higher, most helpful first."""
        return self._of(query, -1)

    def harmful(self, query: int) -> QueryInfluence:
        """The examples without which the query's loss is lower, most harmful first."""
        return self._of(query, 1)

    def by_example(self) -> pd.DataFrame:
        """A row for each training example that is listed, `id`, and a column for each query, `influence on k`.

        `loss_change`; where losses are unknown `change`, of several outputs its norm; NaN where an example is not
        among the query's top ones. With `top=None` these are columns of the page, `m.explore(path, columns=…)`.

        Raises
        ------
        TypeError
            The influences are those of groups.
        """
        import pandas as pd

        if "id" not in self.table.column_names:
            raise TypeError("by_example is of examples: expected influence_on(m, inputs) without groups=")
        change = self["change"]
        size = np.linalg.norm(change, axis=1) if change.ndim == 2 else change
        known = not np.all(np.isnan(self["loss_change"]))
        rows = {"query": self["query"], "id": self["id"], "value": self["loss_change"] if known else size}
        found = pd.DataFrame(rows).pivot(index="id", columns="query", values="value")
        return found.rename(columns=lambda query: f"influence on {query}").rename_axis(columns=None).reset_index()

    def _unknown_losses(self) -> ValueError:
        if "warning" in self.table.column_names and np.all(np.isnan(self["change"])):
            return ValueError(f"no group could be removed: {self['warning'][0]}")
        return ValueError("the queries' losses are unknown without their targets: pass target= to influence_on")

    def _displayed(self) -> pd.DataFrame:
        """Of many outputs the largest change and its position, in place of all."""
        shown, change = self.to_pandas(), self["change"]
        if change.ndim == 2 and change.shape[1] > _DISPLAYED:
            most = np.argmax(np.abs(np.nan_to_num(change)), axis=1)
            largest = change[np.arange(len(change)), most]
            shown["change"] = [f"{value:.3g} at {place}" for value, place in zip(largest, most, strict=True)]
        return shown

    def _of(self, query: int, sign: int) -> QueryInfluence:
        if query not in self["query"]:
            raise ValueError(f"query = {query}: expected a position from 0 to {self['query'].max()}")
        if np.all(np.isnan(self["loss_change"])):
            raise self._unknown_losses()
        value = sign * self["loss_change"]
        rows = np.flatnonzero((self["query"] == query) & (value < 0))
        return dataclasses.replace(self, table=self.table.take(rows[np.argsort(value[rows], kind="stable")]))


@dataclass(frozen=True)
class _Queries:
    """Predictions that are asked about: outputs `f [k, c]`, variances `V [k, c, c]`, targets `y` as numbers or `None`.

    `likelihood` is that of one output, not averaged over `V` yet.
    """

    likelihood: Likelihood
    inputs: Any
    f: Array
    variance: Array
    y: Array | None

    @classmethod
    def of(cls, m: MemoryMap, inputs: Any, target: Any, offset: Any) -> _Queries:
        """The model at these inputs, with the targets given or the classes predicted."""
        source = require_origin(m).posterior
        marginals = source.marginals(inputs)
        total = marginals.variance
        if marginals.residual_variance is not None:
            total = total + marginals.residual_variance
        f = np.asarray(marginals.f, dtype=float)
        if offset is not None:
            f = f + np.reshape(offset, (len(f), -1))
        y = _target_codes(m, source.likelihood.averaged_over(total), f, target)
        return cls(source.likelihood, inputs, f, total, y)

    def effects(self, deviation: Array, position: Array, refitted: bool = False) -> RankedEffects:
        """Changes of means and losses for the deviations `Δf [k, b, c]` of the examples at `position [b]`."""
        k, b, c = deviation.shape
        f = np.repeat(self.f, b, axis=0)
        moved = f + deviation.reshape(k * b, c)
        likelihood = self.likelihood.averaged_over(np.repeat(self.variance, b, axis=0))
        mean = (likelihood.mean(moved) - likelihood.mean(f)).reshape(k, b, -1)
        loss = np.full((k, b), np.nan)
        if self.y is not None:
            y = np.repeat(self.y, b, axis=0)
            loss = (likelihood.nll(moved, y) - likelihood.nll(f, y)).reshape(k, b)
        return RankedEffects.of(position, mean, loss, refitted)


def influence_on(
    m: MemoryMap, inputs: Any, target: Any = None, *, offset: Any = None, top: int | None = 10, groups: Any = None
) -> QueryInfluence:
    """Which training examples, or groups, made these predictions: how each would change without one of them.

    `Δf_* = V_{*i}(I − Λ_iV_i)⁻¹e_i`, the deviation of a map at another input [MPE Eq. 14 with one example]; equal to
    refitting for least squares and ridge, one Newton step for other losses (without `(I − ΛV)⁻¹` where the map's
    estimator is first-order). GLMs, ordered models and support vector machines are fitted again without the examples
    that matter most to the queries by that step, as many as take ten seconds. At a training example's own input it is
    the map's `deviation`, where the map was refitted as well. Influence functions
    (Cook & Weisberg 1982; Koh & Liang 2017) are the same without `(I − ΛV)⁻¹`. Networks too large for cross-covariances
    take one linear system `S x = J_*ᵀ` with the exact curvature for each output of a query, and one pass over the
    examples. Groups are removed together, `Δf_* = V_{*M}(I − Λ_MV_{MM})⁻¹e_M`; GLMs, kernel machines and small
    networks at their optimum are refitted without each, as `leave_out` does. Memory does not grow with the number of
    examples.

    Parameters
    ----------
    m : a map in memory, of a model with cross-covariances: linear models, GLMs, kernel machines, Gaussian processes,
        networks.
    inputs : `[k, p]`, inputs as the model was fitted on; of `Draws`, row numbers `[k]` of training examples.
    target : `[k]`, the queries' targets, for the change of their loss; default for classifiers: the predicted class.
        Without targets the other losses are unknown: `loss_change` is NaN, and examples are ranked by their change of
        the mean.
    offset : `[k]`, added to the model's output.
    top : number of most helpful and of most harmful examples for each query; None: all.
    groups : groups instead of single examples, all of them: a column's name, a mapping from names to ids, or labels
        `[n]`, as for `MemoryMap.leave_out`.

    Raises
    ------
    TypeError
        The posterior offers no cross-covariances.
    ValueError
        The map was read from disk, or the model or its data have changed since; linear systems did not converge.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from memorymaps import memory_map
    >>> X, y = load_diabetes(return_X_y=True)
    >>> found = influence_on(memory_map(Ridge(alpha=0.1).fit(X, y), X, y), X[:1], y[:1], top=2)
    >>> found.helpful(0)["id"].tolist()
    [382, 211]
    """
    top = None if top is None else as_count("top", top, instead=": how many examples to list for each query")
    able = _able(m)
    x = as_inputs(inputs, 0 if target is None else np.size(target))
    k = count_rows(x)
    if k == 0:
        raise DataError("no queries: expected inputs with one row for each prediction that is asked about")
    y = None if target is None else checked_column(target, k, "target")
    added = checked_offset(offset, k)
    members = None if groups is None else resolve_groups(m, groups)
    parts = []
    for rows in query_blocks(m, k):
        part = None if y is None else y[rows]
        queries = _Queries.of(m, take_rows(x, rows), part, None if added is None else added[rows])
        found = _of_examples(m, queries, top) if members is None else _of_groups(m, queries, members)
        parts.append(_columns(m, found, rows.start, members))
    held = held_in_words(m.provenance.description, groups=members is not None)
    caution = "" if members is not None else able.query_caution
    return QueryInfluence(pa.concat_tables(parts), held=held, caution=caution)


def _able(m: MemoryMap) -> Capabilities:
    """The posterior's capabilities; raise unless it has cross-covariances and nothing has changed since."""
    origin = require_origin(m)
    origin.check_unchanged()
    able = capabilities_of(origin.posterior)
    if able.covariance_root is None and able.cross_covariance is None:
        raise no_cross_covariances(origin)
    return able


def _of_examples(m: MemoryMap, queries: _Queries, top: int | None) -> RankedEffects:
    kept: RankedEffects | None = None
    for rows, deviation in example_deviations(m, queries.inputs, len(queries.f)):
        found = queries.effects(deviation, np.arange(rows.start, rows.stop))
        kept = (found if kept is None else kept.merged(found)).largest(None if top is None else _CANDIDATES * top)
    if kept is None:
        raise ValueError("the map has no examples, nothing can be removed: ask the whole map, or m.select(ids)")
    refits = refitted_deviations(m, queries.inputs, kept.most)
    if refits is not None:
        kept = kept.replaced(queries.effects(refits.deviation, refits.position, refitted=True))
    return kept.largest(top)


def _of_groups(m: MemoryMap, queries: _Queries, members: dict[str, Array]) -> tuple[RankedEffects, list[str]]:
    deviation, warnings = group_deviations(m, [m["row"][rows] for rows in members.values()], queries.inputs)
    return queries.effects(deviation, np.arange(len(members))).largest(None), warnings


def _target_codes(m: MemoryMap, likelihood: Likelihood, f: Array, target: Any) -> Array | None:
    """Targets as the likelihood takes them: classes as numbers; the predicted ones by default."""
    classes = m.provenance.description.classes
    if target is None:
        predicted = likelihood.predict_target(likelihood.mean(f)) if classes else None
        return predicted if predicted is None or predicted.ndim == 1 else (predicted[:, 0] > 0.5).astype(float)
    y = as_array(target)
    if classes:
        y = _class_numbers(y, list(classes))
    likelihood.check_target(y, f.shape[1])
    return y


def _class_numbers(y: Array, classes: list[Any]) -> Array:
    codes = {label: code for code, label in enumerate(classes)}
    unknown = sorted({repr(label) for label in y.tolist() if label not in codes})
    if unknown:
        raise DataError(f"targets {', '.join(unknown[:5])}: expected classes of the map, {classes[:10]}")
    return np.asarray([codes[label] for label in y.tolist()])


def _columns(m: MemoryMap, found: Any, first: int, members: dict[str, Array] | None) -> pa.Table:
    """One row for each query and example, or group."""
    effects, warnings = (found, []) if members is None else found
    k, b = effects.position.shape
    position = effects.position.reshape(-1)
    columns = {"query": first + np.repeat(np.arange(k), b)}
    if members is None:
        columns["id"] = m["id"][position]
    else:
        columns["group"] = np.asarray(list(members))[position]
        columns["size"] = np.asarray([len(rows) for rows in members.values()])[position]
    columns |= {"change": effects.change.reshape(k * b, -1), "loss_change": effects.loss_change.reshape(-1)}
    if members is None:
        columns["refitted"] = effects.refitted.reshape(-1)
    else:
        columns["warning"] = np.asarray(warnings)[position]
    return pa.Table.from_batches([to_record_batch(columns)])
