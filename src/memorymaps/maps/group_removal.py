"""`leave_out`: effects of removing groups of examples, from the posterior of a map in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.group_removal import group_coordinates
from memorymaps.maps.result_table import ResultTable
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable


_CHUNK = 256  # members processed at once


_MAX_RESIDUAL = 1e-2  # largest relative residual of iterative solves: two digits


@dataclass(frozen=True, repr=False)
class LeaveOut(ResultTable):
    """Effects of removing groups; one row per group.

    Columns: `group`; `size`; `leverage` (Σ of members); `sensitivity` (Σ of the members' changes of prediction);
    `loss`, `leave_out_loss` (members' mean loss before and after); `rest_sensitivity` (Σ of the other examples'
    changes); `rest_loss`, `rest_leave_out_loss` (the other examples' mean loss before and after).
    """


def leave_out(m: ExampleTable, groups: Any) -> LeaveOut:
    """Remove whole groups at once: `Δf = V_{·M}(I − Λ_M V_{MM})⁻¹e_M` for all examples [MPE Eq. 14].

    Exact for linear regression and ridge. Small models: one pass over the training data for all groups, an `r × r`
    system each, where `r` is the number of parameters. Large networks: conjugate gradients with the exact curvature.

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
    deviation_of = _deviation_function(origin, list(members.values()))
    sums, start = _GroupSums(list(members.values()), m.provenance.n), 0
    for batch in origin.examples:
        sums.add(start, deviation_of(batch.inputs), origin.batch_statistics(batch))
        start += len(batch)
    return LeaveOut(pa.table({"group": pa.array([str(name) for name in members]), **sums.columns()}))


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
        coordinates = np.stack([_group_coordinates(origin, root, rows) for rows in members], axis=1)
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


def _group_coordinates(origin: Origin, root: Callable[[Any], Array], rows: Array) -> Array:
    members = np.sort(rows)
    pieces = (origin.examples.take(members[start : start + _CHUNK]) for start in range(0, len(members), _CHUNK))
    return group_coordinates(_member_terms(origin, root, batch) for batch in pieces)


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
        self._sums = np.zeros((7, len(members)))

    def add(self, start: int, deviation: Array, stats: Any) -> None:
        """Add a batch with deviations `[n, c, groups]`; `start` is its first row."""
        inside = self._is_member[start : start + len(deviation)]
        loss, mean = stats.likelihood.nll(stats.f, stats.y), stats.likelihood.mean(stats.f)
        for k in range(deviation.shape[-1]):
            f = stats.f + deviation[..., k]
            change = np.sum(np.abs(stats.likelihood.mean(f) - mean), axis=1)
            rows = np.stack([change, loss, stats.likelihood.nll(f, stats.y)])
            self._sums[:3, k] += rows @ inside[:, k]
            self._sums[3:6, k] += rows @ ~inside[:, k]
            self._sums[6, k] += stats.leverage @ inside[:, k]

    def columns(self) -> dict[str, Array]:
        """The columns of `LeaveOut`."""
        size = np.count_nonzero(self._is_member, axis=0)
        rest = len(self._is_member) - size
        s = self._sums
        return {
            "size": size, "leverage": s[6], "sensitivity": s[0], "loss": s[1] / size, "leave_out_loss": s[2] / size,
            "rest_sensitivity": s[3], "rest_loss": s[4] / rest, "rest_leave_out_loss": s[5] / rest,
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
        raise ValueError("no groups given")
    position = {value: row for row, value in enumerate(m["id"].tolist())}
    missing = [value for ids in groups.values() for value in ids if value not in position]
    if missing:
        raise KeyError(f"{len(missing)} id(s) are not in this map: {missing[:5]}")
    return {str(name): np.unique([position[value] for value in ids]) for name, ids in groups.items()}


def _groups_from_labels(m: ExampleTable, groups: Any) -> dict[str, Array]:
    labels = m[groups] if isinstance(groups, str) else np.asarray(groups)
    if labels.shape != (len(m),):
        raise ValueError(f"group labels of shape {labels.shape}: expected one for each of {len(m)} examples")
    return {str(value): np.flatnonzero(labels == value) for value in np.unique(labels)}
