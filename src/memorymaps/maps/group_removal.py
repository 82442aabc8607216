"""`leave_out`: effects of removing groups of examples, from the posterior of a map in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.averages import WeightedMoments
from memorymaps.core.perturbation.group_removal import group_coordinates
from memorymaps.maps.ids import positions
from memorymaps.maps.result_table import ResultTable
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.group_refits import refit_groups, step_warnings
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable


_CHUNK = 256  # members processed at once


_ERRORS = ("leave_out_loss_se", "loss_change_se", "rest_leave_out_loss_se", "rest_loss_change_se")


_MAX_RESIDUAL = 1e-2  # largest relative residual of iterative solves: two digits


@dataclass(frozen=True, repr=False)
class LeaveOut(ResultTable):
    """Effects of removing groups; one row per group.

    Columns: `group`; `size`; `leverage` (Σ of members); `sensitivity` (Σ of the members' changes of prediction);
    `loss`, `leave_out_loss` (members' mean loss before and after); `rest_sensitivity` (Σ of the other examples'
    changes); `rest_loss`, `rest_leave_out_loss` (the other examples' mean loss before and after); `leave_out_loss_se`,
    `rest_leave_out_loss_se`, and `loss_change_se`, `rest_loss_change_se` (standard errors over the examples, of the
    means after and of the paired changes; NaN for fewer than two); `warning` (what to distrust, empty if nothing).
    Means are weighted: an example of weight `w` counts as `w` examples, unless weights are precisions.
    """


def leave_out(m: ExampleTable, groups: Any) -> LeaveOut:
    """Remove whole groups at once: `Δf = V_{·M}(I − Λ_M V_{MM})⁻¹e_M` for all examples [MPE Eq. 14].

    Exact for linear regression and ridge: one pass over the training data for all groups, an `r × r` system each, where
    `r` is the number of parameters. GLMs are refitted without each group by Newton's method; support vector machines,
    L1 penalties and forests are cloned and fitted for up to 20 groups. Other models take one step: small networks by
    the same system, large ones by conjugate gradients with the exact curvature.

    Raises
    ------
    ValueError
        The map was read from disk (no posterior), a group is empty or contains all examples, labels of another length.
    TypeError
        The posterior offers no group removal.
    """
    origin = _origin(m)
    origin.check_unchanged()
    members = {name: m["row"][rows] for name, rows in resolve_groups(m, groups).items()}
    rows = list(members.values())
    refits = refit_groups(origin, rows)
    deviation_of = _deviation_function(origin, rows) if refits is None else None
    sums, start = _GroupSums(rows, m.provenance.n), 0
    for batch in origin.examples:
        end = start + len(batch)
        deviation = refits.deviation[start:end] if deviation_of is None else deviation_of(batch.inputs)  # type: ignore[union-attr]
        sums.add(start, deviation, origin.batch_statistics(batch))
        start = end
    columns = sums.columns()
    warning = step_warnings(origin, columns) if refits is None else list(refits.warning)
    names = pa.array([str(name) for name in members])
    return LeaveOut(pa.table({"group": names, **columns, "warning": pa.array(warning, pa.string())}))


def _origin(m: ExampleTable) -> Origin:
    if m.origin is None:
        raise ValueError(
            "group removal needs the posterior, and a map read from disk has none: "
            "call leave_out on the map that memory_map returned"
        )
    return m.origin


def _deviation_function(origin: Origin, members: list[Array]) -> Callable[[Any], Array]:
    """Function from inputs to deviations `[n, c, groups]`."""
    capabilities = capabilities_of(origin.posterior)
    if capabilities.covariance_root is not None:
        root = capabilities.covariance_root
        coordinates = np.stack([removal_coordinates(origin, root, rows) for rows in members], axis=1)
        return lambda inputs: np.tensordot(root(inputs), coordinates, axes=(-1, 0))
    if capabilities.removal is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} offers no group removal: its capabilities have neither "
            "covariance_root nor removal"
        )
    influence = capabilities.removal
    deltas, residual = influence.parameter_change([np.sort(rows) for rows in members])
    if np.any(residual > _MAX_RESIDUAL):
        raise ValueError(f"group removal has a relative residual of {residual.max():.1g}: use smaller groups")
    return lambda inputs: influence.output_change(inputs, deltas)


def removal_coordinates(origin: Origin, root: Callable[[Any], Array], rows: Array) -> Array:
    """`u [r]` of removing training rows together, with `Δf = z u` at any input; `root`: inputs → `Z [n, c, r]`."""
    members, penalty = np.sort(rows), capabilities_of(origin.posterior).penalty
    pieces = (origin.examples.take(members[start : start + _CHUNK]) for start in range(0, len(members), _CHUNK))
    if penalty is None:
        return group_coordinates(_member_terms(origin, root, batch) for batch in pieces)
    weight = origin.examples.take(members).weight
    removed = len(members) if weight is None else np.sum(weight)
    return group_coordinates((_member_terms(origin, root, b) for b in pieces), float(removed) * penalty.coordinates)


def _member_terms(origin: Origin, root: Callable[[Any], Array], batch: Batch) -> tuple[Array, Array, Array]:
    """`e [m, c]`, `Z [m, c, r]` and `Λ [m, c, c]`."""
    stats: Any = origin.batch_statistics(batch)
    return stats.error, root(batch.inputs), stats.curvature


class _GroupSums:
    """Sums over members and over the other examples, accumulated batch by batch."""

    def __init__(self, members: list[Array], n: int):
        self._is_member = np.zeros((n, len(members)), dtype=bool)
        for k, rows in enumerate(members):
            self._is_member[rows, k] = True
        self._sums = np.zeros((9, len(members)))
        self._moments = {name: WeightedMoments(len(members)) for name in _ERRORS}

    def add(self, start: int, deviation: Array, stats: Any) -> None:
        """Add a batch with deviations `[n, c, groups]`; `start` is its first row."""
        inside, likelihood = self._is_member[start : start + len(deviation)], stats.likelihood
        loss, mean = likelihood.example_loss(stats.f, stats.y, stats.weight), likelihood.mean(stats.f)
        counts = (stats.weight > 0) * 1.0 if likelihood.weights_are_precisions else stats.weight
        for k in range(deviation.shape[-1]):
            f = stats.f + deviation[..., k]
            change = np.sum(np.abs(likelihood.mean(f) - mean), axis=1)
            after = likelihood.example_loss(f, stats.y, stats.weight)
            rows = np.stack([change, counts * loss, counts * after, counts])
            self._sums[:4, k] += rows @ inside[:, k]
            self._sums[4:8, k] += rows @ ~inside[:, k]
            self._sums[8, k] += stats.leverage @ inside[:, k]
            of_members, of_rest = counts * inside[:, k], counts * ~inside[:, k]
            terms = ((after, of_members), (after - loss, of_members), (after, of_rest), (after - loss, of_rest))
            for moments, (values, weight) in zip(self._moments.values(), terms, strict=True):
                moments.add(k, values, weight)

    def columns(self) -> dict[str, Array]:
        """The columns of `LeaveOut`."""
        s = self._sums
        with np.errstate(invalid="ignore"):  # nobody with weight: no mean
            means = np.stack([s[1], s[2], s[5], s[6]]) / np.stack([s[3], s[3], s[7], s[7]])
        return {
            "size": np.count_nonzero(self._is_member, axis=0), "leverage": s[8], "sensitivity": s[0], "loss": means[0],
            "leave_out_loss": means[1], "rest_sensitivity": s[4], "rest_loss": means[2],
            "rest_leave_out_loss": means[3],
            **{name: moments.standard_errors() for name, moments in self._moments.items()},
        }  # fmt: skip


def resolve_groups(m: ExampleTable, groups: Any) -> dict[str, Array]:
    """Positions in the map of each group's members; `groups` as in `MemoryMap.leave_out`."""
    found = _groups_from_mapping(m, groups) if isinstance(groups, Mapping) else _groups_from_labels(m, groups)
    for name, rows in found.items():
        if not 0 < len(np.unique(rows)) < m.provenance.n:
            raise ValueError(f"group {name!r} has {len(rows)} of {m.provenance.n} examples: expected some, not all")
    return found


def _groups_from_mapping(m: ExampleTable, groups: Mapping[Any, Any]) -> dict[str, Array]:
    if not groups:
        raise ValueError("no groups given: expected {name: ids} with at least one group, as {'chosen': [0, 3]}")
    return {str(name): np.unique(positions(m, ids)) for name, ids in groups.items()}


def _groups_from_labels(m: ExampleTable, groups: Any) -> dict[str, Array]:
    labels = m[groups] if isinstance(groups, str) else np.asarray(groups)
    if labels.shape != (len(m),):
        raise ValueError(
            f"group labels of shape {labels.shape}: expected one for each of {len(m)} examples, or a column's name. "
            "For chosen examples as one group: m.leave_out({'chosen': ids})"
        )
    return {str(value): np.flatnonzero(labels == value) for value in np.unique(labels)}
