"""The value of the objective of a linear predictor, by a pass over the data."""

from __future__ import annotations

import functools

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.data.examples import Examples
from memorymaps.models.linear.glm.data_sums import summed_loss
from memorymaps.models.linear.glm.dispersion import with_dispersion
from memorymaps.models.linear.glm.model import LinearModel, linear_outputs


def objective(model: LinearModel, examples: Examples) -> float:
    """`Σ w ℓ + ½ Σ δB² + Σ λ|B|` at unit dispersion, by a pass over the data; infinite where it is not finite."""
    unit = with_dispersion(model.likelihood, 1.0)
    sums = examples.fold(_no_loss, functools.partial(_add_loss, model, unit), np.add)
    return penalised(model, float(sums[0]), float(sums[1]))


def penalised(model: LinearModel, loss: float, weights: float) -> float:
    """The objective, of the loss `Σ w ℓ` and `Σ w`."""
    total = loss
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        total += 0.5 * float(np.sum(model.penalty(weights) * model.coefficients**2))
        total += 0.0 if model.l1 is None else float(np.sum(model.l1(weights) * np.abs(model.coefficients)))
    return total if np.isfinite(total) else np.inf


def _no_loss() -> Array:
    return np.zeros(2)


def _add_loss(model: LinearModel, unit: Likelihood, sums: Array, batch: Batch) -> None:
    """Add a batch's loss, and its weight."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        _, f, weight = linear_outputs(model, batch)
        sums += summed_loss(unit, f, weight, batch.target), np.sum(weight)
