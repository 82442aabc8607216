"""Settings that a user gives as numbers: checked for their kind and range, with what to type instead."""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any


def as_count(name: str, value: Any, least: int = 1, instead: str = "") -> int:
    """A whole number of at least `least`; `instead` is appended to the error message.

    Raises
    ------
    TypeError
        Not a whole number.
    ValueError
        A smaller one.

    Examples
    --------
    >>> as_count("steps", 20)
    20
    """
    expected = f"expected {'a positive whole number' if least == 1 else f'a whole number of at least {least}'}{instead}"
    try:
        count = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} = {_shown(value)}: {expected}") from error
    if isinstance(value, bool):
        raise TypeError(f"{name} = {value}: {expected}")
    if count < least:
        raise ValueError(f"{name} = {count}: {expected}")
    return count


def check_positive_number(name: str, value: Any) -> None:
    """Raise `TypeError` unless `value` is a real number, `ValueError` unless it is > 0."""
    if not isinstance(value, Real):
        raise TypeError(f"{name} = {_shown(value)}: expected a positive number")
    if not float(value) > 0:
        raise ValueError(f"{name} = {value}: expected a positive number")


def _shown(value: Any) -> str:
    """The value as text, a long one shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
