"""Linear predictors with nonsmooth losses: Laplace's approximation with curvature smoothed by the posterior.

`S = Σ_i w_i Λ_i x_i x_iᵀ + diag(δ)` with `Λ_i = E_q[∇²ℓ_i]` under `V_i = x_iᵀS⁻¹x_i`, a fixed point; the errors are
the subgradients for which the fit is stationary (`models.smoothing`). The design matrix is kept in memory.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.covariance_roots import AnyCovarianceRoot, IndependentCurvature
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import diagonal_matrix
from memorymaps.core.likelihoods.output_codes import OneVsRest
from memorymaps.core.likelihoods.piecewise_linear import NonsmoothLoss
from memorymaps.data.examples import Examples
from memorymaps.data.gather import gather_examples
from memorymaps.data.views import with_inputs
from memorymaps.models.linear.glm.model import LinearModel, check_coefficients
from memorymaps.models.linear.glm.penalty import penalty_per_weight, penalty_rate
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.models.linear.glm.rank import rounding_cautions, rounding_error
from memorymaps.models.linear.newton_refit import LinearRefit, TrainingRows
from memorymaps.models.smoothing import FittedErrors, smoothed_curvature, stationary_subgradients, with_solver_tolerance
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals

_LINEAR_SHARE = 0.4  # share of examples on linear parts of the loss from which sizes are ranks only
_RANKS_CAUTION = (
    "the loss has kinks, which few coefficients smooth little: read sizes as ranks. refit(m, top=…) gives sizes of the "
    "largest"
)


@dataclass(frozen=True)
class NonsmoothLinearModel:
    """A fitted linear predictor and its nonsmooth loss.

    `penalty_gradient [p, c]`: gradient of penalties other than `δ` (L1); `tolerance`: an output closer than this to a
    kink of the loss, in units of `f`, is taken to be at the kink.
    """

    linear: LinearModel
    loss: NonsmoothLoss
    penalty_gradient: Array
    tolerance: float


@dataclass(frozen=True)
class NonsmoothLinearPosterior(LinearPosterior):
    """A linear posterior whose errors are the subgradients of the fitted model."""

    subgradient: FittedErrors
    tolerance_variance: float
    nonsmooth: NonsmoothLinearModel | None = field(default=None, kw_only=True)

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, changes of parameters, refits, and the dual variables."""
        return Capabilities(
            covariance_root=self.covariance_root, from_whitened=self.from_whitened, subgradient=self.subgradient,
            refit=self.refits, group_refit=self.refits,
            check=self.refits, penalty=self.penalty, parameter_variance=self.parameter_variance,
        )  # fmt: skip

    @property
    def dispersions(self) -> Array:
        """1: the likelihood and the penalties are divided by the noise scale already."""
        return np.ones(1)

    def marginals(self, inputs: Any) -> Marginals:
        """`f`, `V`, and the variance of `f` due to the solver's tolerance."""
        return with_solver_tolerance(super().marginals(inputs), self.tolerance_variance)


def nonsmooth_posterior(model: NonsmoothLinearModel, examples: Examples) -> NonsmoothLinearPosterior:
    """The posterior of a linear model with a nonsmooth loss."""
    linear = model.linear
    check_coefficients(linear)
    data = gather_examples(examples.map(with_inputs(linear.design)))
    linear.likelihood.check_target(data.target, linear.coefficients.shape[1])
    weight = np.ones(len(data)) if data.weight is None else data.weight
    f, penalty = data.inputs @ linear.coefficients, linear.penalty(float(np.sum(weight)))

    def structure(curvature: Array) -> AnyCovarianceRoot:
        total = IndependentCurvature(*linear.coefficients.shape)
        total.add(data.inputs, diagonal_matrix(curvature))
        return total.posterior_root(penalty, linear.free)[0]

    def variance(curvature: Array) -> Array:
        return np.asarray(np.linalg.diagonal(structure(curvature).variance(data.inputs)))

    tolerance_variance = model.tolerance**2
    start = variance(np.broadcast_to(weight[:, None] * model.loss.cost, f.shape))
    curvature = smoothed_curvature(linear.likelihood, f, data.target, weight, tolerance_variance, start, variance)
    errors = _fitted_subgradients(model, data, f, weight, penalty)
    final = structure(curvature)
    gradient = data.inputs.T @ errors + penalty * linear.coefficients + model.penalty_gradient
    description = _describe(model, final, penalty, gradient * linear.free, data, f)
    return NonsmoothLinearPosterior(
        linear.likelihood,
        description,
        linear.coefficients,
        linear.design,
        final,
        FittedErrors.of(data.ids, errors),
        tolerance_variance,
        to_original=linear.to_original,
        prior_variance=linear.prior_variance,
        penalty=penalty_per_weight(linear.design, final, penalty_rate(linear, float(np.sum(weight)))),
        refits=_newton_refits(model, final, data) if _is_differentiable(model) else None,
        nonsmooth=model,
    )


