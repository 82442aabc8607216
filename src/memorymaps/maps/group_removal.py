"""`leave_out`: effects of removing groups of examples, from the posterior of a map in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from memorymaps.core.arrays import Array
from memorymaps.core.averages import WeightedMoments
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.groups.class_counts import ClassCounts
from memorymaps.maps.groups.coefficients import (
    RestPearson,
    coefficient_columns,
    coefficient_names,
    cooks_distances,
)
from memorymaps.maps.groups.removal import GroupChanges, remove_groups
from memorymaps.maps.ids import positions
from memorymaps.maps.loo_averages import is_classes
from memorymaps.maps.result_table import RemovalTable
from memorymaps.posteriors.capabilities import capabilities_of
from memorymaps.posteriors.group_refits import held_by_coefficients, held_in_words, step_warnings
from memorymaps.posteriors.origin import Origin

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable


_ERRORS = ("leave_out_loss_se", "loss_change_se", "rest_leave_out_loss_se", "rest_loss_change_se")


@dataclass(frozen=True, repr=False)
class LeaveOut(RemovalTable):
    """Effects of removing groups; one row per group.

    Columns: `group`; `size`; `leverage` (Σ of members); `sensitivity` (Σ of the members' changes of prediction);
    `loss`, `leave_out_loss` (members' mean loss before and after); `rest_sensitivity` (Σ of the other examples'
    changes); `rest_loss`, `rest_leave_out_loss` (the other examples' mean loss before and after); `leave_out_loss_se`,
    `rest_leave_out_loss_se`, and `loss_change_se`, `rest_loss_change_se` (standard errors over the examples, of the
    means after and of the paired changes; NaN for fewer than two); `warning` (what to distrust, empty if nothing).
    Means are weighted: an example of weight `w` counts as `w` examples, unless weights are precisions.

    Of classes also `accuracy`, `leave_out_accuracy` of the members, `rest_accuracy`, `rest_leave_out_accuracy` of the
    others, and `confusion(group)`. Where the curvature is the objective's own: `joint_log_score`,
    `log p(y_M ∣ y_{−M})` of all members together, in nats (exact for Gaussian likelihoods, by Laplace's approximation
    for others). Of models with parameters: `cooks_distance`, `(θ̂ − θ̂_(M))ᵀ S (θ̂ − θ̂_(M))/p`; with names, also
    `leave_out_coefficients` `θ̂_(M)` and `dfbetas`, `(θ̂ − θ̂_(M))/s.e.` at the scale without the group, `[p]`
    (`[p c]` of several outputs) in the order of `parameters`; of one row they equal statsmodels' `OLSInfluence`.
    `coefficients()` and `dfbetas()` are these as data frames.

    Attributes
    ----------
    parameters : names of the coefficients; empty for models without.
    counts : of classes, weights of the examples by group, membership, class and predictions; else None.
    held : what all removals hold at its value although it was computed from all examples (class weights, preprocessing,
        chosen hyperparameters, the noise scale), displayed below the rows; with how far groups can be trusted where
        refits without them would change it.
    coefficients_held : the same of coefficients and DFBETAS, which hold no noise scale.
    """

    parameters: tuple[str, ...] = ()
    counts: pd.DataFrame | None = None
    coefficients_held: str = ""

    def coefficients(self) -> pd.DataFrame:
        """Coefficients without each group: one row per group, one column per coefficient.

        Raises
        ------
        TypeError
            The model has no named coefficients, or was refitted by a clone that tells predictions only.
        """
        return self._by_parameter("leave_out_coefficients")

    def dfbetas(self) -> pd.DataFrame:
        """DFBETAS of each group, `(θ̂ − θ̂_(M))/s.e.`: one row per group, one column per coefficient.

        Raises
        ------
        TypeError
            As `coefficients`.
        """
        return self._by_parameter("dfbetas")

    def _by_parameter(self, name: str) -> pd.DataFrame:
        if name not in self.table.column_names:
            raise TypeError(
                "the coefficients without these groups are not known: expected groups of a linear model or a GLM. The "
                "change of predictions: result['sensitivity'], result['rest_sensitivity']"
            )
        values = self[name].reshape(len(self), -1)
        return pd.DataFrame(values, index=pd.Index(self["group"], name="group"), columns=list(self.parameters))

    def confusion(self, group: str, *, rest: bool = False) -> pd.DataFrame:
        """Classes (rows) against those predicted without the group (columns), sums of weights.

        Of the group's members, or of all other examples with `rest=True`.

        Raises
        ------
        TypeError
            The map is not of classes.
        KeyError
            There is no group of that name.
        """
        if self.counts is None:
            raise TypeError(
                "no classes: expected the groups of a classifier's map. Of numbers: result['leave_out_loss']"
            )
        if str(group) not in self["group"]:
            raise KeyError(f"no group {group!r}: expected one of {self['group'].tolist()[:10]}")
        chosen = self.counts[(self.counts["group"] == str(group)) & (self.counts["member"] != rest)]
        return chosen.pivot_table("weight", "given", "predicted_without", "sum", fill_value=0)

    def _displayed(self) -> pd.DataFrame:
        """As a data frame without the coefficients, which have their own."""
        return self.to_pandas().drop(columns=["leave_out_coefficients", "dfbetas"], errors="ignore")


def leave_out(m: ExampleTable, groups: Any) -> LeaveOut:
    """Remove whole groups at once: `Δf = V_{·M}(I − Λ_M V_{MM})⁻¹e_M` for all examples [MPE Eq. 14].

    Exact for linear regression and ridge: one pass over the training data for all groups, an `r × r` system each, where
    `r` is the number of parameters. GLMs are refitted without each group by Newton's method; support vector machines,
    L1 penalties, Cox regressions and forests are fitted again for up to 20 groups; small networks with one curvature
    matrix are refitted for as many groups as take a minute or two (groups of one example are removed as in the map).
    Other models take one step: by the same system, or large networks by conjugate gradients with the exact curvature.

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
    changes = remove_groups(origin, rows)
    sums, start = _GroupSums(m, rows), 0
    for batch in origin.examples:
        sums.add(start, changes.deviation_of(start, batch), origin.batch_statistics(batch))
        start += len(batch)
    columns = {**sums.columns(), **_statistics(origin, changes, sums)}
    warning = step_warnings(origin, columns) if changes.warning is None else list(changes.warning)
    table = pa.Table.from_batches([to_record_batch({k: np.asarray(v) for k, v in columns.items()})])
    table = table.add_column(0, "group", pa.array([str(name) for name in members]))
    table = table.append_column("warning", pa.array(warning, pa.string()))
    classes = sums.classes
    pairs = None if classes is None else classes.pairs(list(members), m.provenance.description.classes)
    names = coefficient_names(m.provenance.description, columns["dfbetas"].shape[1]) if "dfbetas" in columns else ()
    d = m.provenance.description
    held, of_coefficients = held_in_words(d, groups=True), held_by_coefficients(d)
    return LeaveOut(table, held=held, parameters=names, counts=pairs, coefficients_held=of_coefficients)


def _statistics(origin: Origin, changes: GroupChanges, sums: _GroupSums) -> dict[str, Array]:
    """Columns of changes of the parameters, as far as they are known."""
    u, description = changes.coordinates, origin.posterior.description
    columns = {}
    if changes.log_integral is not None:
        columns["joint_log_score"] = changes.log_integral - sums.total_loss
    if u is not None and description.rank:
        columns["cooks_distance"] = cooks_distances(u, description.rank)
    able, scale = capabilities_of(origin.posterior), sums.pearson.scale(description)
    return columns | coefficient_columns(able, description, u, changes.coefficients, scale)


def _origin(m: ExampleTable) -> Origin:
    if m.origin is None:
        raise ValueError(
            "group removal needs the posterior, and a map read from disk has none: "
            "call leave_out on the map that memory_map returned"
        )
    return m.origin


class _GroupSums:
    """Sums over members and over the other examples, accumulated batch by batch."""

    def __init__(self, m: ExampleTable, members: list[Array]):
        self._is_member = np.zeros((m.provenance.n, len(members)), dtype=bool)
        for k, rows in enumerate(members):
            self._is_member[rows, k] = True
        self._sums = np.zeros((9, len(members)))
        self.pearson = RestPearson(len(members), m.provenance.outputs)
        self.classes = ClassCounts() if is_classes(m) and m["target"].ndim == 1 else None
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
            rows = np.stack([change, _weighted(counts, loss), _weighted(counts, after), counts])
            self._sums[:4, k] += rows[:, inside[:, k]].sum(1)  # selected, as members' changes may be infinite
            self._sums[4:8, k] += rows[:, ~inside[:, k]].sum(1)
            self._sums[8, k] += stats.leverage @ inside[:, k]
            self.pearson.add(k, inside[:, k], counts, f, stats)
            if self.classes is not None:
                self.classes.add(k, inside[:, k], f, stats)
            of_members, of_rest = counts * inside[:, k], counts * ~inside[:, k]
            terms = ((after, of_members), (after - loss, of_members), (after, of_rest), (after - loss, of_rest))
            for moments, (values, weight) in zip(self._moments.values(), terms, strict=True):
                moments.add(k, values, weight)

    @property
    def total_loss(self) -> Array:
        """`Σ_M ℓ` at the fit, `[groups]`."""
        return self._sums[1]

    def columns(self) -> dict[str, Array]:
        """The columns of `LeaveOut` that every model has."""
        s = self._sums
        with np.errstate(invalid="ignore"):  # nobody with weight: no mean
            means = np.stack([s[1], s[2], s[5], s[6]]) / np.stack([s[3], s[3], s[7], s[7]])
        columns = {
            "size": np.count_nonzero(self._is_member, axis=0), "leverage": s[8], "sensitivity": s[0], "loss": means[0],
            "leave_out_loss": means[1], "rest_sensitivity": s[4], "rest_loss": means[2],
            "rest_leave_out_loss": means[3],
            **{name: moments.standard_errors() for name, moments in self._moments.items()},
        }  # fmt: skip
        return columns if self.classes is None else columns | self.classes.columns(self._is_member.shape[1])


def _weighted(weight: Array, values: Array) -> Array:
    """`w v [n]`, 0 without weight."""
    return np.multiply(weight, values, out=np.zeros_like(values), where=weight > 0)


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
