"""Refits of Gaussian processes with Gaussian noise, hyperparameters fixed: in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import Examples
from memorymaps.posteriors.capabilities import RefitOnRequest


@dataclass(frozen=True)
class GaussianRefit(RefitOnRequest):
    """Refits of a model with Gaussian noise, `Δf = V_{·M}(I − Λ_M V_MM)⁻¹e_M`; `posteriors.capabilities.Refit`."""

    posterior: Any
    examples: Examples

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted` without the rows `removed`."""
        f = self.posterior.marginals(self.examples.take(wanted).inputs).f
        return (f + self.posterior.group_removal(np.sort(removed)).deviation[wanted] if len(removed) else f), 0.0
