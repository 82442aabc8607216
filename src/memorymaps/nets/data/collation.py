"""Batches from single examples: as PyTorch puts them together, with lists of numbers read as arrays.

A row of a tokenised data set, `{"input_ids": [3, 17, 5], "label": 1}`, is one example of three numbers, where PyTorch
takes a list for several fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from memorymaps.data.examples import DataError

Collate = Callable[[list[Any]], Any]


def collate_rows(rows: list[Any]) -> Any:
    """A batch of rows that are mappings or tuples of fields; a field that is a list of numbers is an array.

    Raises
    ------
    DataError
        Fields of different lengths, or of kinds that are no arrays.
    """
    fields = [_with_arrays(row) for row in rows]
    try:
        return default_collate(fields)
    except (RuntimeError, TypeError, KeyError) as error:  # KeyError: a row lacks a field
        raise DataError(f"{_reason(fields)} ({error})") from error


def _with_arrays(row: Any) -> Any:
    """A row whose fields are arrays where they were lists of numbers; the row itself may be a list of fields."""
    if isinstance(row, Mapping):
        return {key: _as_tensor(value) for key, value in row.items()}
    if type(row) in (tuple, list):
        return tuple(_as_tensor(value) for value in row)
    return row


def _as_tensor(value: Any) -> Any:
    """A list of numbers, or of such lists of equal lengths, as a tensor; anything else as it is."""
    if not isinstance(value, list) or not value or not _is_numeric(value):
        return value
    try:
        return torch.as_tensor(value)
    except ValueError:  # lists of different lengths: named when rows are put together
        return value


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_numeric, value))
    return isinstance(value, (bool, int, float, np.number))


def _reason(rows: list[Any]) -> str:
    """Which field cannot be put together, and what to pass."""
    for name, values in _fields(rows):
        shapes = sorted({tuple(getattr(value, "shape", ())) for value in values})
        kinds = sorted({type(value).__name__ for value in values})
        if len(shapes) > 1:
            return (
                f"the field {name!r} has shapes {shapes[0]} and {shapes[-1]} in different rows: expected equal ones. "
                'Pad the rows, tokenizer(texts, padding="max_length"), or pass a function that pads: for mappings '
                "collate=DataCollatorWithPadding(tokenizer)"
            )
        if not all(map(_is_collatable, values)):
            return (
                f"the field {name!r} holds {' and '.join(kinds)}: expected numbers, arrays or lists of numbers. Leave "
                "it out of the rows, or pass collate= as in DataLoader(collate_fn=…)"
            )
    return (
        "the rows cannot be put together to batches: expected (inputs, target) or a mapping with labels, the same "
        "fields in each. Pass collate= as in DataLoader(collate_fn=…)"
    )


def _is_collatable(value: Any) -> bool:
    try:
        default_collate([value])
    except (RuntimeError, TypeError):
        return False
    return True


def _fields(rows: list[Any]) -> list[tuple[Any, list[Any]]]:
    """Names and values of the fields over all rows."""
    if all(isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows):
        return [(name, [row[name] for row in rows]) for name in rows[0]]
    if all(isinstance(row, tuple) and len(row) == len(rows[0]) for row in rows):
        return [(k, [row[k] for row in rows]) for k in range(len(rows[0]))]
    return []
