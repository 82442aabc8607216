"""What a map says about the posterior of a linear predictor."""

from __future__ import annotations

from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.covariance_roots import AnyCovarianceRoot
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.observed_information import ObservedInformation, has_observed_information
from memorymaps.models.linear.glm.model import LinearModel, is_quadratic
from memorymaps.models.linear.glm.rank import rounding_cautions, rounding_error
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.contract import Description

_EXPECTED_NOTE = (
    "Curvature: expected (Fisher) information, as asked for or as the observed one is not positive definite. The link "
    "is not canonical: sizes are those of one scoring step, which may differ from a Newton step's."
)


def describe(
    model: LinearModel,
    unit: Likelihood,
    structure: AnyCovarianceRoot,
    estimated: Array,
    effective: float,
    phi: Any,
    df: float | None,
    distance: float,
) -> Description:
    """The record of the posterior, for `effective` parameters, dispersion `phi` and a `distance` to the optimum."""
    names, rotated = np.asarray(model.parameters, dtype=object), model.prior_variance is not None
    exact = is_quadratic(model.likelihood)
    penalised = model.free[:, np.any(model.free, axis=0)]  # without the reference class
    at_zero = int(np.size(penalised) - np.count_nonzero(penalised))
    aliased = () if rotated else tuple(names[np.any(model.free & ~estimated, axis=1)].tolist())
    return Description(
        model=model.name,
        approximation=_approximation(exact and not _is_ridge_per_weight(model), model.is_sparse or at_zero > 0),
        posterior="exact Gaussian" if exact else f"Laplace, full {_kind_of_information(unit)} information",
        likelihood=type(model.likelihood).__name__,
        prior=model.prior,
        algorithm=_algorithm(exact, at_zero),
        coverage=_coverage(model, estimated, at_zero, aliased),
        parameters=model.parameters,
        aliased=aliased,
        classes=model.classes,
        rank=structure.rank,
        effective_parameters=effective,
        dispersion=phi,
        dispersion_estimated=not model.dispersion_known,
        residual_df=df,
        distance=distance,
        polishable=True,
        notes=(*model.notes, *((_EXPECTED_NOTE,) if has_observed_information(unit) else ())),
        cautions=(*model.cautions, *rounding_cautions(model, structure)),
        relative_error=rounding_error(model, structure),
        hyperparameters_held=model.hyperparameters_held,
        methods=("cook1977detection", "cook1980characterizations", "nickl2023memory", "tailor2023maps"),
    )


def _coverage(model: LinearModel, estimated: Array, at_zero: int, aliased: tuple[str, ...]) -> tuple[str, ...]:
    every, rotated = len(model.parameters) * model.free.shape[1], model.prior_variance is not None
    parts = [f"{every if rotated else np.count_nonzero(estimated)} of {every} coefficients: exact, full covariance"]
    parts += [f"{at_zero} fixed at zero by the L1 penalty or a sign constraint"] if at_zero else []
    parts += [f"aliased (combinations of earlier columns): {', '.join(aliased)}"] if aliased else []
    return tuple(parts)


def _kind_of_information(unit: Likelihood) -> str:
    return "observed" if isinstance(unit, ObservedInformation) else "Fisher"


def _is_ridge_per_weight(model: LinearModel) -> bool:
    """Whether the ridge, and with it the curvature, changes with the total weight."""
    return bool(np.any(model.penalty(2.0) != model.penalty(1.0)))


def _algorithm(exact: bool, at_zero: int) -> str:
    if at_zero:
        return "Newton's method on the active set (the fitted optimum)"
    return "linear equations, in closed form (the fitted optimum)" if exact else "Newton's method (the fitted optimum)"


def _approximation(exact: bool, sparse: bool) -> Approximation:
    """Sparse also where no coefficient is at zero: without an example, one can be."""
    if sparse:
        return Approximation.ACTIVE_SET
    return Approximation.EXACT if exact else Approximation.ONE_STEP
