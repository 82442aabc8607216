"""What leaving examples out would do: one by one from the map's columns, in groups from the live posterior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.group_removal import group_coordinates
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    import pandas as pd

    from memorymaps.maps.table import ExampleTable


_TOGETHER = 256  # members whose factors are held at a time


_SOLVED = 1e-2  # relative residual of an iterative removal that still gives two digits


@dataclass(frozen=True)
class LeaveOut:
    """One row a group: what removing it would do.

    Columns: `group`; `size`; `leverage` (Σ of members); `sensitivity` (Σ of the members' changes of prediction);
    `loss`, `leave_out_loss` (members' mean loss before and after); `rest_sensitivity` (Σ of everybody else's
    changes); `rest_loss`, `rest_leave_out_loss` (everybody else's mean loss before and after).
    """

    table: pa.Table

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas data frame."""
        return self.table.to_pandas()

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self.table.column(name).combine_chunks())

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return str(self.to_pandas().to_string())

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html())


def leave_out(m: ExampleTable, groups: Any) -> LeaveOut:
    """Remove whole groups at once: `Δf = V_{·M}(I − Λ_M V_{MM})⁻¹e_M` for members and everybody else [MPE Eq. 14].

    Exact for linear regression and ridge. Small models: one pass over the training data for all groups, an `r × r`
    system each, where `r` is the number of parameters. Large networks: conjugate gradients on the exact curvature.

    Raises
    ------
    ValueError
        The map was read from disk (no posterior to ask), a group is empty or is everybody, labels of another length.
    TypeError
        The posterior gives no cross-covariances.
    """
    origin = _origin(m)
    origin.check_unchanged()
    members = {name: m["row"][rows] for name, rows in resolve_groups(m, groups).items()}
    respond = _responses(origin, list(members.values()))
    effects, start = _Effects(list(members.values()), m.provenance.n), 0
    for batch in origin.examples:
        effects.add(start, respond(batch.inputs), origin.local(batch))
        start += len(batch)
    return LeaveOut(pa.table({"group": pa.array([str(name) for name in members]), **effects.columns()}))


def _origin(m: ExampleTable) -> Origin:
    if m.origin is None:
        raise ValueError(
            "group removal needs the posterior, and a map read from disk has none: "
            "call leave_out on the map that memory_map returned"
        )
    return m.origin


def _responses(origin: Origin, members: list[Array]) -> Callable[[Any], Array]:
    """Deviations `[n, c, groups]` of any batch of inputs."""
    able = capabilities_of(origin.posterior)
    if able.covariance_root is not None:
        root = able.covariance_root
        shifts = np.stack([_shift(origin, root, rows) for rows in members], axis=1)
        return lambda inputs: np.tensordot(root(inputs), shifts, axes=(-1, 0))
    if able.removal is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} gives no cross-covariances: its capabilities have neither "
            "covariance_root nor removal"
        )
    influence = able.removal
    deltas, residual = influence.parameter_change([np.sort(rows) for rows in members])
    if np.any(residual > _SOLVED):
        raise ValueError(f"removal was solved to a relative residual of {residual.max():.1g} only: try smaller groups")
    return lambda inputs: influence.output_change(inputs, deltas)


def _shift(origin: Origin, root: Callable[[Any], Array], rows: Array) -> Array:
    members = np.sort(rows)
    pieces = (origin.examples.take(members[start : start + _TOGETHER]) for start in range(0, len(members), _TOGETHER))
    return group_coordinates(_of_members(origin, root, batch) for batch in pieces)


def _of_members(origin: Origin, root: Callable[[Any], Array], batch: Batch) -> tuple[Array, Array, Array]:
    """`e`, `Z` and `Λ`."""
    at: Any = origin.local(batch)
    return at.error, root(batch.inputs), at.curvature


class _Effects:
    """Sums over members and over everybody else, batch by batch."""

    def __init__(self, members: list[Array], n: int):
        self._inside = np.zeros((n, len(members)), dtype=bool)
        for k, rows in enumerate(members):
            self._inside[rows, k] = True
        self._sums = np.zeros((7, len(members)))

    def add(self, start: int, deviation: Array, at: Any) -> None:
        """Take in a batch with deviations `[n, c, groups]`."""
        inside = self._inside[start : start + len(deviation)]
        loss, mean = at.likelihood.nll(at.f, at.y), at.likelihood.mean(at.f)
        for k in range(deviation.shape[-1]):
            moved = at.f + deviation[..., k]
            change = np.sum(np.abs(at.likelihood.mean(moved) - mean), axis=1)
            rows = np.stack([change, loss, at.likelihood.nll(moved, at.y)])
            self._sums[:3, k] += rows @ inside[:, k]
            self._sums[3:6, k] += rows @ ~inside[:, k]
            self._sums[6, k] += at.leverage @ inside[:, k]

    def columns(self) -> dict[str, Array]:
        """The columns of `LeaveOut`."""
        size = np.count_nonzero(self._inside, axis=0)
        rest = len(self._inside) - size
        s = self._sums
        return {
            "size": size, "leverage": s[6], "sensitivity": s[0], "loss": s[1] / size, "leave_out_loss": s[2] / size,
            "rest_sensitivity": s[3], "rest_loss": s[4] / rest, "rest_leave_out_loss": s[5] / rest,
        }  # fmt: skip


def resolve_groups(m: ExampleTable, groups: Any) -> dict[str, Array]:
    """Positions in the map of each group's members; see `leave_out` for what `groups` may be."""
    found = _mapped(m, groups) if isinstance(groups, Mapping) else _labelled(m, groups)
    for name, rows in found.items():
        if not 0 < len(np.unique(rows)) < m.provenance.n:
            raise ValueError(f"group {name!r} has {len(rows)} of {m.provenance.n} examples: expected some, not all")
    return found


def _mapped(m: ExampleTable, groups: Mapping[Any, Any]) -> dict[str, Array]:
    if not groups:
        raise ValueError("no groups given")
    position = {value: row for row, value in enumerate(m["id"].tolist())}
    missing = [value for ids in groups.values() for value in ids if value not in position]
    if missing:
        raise KeyError(f"{len(missing)} id(s) are not in this map: {missing[:5]}")
    return {str(name): np.unique([position[value] for value in ids]) for name, ids in groups.items()}


def _labelled(m: ExampleTable, groups: Any) -> dict[str, Array]:
    labels = m[groups] if isinstance(groups, str) else np.asarray(groups)
    if labels.shape != (len(m),):
        raise ValueError(f"group labels of shape {labels.shape}: expected one for each of {len(m)} examples")
    return {str(value): np.flatnonzero(labels == value) for value in np.unique(labels)}
