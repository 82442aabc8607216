"""Losses with kinks of support vector machines, robust and quantile regression, as sums of ramps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from memorymaps.core.likelihoods.piecewise_linear import MarginLoss, Ramp, ResidualLoss


@dataclass(frozen=True)
class Hinge(MarginLoss):
    """`cost · max(0, 1 − u)`: smoothed, `e = −(2y − 1)Φ((1 − u)/√v)`, `Λ = φ(·)/√v` times cost [MPE App. G].

    Examples
    --------
    >>> import numpy as np
    >>> Hinge().nll(np.array([[0.25], [2.0]]), np.array([1, 1]))
    array([0.75, 0.  ])
    """

    cost: float = 1.0

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """One ramp."""
        return (Ramp(1.0, -1, -1.0),)


@dataclass(frozen=True)
class SquaredHinge(MarginLoss):
    """`cost · max(0, 1 − u)²`."""

    cost: float = 1.0

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """One ramp."""
        return (Ramp(1.0, -1, -1.0, 2),)


@dataclass(frozen=True)
class ModifiedHuber(MarginLoss):
    """`cost · max(0, 1 − u)²`, linear with slope −4 below `u = −1`. scikit-learn: `modified_huber`."""

    cost: float = 1.0

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """The squared hinge minus a second one that makes it linear below `u = −1`."""
        return (Ramp(1.0, -1, -1.0, 2), Ramp(-1.0, -1, 1.0, 2))


@dataclass(frozen=True)
class Perceptron(MarginLoss):
    """`cost · max(0, −u)`."""

    cost: float = 1.0
    required_margin: ClassVar[float] = 0.0

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """One ramp."""
        return (Ramp(1.0, -1, 0.0),)


@dataclass(frozen=True)
class EpsilonInsensitive(ResidualLoss):
    """`cost · max(0, |u| − ε)`."""

    epsilon: float = 0.1
    cost: float = 1.0

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """One ramp on each side."""
        return (Ramp(1.0, 1, self.epsilon), Ramp(1.0, -1, self.epsilon))


@dataclass(frozen=True)
class SquaredEpsilonInsensitive(ResidualLoss):
    """`cost · max(0, |u| − ε)²`."""

    epsilon: float = 0.1
    cost: float = 1.0

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """One ramp on each side."""
        return (Ramp(1.0, 1, self.epsilon, 2), Ramp(1.0, -1, self.epsilon, 2))


@dataclass(frozen=True)
class Huber(ResidualLoss):
    """`cost · ½u²` up to `|u| = threshold`, linear beyond.

    Examples
    --------
    >>> import numpy as np
    >>> Huber(threshold=1.0).error(np.array([[0.5], [3.0]]), np.zeros(2))
    array([[0.5],
           [1. ]])
    """

    threshold: float = 1.35
    cost: float = 1.0
    quadratic: ClassVar[float] = 1.0

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """The excess of the parabola over the linear parts."""
        return (Ramp(-0.5, 1, self.threshold, 2), Ramp(-0.5, -1, self.threshold, 2))


@dataclass(frozen=True)
class Pinball(ResidualLoss):
    """`cost · (quantile · max(0, −u) + (1 − quantile) · max(0, u))`: minimised by the quantile."""

    quantile: float = 0.5
    cost: float = 1.0

    @property
    def ramps(self) -> tuple[Ramp, ...]:
        """One ramp on each side."""
        return (Ramp(1 - self.quantile, 1, 0.0), Ramp(self.quantile, -1, 0.0))
