"""Nonsmooth losses (hinge, ε-insensitive, Huber, pinball) and their closed-form expectations under `N(f, v)`.

Each is a sum of ramps `a·max(0, ±u − t)^p`, `p ∈ {1, 2}`, of the margin `u = ±f` or the residual `u = f − y`. Under
`q(f) = N(f, v)`, with `g = ±u − t`, `z = g/√v` and Bonnet's and Price's theorems [MPE App. G]:

    E max(0, g)  = gΦ(z) + √v φ(z)            first derivative Φ(z)               second φ(z)/√v
    E max(0, g)² = (g² + v)Φ(z) + g√v φ(z)    first derivative 2(gΦ(z) + √v φ(z)) second 2Φ(z)

`v = 0` gives the loss itself, and at a kink the midpoint of its subdifferential. `e = prediction − truth`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood, TargetError, raise_for_targets
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix
from memorymaps.core.special_functions import ndtr, normal_density


class Ramp(NamedTuple):
    """`height · max(0, side·u − start)^power`."""

    height: float
    side: int
    start: float
    power: int = 1

    def expected_derivatives(self, u: Array, sd: Array) -> tuple[Array, Array, Array]:
        """Value, first and second derivative of `E[ramp]` in `u`, under standard deviations `sd ≥ 0`."""
        xp = array_namespace(u)
        g, exact = self.side * u - self.start, sd == 0
        z = xp.where(exact, 1e6 * xp.sign(g), g / xp.where(exact, xp.ones_like(sd), sd))
        below, density = ndtr(z), normal_density(z)
        line = g * below + sd * density
        if self.power == 1:
            peak = xp.where(exact, xp.zeros_like(sd), density / xp.where(exact, xp.ones_like(sd), sd))
            value, first, second = line, below, peak
        else:
            value, first, second = (g**2 + sd**2) * below + g * sd * density, 2 * line, 2 * below
        return self.height * value, self.height * self.side * first, self.height * second


class NonsmoothLoss(Likelihood):
    """A loss `cost · (½ q u² + Σ ramps(u))` of a scalar `u` per output, summed over outputs."""

    cost: float
    quadratic: ClassVar[float] = 0.0

    @property
    @abstractmethod
    def ramps(self) -> tuple[Ramp, ...]:
        """The ramps of the loss."""

    @abstractmethod
    def loss_argument(self, f: Array, y: Array) -> tuple[Array, Array]:
        """`u [n, c]` and `du/df = ±1 [n, c]`."""

    def expected_derivatives(self, f: Array, y: Array, sd: Array) -> tuple[Array, Array, Array]:
        """`E_q[ℓ]`, `E_q[∇ℓ]`, `E_q[∇²ℓ]` of every output, `[n, c]` each, under `N(f, sd²)`."""
        u, sign = self.loss_argument(f, y)
        value, first, second = self.quadratic * (u**2 + sd**2) / 2, self.quadratic * u, self.quadratic + 0 * u
        for ramp in self.ramps:
            v, d, dd = ramp.expected_derivatives(u, sd)
            value, first, second = value + v, first + d, second + dd
        return self.cost * value, self.cost * sign * first, self.cost * array_namespace(f).clip(second, min=0)

    def subgradients(self, f: Array, y: Array, tolerance: float) -> tuple[Array, Array]:
        """Bounds of the gradient for outputs within `tolerance` of `f`, `[n, c]` each; equal away from kinks."""
        zero = 0 * f
        return self.expected_derivatives(f - tolerance, y, zero)[1], self.expected_derivatives(f + tolerance, y, zero)[
            1
        ]

    @property
    def is_density(self) -> bool:
        """No: `exp(−ℓ)` is not normalised."""
        return False

    def nll(self, f: Array, y: Array) -> Array:
        """The loss, `[n]`."""
        return array_namespace(f).sum(self.expected_derivatives(f, y, 0 * f)[0], axis=-1)

    def mean(self, f: Array) -> Array:
        """The output itself."""
        return f

    def mean_jacobian(self, f: Array) -> Array:
        """The identity."""
        return diagonal_matrix(array_namespace(f).ones_like(f))

    def error(self, f: Array, y: Array) -> Array:
        """A subgradient; at a kink the midpoint of the subdifferential."""
        return self.expected_derivatives(f, y, 0 * f)[1]

    def curvature(self, f: Array, y: Array) -> Array:
        """Second derivative between the kinks; `averaged_over(V)` includes the kinks."""
        return diagonal_matrix(self.expected_derivatives(f, y, 0 * f)[2])

    def averaged_over(self, variance: Array) -> Likelihood:
        """The loss with gradient and curvature averaged over `N(f, V)`."""
        return SmoothedLoss(self, variance)


@dataclass(frozen=True)
class SmoothedLoss(Likelihood):
    """A nonsmooth loss with gradient and curvature replaced by expectations under `N(f, V)`; loss and mean unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from memorymaps.core.likelihoods.hinge import Hinge
    >>> smoothed = Hinge().averaged_over(np.full((1, 1, 1), 0.25))
    >>> smoothed.curvature(np.array([[1.0]]), np.array([1]))  # on the margin: φ(0)/√v
    array([[[0.798]]])
    """

    loss: NonsmoothLoss
    variance: Array

    def _expected_derivatives(self, f: Array, y: Array) -> tuple[Array, Array, Array]:
        xp = array_namespace(f)
        return self.loss.expected_derivatives(f, y, xp.sqrt(xp.clip(xp.linalg.diagonal(self.variance), min=0)))

    @property
    def is_density(self) -> bool:
        """No: `exp(−ℓ)` is not normalised."""
        return False

    def nll(self, f: Array, y: Array) -> Array:
        """The loss itself."""
        return self.loss.nll(f, y)

    def mean(self, f: Array) -> Array:
        """The output."""
        return self.loss.mean(f)

    def mean_jacobian(self, f: Array) -> Array:
        """The identity."""
        return self.loss.mean_jacobian(f)

    def residual(self, f: Array, y: Array) -> Array:
        """As the loss itself."""
        return self.loss.residual(f, y)

    def error(self, f: Array, y: Array) -> Array:
        """`E_q[∇ℓ]`."""
        return self._expected_derivatives(f, y)[1]

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag E_q[∇²ℓ]`."""
        return diagonal_matrix(self._expected_derivatives(f, y)[2])

    def predict_target(self, mean: Array) -> Array:
        """As the loss itself."""
        return self.loss.predict_target(mean)

    def encode(self, y: Array, c: int) -> Array:
        """As the loss itself."""
        return self.loss.encode(y, c)

    def check_target(self, y: Array, c: int) -> None:
        """As the loss itself."""
        self.loss.check_target(y, c)


