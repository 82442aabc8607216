"""Ordered classes: cumulative link models, and the joint posterior of thresholds and slopes.

    f_ik = θ_k − x_iᵀβ  (k = 1 … J − 1),    P(y_i ≤ k) = F(f_ik),    p_ij = F(f_ij) − F(f_i,j−1)

All outputs share `β`; thresholds are treated as parameters. The precision is kept as a triangular factor of rows, so
that its condition number is not squared. Source: McCullagh 1980.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.linalg as sl

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.covariance_roots import TriangularFactor
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.ordinal import Ordinal
from memorymaps.core.orthonormal_columns import unaliased_columns
from memorymaps.data.examples import Examples
from memorymaps.models.linear.infinite_estimates import Descent, endless_descent
from memorymaps.models.linear.stationarity import relative_change, sample_of
from memorymaps.posteriors.capabilities import Capabilities, ExampleRefits
from memorymaps.posteriors.contract import Description, Marginals

if TYPE_CHECKING:
    from memorymaps.models.linear.ordinal_refit import OrdinalRefit

_MOST_REFITS = 500  # without single examples, when predictions are asked about
_STEPS, _TOLERANCE = 200, 1e-4


@dataclass(frozen=True)
class OrdinalModel:
    """A fitted cumulative link model as plain data: thresholds `[c]`, slopes `[p]`."""

    thresholds: Array
    slopes: Array
    likelihood: Ordinal

    @property
    def parameters(self) -> Array:
        """Thresholds and slopes `[c + p]`."""
        return np.concatenate([self.thresholds, self.slopes])

    def at(self, parameters: Array) -> OrdinalModel:
        """The model with other parameters."""
        c = len(self.thresholds)
        return replace(self, thresholds=parameters[:c], slopes=parameters[c:])

    def outputs(self, x: Array) -> Array:
        """`f_k = θ_k − xᵀβ`: `[n, c]`."""
        return self.thresholds - (x @ self.slopes)[:, None]

    def jacobian(self, x: Array) -> Array:
        """`A_i = (I, −1 x_iᵀ) [n, c, c + p]`."""
        c = len(self.thresholds)
        return np.concatenate([np.tile(np.eye(c), (len(x), 1, 1)), -np.repeat(x[:, None], c, axis=1)], axis=2)


@dataclass(frozen=True)
class OrdinalPosterior:
    """`q(θ, β) = N(·, S⁻¹)`, `S = Σ_i A_iᵀΛ_iA_i`, `S⁻¹ = WWᵀ`; `design`: inputs → `x [n, p]`."""

    model: OrdinalModel
    likelihood: Likelihood
    description: Description
    root: Array
    design: Callable[[Any], Array]
    refits: OrdinalRefit | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, changes of parameters, and refits, of groups, too."""
        return Capabilities(
            covariance_root=self.covariance_root, from_whitened=self.from_whitened, refit=self.refits,
            group_refit=self.refits, coefficients=self.coefficients,
            coordinate_refit=None if self.refits is None else self.refit_coordinates,
            example_refits=None if self.refits is None else ExampleRefits(self._removals_at, lambda: _MOST_REFITS),
        )  # fmt: skip

    def coefficients(self) -> Array:
        """Thresholds and slopes, `[c + p, 1]`."""
        return self.model.parameters[:, None]

    def refit_coordinates(self, removed: Array, steps: int, tolerance: float) -> tuple[Array, float]:
        """`u [c + p]` of a refit without some rows, and how far it was from its end."""
        assert self.refits is not None
        change, remaining = self.refits.parameter_change(removed, steps)
        return np.linalg.solve(self.root, change), remaining

    def _removals_at(self, inputs: Any) -> Callable[[Array], Array]:
        """`rows [b] → Δf [k, b, c]` by refits without each."""
        z = self.covariance_root(inputs)

        def changes(rows: Array) -> Array:
            found = [self.refit_coordinates(np.asarray([row]), _STEPS, _TOLERANCE) for row in rows]
            return np.stack([z @ (u if remaining <= _TOLERANCE else u * np.nan) for u, remaining in found], axis=1)

        return changes

    def marginals(self, inputs: Any) -> Marginals:
        """`f [n, c]` and `V_i = A_i S⁻¹ A_iᵀ [n, c, c]`."""
        x = self.design(inputs)
        z = self.covariance_root(x)
        return Marginals(self.model.outputs(x), z @ z.mT)

    def covariance_root(self, inputs: Any) -> Array:
        """`Z_i = A_i W`: `[n, c, c + p]`."""
        return np.asarray(self.model.jacobian(self.design(inputs)) @ self.root)

    def from_whitened(self, u: Array) -> Array:
        """Change of the parameters `[..., c + p, 1]`, thresholds first."""
        return np.asarray(u @ self.root.T)[..., None]


