"""The objective of a linear predictor around its coefficients: gradient, curvature, Newton step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.covariance_roots import AnyCovarianceRoot
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import ExponentialFamily
from memorymaps.core.likelihoods.observed_information import ObservedInformation, has_observed_information
from memorymaps.data.examples import Examples
from memorymaps.models.linear.concave_curvature import subtract_curvature
from memorymaps.models.linear.glm.data_sums import DataSums, sum_over_data
from memorymaps.models.linear.glm.dispersion import with_dispersion
from memorymaps.models.linear.glm.model import LinearModel
from memorymaps.models.linear.stationarity import Gradient


@dataclass(frozen=True)
class LocalQuadratic:
    """The objective around the coefficients, at unit dispersion: gradient, curvature, sums over the data."""

    likelihood: Likelihood
    sums: DataSums
    penalty: Array
    structure: AnyCovarianceRoot
    estimated: Array
    gradient: Gradient
    rank: int | None = None  # of each output's design, as the fit states it

    @classmethod
    def of(
        cls, model: LinearModel, examples: Examples, observed: bool = False, compared: Sequence[LinearModel] = ()
    ) -> LocalQuadratic:
        """From passes over the data; `observed`: with the Hessian itself where it is positive definite.

        `compared`: as in `sum_over_data`.
        """
        others = tuple(each.coefficients for each in compared)
        unit, sums, structure, estimated = _information(model, examples, observed, others)
        penalty, zeros = model.penalty(sums.weight), np.zeros(model.coefficients.shape)
        gradient = Gradient(
            sums.gradient, sums.unweighted, model.coefficients, penalty,
            zeros if model.l1 is None else model.l1(sums.weight), model.free,
            zeros > 0 if model.shrinkable is None else model.shrinkable, model.positive,
        )  # fmt: skip
        return cls(unit, sums, penalty, structure, estimated, gradient, _rank_of(model))

    def freed(self, free: Array) -> LocalQuadratic:
        """The same with other coefficients free."""
        structure, estimated = self.sums.curvature.posterior_root(self.penalty, free, self.rank)
        gradient = dataclasses.replace(self.gradient, free=free)
        return LocalQuadratic(self.likelihood, self.sums, self.penalty, structure, estimated, gradient, self.rank)

    def newton_step(self) -> Array:
        """`−S⁻¹∇L [p, c]` of the free coefficients, which remains to the optimum."""
        rest = np.where(self.gradient.free, self.gradient.residual(), 0.0)
        return -np.asarray(self.structure.from_whitened(self.structure.whiten(rest)))

    @property
    def diagonal(self) -> Array:
        """`S_jj [p, c]`."""
        return self.sums.curvature.diagonal() + self.penalty


def _information(
    model: LinearModel, examples: Examples, observed: bool, compared: tuple[Array, ...]
) -> tuple[Likelihood, DataSums, AnyCovarianceRoot, Array]:
    """The likelihood of unit dispersion, sums, `S^{-1/2}`, and which parameters are estimated.

    With observed information where it is positive definite, else with the expected one.
    """
    unit = with_dispersion(model.likelihood, 1.0)
    if observed and isinstance(unit, ExponentialFamily) and has_observed_information(unit):
        hessian = ObservedInformation(unit)
        sums = sum_over_data(model, hessian, examples, compared)
        convex, estimated = sums.curvature.posterior_root(model.penalty(sums.weight), model.free, _rank_of(model))
        root = subtract_curvature(convex, sums.concave)
        if root is not None:
            return hessian, sums, root, estimated
    sums = sum_over_data(model, unit, examples, compared)
    return unit, sums, *sums.curvature.posterior_root(model.penalty(sums.weight), model.free, _rank_of(model))


def _rank_of(model: LinearModel) -> int | None:
    return None if model.rank is None else model.rank.kept
