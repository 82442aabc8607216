"""Boosted trees with their structure fixed: a sequence of Newton steps on leaf values, as plain data.

Which leaf an example falls into is the library's own answer; everything else follows from the targets. Iteration `t`
grows one tree for each of `c` outputs, from the gradients `e = ∇_f ℓ` at the outputs so far:

    θ_l = −η G_l / D_l,    G_l = Σ_{i∈l} w_i e_i,    D_l = Σ_{i∈l} w_i a Λ_i + λ,    f ← f + θ_{l(i)}

with learning rate `η`, ridge `λ` and the factor `a` by which the library scales the diagonal of `Λ`. A base value that
the library fits is a first step of its own, `g⁻¹(mean y)`. With row subsampling the sums are over the rows that the
iteration drew; outputs move for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.categorical import Categorical
from memorymaps.core.likelihoods.exponential_family import Bernoulli, Poisson


@dataclass(frozen=True)
class FixedStructureBoosting:
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
    drawn : `[n, T]`, whether an iteration's leaf values saw the example; `None`: all of them did.
    """

    leaves: Array
    target: Array
    weight: Array
    likelihood: Likelihood
    learning_rate: float
    ridge: float
    base: Array | None = None
    curvature_factor: float = 1.0
    max_step: float = np.inf
    drawn: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(n, T, c)`."""
        n, trees, c = self.leaves.shape
        return n, trees, c

    @cached_property
    def first_leaf(self) -> Array:
        """Number of the first leaf of each tree among all leaves, `[T, c]`; number 0 … c − 1 are the base values."""
        counts = self.leaves.max(axis=0).astype(np.int64).ravel() + 1
        c = self.shape[2]
        return (c + np.concatenate([[0], np.cumsum(counts)[:-1]])).reshape(-1, c)

    @cached_property
    def num_leaf_values(self) -> int:
        """`P`: all leaves, and the base values."""
        return int(self.first_leaf[-1, -1] + self.leaves[:, -1, -1].max() + 1)

    def leaf_indices(self, rows: Array | slice = slice(None)) -> Array:
        """Every leaf's number among all `P`: `[rows, 1 + T, c]`, the base first."""
        own = self.leaves[rows] + self.first_leaf
        base = np.broadcast_to(np.arange(self.shape[2]), (len(own), 1, self.shape[2]))
        return np.concatenate([base, own], axis=1)

    def iteration_weights(self, t: int) -> Array:
        """Weights `[n]` in iteration `t`, 0 for examples that it did not draw."""
        return self.weight if self.drawn is None else self.weight * self.drawn[:, t]

    def newton_step(self, t: int, f: Array) -> tuple[Array, Array]:
        """Leaf values `θ [P_t]` of iteration `t` from the outputs before it, and `η/D [P_t]`."""
        w, found = self.iteration_weights(t)[:, None], []
        error = w * self.likelihood.error(f, self.target)
        information = w * self.curvature_factor * self.likelihood.fisher_diagonal(f, self.target)
        for k, leaf in enumerate(self.leaves[:, t].T):
            found.append(_leaf_values(self, _sum_per_leaf(leaf, error[:, k]), _sum_per_leaf(leaf, information[:, k])))
        values, steps = (np.concatenate(column) for column in zip(*found, strict=True))
        return values, steps


@dataclass(frozen=True)
class MultiOutputTreeBoosting(FixedStructureBoosting):
    """Boosting whose iterations grow one tree for all outputs, with the whole `Λ` in the denominators (CatBoost).

    `θ_l = −η D_l⁻¹ G_l`, `D_l = Σ_{i∈l} w_i Λ_i + λI [c, c]`; `leaves` repeat the tree for each output.
    """

    def newton_step(self, t: int, f: Array) -> tuple[Array, Array]:
        """Leaf values, output by output, and `η D⁻¹ [c, c, leaves]`."""
        w, leaf, c = self.iteration_weights(t), self.leaves[:, t, 0], self.shape[2]
        own = leaf_indicators(leaf, int(leaf.max()) + 1, w).T
        gradient = own @ self.likelihood.error(f, self.target)
        curvature = own @ self.likelihood.curvature(f, self.target).reshape(len(f), c * c)
        whole = curvature.reshape(-1, c, c) + self.ridge * np.eye(c)
        steps = self.learning_rate * np.linalg.inv(whole)
        values = -(steps @ gradient[..., None])[..., 0]
        return values.T.ravel(), np.moveaxis(steps, 0, -1)


@dataclass(frozen=True)
class BoostingRefit:
    """Training once more on the same leaves: values `θ [P]`, the steps of each iteration (0 at the limit), outputs.

    `staged_outputs [T + 1, n, c]` holds the outputs before each iteration, and after the last.
    """

    values: Array
    step_blocks: Sequence[Array]
    staged_outputs: Array

    @cached_property
    def steps(self) -> sparse.csr_array:
        """`η/D [P, P]`, a block an iteration; the base value is the first."""
        return sparse.block_diag([step_matrix(block) for block in self.step_blocks], format="csr")

    @property
    def f(self) -> Array:
        """The outputs `[n, c]`."""
        return self.staged_outputs[-1]


def step_matrix(steps: Array) -> sparse.sparray:
    """Steps `[P_t]`, or `[c, c, leaves]` of coupled outputs, as a matrix `[P_t, P_t]`."""
    if steps.ndim == 1:
        return sparse.diags_array(steps)
    return sparse.block_array([[sparse.diags_array(block) for block in row] for row in steps])


def refit_leaf_values(model: FixedStructureBoosting) -> BoostingRefit:
    """Leaf values and outputs from the targets, with every example in its leaf.

    Examples
    --------
    >>> from memorymaps.core.likelihoods.exponential_family import Gaussian
    >>> stump = np.array([0, 0, 1])[:, None, None]
    >>> model = Boosting(stump, np.array([1.0, 3.0, 8.0]), np.ones(3), Gaussian(), rate=1.0, ridge=0.0)
    >>> replay(model).f[:, 0]
    array([2., 2., 8.])
    """
    n, trees, c = model.shape
    base, slope = _base_values(model)
    values, step_blocks = [base], [slope]
    staged_outputs = np.empty((trees + 1, n, c))
    staged_outputs[0] = base
    for t in range(trees):
        theta, step = model.newton_step(t, staged_outputs[t])
        values.append(theta)
        step_blocks.append(step)
        staged_outputs[t + 1] = (
            staged_outputs[t] + theta[model.leaves[:, t] + (model.first_leaf[t] - model.first_leaf[t, 0])]
        )
    return BoostingRefit(np.concatenate(values), step_blocks, staged_outputs)


def _sum_per_leaf(leaf: Array, x: Array) -> Array:
    return np.bincount(leaf, x, minlength=int(leaf.max()) + 1)


def _leaf_values(model: FixedStructureBoosting, gradient: Array, curvature: Array) -> tuple[Array, Array]:
    """`θ` and `η/D`; an empty leaf and one at the limit do not answer to the targets."""
    whole = curvature + model.ridge
    step = np.divide(model.learning_rate, whole, out=np.zeros_like(whole), where=whole > 1e-30)
    theta, bound = -step * gradient, model.learning_rate * model.max_step
    return np.clip(theta, -bound, bound), np.where(np.abs(theta) > bound, 0.0, step)


def _base_values(model: FixedStructureBoosting) -> tuple[Array, Array]:
    """Base values and `1/Σ w Λ` where they are fitted, 0 where they are given."""
    c = model.shape[2]
    if model.base is not None:
        return np.broadcast_to(np.asarray(model.base, dtype=float), (c,)), np.zeros(c)
    mean = model.weight @ model.likelihood.encode(model.target, c) / model.weight.sum()
    value = _link(model.likelihood)(mean)
    categorical = isinstance(model.likelihood, Categorical)
    slope = mean if categorical else model.likelihood.fisher_diagonal(value[None], model.target[:1])[0]
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


def without_examples(model: FixedStructureBoosting, rows: Array) -> FixedStructureBoosting:
    """The same leaves with these examples' weights set to zero: what deletion does where the structure stays."""
    weight = model.weight.copy()
    weight[rows] = 0.0
    return dataclasses.replace(model, weight=weight)


def sum_leaf_values(model: FixedStructureBoosting, values: Array, rows: Array) -> Array:
    """Outputs `[rows, c, g]` of leaf values `[P, g]`."""
    leaf_indices = model.leaf_indices(rows)
    return np.stack([values[leaf_indices[:, :, k]].sum(axis=1) for k in range(model.shape[2])], axis=1)


def leaf_indicators(leaf: Array, width: int, weight: Array | None = None) -> sparse.csr_array:
    """`M [n, width]` with one entry (1, or the weight) a row and column of `leaf [n]` or `[n, t]`."""
    table = leaf.reshape(len(leaf), -1)
    data = np.ones(table.size, np.float32) if weight is None else np.repeat(weight, table.shape[1])
    pointers = np.arange(0, table.size + 1, table.shape[1])
    return sparse.csr_array((data, table.ravel(), pointers), shape=(len(leaf), width))
