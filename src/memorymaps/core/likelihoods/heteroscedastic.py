"""The Gaussian likelihood whose mean and variance are both outputs of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood, TargetError, raise_for_targets
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix


@dataclass(frozen=True)
class HeteroscedasticGaussian(Likelihood):
    """`y ~ N(m, exp s)` with outputs `f = (m, s)`: mean and log variance, learned together.

    For homoscedastic noise, use a network whose `s` is the same for every example. `Λ = diag(e⁻ˢ, ½)`; the mean, and
    with it error and sensitivity, concerns `m` only.

    Examples
    --------
    >>> import numpy as np
    >>> HeteroscedasticGaussian().error(np.array([[3.0, 0.0]]), np.array([1.0]))
    array([[ 2. , -1.5]])
    """

    def nll(self, f: Array, y: Array) -> Array:
        """`½ (log 2π + s + (m − y)² e⁻ˢ)`."""
        xp = array_namespace(f)
        return 0.5 * (math.log(2 * math.pi) + f[:, 1] + self.residual(f, y)[:, 0] ** 2 * xp.exp(-f[:, 1]))

    def mean(self, f: Array) -> Array:
        """`m`: `[n, 1]`."""
        return f[:, :1]

    def mean_jacobian(self, f: Array) -> Array:
        """`(1, 0)`: `[n, 1, 2]`."""
        xp = array_namespace(f)
        return xp.stack([xp.ones_like(f[:, :1]), xp.zeros_like(f[:, :1])], axis=-1)

    def error(self, f: Array, y: Array) -> Array:
        """`((m − y) e⁻ˢ, ½ − ½ (m − y)² e⁻ˢ)`."""
        xp = array_namespace(f)
        gap, precision = self.residual(f, y)[:, 0], xp.exp(-f[:, 1])
        return xp.stack([gap * precision, 0.5 - 0.5 * gap**2 * precision], axis=-1)

    def curvature(self, f: Array, y: Array) -> Array:
        """`diag(e⁻ˢ, ½)`."""
        xp = array_namespace(f)
        return diagonal_matrix(xp.stack([xp.exp(-f[:, 1]), xp.full_like(f[:, 1], 0.5)], axis=-1))

    def encode(self, y: Array, c: int) -> Array:
        """`[n, 1]`."""
        return y[:, None] if y.ndim == 1 else y

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless there are two outputs and one finite number an example."""
        if c != 2 or self.encode(y, c).shape[1] != 1:
            raise TargetError(f"{c} outputs, targets {tuple(y.shape)}: expected the outputs (m, log σ²), targets (n,)")
        raise_for_targets(~array_namespace(y).isfinite(self.encode(y, c)[:, 0]), y, "finite numbers")
