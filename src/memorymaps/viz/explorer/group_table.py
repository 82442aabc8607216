"""Tables of classes and of groups that are removed together, for the explorer's page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from memorymaps.core.arrays import Array
from memorymaps.maps.group_removal import LeaveOut
from memorymaps.maps.loo_averages import loss_weights, mean_error, weights_of
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.viz.explorer.arrow_columns import to_text

_CLASS_COLUMNS = {
    "size": ("", "number of examples of this class in the map"),
    "sensitivity": ("share", "share of all sensitivity"),
    "leverage": ("effective parameters", "Σ leverage of the class"),
    "accuracy": ("share", "share of examples predicted as labelled"),
    "left out": ("share", "share predicted as labelled when the example is left out"),
    "loo loss": ("nats", "mean leave-one-out loss"),
    "± loo loss": ("nats", "its standard error over the class's examples"),
}
_GROUP_COLUMNS = {
    "size": ("", "number of examples removed together"),
    "loss": ("nats", "mean loss of the members with the group in training"),
    "leave_out_loss": ("nats", "mean loss of the members when the whole group is left out"),
    "rest_loss": ("nats", "mean loss of all other examples with the group in training"),
    "rest_leave_out_loss": ("nats", "mean loss of all other examples when the group is left out"),
    "rest_sensitivity": ("target", "Σ of the changes of all other predictions when the group is left out"),
    "loss_change_se": ("nats", "standard error of the members' mean change of loss, over these"),
    "rest_loss_change_se": ("nats", "standard error of the other examples' mean change of loss, over these"),
}
_OPTIONAL_COLUMNS = {  # that not every model has
    "leave_out_accuracy": ("share", "share of the members predicted as labelled when the whole group is left out"),
    "rest_leave_out_accuracy": ("share", "share of all other examples predicted as labelled without the group"),
    "joint_log_score": ("nats", "log probability of all members together when the whole group is left out"),
    "cooks_distance": ("", "Cook's distance of the group: squared change of the parameters in standard errors"),
}


def group_tables(m: MemoryMap, leave_out: LeaveOut | str | None) -> list[dict[str, Any]]:
    """Tables of the classes and of the groups that are removed together, if the map has them.

    Raises
    ------
    ValueError, TypeError
        `leave_out` names a column, but the map was read from disk or its posterior has no cross-covariances.
    """
    classes = [_class_table(m)] if m.provenance.description.classes else []
    return classes if leave_out is None else [*classes, _leave_out_table(m, leave_out)]


def _class_table(m: MemoryMap) -> dict[str, Any]:
    codes, labels = pd.factorize(pd.Series(m["target"].tolist(), dtype=object), sort=False)
    size = np.bincount(codes)
    weight = weights_of(m)
    means = [_means(codes, weight, v) for v in (_is_correct(m, "prediction"), _is_correct(m, "loo_prediction"))]
    loss = _means(codes, loss_weights(m), m["loo_loss"])
    sums = [np.bincount(codes, weights=np.nan_to_num(m[name], posinf=0)) for name in ("sensitivity", "leverage")]
    share = sums[0] / (sums[0].sum() or 1.0)
    order = sorted(range(len(labels)), key=lambda k: -share[k])
    errors = [_error_of_class(m, codes == k) for k in range(len(labels))]
    table = _table("Classes", _CLASS_COLUMNS, labels, [size, share, sums[1], *means, loss, np.array(errors)], order)
    return table | {"by": "target", "note": "from the map's columns, one example left out at a time"}


def _means(codes: Array, weight: Array, values: Array) -> Array:
    """Weighted mean of the finite values of each class; NaN for a class without weight."""
    finite = np.isfinite(values)
    total = np.bincount(codes, weights=weight * finite)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(codes, weights=weight * np.where(finite, values, 0.0)) / total)


def _error_of_class(m: MemoryMap, members: Array) -> float:
    """Standard error of the class's mean left-out loss."""
    kept = members & np.isfinite(m["loo_loss"])
    return mean_error(m, m["loo_loss"][kept], loss_weights(m)[kept])


def _is_correct(m: MemoryMap, name: str) -> Array:
    return np.asarray(m[name] == m["target"], dtype=float)


def _leave_out_table(m: MemoryMap, leave_out: LeaveOut | str) -> dict[str, Any]:
    by = leave_out if isinstance(leave_out, str) else None
    effects = m.leave_out(leave_out) if isinstance(leave_out, str) else leave_out
    if not isinstance(effects, LeaveOut):
        raise TypeError(f"leave_out is a {type(leave_out).__name__}: expected a column's name or m.leave_out(…)")
    optional = {name: about for name, about in _OPTIONAL_COLUMNS.items() if name in effects.table.column_names}
    columns, rest = _GROUP_COLUMNS | optional, effects["rest_sensitivity"]
    order = sorted(range(len(effects)), key=lambda k: -np.nan_to_num(rest[k], nan=np.inf))
    values = [effects[name] for name in columns]
    table = _table("Left out together", columns, effects.table["group"].to_pylist(), values, order)
    note = "; ".join(filter(None, ["each whole group removed from training at once", effects.held]))
    return table | {"by": by, "note": to_text(note)}


def _table(title: str, columns: dict[str, Any], names: Any, values: list[Array], order: list[int]) -> dict[str, Any]:
    about = [{"name": name.replace("_", " "), "unit": unit, "words": words} for name, (unit, words) in columns.items()]
    rows = [{"name": to_text(names[k]), "values": [_finite_or_none(column[k]) for column in values]} for k in order]
    return {"title": title, "columns": about, "rows": rows}


def _finite_or_none(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
