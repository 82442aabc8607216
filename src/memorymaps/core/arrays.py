"""The array type and `Batch`, the record of training examples that every module passes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

# Any array of the array API standard (NumPy, torch, …): `f [n, c]`, `V [n, c, c]`.
Array: TypeAlias = Any


@dataclass(frozen=True)
class Batch:
    """A batch of `n` training examples.

    `inputs` is what the model takes (array, data frame, …), `target [n]` or `[n, c]`, `ids [n]`;
    `weight [n]` multiplies the example's loss (`None`: ones), `offset [n]` or `[n, c]` is added to the model's output
    (`None`: zeros).
    """

    inputs: Any
    target: Array
    ids: Array
    weight: Array | None = None
    offset: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take_slice(self, rows: slice, inputs: Any = None) -> Batch:
        """The examples in `rows`, with `inputs` as their inputs (slicing inputs depends on their type)."""
        weight, offset = (None if each is None else each[rows] for each in (self.weight, self.offset))
        return Batch(inputs, self.target[rows], self.ids[rows], weight, offset)
