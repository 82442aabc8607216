"""Curvature, gradient and residuals of a linear predictor, summed over its training data in one pass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.covariance_roots import CoupledCurvature, IndependentCurvature, TriangularFactor
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import ExponentialFamily
from memorymaps.core.likelihoods.observed_information import ObservedInformation
from memorymaps.core.orthonormal_columns import OrthonormalColumns, nearly_collinear
from memorymaps.data.examples import Examples
from memorymaps.models.linear.glm.model import LinearModel, linear_outputs, linear_predictor
from memorymaps.posteriors.origin import check_targets

_SAMPLE = 1024  # rows by which it is told whether columns are nearly collinear
_RAN_AWAY = 1e8  # loss of an example beyond that of other coefficients, from which curvatures may overflow


@dataclass
class DataSums:
    """Sums over the training data, in units where the dispersion is 1."""

    curvature: IndependentCurvature | CoupledCurvature
    gradient: Array
    chi2: Array
    size: Array  # Σ w μ²/v, to which residuals are compared [c]
    concave: Array  # Σ w max(−∇²ℓ, 0) x xᵀ of each output [c, p, p]
    weight: float = 0.0
    n: int = 0
    unweighted: Array | None = None
    losses: Array | None = None  # Σ w ℓ of each of the coefficients that are compared

    def merged(self, other: DataSums) -> DataSums:
        """With the sums over other examples."""
        self.curvature.merge(other.curvature)  # type: ignore[arg-type]  # of one kind
        self.gradient += other.gradient
        self.chi2 += other.chi2
        self.size += other.size
        self.concave += other.concave
        self.weight, self.n = self.weight + other.weight, self.n + other.n
        if other.unweighted is not None:
            self.unweighted = other.unweighted if self.unweighted is None else self.unweighted + other.unweighted
        if other.losses is not None:
            self.losses = other.losses if self.losses is None else self.losses + other.losses
        return self


def sum_over_data(
    model: LinearModel, unit: Likelihood, examples: Examples, compared: tuple[Array, ...] = ()
) -> DataSums:
    """The sums for a likelihood of unit dispersion, batch by batch.

    `compared`: coefficients `[p, c]`, the model's first, whose losses are summed as well; where its own has run away,
    the rest of the sums is left out.
    """
    p, c = model.coefficients.shape
    independent = isinstance(unit, (ExponentialFamily, ObservedInformation))
    kind = IndependentCurvature if independent else _coupled_curvature(model, examples)
    empty = functools.partial(_no_sums, kind, p, c)
    return examples.fold(empty, functools.partial(_add_batch, model, unit, compared), DataSums.merged)


def _coupled_curvature(model: LinearModel, examples: Examples) -> Callable[[int, int], CoupledCurvature]:
    """In orthonormal columns, by one more pass, where those of a sample are nearly collinear for their penalty."""
    free = np.any(model.free, axis=1)
    batch = examples.sample(_SAMPLE)
    x, share = model.design(batch.inputs), len(batch) / len(examples)
    penalty = np.min(model.penalty(float(len(examples))), axis=1, where=model.free, initial=np.inf)
    ridge = np.diag(np.sqrt(np.where(free, share * penalty, 0.0)))
    if not nearly_collinear(np.concatenate([x, ridge])[:, free]):
        return CoupledCurvature
    if model.shrinkable is not None or not np.all(model.free == np.any(model.free, axis=0)):  # others for each output
        return functools.partial(CoupledCurvature, nearly_collinear=True)
    start, add = functools.partial(TriangularFactor, x.shape[1]), functools.partial(_add_rows, model)
    factor = examples.fold(start, add, _merged_factors)
    columns = OrthonormalColumns.of(factor.with_penalty(np.zeros(x.shape[1])), penalty > 0)
    return functools.partial(CoupledCurvature, columns=columns)


def _add_rows(model: LinearModel, factor: TriangularFactor, batch: Batch) -> None:
    x = model.design(batch.inputs)
    factor.add(x, np.sqrt(np.ones(len(x)) if batch.weight is None else np.asarray(batch.weight, dtype=float)))


def _merged_factors(factor: TriangularFactor, other: TriangularFactor) -> TriangularFactor:
    factor.merge(other)
    return factor


def _no_sums(kind: Callable[[int, int], IndependentCurvature | CoupledCurvature], p: int, c: int) -> DataSums:
    return DataSums(kind(p, c), np.zeros((p, c)), np.zeros(c), np.zeros(c), np.zeros((c, p, p)))


def _add_batch(model: LinearModel, unit: Likelihood, compared: tuple[Array, ...], sums: DataSums, batch: Batch) -> None:
    x, f, weight = linear_outputs(model, batch)
    check_targets(unit, batch, f.shape[1])
    sums.weight += float(np.sum(weight))
    sums.n += int(np.count_nonzero(weight))
    if compared:
        outputs = (linear_predictor(x, each, batch) for each in compared)
        losses = np.asarray([summed_loss(unit, each, weight, batch.target) for each in outputs])
        sums.losses = losses if sums.losses is None else sums.losses + losses
        if not losses[0] <= _RAN_AWAY * (len(f) + np.min(np.abs(losses))):
            return  # no step towards the optimum: the curvature there may be infinite, and is not used
    error = weight[:, None] * unit.error(f, batch.target)
    sums.curvature.add(x, weight[:, None, None] * unit.curvature(f, batch.target))
    sums.gradient += x.T @ error
    if isinstance(unit, ObservedInformation):
        concave = weight[:, None] * unit.concave_diagonal(f, batch.target)
        sums.concave += np.stack(
            [(x.T * column) @ x if np.any(column) else 0 * sums.concave[0] for column in concave.T]
        )
    if batch.weight is not None:
        before = np.zeros_like(sums.gradient) if sums.unweighted is None else sums.unweighted
        sums.unweighted = before + x.T @ unit.error(f, batch.target)
    family = model.likelihood
    if isinstance(family, ExponentialFamily) and not model.dispersion_known:
        mean = family.mean(f)
        unit_variance = family.unit_variance(mean)
        sums.size += np.sum(weight[:, None] * mean**2 / unit_variance, axis=0)
        sums.chi2 += np.sum(weight[:, None] * family.residual(f, batch.target) ** 2 / unit_variance, axis=0)


def summed_loss(unit: Likelihood, f: Array, weight: Array, target: Array) -> float:
    """`Σ w ℓ`, which may be infinite."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return float(np.sum(np.where(weight > 0, weight * unit.nll(f, target), 0.0)))
