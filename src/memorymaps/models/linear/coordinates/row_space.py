"""Wide data, more penalised columns than examples: the same model in coordinates of the examples' row space.

    L(θ) = Σ w ℓ(xᵀθ) + ½ θᵀDθ,    θ = D^{-1/2}Q β,    Q [p, n]: orthonormal basis of span{D^{-1/2}x_i}

The optimum lies in the row space (representer theorem), and across it the posterior is the prior. With the features
`xᵀD^{-1/2}Q` and the ridge `½|β|²` leverages, deviations and refits are the same, at a cost cubic in `n` instead of
`p`, without any `p × p` matrix. Source: Hastie & Tibshirani 2004.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import Examples
from memorymaps.models.linear.glm.model import LinearModel, check_coefficients

_ROUNDING = 1e-10  # share of `xᵀD⁻¹x` below which nothing of `x` is outside the row space


def in_row_space(model: LinearModel, examples: Examples) -> LinearModel:
    """The model in its examples' row space where it has more penalised coefficients than examples; else itself.

    Penalties of several outputs must be proportional to each other; L1 penalties and constraints are not rotated.
    """
    check_coefficients(model)
    if len(model.coefficients) <= len(examples):  # never wide: spares a pass over the data
        return model
    weight = _total_weight(examples)
    delta = np.asarray(model.penalty(weight))
    penalised = delta[:, 0] > 0
    wide = np.count_nonzero(penalised) > len(examples) + delta.shape[1]
    if not wide or not _is_rotatable(model, delta, penalised):
        return model
    basis = _basis(model, examples, delta[:, 0])
    first = int(np.flatnonzero(penalised)[0])
    ridge = _Ridge(model.penalty, first, float(delta[first, 0]), basis.shape[1] - int(np.sum(~penalised)))
    scale = np.where(penalised, delta[:, 0], 1.0)
    return dataclasses.replace(
        model,
        design=RowSpaceDesign(model.design, basis),
        coefficients=basis.T @ (scale[:, None] * model.coefficients),
        penalty=lambda w: ridge(w, basis.shape[1]),
        free=np.ones((basis.shape[1], delta.shape[1]), dtype=bool),
        to_original=Expansion(basis, model.to_original),
        prior_variance=PriorVariance(
            model.design, basis[:, : ridge.rotated], np.where(penalised, 1 / scale, 0.0), delta[first] / delta[first, 0]
        ),
    )


def _total_weight(examples: Examples) -> float:
    return sum(float(len(batch) if batch.weight is None else np.sum(batch.weight)) for batch in examples)


def _is_rotatable(model: LinearModel, delta: Array, penalised: Array) -> bool:
    """Whether all coefficients are free, under ridges that are proportional over outputs and no other penalty."""
    proportional = np.allclose(delta, delta[:, :1] * (delta[penalised][:1] / delta[penalised][:1, :1]), rtol=1e-12)
    return model.l1 is None and model.shrinkable is None and bool(np.all(model.free)) and proportional


def _basis(model: LinearModel, examples: Examples, delta: Array) -> Array:
    """`[D^{-1/2}Q, I] [p, q + u]`: the row space of the penalised columns, and the `u` others as they are.

    `Q` spans the coefficients, too: where a fit stopped early they may leave the row space by a little.
    """
    penalised, others = np.flatnonzero(delta > 0), np.flatnonzero(delta == 0)
    root = np.sqrt(delta[penalised])[:, None]
    rows = [model.design(batch.inputs)[:, penalised].T / root for batch in examples]
    q = np.linalg.qr(np.concatenate([*rows, root * model.coefficients[penalised]], axis=1))[0]
    basis = np.zeros((len(delta), q.shape[1] + len(others)))
    basis[penalised, : q.shape[1]] = q / root
    basis[others, np.arange(q.shape[1], basis.shape[1])] = 1.0
    return basis


@dataclass(frozen=True)
class _Ridge:
    """`δ [q + u, c]` of the rotated coefficients: that of one original column relative to its value at the fit."""

    original: Callable[[float], Array]
    column: int
    unit: float
    rotated: int

    def __call__(self, weight: float, size: int) -> Array:
        each = np.asarray(self.original(weight))[self.column] / self.unit
        return np.where(np.arange(size)[:, None] < self.rotated, each, 0.0)


@dataclass(frozen=True)
class RowSpaceDesign:
    """`x B [n, q]` of another design and a basis `B [p, q]`; sparse inputs stay sparse."""

    design: Any
    basis: Array

    def __call__(self, inputs: Any) -> Array:
        """The features in the row space."""
        return np.asarray(self.design.matmul(inputs, self.basis))


@dataclass(frozen=True)
class Expansion:
    """Coefficients (or changes of them) `[..., q, c]` in the row space → `[..., p, c]` of the model's columns."""

    basis: Array
    inner: Callable[[Array], Array] | None

    def __call__(self, change: Array) -> Array:
        """`B β`."""
        full = np.einsum("pq,...qc->...pc", self.basis, change)
        return full if self.inner is None else self.inner(full)


@dataclass(frozen=True)
class PriorVariance:
    """Variance outside the row space, where the posterior is the prior, at unit dispersion.

    `basis [p, q]`: of the row space; `inverse [p]`: `1/δ` of the first output, 0 without a penalty; `ratio [c]`: ridge
    of each output relative to the first one's.
    """

    design: Any
    basis: Array
    inverse: Array
    ratio: Array

    def of_outputs(self, inputs: Any) -> Array:
        """`(xᵀD⁻¹x − |xᵀB|²)/ratio [n, c]`: zero for training examples."""
        total = self.design.squared_matmul(inputs, self.inverse[:, None])
        inside = np.sum(self.design.matmul(inputs, self.basis) ** 2, axis=1, keepdims=True)
        return np.where(total - inside > _ROUNDING * total, total - inside, 0.0) / self.ratio

    def of_parameters(self) -> Array:
        """`(diag D⁻¹ − diag BBᵀ)/ratio [p, c]`."""
        outside = np.clip(self.inverse - np.sum(self.basis**2, axis=1), 0, None)
        return np.asarray(outside[:, None] / self.ratio)
