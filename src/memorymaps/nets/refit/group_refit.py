"""Refits of a network without groups: for groups one step of a nonlinear model is often too long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from memorymaps.core.arrays import Array

GROUP_PASSES, MOST_GROUPS = 500, 10  # a group's refit takes 50 to 1,300 passes over the data; at most so many are made


@dataclass(frozen=True)
class NetworkGroupRefit:
    """Refits of a network, `posteriors.capabilities.Refit`, as many as take a minute or two of a core.

    `retrain`: the posterior's `refit`; `affordable()`: how many take that long, which reads the data.
    """

    retrain: Callable[[Array, Array, int, float], tuple[Array, float]]
    affordable: Callable[[], int]

    @property
    def concurrent(self) -> bool:
        """One refit at a time: each pass uses all cores."""
        return False

    def max_automatic_refits(self) -> int:
        """Number of groups that are refitted."""
        return self.affordable()

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted` without the rows `removed`, from the minimum with all rows."""
        return self.retrain(removed, wanted, steps, tolerance)
