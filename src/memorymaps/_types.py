"""Shapes, arrays and the one record that travels: a batch of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

# Any array of the array API standard (NumPy, torch, …): `f [n, c]`, `V [n, c, c]`.
Array: TypeAlias = Any


@dataclass(frozen=True)
class Batch:
    """A few training examples, side by side.

    `inputs` is whatever the model takes (array, data frame, …), `target [n]` or `[n, c]`, `ids [n]`;
    `weight [n]` multiplies the example's loss, `offset [n]` or `[n, c]` is added to the model's output
    (`None`: ones and zeros).
    """

    inputs: Any
    target: Array
    ids: Array
    weight: Array | None = None
    offset: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)


@runtime_checkable
class Examples(Protocol):
    """Training examples that can be read more than once, always in the same order."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int: ...

    def take(self, rows: Array) -> Batch:
        """The examples at these positions, in the order asked for."""

    def map(self, change: Callable[[Batch], Batch]) -> Examples:
        """The same examples with `change` applied to every batch, lazily."""