def _is_differentiable(model: NonsmoothLinearModel) -> bool:
    """Whether Newton's method reaches the optimum: squared ramps only, no L1 penalty."""
    return all(ramp.power == 2 for ramp in model.loss.ramps) and not np.any(model.penalty_gradient)


def _newton_refits(model: NonsmoothLinearModel, root: AnyCovarianceRoot, data: Batch) -> LinearRefit:
    c = model.linear.coefficients.shape[1]
    load = functools.partial(TrainingRows.of, lambda x: x, [data], c)
    return LinearRefit(
        model.linear.likelihood, model.linear.coefficients, model.linear.penalty, root, load, len(data), piecewise=True
    )


def _fitted_subgradients(model: NonsmoothLinearModel, data: Batch, f: Array, weight: Array, penalty: Array) -> Array:
    """Subgradients `w e [N, c]` of the fitted model, computed for each output separately."""
    linear = model.linear
    target = linear.likelihood.encode(data.target, f.shape[1])
    penalty_gradient = penalty * linear.coefficients + model.penalty_gradient
    columns = []
    for k in range(f.shape[1]):
        low, high = model.loss.subgradients(f[:, [k]], target[:, k], model.tolerance)
        x = data.inputs[:, linear.free[:, k]]
        columns.append(
            stationary_subgradients(weight * low[:, 0], weight * high[:, 0], x, penalty_gradient[linear.free[:, k], k])
        )
    return np.stack(columns, axis=1)


def _is_mostly_linear(model: NonsmoothLinearModel, data: Batch, f: Array) -> bool:
    """Whether the loss has kinks, or most of what it does is linear: few curvatures then decide all sizes."""
    if any(ramp.power == 1 for ramp in model.loss.ramps):
        return True
    target = model.linear.likelihood.encode(data.target, f.shape[1])
    _, slope, bend = model.loss.expected_derivatives(f, target, np.zeros_like(f))
    return float(np.mean((slope != 0) & (bend == 0))) > _LINEAR_SHARE


def _describe(
    model: NonsmoothLinearModel, structure: AnyCovarianceRoot, penalty: Array, gradient: Array, data: Batch, f: Array
) -> Description:
    linear = model.linear
    effective = float(np.sum(structure.effective_parameters(penalty)))
    return Description(
        model=linear.name,
        approximation=Approximation.NONSMOOTH,
        posterior="Laplace, losses smoothed by the posterior",
        likelihood=type(model.loss).__name__,
        prior=linear.prior,
        algorithm="the fitted optimum",
        coverage=(_coverage(linear),),
        parameters=linear.parameters,
        classes=linear.classes,
        rank=structure.rank,
        effective_parameters=effective,
        dispersion=linear.dispersion,
        dispersion_estimated=linear.dispersion is not None,
        cautions=((_RANKS_CAUTION,) if _is_mostly_linear(model, data, f) else ())
        + rounding_cautions(linear, structure),
        relative_error=rounding_error(linear, structure),
        distance=float(np.linalg.norm(structure.whiten(gradient)) / np.sqrt(max(1.0, effective))),
        polishable=_is_differentiable(model),
        hyperparameters_held=linear.hyperparameters_held,
        notes=linear.notes,
    )


def _coverage(linear: LinearModel) -> str:
    every = len(linear.parameters) * linear.free.shape[1]
    free = every if linear.prior_variance is not None else np.count_nonzero(linear.free)
    return f"{free} of {every} coefficients: exact, full covariance"


def multiclass_loss(loss: Likelihood, classes: int) -> Likelihood:
    """The binary loss for two classes, `OneVsRest` of it for more."""
    return loss if classes == 2 else OneVsRest(loss, classes)
