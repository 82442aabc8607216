"""A fingerprint of a function by what it does: its code, constants, defaults and the values it closes over."""

from __future__ import annotations

import functools
import hashlib
import inspect
import platform
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from memorymaps.data.fingerprint import digest_of


def fingerprint_of_function(function: Callable[..., Any]) -> str:
    """`version:hash` of a Python function or a partial one; hashes of different Python versions are not comparable.

    Global names that the function uses are part of it by name only, objects without a content of their own by type. A
    function that wraps another one by `functools.wraps` (to log or time it) has the fingerprint of that one.

    Examples
    --------
    >>> double, triple = (lambda x: 2 * x), (lambda x: 3 * x)
    >>> fingerprint_of_function(double) == fingerprint_of_function(lambda x: 2 * x)
    True
    >>> fingerprint_of_function(double) == fingerprint_of_function(triple)
    False
    """
    content = hashlib.blake2b(digest_size=8)
    for part in _parts(inspect.unwrap(function), 0):
        content.update(part.encode() + b"\0")
    return f"{'.'.join(platform.python_version_tuple()[:2])}:{content.hexdigest()}"


def same_function(a: str, b: str) -> bool:
    """Whether two fingerprints may be of one function: equal, or of different Python versions."""
    return a == b or a.partition(":")[0] != b.partition(":")[0]


_DEPTH = 4  # functions within functions that are followed


def _parts(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        return
    if isinstance(value, functools.partial):
        for inner in (value.func, *value.args, *(value.keywords[name] for name in sorted(value.keywords))):
            yield from _parts(inner, depth + 1)
    elif isinstance(value, types.MethodType):
        yield from _parts(value.__func__, depth)
    elif isinstance(value, types.FunctionType):
        yield from _code_parts(value.__code__)
        for inner in (*(value.__defaults__ or ()), *_closed_over(value)):
            yield from _parts(inner, depth + 1)
    elif isinstance(value, (bool, int, float, complex, str, bytes, type(None))):
        yield repr(value)
    elif isinstance(value, np.ndarray):
        yield f"{value.shape}{digest_of(value) if value.ndim else value}"
    else:
        yield f"{type(value).__module__}.{type(value).__qualname__}"


def _closed_over(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is not bound yet
            yield None


def _code_parts(code: types.CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code_parts(constant)
        else:
            yield repr(constant)
