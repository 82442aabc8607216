"""Which training examples made a prediction: the change of given predictions when each example is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.perturbation.deviation import AT_BOUND, matvec
from memorymaps.core.settings import as_count
from memorymaps.data.coercion import as_array, as_inputs, checked_column, checked_offset, count_rows
from memorymaps.data.examples import DataError
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.result_table import ResultTable
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_CHUNK_NUMBERS = 4_000_000  # numbers of the deviations held at once


@dataclass(frozen=True, repr=False)
class QueryInfluence(ResultTable):
    """What removing a training example does to a prediction; rows for each query and each of its top examples.

    Columns: `query` (position among the queries); `id` (of the training example); `change` (of the query's predicted
    mean, `c` values, in units of the target or as probabilities); `loss_change` (of the query's loss, in nats:
    positive for helpful examples, negative for harmful ones).
    """

    def helpful(self, query: int) -> QueryInfluence:
        """The examples without which the query's loss is higher, most helpful first."""
        return self._of(query, -1)

    def harmful(self, query: int) -> QueryInfluence:
        """The examples without which the query's loss is lower, most harmful first."""
        return self._of(query, 1)

    def _of(self, query: int, sign: int) -> QueryInfluence:
        if query not in self["query"]:
            raise ValueError(f"query = {query}: expected a position from 0 to {self['query'].max()}")
        if np.all(np.isnan(self["loss_change"])):
            raise ValueError("the queries' losses are unknown without their targets: pass target= to influence_on")
        value = sign * self["loss_change"]
        rows = np.flatnonzero((self["query"] == query) & (value < 0))
        return QueryInfluence(self.table.take(rows[np.argsort(value[rows], kind="stable")]))


@dataclass(frozen=True)
class _Queries:
    """Predictions that are asked about: outputs `f [k, c]`, roots `Z [k, c, r]`, targets `y` as numbers or `None`."""

    likelihood: Likelihood
    f: Array
    root: Array
    y: Array | None

    @classmethod
    def of(cls, m: MemoryMap, inputs: Any, target: Any, offset: Any) -> _Queries:
        """The model at these inputs, with the targets given or the classes predicted."""
        origin = require_origin(m)
        root = _root_of(origin)
        x = as_inputs(inputs, 0 if target is None else np.size(target))
        if count_rows(x) == 0:
            raise DataError("no queries: expected inputs with one row for each prediction that is asked about")
        marginals = origin.posterior.marginals(x)
        total = marginals.variance
        if marginals.residual_variance is not None:
            total = total + marginals.residual_variance
        f = np.asarray(marginals.f, dtype=float)
        if offset is not None:
            f = f + np.reshape(checked_offset(offset, len(f)), (len(f), -1))  # type: ignore[arg-type]
        likelihood = origin.posterior.likelihood.averaged_over(total)
        return cls(likelihood, f, root(x), _target_codes(m, likelihood, f, target))

    def changes(self, coordinates: Array) -> tuple[Array, Array]:
        """Changes of the mean `[k, b, c]` and of the loss `[k, b]` for examples of coordinates `u [b, r]`."""
        (k, c), b = self.f.shape, len(coordinates)
        f = np.repeat(self.f, b, axis=0)
        moved = f + np.swapaxes(self.root @ coordinates.T, 1, 2).reshape(k * b, c)
        mean = self.likelihood.mean(moved) - self.likelihood.mean(f)
        if self.y is None:
            return mean.reshape(k, b, -1), np.full((k, b), np.nan)
        y = np.repeat(self.y, b, axis=0)
        loss = self.likelihood.nll(moved, y) - self.likelihood.nll(f, y)
        return mean.reshape(k, b, -1), loss.reshape(k, b)