class MarginLoss(NonsmoothLoss):
    """A loss of the margin `u = (2y − 1) f`, for targets 0 and 1, zero for `u ≥ required_margin`."""

    required_margin: ClassVar[float] = 1.0

    def loss_argument(self, f: Array, y: Array) -> tuple[Array, Array]:
        """`(2y − 1) f` and its sign."""
        side = 2.0 * self.encode(y, f.shape[-1]) - 1
        return side * f, side + 0 * f

    def residual(self, f: Array, y: Array) -> Array:
        """Shortfall of the margin, `max(0, required_margin − u)`, signed like `f − y`: `[n, c]`."""
        u, side = self.loss_argument(f, y)
        return -side * array_namespace(f).clip(self.required_margin - u, min=0)

    def predict_target(self, mean: Array) -> Array:
        """Class 1 where `f > 0` (one output)."""
        xp = array_namespace(mean)
        return xp.astype(mean[:, 0] > 0, xp.int64)

    def encode(self, y: Array, c: int) -> Array:
        """`[n, c]`."""
        return y[:, None] if y.ndim == 1 else y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless targets are 0 or 1."""
        raise_for_targets(~((y == 0) | (y == 1)), y, "0 or 1")


class ResidualLoss(NonsmoothLoss):
    """A loss of the residual `u = f − y`."""

    def loss_argument(self, f: Array, y: Array) -> tuple[Array, Array]:
        """`f − y` and one."""
        u = f - self.encode(y, f.shape[-1])
        return u, array_namespace(f).ones_like(u)

    def encode(self, y: Array, c: int) -> Array:
        """`[n, c]`."""
        y = y[:, None] if y.ndim == 1 else y
        if y.shape[1] != c:
            raise TargetError(f"targets of shape {tuple(y.shape)} for a model with {c} output(s): expected (n, {c})")
        return y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` where a target is not finite."""
        xp = array_namespace(y)
        raise_for_targets(xp.any(~xp.isfinite(self.encode(y, c)), axis=1), y, "finite numbers")
