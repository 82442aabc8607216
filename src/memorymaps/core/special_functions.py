"""Special functions that the array API standard lacks, for NumPy arrays and torch tensors."""

from __future__ import annotations

import math

from array_api_compat import array_namespace, is_torch_array

from memorymaps._imports import require
from memorymaps.core.arrays import Array


def _special(x: Array, name: str) -> Array:
    return getattr(require("torch.special" if is_torch_array(x) else "scipy.special"), name)(x)


def gammaln(x: Array) -> Array:
    """`log Γ(x)`, element by element."""
    return _special(x, "gammaln")


def ndtr(x: Array) -> Array:
    """Standard normal distribution function `Φ(x)`."""
    return _special(x, "ndtr")


def log_ndtr(x: Array) -> Array:
    """`log Φ(x)`, accurate far into the left tail."""
    return _special(x, "log_ndtr")


def normal_density(x: Array) -> Array:
    """Standard normal density `φ(x)`."""
    return array_namespace(x).exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def softplus(x: Array) -> Array:
    """`log(1 + eˣ)` without overflow."""
    xp = array_namespace(x)
    return xp.clip(x, min=0) + xp.log1p(xp.exp(-xp.abs(x)))


def logsumexp(x: Array) -> Array:
    """`log Σ_c exp x_c` over the last axis, without overflow; `[n, c]` → `[n]`."""
    xp = array_namespace(x)
    top = xp.max(x, axis=-1, keepdims=True)
    return top[..., 0] + xp.log(xp.sum(xp.exp(x - top), axis=-1))


def xlogy(x: Array, y: Array) -> Array:
    """`x log y`, zero where `x` is zero."""
    xp = array_namespace(x, y)
    zero = x == 0
    return xp.where(zero, xp.zeros_like(y), x * xp.log(xp.where(zero, xp.ones_like(y), y)))
