"""Sums of many parts in pairs: rounding errors grow with the logarithm of their number, and few are held at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Part = TypeVar("Part")


def tree_sum(parts: Iterable[Part], add: Callable[[Part, Part], Part]) -> Part:
    """The sum of parts in their order, as a balanced tree: of `n` parts at most `log₂ n + 1` are held.

    Raises
    ------
    ValueError
        No parts.

    Examples
    --------
    >>> tree_sum(["a", "b", "c", "d", "e"], lambda x, y: f"({x}{y})")
    '(((ab)(cd))e)'
    """
    held: list[tuple[int, Part]] = []
    for part in parts:
        size, total = 1, part
        while held and held[-1][0] == size:
            size, total = 2 * size, add(held.pop()[1], total)
        held.append((size, total))
    if not held:
        raise ValueError("nothing to add: expected at least one part")
    total = held.pop()[1]
    while held:
        total = add(held.pop()[1], total)
    return total
