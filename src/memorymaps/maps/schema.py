"""Schema of a map's file: required and optional columns, and the types of the provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

Check = Callable[[Any], bool]


def _is_value(kind: pa.DataType) -> bool:
    """Whether a column type is numeric, boolean, text, or a fixed-size list of these."""
    if pa.types.is_fixed_size_list(kind):
        return _is_number(kind.value_type) or pa.types.is_boolean(kind.value_type)
    return _is_number(kind) or pa.types.is_boolean(kind) or _is_text(kind)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_name(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind)) or _is_text(kind)


def _is_outputs(kind: pa.DataType) -> bool:
    return _is_number(kind) or (pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type))


_INTEGER, _NUMBER = pa.types.is_integer, pa.types.is_floating
_REQUIRED: dict[str, Check] = {
    "id": _is_name, "row": _INTEGER, "target": _is_value, "prediction": _is_value, "error": _NUMBER,
    "leverage": _NUMBER, "sensitivity": _NUMBER, "loss": _NUMBER, "loo_loss": _NUMBER, "loo_prediction": _is_value,
    "memorization": _NUMBER, "output_sensitivity": _NUMBER, "warning": _INTEGER,
}  # fmt: skip
_OPTIONAL: dict[str, Check] = {
    "weight": _is_number, "leverage_norm": _NUMBER, "output": _is_outputs, "deviation": _is_outputs,
    "residual": _is_outputs, "standardised_error": _NUMBER, "mean": _is_outputs, "loo_mean": _is_outputs,
    "refined": pa.types.is_boolean, "refitted": pa.types.is_boolean,
}  # fmt: skip


def check_table(table: pa.Table) -> None:
    """Raise `ValueError` if a column is missing, duplicated, of another type, or has nulls."""
    table.validate(full=True)
    names = table.column_names
    missing = [name for name in _REQUIRED if name not in names]
    if missing or len(set(names)) < len(names):
        raise ValueError(f"columns {names}: expected each name once, and {missing or 'nothing more'}")
    for name, check in (_REQUIRED | _OPTIONAL).items():
        if name not in names:
            continue
        column = table.column(name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if not check(kind) or column.null_count:
            raise ValueError(f"column {name!r} is of type {column.type} with {column.null_count} nulls")


# --- provenance ----------------------------------------------------------------------------------------------------


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _label(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def _several(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_estimator(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"name", "change"} and all(map(_text, value.values()))


def _is_retrained(value: Any) -> bool:
    """Numbers, and two records of four numbers each."""
    agreements = ("sensitivity", "loo_loss")
    return (
        isinstance(value, dict)
        and set(value) == {"examples", "drift", *agreements}
        and all(_is_agreement(found) if name in agreements else _number(found) for name, found in value.items())
    )


def _is_agreement(value: Any) -> bool:
    names = {"slope", "relative_error", "spearman", "typical"}
    return isinstance(value, dict) and set(value) == names and all(map(_number, value.values()))


_DESCRIPTION: dict[str, Check] = {
    "model": _text, "posterior": _text, "likelihood": _text, "prior": _text, "algorithm": _text, "estimator": _text,
    "coverage": _several(_text), "parameters": _several(_text), "aliased": _several(_text), "notes": _several(_text),
    "methods": _several(_text), "classes": _several(_label), "rank": _maybe(_count),
    "effective_parameters": _maybe(_number), "dispersion": _maybe(lambda v: _number(v) or _several(_number)(v)),
    "dispersion_estimated": _flag, "residual_df": _maybe(_number), "distance": _maybe(_number),
    "error_change": _maybe(_number), "infinite_estimates": _several(_text), "held_fixed": _text,
    "hyperparameters_held": _text,
    "cautions": _several(_text), "nonlinear": _flag,
    "negative_curvature": _number, "approximation": _text, "relative_error": _maybe(_number), "polishable": _flag,
    "size_errors": _maybe(lambda v: _several(_number)(v) and len(v) == 2), "deviation_error": _maybe(_number),
    "optimum_gap": _maybe(lambda v: _several(_number)(v) and len(v) == 4),
}  # fmt: skip
_PROVENANCE: dict[str, Check] = {
    "estimator": _is_estimator, "n": _count, "outputs": lambda v: _count(v) and v > 0, "fingerprint": _text,
    "versions": lambda v: isinstance(v, dict) and all(map(_text, v.values())),
    "weights_are_precisions": _flag, "loss_is_density": _flag, "inputs": _text, "model_state": _text,
    "retrained": _maybe(_is_retrained),
}  # fmt: skip


def check_provenance(values: Any) -> None:
    """Raise `TypeError` if a value of the provenance, as read from JSON, is missing or of another type."""
    description = values.get("description") if isinstance(values, dict) else None
    if not isinstance(description, dict):
        raise TypeError("expected an object with a description")
    _check_kinds(values, _PROVENANCE, {"estimator", "n", "outputs", "fingerprint", "versions"})
    _check_kinds(description, _DESCRIPTION, {"model", "posterior", "likelihood"})


def _check_kinds(values: Mapping[str, Any], checks: Mapping[str, Check], required: set[str]) -> None:
    for name, check in checks.items():
        if (name in values or name in required) and not check(values.get(name)):
            raise TypeError(f"{name} is {str(values.get(name, 'missing'))[:100]!r}")