class OrdinalFit(NamedTuple):
    """Around the fitted parameters: `W [c + p, c + p]` with `S⁻¹ = WWᵀ`, and how far they are from the optimum.

    `distance` is in posterior standard deviations per parameter; `error_change` that by the Newton step which remains
    (`stationarity.relative_change`); `rounding` is what rounding changes of leverages, relatively; `descent` is
    where the loss has no minimum.
    """

    root: Array
    distance: float
    error_change: float
    rounding: float
    descent: Descent | None


def ordinal_fit(model: OrdinalModel, examples: Examples) -> OrdinalFit:
    """The posterior's root, by one pass over the data, and the step that remains.

    Raises
    ------
    numpy.linalg.LinAlgError
        Parameters that the data does not determine.
    """
    root, gradient, rounding = _root_and_gradient(model, examples)
    whitened = root.T @ gradient
    batch, step = sample_of(examples), -root @ whitened
    x = np.asarray(batch.inputs, dtype=float)
    change = relative_change(model.likelihood, batch, model.outputs(x), model.jacobian(x) @ step)
    distance = float(np.linalg.norm(whitened) / np.sqrt(len(gradient)))
    descent = endless_descent(_OrdinalLoss(model, examples), model.parameters, step)
    return OrdinalFit(root, distance, change, rounding, descent)


def _root_and_gradient(model: OrdinalModel, examples: Examples) -> tuple[Array, Array, float]:
    """`W [c + p, c + p]`, the loss's gradient `[c + p]`, and what rounding changes of leverages; raises as above."""
    size = len(model.parameters)
    factor, gradient = TriangularFactor(size), np.zeros(size)
    for batch in examples:
        x, f = _with_offset(model, batch)
        model.likelihood.check_target(batch.target, f.shape[1])
        rows, own = derivatives(model.likelihood, x, f, batch.target)
        factor.add(rows, np.ones(len(rows)))
        gradient += own
    root, rounding = inverse_root(factor.with_penalty(np.zeros(size)))
    return root, gradient, rounding


def _with_offset(model: OrdinalModel, batch: Batch) -> tuple[Array, Array]:
    """`x [n, p]` and `f [n, c]`."""
    x = np.asarray(batch.inputs, dtype=float)
    return x, model.outputs(x) + (0 if batch.offset is None else np.reshape(batch.offset, (len(x), -1)))


@dataclass(frozen=True)
class _OrdinalLoss:
    """The loss over the training data, `infinite_estimates.Loss` of thresholds and slopes `[c + p]`."""

    model: OrdinalModel
    examples: Examples

    def newton_step(self, parameters: Array) -> Array:
        """One scoring step; NaN where the data no longer determines the parameters, to rounding."""
        try:
            root, gradient, _ = _root_and_gradient(self.model.at(parameters), self.examples)
        except np.linalg.LinAlgError:
            return np.full(len(parameters), np.nan)
        return np.asarray(-root @ (root.T @ gradient))

    def largest_change(self, step: Array) -> float:
        """Over the training data."""
        moves = (self.model.jacobian(np.asarray(each.inputs, dtype=float)) @ step for each in self.examples)
        return float(max(np.max(np.abs(each), initial=0.0) for each in moves))

    def value(self, parameters: Array) -> float:
        """`Σ ℓ`; infinite where thresholds are not in order."""
        model = self.model.at(parameters)
        if not np.all(np.diff(model.thresholds) > 0):
            return np.inf
        found = ((model.likelihood, *_with_offset(model, each)[1:], each.target) for each in self.examples)
        return float(sum(np.sum(likelihood.nll(f, y)) for likelihood, f, y in found))


def derivatives(likelihood: Ordinal, x: Array, f: Array, y: Array) -> tuple[Array, Array]:
    """Rows `G_iA_i [n (c + 1), c + p]`, whose Gram matrix is `Σ AᵀΛA`, and the gradient `Σ Aᵀe [c + p]` of the loss."""
    rows, error = likelihood.curvature_rows(f), likelihood.error(f, y)
    of_slopes = -rows.sum(axis=2)[..., None] * x[:, None]
    gradient = np.concatenate([error.sum(axis=0), -error.sum(axis=1) @ x])
    return np.concatenate([rows, of_slopes], axis=2).reshape(-1, len(gradient)), gradient


def inverse_root(triangle: Array) -> tuple[Array, float]:
    """`W = R⁻¹` with `S⁻¹ = WWᵀ` for the triangular `R` with `RᵀR = S`, and what rounding changes of leverages.

    Raises
    ------
    numpy.linalg.LinAlgError
        A column of `R` is a combination of others, to rounding.
    """
    found = unaliased_columns(triangle)
    if len(found.places) < triangle.shape[1]:
        raise np.linalg.LinAlgError("a parameter that the others determine: expected data that determine each")
    size = np.linalg.norm(triangle, axis=0)
    return np.asarray(sl.solve_triangular(triangle / size, np.eye(len(size))) / size[:, None]), found.rounding
