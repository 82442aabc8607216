"""The Gaussian posterior of a linear predictor: marginals, cross-covariances, changes of its coefficients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.covariance_roots import AnyCovarianceRoot, IndependentCovarianceRoots
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.models.linear.active_set import L1ActiveSetWarnings
from memorymaps.models.linear.glm.model import LinearModel, OutsideVariance, is_quadratic
from memorymaps.models.linear.newton_refit import LinearRefit
from memorymaps.posteriors.capabilities import (
    Capabilities,
    CoefficientRefit,
    ExampleRefits,
    PenaltyPerWeight,
    Refit,
)
from memorymaps.posteriors.contract import Description, Marginals


@dataclass(frozen=True)
class LinearPosterior:
    """`q(B) = N(B̂, S⁻¹)`: marginals, cross-covariances and parameter changes of a linear predictor."""

    likelihood: Likelihood
    description: Description
    coefficients: Array
    design: Callable[[Any], Array]
    structure: AnyCovarianceRoot
    refits: Refit | None = field(default=None, kw_only=True)
    coefficient_refit: CoefficientRefit | None = field(default=None, kw_only=True)
    with_expected_information: Callable[[], LinearPosterior] | None = field(default=None, kw_only=True)
    model: LinearModel | None = field(default=None, kw_only=True)
    active_set: L1ActiveSetWarnings | None = field(default=None, kw_only=True)
    penalty: PenaltyPerWeight | None = field(default=None, kw_only=True)
    to_original: Callable[[Array], Array] | None = field(default=None, kw_only=True)
    prior_variance: OutsideVariance | None = field(default=None, kw_only=True)
    newton_step: Array | None = field(default=None, kw_only=True)  # to the optimum [p, c], where no coefficient is held

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, parameter changes, active set, refits; Newton's method where the loss is not quadratic."""
        newton = self.refits if isinstance(self.refits, LinearRefit) else None
        exact = is_quadratic(self.likelihood) and self.penalty is None
        return Capabilities(
            covariance_root=self.covariance_root, from_whitened=self.from_whitened, refit=self.refits,
            extra_columns=self.active_set,
            newton=None if exact else newton, group_refit=None if exact and newton else self.refits,
            check=None if newton else self.refits, penalty=self.penalty, parameter_variance=self.parameter_variance,
            coefficients=self.original_coefficients, coordinate_refit=self.refit_coordinates if newton else None,
            coefficient_refit=self.coefficient_refit, example_refits=None if exact else self._example_refits(newton),
            gradient_norm=self.gradient_norm if self.to_original is None else None,
        )  # fmt: skip

    def _example_refits(self, newton: LinearRefit | None) -> ExampleRefits | None:
        if newton is None:
            return None

        def at(inputs: Any) -> Callable[[Array], Array]:
            z = self.covariance_root(inputs)
            return lambda rows: np.swapaxes(z @ (newton.single_removals(rows) / self._unit_scale).T, 1, 2)

        return ExampleRefits(at, newton.affordable_single_removals)

    def gradient_norm(self, inputs: Any, error: Array) -> Array:
        """`‖x_i‖₂ ‖e_i‖₂ [n]`, of the gradients `x_i e_iᵀ`."""
        return np.linalg.norm(self.design(inputs), axis=1) * np.linalg.norm(error, axis=1)

    def original_coefficients(self) -> Array:
        """`B̂ [p, c]` of the model's own columns."""
        return self.coefficients if self.to_original is None else self.to_original(self.coefficients)

    def refit_coordinates(self, removed: Array, steps: int, tolerance: float) -> tuple[Array, float]:
        """`u [r]` of a refit without some rows by Newton's method, and how far it was from its end."""
        assert isinstance(self.refits, LinearRefit)
        u, remaining = self.refits.coordinates(removed, steps, tolerance)
        return u / self._unit_scale, remaining

    @property
    def _unit_scale(self) -> Array:
        """`√φ [r]`, by which coordinates at unit dispersion are divided."""
        roots = self.structure.roots if isinstance(self.structure, IndependentCovarianceRoots) else (self.structure,)
        scale = np.sqrt(np.broadcast_to(self.dispersions, (len(roots),)))
        return np.repeat(scale, [root.rank for root in roots])

    def marginals(self, inputs: Any) -> Marginals:
        """`f = Bᵀx [n, c]` and `V = (I ⊗ xᵀ) S⁻¹ (I ⊗ x) [n, c, c]`."""
        x = self.design(inputs)
        f, variance = x @ self.coefficients, self.structure.variance(x)
        if self.prior_variance is not None:
            outside = self.prior_variance.of_outputs(inputs) * self.dispersions
            variance = variance + outside[..., None] * np.eye(f.shape[1])
        return Marginals(f, variance)

    @property
    def dispersions(self) -> Array:
        """`φ`, one for all outputs or one each, by which the prior's variance is multiplied."""
        phi = self.description.dispersion
        return np.asarray(1.0 if phi is None else phi, dtype=float)

    def parameter_variance(self) -> Array:
        """`diag S⁻¹ [p, c]`."""
        basis = self.from_whitened(np.eye(self.structure.rank))
        inside = np.sum(basis**2, axis=0)
        return (
            inside if self.prior_variance is None else inside + self.dispersions * self.prior_variance.of_parameters()
        )

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, r]` with `V_ij = Z_i Z_jᵀ`."""
        return self.structure.covariance_root(self.design(inputs))

    def from_whitened(self, u: Array) -> Array:
        """Change of the parameters `[..., p, c]` for coordinates `u [..., r]`."""
        change = self.structure.from_whitened(u)
        return change if self.to_original is None else self.to_original(change)
