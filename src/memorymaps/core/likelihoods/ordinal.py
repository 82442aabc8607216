"""The ordinal (cumulative link) likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.links import BinaryLink, Logit

_MIN_PROBABILITY = 1e-300


@dataclass(frozen=True)
class Ordinal(Likelihood):
    """One of `c + 1` ordered classes, from increasing cumulative outputs `f [n, c]`; `F` is a symmetric link.

    Means are the `c + 1` class probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> Ordinal().mean(np.array([[0.0, 1.0]]))
    array([[0.5  , 0.231..., 0.268...]])
    """

    link: BinaryLink = Logit()

    def _padded_outputs(self, f: Array) -> Array:
        ends = np.full((len(f), 1), np.inf)
        return np.concatenate([-ends, f, ends], axis=1)

    def mean(self, f: Array) -> Array:
        """`p_j = F(f_j) − F(f_{j−1})`, computed in the lower tail by symmetry of `F`: `[n, c + 1]`."""
        padded = self._padded_outputs(f)
        low, high = padded[:, :-1], padded[:, 1:]
        reflect = low > 0
        low, high = np.where(reflect, -high, low), np.where(reflect, -low, high)
        return np.maximum(self.link.mean(high) - self.link.mean(low), _MIN_PROBABILITY)

    def mean_jacobian(self, f: Array) -> Array:
        """`dp/df`: `F'(f_k)` in row `k`, `−F'(f_k)` in row `k + 1` of column `k`: `[n, c + 1, c]`."""
        density = self.link.derivative(f)
        out, k = np.zeros((len(f), f.shape[1] + 1, f.shape[1])), np.arange(f.shape[1])
        out[:, k, k], out[:, k + 1, k] = density, -density
        return out

    def nll(self, f: Array, y: Array) -> Array:
        """`−log p_y`."""
        return -np.log(self.mean(f)[np.arange(len(f)), np.asarray(y, dtype=np.intp)])

    def error(self, f: Array, y: Array) -> Array:
        """`−(dp_y/df)/p_y`."""
        rows, classes = np.arange(len(f)), np.asarray(y, dtype=np.intp)
        return -self.mean_jacobian(f)[rows, classes] / self.mean(f)[rows, classes, None]

    def curvature(self, f: Array, y: Array) -> Array:
        """`Σ_j (dp_j/df)(dp_j/df)ᵀ/p_j`, the Fisher information."""
        jacobian = self.mean_jacobian(f)
        return np.asarray(jacobian.mT @ (jacobian / self.mean(f)[..., None]))

    def curvature_rows(self, f: Array) -> Array:
        """`G = D(p)^{-1/2} dp/df`, with `GᵀG` the curvature: `[n, c + 1, c]`."""
        return np.asarray(self.mean_jacobian(f) / np.sqrt(self.mean(f))[..., None])

    def predict_target(self, mean: Array) -> Array:
        """The most probable class."""
        return np.argmax(mean, axis=-1)

    def encode(self, y: Array, c: int) -> Array:
        """One-hot rows `[n, c + 1]`."""
        return Categorical().encode(y, c + 1)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless every target is a class number 0 … c."""
        Categorical().check_target(y, c + 1)
