"""scikit-learn's kernel ridge: a Gaussian process with prior `σ²K/alpha`, `σ²` estimated from the residuals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sklearn.kernel_ridge import KernelRidge

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
from memorymaps.models.sklearn_targets import numeric_target
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
    effective = np.asarray([part.effective_parameters for part in unit_dispersion])
    phi = (
        weight
        @ (y - KernelRidge.predict(model, data.inputs).reshape(y.shape)) ** 2
        / (np.count_nonzero(weight) - effective)
    )
    parts = tuple(
        dataclasses.replace(part, curvature=weight / p, scale=part.scale * p)
        for part, p in zip(unit_dispersion, phi, strict=True)
    )
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
        residual_df=float(np.count_nonzero(weight) - effective[0]),
    )
    likelihood = Gaussian(description.dispersion or 1.0)
    found = GramPosterior(
        likelihood,
        description,
        lambda x: KernelRidge.predict(model, features(x)).reshape(-1, y.shape[1]),
        kernel_outputs,
    )
    return dataclasses.replace(found, refits=GaussianRefit(found, examples))
