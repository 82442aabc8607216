"""The dispersion `φ` of a linear predictor: given, a constant, or estimated from the residuals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import ExponentialFamily
from memorymaps.core.likelihoods.observed_information import ObservedInformation
from memorymaps.data.examples import DataError
from memorymaps.models.linear.glm.data_sums import DataSums
from memorymaps.models.linear.glm.model import LinearModel

_ROUNDING = 1e-13  # of residuals beside means: sums of some hundred products in double precision


def fitted_dispersion(model: LinearModel, sums: DataSums, effective: Array) -> tuple[Any, float | None]:
    """`φ` and its degrees of freedom: given, 1 for families without dispersion, or Pearson's `χ²/(n − tr H)`."""
    if model.dispersion_known:
        return (1.0 if model.dispersion is None else model.dispersion), model.residual_df
    if model.dispersion is not None:
        if model.residual_df != 0 and np.all(np.asarray(model.dispersion) > 0):  # else the gate says more
            _check_noise(model, sums)
        return model.dispersion, model.residual_df
    df = sums.n - effective
    if np.any(df < 1e-6):
        raise DataError(
            f"{sums.n} examples for {np.max(effective):.1f} free parameters: every example is fitted exactly and the "
            "noise cannot be estimated. Use fewer features or a penalised model (Ridge, Lasso)"
        )
    _check_noise(model, sums)
    phi = sums.chi2 / df
    return (float(phi[0]) if len(phi) == 1 else tuple(phi.tolist())), float(df[0])


def _check_noise(model: LinearModel, sums: DataSums) -> None:
    """Raise `DataError` where all residuals of an output are rounding errors of its means."""
    if isinstance(model.likelihood, ExponentialFamily) and np.any(sums.chi2 <= _ROUNDING**2 * sums.size):
        raise DataError(
            "all residuals are zero to rounding: the noise cannot be estimated. Pass targets with noise; nothing is "
            "remembered where a formula gives them all"
        )


def with_dispersion(likelihood: Likelihood, phi: float | tuple[float, ...]) -> Likelihood:
    """The same likelihood with dispersion `φ`; families without one as they are."""
    if isinstance(likelihood, ObservedInformation):
        return ObservedInformation(with_dispersion(likelihood.likelihood, phi))  # type: ignore[arg-type]
    if not isinstance(likelihood, ExponentialFamily):
        return likelihood
    changed: Likelihood = dataclasses.replace(likelihood, dispersion=phi)  # type: ignore[type-var]  # an abstract base
    return changed
