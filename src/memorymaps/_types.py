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
