"""The errors that a map by sampled rows states of itself, as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

_LEFT = 0.5  # part of a removed bias that may be left: what is removed is up to twice what is there (benchmarks)
_MIN_REPORTED_BIAS = 5e-4  # relative bias from which it is stated


@dataclass(frozen=True)
class Stated:
    """What a map may be off by, relative: of leverage and sensitivity over the training examples, `√Σ se²/√Σ x²` and
    `Σ bias x/Σ x²`, and of the mean left-out loss; biases are those that were removed.
    """

    error: tuple[float, float, float]
    bias: tuple[float, float, float]

    @property
    def worst(self) -> float:
        """The largest of the three errors, with what may be left of the bias."""
        return max(math.hypot(e, _LEFT * b) for e, b in zip(self.error, self.bias, strict=True))

    @property
    def of_leverage(self) -> float:
        """That of leverage."""
        return math.hypot(self.error[0], _LEFT * self.bias[0])

    def __str__(self) -> str:
        names = ("leverage", "sensitivity", "mean left-out loss")
        named = zip(names, self.error, self.bias, strict=True)
        return ", ".join(f"{name} {error:.1%}{_removed(bias)}" for name, error, bias in named)


def _removed(bias: float) -> str:
    return f" (bias of {bias:+.1%} removed)" if abs(bias) >= _MIN_REPORTED_BIAS else ""
