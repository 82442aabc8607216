"""Ordered classes: the likelihood of cumulative outputs, and the posterior of thresholds and slopes together.

    f_ik = θ_k − x_iᵀβ  (k = 1 … J − 1),    P(y_i ≤ k) = F(f_ik),    p_ij = F(f_ij) − F(f_i,j−1)

All outputs share `β`; the thresholds are parameters like any other. Source: McCullagh (1980), *Regression models for
ordinal data*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps._types import Array
from memorymaps.examples import Examples
from memorymaps.likelihoods import Categorical, Likelihood
from memorymaps.links import BinaryLink, Logit
from memorymaps.posteriors import Description, Marginals

_TINY = 1e-300


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

    def _edges(self, f: Array) -> Array:
        ends = np.full((len(f), 1), np.inf)
        return np.concatenate([-ends, f, ends], axis=1)

    def mean(self, f: Array) -> Array:
        """`p_j = F(f_j) − F(f_{j−1})`, from the tail it lies in: `[n, c + 1]`."""
        edges = self._edges(f)
        low, high = edges[:, :-1], edges[:, 1:]
        turned = low > 0
        low, high = np.where(turned, -high, low), np.where(turned, -low, high)
        return np.maximum(self.link.mean(high) - self.link.mean(low), _TINY)

    def slope(self, f: Array) -> Array:
        """`dp/df`: `F'(f_k)` from class `k + 1` to class `k`: `[n, c + 1, c]`."""
        density = self.link.slope(f)
        out, k = np.zeros((len(f), f.shape[1] + 1, f.shape[1])), np.arange(f.shape[1])
        out[:, k, k], out[:, k + 1, k] = density, -density
        return out

    def nll(self, f: Array, y: Array) -> Array:
        """`−log p_y`."""
        return -np.log(self.mean(f)[np.arange(len(f)), np.asarray(y, dtype=np.intp)])

    def error(self, f: Array, y: Array) -> Array:
        """`−(dp_y/df)/p_y`."""
        rows, classes = np.arange(len(f)), np.asarray(y, dtype=np.intp)
        return -self.slope(f)[rows, classes] / self.mean(f)[rows, classes, None]

    def curvature(self, f: Array, y: Array) -> Array:
        """`Σ_j (dp_j/df)(dp_j/df)ᵀ/p_j`, the Fisher information."""
        slope = self.slope(f)
        return np.asarray(slope.mT @ (slope / self.mean(f)[..., None]))

    def decide(self, mean: Array) -> Array:
        """The most probable class."""
        return np.argmax(mean, axis=-1)

    def encode(self, y: Array, c: int) -> Array:
        """One-hot rows `[n, c + 1]`."""
        return Categorical().encode(y, c + 1)

    def check_target(self, y: Array, c: int) -> None:
        """Raise `TargetError` unless every target is a class number 0 … c."""
        Categorical().check_target(y, c + 1)


@dataclass(frozen=True)
class OrdinalModel:
    """A fitted model as plain data: thresholds `[c]`, slopes `[p]`."""

    thresholds: Array
    slopes: Array
    likelihood: Ordinal

    def outputs(self, x: Array) -> Array:
        """`f_k = θ_k − xᵀβ`."""
        return self.thresholds - (x @ self.slopes)[:, None]

    def jacobian(self, x: Array) -> Array:
        """`A_i = (I, −1 x_iᵀ) [n, c, c + p]`."""
        c = len(self.thresholds)
        return np.concatenate([np.tile(np.eye(c), (len(x), 1, 1)), -np.repeat(x[:, None], c, axis=1)], axis=2)


@dataclass(frozen=True)
class OrdinalPosterior:
    """`q(θ, β) = N(·, S⁻¹)`, `S = Σ_i A_iᵀΛ_iA_i`, `S⁻¹ = WWᵀ`."""

    model: OrdinalModel
    likelihood: Likelihood
    description: Description
    root: Array

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and `V_i = A_i S⁻¹ A_iᵀ [n, c, c]`."""
        x = np.asarray(inputs, dtype=float)
        z = self.factor(x)
        return Marginals(self.model.outputs(x), z @ z.mT)

    def factor(self, inputs: Any) -> Array:
        """`Z_i = A_i W`."""
        return np.asarray(self.model.jacobian(np.asarray(inputs, dtype=float)) @ self.root)

    def shift(self, u: Array) -> Array:
        """Parameters' move `[..., c + p, 1]`, thresholds first."""
        return np.asarray(u @ self.root.T)[..., None]


def ordinal_root(model: OrdinalModel, examples: Examples) -> tuple[Array, float]:
    """`W` with `S⁻¹ = WWᵀ`, and the distance from the optimum in posterior standard deviations a parameter.

    Raises
    ------
    numpy.linalg.LinAlgError
        Parameters that the data does not determine.
    """
    size = len(model.thresholds) + len(model.slopes)
    precision, gradient = np.zeros((size, size)), np.zeros(size)
    for batch in examples:
        x = np.asarray(batch.inputs, dtype=float)
        f = model.outputs(x) + (0 if batch.offset is None else np.reshape(batch.offset, (len(x), -1)))
        model.likelihood.check_target(batch.target, f.shape[1])
        a = model.jacobian(x)
        precision += np.einsum("nap,nab,nbq->pq", a, model.likelihood.curvature(f, batch.target), a)
        gradient += np.einsum("nap,na->p", a, model.likelihood.error(f, batch.target))
    root = np.linalg.inv(np.linalg.cholesky(precision)).T
    return root, float(np.linalg.norm(root.T @ gradient) / np.sqrt(size))
