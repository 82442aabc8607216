"""The likelihood of classification forests, whose outputs are class probabilities (mean leaf frequencies)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from array_api_compat import array_namespace, device

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical


@dataclass(frozen=True)
class Votes(Categorical):
    """One of `c` classes; the outputs `f [n, c]` are probabilities that sum to one (no softmax).

    Leaf frequencies minimise the Brier score, so `e = f − onehot(y)`, and `Λ = I − 11ᵀ/c`, the projection onto changes
    with `Σ f = 1`. The reported loss is `−log max(f_y, smallest)`: a class that no tree votes for has no logarithm, and
    half a vote of a forest's trees is as little as they can tell from none.

    Examples
    --------
    >>> import numpy as np
    >>> Votes().error(np.array([[0.75, 0.25]]), np.array([1]))
    array([[ 0.75, -0.75]])
    """

    smallest: float = 1e-12

    def nll(self, f: Array, y: Array) -> Array:
        """`−log max(f_y, smallest)`: `[n]`."""
        xp = array_namespace(f)
        return -xp.log(xp.clip(xp.sum(f * self.encode(y, f.shape[-1]), axis=-1), min=self.smallest, max=1.0))

    def mean(self, f: Array) -> Array:
        """`f` itself."""
        return f

    def mean_jacobian(self, f: Array) -> Array:
        """`I`."""
        xp = array_namespace(f)
        n, c = f.shape
        return xp.zeros((n, c, c), dtype=f.dtype) + xp.eye(c, dtype=f.dtype, device=device(f))

    def curvature(self, f: Array, y: Array) -> Array:
        """`I − 11ᵀ/c`."""
        return self.mean_jacobian(f) - 1.0 / f.shape[-1]

    def fisher_diagonal(self, f: Array, y: Array) -> Array:
        """`1 − 1/c`."""
        return array_namespace(f).full_like(f, 1.0 - 1.0 / f.shape[-1])

    def fisher_matvec(self, f: Array, y: Array, v: Array) -> Array:
        """`v` minus its mean over classes."""
        return v - array_namespace(f).mean(v, axis=-2, keepdims=True)

    def fisher_root_matvec(self, f: Array, y: Array, v: Array) -> Array:
        """`Λ v`: a projection is its own root."""
        return self.fisher_matvec(f, y, v)

    fisher_root = Likelihood.fisher_root  # Categorical's root holds for logits only

    def score_preimage(self, f: Array, y: Array) -> tuple[Callable[[Array], Array], Array]:
        """`x = e`, `κ = 1`: errors sum to zero, so `Λe = e`."""
        error = self.error(f, y)
        xp = array_namespace(f)
        return lambda v: xp.matmul(v, error[..., None])[..., 0], xp.ones_like(f[:, 0])

    def fisher_root_gram(self, f: Array, y: Array, outputs: Array) -> Array:
        """The entries of `Λ` for `m` outputs (the same for any)."""
        m = outputs.shape[-1]
        return self.curvature(f, y)[:, :m, :m]
