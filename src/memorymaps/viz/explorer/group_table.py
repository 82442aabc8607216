"""Classes, and groups left out together, as small tables beside the map; every number is Python's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from memorymaps.core.arrays import Array
from memorymaps.maps.group_removal import LeaveOut
from memorymaps.maps.loo_averages import loss_weights, weights_of
from memorymaps.viz.explorer.arrow_columns import text

if TYPE_CHECKING:
    from memorymaps.maps.memory_map import MemoryMap

_CLASSES = {
    "size": ("", "how many examples of this class are in the map"),
    "sensitivity": ("share", "their share of all sensitivity"),
    "leverage": ("effective parameters", "Σ leverage of the class"),
    "accuracy": ("share", "predicted as labelled"),
    "left out": ("share", "predicted as labelled by a model without the example"),
    "loo loss": ("nats", "mean leave-one-out loss"),
}
_GROUPS = {
    "size": ("", "how many examples are removed together"),
    "loss": ("nats", "mean loss of the members, seen in training"),
    "leave_out_loss": ("nats", "mean loss of the members when the whole group is left out"),
    "rest_loss": ("nats", "mean loss of everybody else with the group in training"),
    "rest_leave_out_loss": ("nats", "mean loss of everybody else when the group is left out"),
    "rest_sensitivity": ("target", "Σ of everybody else's changes of prediction when the group is left out"),
}


def groups_of(m: MemoryMap, leave_out: LeaveOut | str | None) -> list[dict[str, Any]]:
    """Tables of classes and of groups; none where there are neither.

    Raises
    ------
    ValueError, TypeError
        `leave_out` names a column, and the map was read from disk or its posterior has no cross-covariances.
    """
    classes = [_classes(m)] if m.provenance.description.classes else []
    return classes if leave_out is None else [*classes, _left_out(m, leave_out)]


def _classes(m: MemoryMap) -> dict[str, Any]:
    codes, labels = pd.factorize(pd.Series(m["target"].tolist(), dtype=object), sort=False)
    size = np.bincount(codes)
    weight = weights_of(m)
    means = [_means(codes, weight, v) for v in (_right(m, "prediction"), _right(m, "loo_prediction"))]
    loss = _means(codes, loss_weights(m), m["loo_loss"])
    sums = [np.bincount(codes, weights=np.nan_to_num(m[name], posinf=0)) for name in ("sensitivity", "leverage")]
    share = sums[0] / (sums[0].sum() or 1.0)
    order = sorted(range(len(labels)), key=lambda k: -share[k])
    table = _table("Classes", _CLASSES, labels, [size, share, sums[1], *means, loss], order)
    return table | {"by": "target", "note": "from the map's columns, one example left out at a time"}


def _means(codes: Array, weight: Array, values: Array) -> Array:
    """Weighted mean of the finite values of each class."""
    finite = np.isfinite(values)
    total = np.bincount(codes, weights=weight * finite)
    with np.errstate(invalid="ignore"):  # a class without any: NaN
        return np.asarray(np.bincount(codes, weights=weight * np.where(finite, values, 0.0)) / total)


def _right(m: MemoryMap, name: str) -> Array:
    return np.asarray(m[name] == m["target"], dtype=float)


def _left_out(m: MemoryMap, given: LeaveOut | str) -> dict[str, Any]:
    by = given if isinstance(given, str) else None
    effects = m.leave_out(given) if isinstance(given, str) else given
    if not isinstance(effects, LeaveOut):
        raise TypeError(f"leave_out is a {type(given).__name__}: expected a column's name or m.leave_out(…)")
    values = [effects[name] for name in _GROUPS]
    order = sorted(range(len(effects)), key=lambda k: -np.nan_to_num(values[-1][k], nan=np.inf))
    table = _table("Left out together", _GROUPS, effects.table["group"].to_pylist(), values, order)
    return table | {"by": by, "note": "each whole group removed from training at once"}


def _table(title: str, columns: dict[str, Any], names: Any, values: list[Array], order: list[int]) -> dict[str, Any]:
    about = [{"name": name.replace("_", " "), "unit": unit, "words": words} for name, (unit, words) in columns.items()]
    rows = [{"name": text(names[k]), "values": [_number(column[k]) for column in values]} for k in order]
    return {"title": title, "columns": about, "rows": rows}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
