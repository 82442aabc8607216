"""The errors that a map by sampled rows states of itself, as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MIN_REPORTED_BIAS = 5e-4  # relative bias from which it is stated
_TOO_LARGE, _USELESS = 0.3, 3.0  # relative errors from which sizes, and ranks, are not meaningful, as in `maps.trust`


@dataclass(frozen=True)
class Stated:
    """What a map may be off by, relative: of leverage and sensitivity over the training examples, `√Σ se²/√Σ x²` and
    `Σ bias x/Σ x²`, and of the mean left-out loss, infinite where that is no number; biases are those removed,
    half of each is in the error.
    """

    error: tuple[float, float, float]
    bias: tuple[float, float, float]

    def __post_init__(self) -> None:
        first, *others = (error if math.isfinite(error) else math.inf for error in self.error)
        object.__setattr__(self, "error", (first, *others))

    @property
    def worst(self) -> float:
        """The largest of the three errors."""
        return max(self.error)

    @property
    def ranks_only(self) -> bool:
        """Whether an error is so large that sizes say nothing."""
        return not self.worst < _TOO_LARGE

    @property
    def unusable(self) -> bool:
        """Whether an error is so large that ranks say next to nothing either."""
        return not self.worst < _USELESS

    def __str__(self) -> str:
        names = ("leverage", "sensitivity", "mean left-out loss")
        named = zip(names, self.error, self.bias, strict=True)
        return ", ".join(f"{name} {error:.1%}{_removed(bias)}" for name, error, bias in named)


def _removed(bias: float) -> str:
    return f" (bias of {bias:+.1%} removed)" if abs(bias) >= _MIN_REPORTED_BIAS else ""