def influence_on(m: MemoryMap, inputs: Any, target: Any = None, *, offset: Any = None, top: int = 10) -> QueryInfluence:
    """Which training examples made these predictions: how each would change if one example were removed.

    `Δf_* = Z_*Z_iᵀ(I − Λ_iV_i)⁻¹e_i`, the deviation of a map at another input [MPE Eq. 14 with one example]; equal to
    refitting for least squares and ridge, one Newton step for other losses (without `(I − ΛV)⁻¹` where the map's
    estimator is first-order). At a training example's own input it is the map's `deviation`. Influence functions
    (Cook & Weisberg 1982; Koh & Liang 2017) are the same without `(I − ΛV)⁻¹`.

    Parameters
    ----------
    m : a map in memory, of a model with cross-covariances: linear models, GLMs, kernel machines, Gaussian processes,
        networks of up to some thousand parameters with `Laplace("full")` or another block structure.
    inputs : `[k, p]`, inputs as the model was fitted on.
    target : `[k]`, the queries' targets, for the change of their loss; default for classifiers: the predicted class.
        Without targets the other losses are unknown: `loss_change` is NaN, and examples are ranked by their change of
        the mean.
    offset : `[k]`, added to the model's output.
    top : number of most helpful and of most harmful examples for each query.

    Raises
    ------
    TypeError
        The posterior offers no cross-covariances.
    ValueError
        The map was read from disk, or the model or its data have changed since.

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
    top = as_count("top", top, instead=": how many examples to list for each query")
    require_origin(m).check_unchanged()
    queries = _Queries.of(m, inputs, target, offset)
    parts = [queries.changes(coordinates) for coordinates in _example_coordinates(m, len(queries.f))]
    change, loss = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    return _table(m["id"], change, loss, top)


def _root_of(origin: Origin) -> Callable[[Any], Array]:
    root = capabilities_of(origin.posterior).covariance_root
    if root is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} has no cross-covariances between examples: expected a linear or kernel "
            "model, a Gaussian process, or a small network with Laplace('full'). The effect of groups on the training "
            "examples: m.leave_out(groups)"
        )
    return root


def _target_codes(m: MemoryMap, likelihood: Likelihood, f: Array, target: Any) -> Array | None:
    """Targets as the likelihood takes them: classes as numbers; the predicted ones by default."""
    classes = m.provenance.description.classes
    if target is None:
        predicted = likelihood.predict_target(likelihood.mean(f)) if classes else None
        return predicted if predicted is None or predicted.ndim == 1 else (predicted[:, 0] > 0.5).astype(float)
    y = as_array(target)
    checked_column(y, len(f), "target")
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


def _example_coordinates(m: MemoryMap, queries: int) -> Iterator[Array]:
    """Coordinates `u [b, r]` of removing each example of the map, in parts that fit in memory with all queries.

    `u_i = Z_iᵀ(I − Λ_iV_i)⁻¹(e_i + Λ_i s_i) + w_i g`, with the example's share of a penalty per unit of weight.
    """
    origin, first_order = require_origin(m), m.provenance.estimator.name in ("first_order", "diagonal")
    root, penalty = _root_of(origin), capabilities_of(origin.posterior).penalty
    size = max(1, _CHUNK_NUMBERS // (queries * m.provenance.outputs))
    for start in range(0, len(m), size):
        batch = origin.examples.take(m["row"][start : start + size])
        stats: Any = origin.batch_statistics(batch)
        errors = stats.error if first_order else _removal_errors(stats)
        u = np.einsum("bcr,bc->br", root(batch.inputs), errors)
        yield u if penalty is None else u + stats.weight[:, None] * penalty.coordinates


def _removal_errors(stats: Any) -> Array:
    """`(I − ΛV)⁻¹(e + Λs) [b, c]`; NaN where the posterior without the example is undefined."""
    error, identity = stats.error, np.eye(stats.f.shape[1])
    if stats.penalty_response is not None:
        error = error + matvec(stats.curvature, stats.penalty_response)
    undefined = stats.largest_eigenvalue > 1 - AT_BOUND
    system = np.where(undefined[:, None, None], identity, identity - stats.curvature @ stats.variance)
    return np.where(undefined[:, None], np.nan, np.linalg.solve(system, error[..., None])[..., 0])


def _table(ids: Array, change: Array, loss: Array, top: int) -> QueryInfluence:
    rows = [_top_rows(c, each, top) for c, each in zip(change, loss, strict=True)]
    query = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    row = np.concatenate(rows)
    columns = {"query": query, "id": ids[row], "change": change[query, row], "loss_change": loss[query, row]}
    return QueryInfluence(pa.Table.from_batches([to_record_batch(columns)]))


def _top_rows(change: Array, loss: Array, top: int) -> Array:
    """The most helpful and most harmful examples; without losses, those of the largest change of the mean."""
    if np.all(np.isnan(loss)):
        return np.argsort(-np.nan_to_num(np.abs(change).sum(axis=1)), kind="stable")[:top]
    order = np.argsort(-np.nan_to_num(loss), kind="stable")
    return order if len(order) <= 2 * top else np.concatenate([order[:top], order[-top:]])
