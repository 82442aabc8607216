"""Penalties on coefficients, and what one that grows with the total weight loses when an example is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.covariance_roots import AnyCovarianceRoot
from memorymaps.models.linear.glm.model import LinearModel
from memorymaps.posteriors.capabilities import PenaltyPerWeight


@dataclass(frozen=True)
class ConstantPenalty:
    """`strength`, `[p, c]` or a number, for any total weight: scikit-learn's `alpha` of `Ridge` and `1/C`."""

    strength: Array | float

    def __call__(self, weight: float) -> Array:
        """`[p, c]`."""
        return np.array(self.strength, dtype=float)


@dataclass(frozen=True)
class ProportionalPenalty:
    """`Σw · strength`, `[p, c]` or a number: scikit-learn's `alpha` where the loss is a mean over examples."""

    strength: Array | float

    def __call__(self, weight: float) -> Array:
        """`[p, c]`."""
        return np.asarray(weight * self.strength, dtype=float)


def penalty_rate(model: LinearModel, weight: float) -> Array:
    """`∇ψ [p, c]`: what one unit of the total weight adds to the gradient of ridge and L1 penalties."""
    rate = (model.penalty(weight) - model.penalty(weight - 1.0)) * model.coefficients
    if model.l1 is not None:
        rate = rate + (model.l1(weight) - model.l1(weight - 1.0)) * np.sign(model.coefficients)
    return np.where(model.free, rate, 0.0)


def penalty_per_weight(
    design: Callable[[Any], Array], structure: AnyCovarianceRoot, rate: Array
) -> PenaltyPerWeight | None:
    """The capability `penalty` for the gradient `∇ψ [p, c]` of a penalty per unit of weight; `None` if it is zero."""
    if not np.any(rate):
        return None
    u = structure.whiten(rate)
    change = structure.from_whitened(u)
    return PenaltyPerWeight(lambda inputs: design(inputs) @ change, u)
