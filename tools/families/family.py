"""What a family is: the arguments of one call of `memory_map`, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """Arguments of `memorymaps.memory_map`."""

    args: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def call(*args: Any, **options: Any) -> Call:
    """The call with these arguments."""
    return Call(args, options)


Families = dict[str, Callable[[], Call]]  # name → fits the model and returns the call
