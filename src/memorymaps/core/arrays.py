"""Shapes, arrays and the one record that travels: a batch of examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

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

    def take_slice(self, rows: slice, inputs: Any = None) -> Batch:
        """Some of the examples; their inputs are cut by whoever knows how."""
        weight, offset = (None if each is None else each[rows] for each in (self.weight, self.offset))
        return Batch(inputs, self.target[rows], self.ids[rows], weight, offset)
