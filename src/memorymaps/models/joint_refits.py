"""Refits of independent models, one for each output or more: their outputs one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.posteriors.capabilities import NewtonRefit, Refit


@dataclass(frozen=True)
class JointRefit:
    """Refits of independent models, one after the other."""

    parts: tuple[Refit, ...]

    @property
    def concurrent(self) -> bool:
        """Whether all models' refits may run at once."""
        return all(part.concurrent for part in self.parts)

    def max_automatic_refits(self) -> int:
        """What the most expensive of the models affords."""
        return min(part.max_automatic_refits() for part in self.parts)

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `[n, Σc_k]`, and the largest remaining change."""
        outputs, changes = zip(*(part.refit(removed, wanted, steps, tolerance) for part in self.parts), strict=True)
        return np.concatenate(outputs, axis=1), max(changes)


@dataclass(frozen=True)
class JointNewtonRefit(JointRefit):
    """Refits of independent models by Newton's method."""

    parts: tuple[NewtonRefit, ...]

    def second_step(self, rows: Array) -> tuple[Array, Array]:
        """Second steps and their bounds, concatenated over models: `[k, Σc_k]`."""
        steps, bounds = zip(*(part.second_step(rows) for part in self.parts), strict=True)
        return np.concatenate(steps, axis=1), np.concatenate(bounds, axis=1)
