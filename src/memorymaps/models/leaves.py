"""Boosted trees with their structure fixed: a sequence of Newton steps on leaf values, as plain data.

Which leaf an example falls into is the library's own answer; everything else follows from the targets. Iteration `t`
grows one tree for each of `c` outputs, from the gradients `e = ∇_f ℓ` at the outputs so far:

    θ_l = −η G_l / D_l,    G_l = Σ_{i∈l} w_i e_i,    D_l = Σ_{i∈l} w_i a Λ_i + λ,    f ← f + θ_{l(i)}

with learning rate `η`, ridge `λ` and the factor `a` by which the library scales the diagonal of `Λ`. A base value that
the library fits is a first step of its own, `g⁻¹(mean y)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from memorymaps._types import Array
from memorymaps.likelihoods import Bernoulli, Categorical, Likelihood, Poisson


@dataclass(frozen=True)
class Boosting:
    """A boosted ensemble over its `n` training examples.

    Attributes
    ----------
    leaves : `[n, T, c]`, leaf of each example in each tree, numbered from 0 without gaps.
    target, weight : `[n]`; the weights that training used, 0 for examples that it held out.
    likelihood : of unit dispersion; its `error` and `information` are the gradients and curvatures of training.
    rate, ridge : `η` and `λ`.
    base : a number or `[c]` that the outputs start from; `None`: fitted, the link of the weighted mean target.
    newton : `a`, the library's factor on the curvature in its denominators.
    limit : largest `|G_l/D_l|` that the library allows.
    """

    leaves: Array
    target: Array
    weight: Array
    likelihood: Likelihood
    rate: float
    ridge: float
    base: Array | None = None
    newton: float = 1.0
    limit: float = np.inf

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(n, T, c)`."""
        n, trees, c = self.leaves.shape
        return n, trees, c

    @cached_property
    def first(self) -> Array:
        """Number of the first leaf of each tree among all leaves, `[T, c]`; number 0 … c − 1 are the base values."""
        counts = self.leaves.max(axis=0).astype(np.int64).ravel() + 1
        c = self.shape[2]
        return (c + np.concatenate([[0], np.cumsum(counts)[:-1]])).reshape(-1, c)

    @cached_property
    def size(self) -> int:
        """`P`: all leaves, and the base values."""
        return int(self.first[-1, -1] + self.leaves[:, -1, -1].max() + 1)

    def numbers(self, rows: Array | slice = slice(None)) -> Array:
        """Every leaf's number among all `P`: `[rows, 1 + T, c]`, the base first."""
        own = self.leaves[rows] + self.first
        base = np.broadcast_to(np.arange(self.shape[2]), (len(own), 1, self.shape[2]))
        return np.concatenate([base, own], axis=1)


@dataclass(frozen=True)
class Replay:
    """Training once more on the same leaves: values `θ [P]`, step lengths `η/D [P]` (0 at the limit), outputs.

    `path [T + 1, n, c]` holds the outputs before each iteration, and after the last.
    """

    values: Array
    steps: Array
    path: Array

    @property
    def f(self) -> Array:
        """The outputs `[n, c]`."""
        return self.path[-1]


def replay(model: Boosting) -> Replay:
    """Leaf values and outputs from the targets, with every example in its leaf.

    Examples
    --------
    >>> from memorymaps.likelihoods import Gaussian
    >>> stump = np.array([0, 0, 1])[:, None, None]
    >>> model = Boosting(stump, np.array([1.0, 3.0, 8.0]), np.ones(3), Gaussian(), rate=1.0, ridge=0.0)
    >>> replay(model).f[:, 0]
    array([2., 2., 8.])
    """
    n, trees, c = model.shape
    values, steps = np.zeros(model.size), np.zeros(model.size)
    path = np.empty((trees + 1, n, c))
    values[:c], steps[:c] = _base(model)
    path[0] = values[:c]
    for t in range(trees):
        error, information = _derivatives(model, path[t])
        path[t + 1] = path[t]
        for k in range(c):
            leaf, where = model.leaves[:, t, k], model.first[t, k]
            theta, step = _leaf_values(model, _sums(leaf, error[:, k]), _sums(leaf, information[:, k]))
            values[where : where + len(theta)], steps[where : where + len(theta)] = theta, step
            path[t + 1, :, k] += theta[leaf]
    return Replay(values, steps, path)


def _sums(leaf: Array, x: Array) -> Array:
    return np.bincount(leaf, x, minlength=int(leaf.max()) + 1)


def _derivatives(model: Boosting, f: Array) -> tuple[Array, Array]:
    """`w e` and `w a diag Λ`."""
    weight = model.weight[:, None]
    error = weight * model.likelihood.error(f, model.target)
    return error, weight * model.newton * model.likelihood.information(f, model.target)


def _leaf_values(model: Boosting, gradient: Array, curvature: Array) -> tuple[Array, Array]:
    """`θ` and `η/D`; an empty leaf and one at the limit do not answer to the targets."""
    whole = curvature + model.ridge
    step = np.divide(model.rate, whole, out=np.zeros_like(whole), where=whole > 1e-30)
    theta, bound = -step * gradient, model.rate * model.limit
    return np.clip(theta, -bound, bound), np.where(np.abs(theta) > bound, 0.0, step)


def _base(model: Boosting) -> tuple[Array, Array]:
    """Base values and `1/Σ w Λ` where they are fitted, 0 where they are given."""
    c = model.shape[2]
    if model.base is not None:
        return np.broadcast_to(np.asarray(model.base, dtype=float), (c,)), np.zeros(c)
    mean = model.weight @ model.likelihood.encode(model.target, c) / model.weight.sum()
    value = _link(model.likelihood)(mean)
    categorical = isinstance(model.likelihood, Categorical)
    slope = mean if categorical else model.likelihood.information(value[None], model.target[:1])[0]
    return value, 1 / np.maximum(model.weight.sum() * slope, 1e-300)


def _link(likelihood: Likelihood) -> Callable[[Array], Array]:
    """From a mean to the output that predicts it."""
    if isinstance(likelihood, Categorical):
        return lambda mean: np.log(np.maximum(mean, 1e-300))
    if isinstance(likelihood, Bernoulli):
        return lambda mean: np.log(mean / (1 - mean))
    if isinstance(likelihood, Poisson):
        return lambda mean: np.log(mean)
    return lambda mean: mean


def without(model: Boosting, rows: Array) -> Boosting:
    """The same leaves with these examples' weights set to zero: what deletion does where the structure stays."""
    weight = model.weight.copy()
    weight[rows] = 0.0
    return dataclasses.replace(model, weight=weight)


def predict(model: Boosting, values: Array, rows: Array) -> Array:
    """Outputs `[rows, c, g]` of leaf values `[P, g]`."""
    numbers = model.numbers(rows)
    return np.stack([values[numbers[:, :, k]].sum(axis=1) for k in range(model.shape[2])], axis=1)


def indicators(leaf: Array, width: int, weight: Array | None = None) -> sparse.csr_array:
    """`M [n, width]` with one entry (1, or the weight) a row and column of `leaf [n]` or `[n, t]`."""
    table = leaf.reshape(len(leaf), -1)
    data = np.ones(table.size, np.float32) if weight is None else np.repeat(weight, table.shape[1])
    pointers = np.arange(0, table.size + 1, table.shape[1])
    return sparse.csr_array((data, table.ravel(), pointers), shape=(len(leaf), width))
