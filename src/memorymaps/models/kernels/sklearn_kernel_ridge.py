"""scikit-learn's kernel ridge: a Gaussian process with prior `σ²K/alpha`, `σ²` estimated from the residuals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sklearn.kernel_ridge import KernelRidge

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.exponential_family import Gaussian
from memorymaps.data.examples import Examples
from memorymaps.data.gather import check_training_data
from memorymaps.models.kernels.fit_checks import check_ridge_fit
from memorymaps.models.kernels.gram_posterior import GramPosterior, KernelOutput
from memorymaps.models.kernels.kernel_functions import (
    feature_map,
    gather_features,
    kernel_function,
    require_fitted,
    with_raw_inputs,
)
from memorymaps.models.kernels.kernel_refits import GaussianRefit
from memorymaps.models.kernels.rounding import Rounding
from memorymaps.models.sklearn_targets import numeric_target
from memorymaps.models.smoothing import FittedErrors
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.registry import posterior, training_data


@training_data.register(KernelRidge)
def _ridge_data(model: Any, examples: Examples | None) -> Examples:
    return require_fitted(model, "dual_coef_", examples).map(numeric_target)


@posterior.register(KernelRidge)
def _kernel_ridge(model: Any, examples: Examples) -> GramPosterior:
    data, weight = gather_features(model, examples)
    kernel, features = kernel_function(model, model.gamma), feature_map(model)
    check_training_data(data.inputs, model.X_fit_, type(model).__name__)
    gram, y = kernel(data.inputs, data.inputs), data.target.reshape(len(data), -1)
    alpha = np.broadcast_to(np.asarray(model.alpha, dtype=float), (y.shape[1],))
    check_ridge_fit(model, gram, alpha, y, weight, data.weight is not None)
    unit_dispersion = [KernelOutput(kernel, data.inputs, gram, weight, scale=1 / a) for a in alpha]
    duals = np.reshape(model.dual_coef_, y.shape).astype(float)
    effective = np.asarray([part.effective_parameters for part in unit_dispersion])
    phi = np.asarray([
        _dispersion(part, a * d) for part, a, d in zip(unit_dispersion, alpha, duals.T, strict=True)
    ])  # fmt: skip
    errors = -alpha * duals / phi
    parts = tuple(
        dataclasses.replace(part, curvature=weight / p, scale=part.scale * p, error=e)
        for part, p, e in zip(unit_dispersion, phi, errors.T, strict=True)
    )
    rounding = Rounding.of(parts, float(np.finfo(model.dual_coef_.dtype).eps))
    raw = with_raw_inputs(parts[0], features).kernel
    kernel_outputs = tuple(dataclasses.replace(part, kernel=raw) for part in parts)
    description = Description(
        model="scikit-learn KernelRidge",
        approximation=Approximation.EXACT,
        posterior="exact Gaussian process with prior σ²K/alpha",
        likelihood="Gaussian",
        prior=f"K/alpha, kernel {model.kernel}, alpha = {', '.join(f'{a:.4g}' for a in alpha)}, from the model",
        coverage=(f"f at {len(y)} training inputs: exact, full covariance",),
        effective_parameters=float(np.sum(effective)),
        dispersion=float(phi[0]) if len(phi) == 1 else tuple(phi.tolist()),
        dispersion_estimated=True,
        residual_df=unit_dispersion[0].residual_df,
        cautions=rounding.cautions("alpha", "a larger alpha"),
        relative_error=rounding.stated,
    )
    likelihood = Gaussian(description.dispersion or 1.0)
    found = GramPosterior(
        likelihood,
        description,
        lambda x: KernelRidge.predict(model, features(x)).reshape(-1, y.shape[1]),
        kernel_outputs,
        fitted=FittedErrors.of(data.ids, errors),
    )
    return dataclasses.replace(found, refits=GaussianRefit(found, examples))


def _dispersion(part: KernelOutput, penalised: Array) -> float:
    """`φ = Σ w (y − f)² / Σ (1 − h)` over rows with a weight, from `α a = w (y − f) [N]`, `a` the dual coefficients."""
    squares = np.divide(penalised**2, part.curvature, out=np.zeros_like(penalised), where=part.curvature > 0)
    return float(np.sum(squares) / part.residual_df)
