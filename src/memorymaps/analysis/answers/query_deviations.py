"""Deviations of given predictions when training examples or groups of them are removed, block by block.

    Δf_* = V_{*i}(I − Λ_iV_i)⁻¹e_i    for an example,
    Δf_* = Z_* u_M                     for a group, u_M of its removal or of a refit without it.

`V_{*i}` is in closed form for kernel machines, else `Z_*Z_iᵀ` where the posterior has roots `Z`. Networks whose roots
are too large, or whose curvature is approximate, take a linear system with the exact curvature for each output of a
query.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array, Batch
from memorymaps.maps.groups.removal import removal_coordinates, stated_removals
from memorymaps.posteriors.capabilities import Capabilities, CrossCovariance, capabilities_of
from memorymaps.posteriors.group_refits import refit_groups, removal_capabilities, step_warnings
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_BLOCK_NUMBERS = 4_000_000  # numbers of the deviations, or of the examples' roots, held at once
_QUERY_NUMBERS = 20_000_000  # numbers of the queries' roots, or of the solutions of their systems, held at once
_MAX_RESIDUAL = 1e-2  # relative residual of iterative solves, and of refits as changes of parameters: two digits
_CUTOFF = 1e-12  # relative size of eigenvalues that count as zero
_GROUP_REFITS = "refitted on the training data only: one Newton step for these predictions"


def query_blocks(m: MemoryMap, queries: int) -> Iterator[slice]:
    """Consecutive queries whose roots, or solutions, fit in memory together."""
    origin = require_origin(m)
    able = removal_capabilities(origin)
    each = 1
    if able.cross_covariance is not None:
        each = able.cross_covariance.numbers
    elif able.covariance_root is not None:
        each = int(np.size(able.covariance_root(origin.examples.take(m["row"][:1]).inputs)))
    size = max(1, _QUERY_NUMBERS // max(1, each))
    for start in range(0, queries, size):
        yield slice(start, min(queries, start + size))


def example_deviations(m: MemoryMap, queries: Any, k: int) -> Iterator[tuple[slice, Array]]:
    """Positions in the map of some examples, and the queries' deviations without each, `Δf_* [k, b, c]`.

    Raises
    ------
    TypeError
        The posterior offers no cross-covariances.
    """
    origin, estimator = require_origin(m), m.provenance.estimator
    able = removal_capabilities(origin)
    outputs = (k, m.provenance.outputs)
    deviation_of, numbers = _deviation_function(origin, able, queries, outputs)
    size = max(1, _BLOCK_NUMBERS // max(numbers, math.prod(outputs)))
    for start in range(0, len(m), size):
        rows = slice(start, min(len(m), start + size))
        batch = origin.examples.take(m["row"][rows])
        parts = [origin.batch_statistics(chunk) for chunk in origin.chunks(batch)]
        errors = np.concatenate([np.asarray(estimator.removal_error(stats)) for stats in parts])
        weight = np.concatenate([stats.weight for stats in parts])
        yield rows, deviation_of(batch, errors, weight)


@dataclass(frozen=True)
class RefittedDeviations:
    """Deviations `Δf_* [k, b, c]` of `k` queries by refits without each example at `position [b]` in the map."""

    position: Array
    deviation: Array


def refitted_deviations(m: MemoryMap, queries: Any, chosen: Callable[[int], Array]) -> RefittedDeviations | None:
    """By refits without as many examples as are affordable, `chosen(number)` their positions in the map.

    None where the model has no such refits, or none has reached its end.
    """
    source = capabilities_of(require_origin(m).posterior).example_refits
    if source is None:
        return None
    position = chosen(source.affordable())
    if not len(position):
        return None
    deviation = source.at(queries)(m["row"][position])
    reached = np.isfinite(deviation).all(axis=(0, 2))
    return RefittedDeviations(position[reached], deviation[:, reached]) if reached.any() else None


_Deviations = Callable[[Batch, Array, Array], Array]


def _deviation_function(
    origin: Origin, able: Capabilities, queries: Any, outputs: tuple[int, int]
) -> tuple[_Deviations, int]:
    """Function from a batch, removal errors `[b, c]` and weights to `Δf_* [k, b, c]`; numbers it holds an example."""
    if able.cross_covariance is not None:
        return _by_cross_covariances(able.cross_covariance, queries, outputs)
    if able.covariance_root is not None:
        return _by_roots(able, queries)
    raise no_cross_covariances(origin)


def _by_roots(able: Capabilities, queries: Any) -> tuple[_Deviations, int]:
    root, penalty = able.covariance_root, able.penalty
    assert root is not None
    at_queries = root(queries)  # [k, c, r]

    def deviations(batch: Batch, errors: Array, weight: Array) -> Array:
        u = np.einsum("bcr,bc->br", root(batch.inputs), errors)
        u = u if penalty is None else u + weight[:, None] * penalty.coordinates
        return np.swapaxes(at_queries @ u.T, 1, 2)

    return deviations, at_queries.shape[1] * at_queries.shape[2]


def _by_cross_covariances(source: CrossCovariance, queries: Any, outputs: tuple[int, int]) -> tuple[_Deviations, int]:
    (k, c), covariance = outputs, source.of_batch(queries)  # batch → [b, c, k, c]

    def deviations(batch: Batch, errors: Array, weight: Array) -> Array:
        return np.einsum("bckd,bc->kbd", covariance(batch), errors)

    return deviations, k * c * c


def no_cross_covariances(origin: Origin) -> TypeError:
    """The refusal for posteriors without."""
    return TypeError(
        f"{type(origin.posterior).__name__} has no cross-covariances between examples: expected a linear or kernel "
        "model, a Gaussian process, or a network. The effect of groups on the training examples: m.leave_out(groups)"
    )


def group_deviations(m: MemoryMap, groups: Sequence[Array], queries: Any) -> tuple[Array, list[str]]:
    """Deviations `Δf_* [k, g, c]` of the queries without each group of training rows, and what to distrust of them.

    Refitted without the group where `leave_out` refits, else one linear step, which is exact for least squares.
    """
    origin = require_origin(m)
    able = removal_capabilities(origin)
    warnings = _step_warnings(m, groups)
    if able.covariance_root is not None:
        return _by_steps_and_refits(origin, able, groups, queries, warnings)
    if able.removal is None:
        raise no_cross_covariances(origin)
    deltas, residual = able.removal.parameter_change([np.sort(rows) for rows in groups])
    if np.any(residual > _MAX_RESIDUAL):
        raise ValueError(f"group removal has a relative residual of {residual.max():.1g}: use smaller groups")
    return np.swapaxes(able.removal.output_change(queries, deltas), 1, 2), warnings


def _step_warnings(m: MemoryMap, groups: Sequence[Array]) -> list[str]:
    position = dict(zip(m["row"].tolist(), range(len(m)), strict=True))
    leverage = [np.sum(m["leverage"][[position[row] for row in rows.tolist()]]) for rows in groups]
    columns = {"leverage": leverage, "size": [len(rows) for rows in groups], "sensitivity": np.zeros(len(groups))}
    return step_warnings(require_origin(m), {name: np.asarray(values) for name, values in columns.items()})


def _by_steps_and_refits(
    origin: Origin, able: Capabilities, groups: Sequence[Array], queries: Any, warnings: list[str]
) -> tuple[Array, list[str]]:
    """Deviations by refits, from what these change at the training inputs; by one step where there are none."""
    refits = refit_groups(origin, list(groups))
    if refits is None:
        return _by_steps(origin, able, groups, queries), warnings
    interpolate = able.interpolate or functools.partial(_interpolate, origin, able)
    change, residual = interpolate(queries, refits.deviation)
    deviation, known = np.swapaxes(change, 1, 2), residual <= _MAX_RESIDUAL
    failed = np.asarray([bool(words) for words in refits.warning])  # their changes are not numbers, as in `leave_out`
    unknown = np.flatnonzero(~known & ~failed).tolist()
    if unknown:
        deviation[:, unknown] = _by_steps(origin, able, [groups[g] for g in unknown], queries)
    words = [
        refit if known[g] or refit else "; ".join(filter(None, [_GROUP_REFITS, warnings[g]]))
        for g, refit in enumerate(refits.warning)
    ]
    return deviation, words


def _by_steps(origin: Origin, able: Capabilities, groups: Sequence[Array], queries: Any) -> Array:
    """Deviations `[k, g, c]` by one linear step without each group."""
    stated = stated_removals(origin, list(groups))
    if stated is not None and able.cross_covariance is not None:
        covariance = able.cross_covariance.of_batch(queries)
        pairs = zip(stated, (covariance(origin.examples.take(np.sort(rows))) for rows in groups), strict=True)
        return np.stack([np.einsum("mckd,mc->kd", each, found.error) for found, each in pairs], axis=1)
    root = able.covariance_root
    assert root is not None
    u = np.stack([removal_coordinates(origin, root, rows) for rows in groups])
    return np.swapaxes(root(queries) @ u.T, 1, 2)


def _interpolate(origin: Origin, able: Capabilities, queries: Any, change: Array) -> tuple[Array, Array]:
    """Changes `[k, c, g]` at the queries for those of all training outputs, and the residuals of the latter."""
    assert able.covariance_root is not None
    u, residual = _coordinates_of_changes(origin, able.covariance_root, change)
    return able.covariance_root(queries) @ u.T, residual


def _coordinates_of_changes(origin: Origin, root: Callable[[Any], Array], change: Array) -> tuple[Array, Array]:
    """`u [g, r]` whose `z_i u` are the changes `[n, c, g]` of all training outputs, and their relative residuals `[g]`.

    Least squares in whitened coordinates: what a refit changes in the training outputs determines what it changes in
    the parameters, and so elsewhere.
    """
    gram: Any = 0.0
    moment: Any = 0.0
    for z, part in _roots_with(origin, root, change):
        gram, moment = gram + z.T @ z, moment + z.T @ part
    values, vectors = np.linalg.eigh(gram)
    kept = values > _CUTOFF * values[-1]
    u = (vectors[:, kept] / values[kept]) @ (vectors[:, kept].T @ moment)
    rest = sum(np.sum((part - z @ u) ** 2, axis=0) for z, part in _roots_with(origin, root, change))
    size = np.sum(change**2, axis=(0, 1))
    return u.T, np.sqrt(np.divide(rest, size, out=np.zeros_like(size), where=size > 0))


def _roots_with(origin: Origin, root: Callable[[Any], Array], change: Array) -> Iterator[tuple[Array, Array]]:
    start = 0
    for batch in origin.examples:
        z, part = root(batch.inputs), change[start : start + len(batch)]
        start += len(batch)
        yield z.reshape(-1, z.shape[-1]), part.reshape(-1, part.shape[-1])
