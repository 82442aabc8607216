"""Linear predictors under losses with kinks: Laplace's approximation with the curvature that the posterior smooths.

`S = Σ_i w_i Λ_i x_i x_iᵀ + diag(δ)` with `Λ_i = E_q[∇²ℓ_i]` under `V_i = x_iᵀS⁻¹x_i`, a fixed point; the errors are
the subgradients that make the fit stationary (`kinks`). The design matrix is held in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.covariance_roots import IndependentCurvature, Structure
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix
from memorymaps.core.likelihoods.output_codes import OneVsRest
from memorymaps.core.likelihoods.piecewise_linear import Kinked
from memorymaps.data.examples import Examples
from memorymaps.data.gather import gathered
from memorymaps.data.views import with_inputs
from memorymaps.models.linear.glm import LinearModel, LinearPosterior
from memorymaps.models.smoothing import FittedErrors, smoothed_curvature, stationary_subgradients, with_solver_tolerance
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals


@dataclass(frozen=True)
class NonsmoothLinearModel:
    """A fitted linear predictor and its kinked loss; `penalty_gradient [p, c]`: gradient of penalties that `δ` does not hold (L1).

    `tolerance`: how near to a kink of the loss, in units of `f`, the solver's answer is on it.
    """

    linear: LinearModel
    loss: Kinked
    penalty_gradient: Array
    tolerance: float


@dataclass(frozen=True)
class NonsmoothLinearPosterior(LinearPosterior):
    """A linear posterior that knows the errors its fit ended with."""

    subgradient: FittedErrors
    tolerance_variance: float

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, changes of parameters, and the dual variables."""
        return Capabilities(
            covariance_root=self.covariance_root, from_whitened=self.from_whitened, subgradient=self.subgradient
        )

    def marginals(self, inputs: Any) -> Marginals:
        """`f`, `V`, and the tolerance that smoothing cannot look below."""
        return with_solver_tolerance(super().marginals(inputs), self.tolerance_variance)


def nonsmooth_posterior(model: NonsmoothLinearModel, examples: Examples) -> NonsmoothLinearPosterior:
    """The posterior of a kinked linear model."""
    linear = model.linear
    whole = gathered(examples.map(with_inputs(linear.design)))
    linear.likelihood.check_target(whole.target, linear.coefficients.shape[1])
    weight = np.ones(len(whole)) if whole.weight is None else whole.weight
    f, penalty = whole.inputs @ linear.coefficients, linear.penalty(float(np.sum(weight)))

    def structure(curvature: Array) -> Structure:
        total = IndependentCurvature(*linear.coefficients.shape)
        total.add(whole.inputs, diagonal_matrix(curvature))
        return total.structure(penalty, linear.free)[0]

    def variance(curvature: Array) -> Array:
        return np.asarray(np.linalg.diagonal(structure(curvature).variance(whole.inputs)))

    tolerance_variance = model.tolerance**2
    start = variance(np.broadcast_to(weight[:, None] * model.loss.cost, f.shape))
    curvature = smoothed_curvature(linear.likelihood, f, whole.target, weight, tolerance_variance, start, variance)
    errors = _fitted_subgradients(model, whole, f, weight, penalty)
    made = structure(curvature)
    gradient = whole.inputs.T @ errors + penalty * linear.coefficients + model.penalty_gradient
    description = _describe(model, made, penalty, gradient * linear.free)
    return NonsmoothLinearPosterior(
        linear.likelihood,
        description,
        linear.coefficients,
        linear.design,
        made,
        FittedErrors.of(whole.ids, errors),
        tolerance_variance,
    )


def _fitted_subgradients(model: NonsmoothLinearModel, whole: Batch, f: Array, weight: Array, penalty: Array) -> Array:
    """`w e [N, c]`, one output after the other: what the fit ended with."""
    linear = model.linear
    target = linear.likelihood.encode(whole.target, f.shape[1])
    rest = penalty * linear.coefficients + model.penalty_gradient
    columns = []
    for k in range(f.shape[1]):
        low, high = model.loss.subgradients(f[:, [k]], target[:, k], model.tolerance)
        x = whole.inputs[:, linear.free[:, k]]
        columns.append(stationary_subgradients(weight * low[:, 0], weight * high[:, 0], x, rest[linear.free[:, k], k]))
    return np.stack(columns, axis=1)


def _describe(model: NonsmoothLinearModel, structure: Structure, penalty: Array, gradient: Array) -> Description:
    linear = model.linear
    effective = float(np.sum(structure.effective_parameters(penalty)))
    return Description(
        model=linear.name,
        posterior="Laplace, losses smoothed by the posterior",
        likelihood=type(model.loss).__name__,
        prior=linear.prior,
        algorithm="the fitted optimum",
        coverage=(f"{np.count_nonzero(linear.free)} of {np.size(linear.free)} coefficients: exact, full covariance",),
        parameters=linear.parameters,
        classes=linear.classes,
        rank=structure.rank,
        effective_parameters=effective,
        dispersion=linear.dispersion,
        dispersion_estimated=linear.dispersion is not None,
        distance=float(np.linalg.norm(structure.project(gradient)) / np.sqrt(max(1.0, effective))),
        notes=linear.notes,
    )


def multiclass_loss(loss: Likelihood, classes: int) -> Likelihood:
    """The loss itself for two classes, one against the rest for more."""
    return loss if classes == 2 else OneVsRest(loss, classes)
