"""The posterior and the training examples of a map in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood, TargetError
from memorymaps.core.perturbation.curvature_sketch import error_and_roots, root_scales
from memorymaps.core.perturbation.local import FullVariance
from memorymaps.core.perturbation.sketched import SketchedVariance
from memorymaps.data.examples import Examples
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.posteriors.capabilities import DirectionalCovariance, capabilities_of
from memorymaps.posteriors.contract import Posterior
from memorymaps.posteriors.model_state import ModelState


@dataclass(frozen=True)
class Origin:
    """The posterior of a map and the examples that its model was trained on; not saved with the map."""

    posterior: Posterior
    examples: Examples
    model: ModelState | None = None

    def check_unchanged(self) -> None:
        """Raise `DataError` if the data or the model's parameters are others than when the map was drawn."""
        if self.model is not None:
            self.model.check_unchanged()
        if isinstance(self.examples, RepeatedExamples):
            self.examples.check_unchanged()

    def batch_statistics(self, batch: Batch) -> FullVariance | SketchedVariance:
        """Outputs (with offset), variances, targets and weights of a batch, in float64, for the estimators."""
        capabilities = capabilities_of(self.posterior)
        if capabilities.directional is not None:
            return self._sketched(capabilities.directional, batch)
        own = capabilities.training_marginals
        marginals = self.posterior.marginals(batch.inputs) if own is None else own(batch)
        xp = array_namespace(marginals.f)
        variance = xp.astype(marginals.variance, xp.float64)
        total = variance if marginals.residual_variance is None else variance + marginals.residual_variance
        subgradient = None if capabilities.subgradient is None else capabilities.subgradient(batch.ids)
        f, y, weight = self._checked_columns(marginals.f, batch)
        out_of_bag = None if capabilities.out_of_bag is None else capabilities.out_of_bag(batch)
        without = marginals.cavity_variance
        penalty = capabilities.penalty
        return FullVariance(
            self.posterior.likelihood.averaged_over(total).cached_at(f), f, y, weight, variance, subgradient,
            out_of_bag, None if penalty is None else weight[:, None] * penalty.outputs(batch.inputs),
            None if without is None else xp.astype(without, xp.float64),
        )  # fmt: skip

    def chunks(self, batch: Batch) -> Iterator[Batch]:
        """The batch in the chunks that the posterior processes at once."""
        directional = capabilities_of(self.posterior).directional
        if directional is None:
            yield batch
            return
        for rows, inputs in directional.chunks(batch.inputs):
            yield batch.take_slice(rows, inputs)

    def _sketched(self, source: DirectionalCovariance, batch: Batch) -> SketchedVariance:
        likelihood = self.posterior.likelihood

        def choose(f: Array, rows: slice) -> Array:
            f, y, weight = self._checked_columns(f, batch.take_slice(rows))
            return error_and_roots(likelihood.cached_at(f), f, y, weight, source.directions)

        marginals = source.directional_marginals(batch.inputs, choose)
        f, y, weight = self._checked_columns(marginals.f, batch)
        likelihood = likelihood.cached_at(f)
        scale = root_scales(likelihood, f, y, marginals.directions)
        return SketchedVariance(likelihood, f, y, weight, marginals.directions, scale, marginals.gram, marginals.matvec)

    def _checked_columns(self, f: Array, batch: Batch) -> tuple[Array, Array, Array]:
        """Outputs plus offset, checked targets, and weights."""
        xp = array_namespace(f)
        f = xp.astype(f, xp.float64, copy=False)
        n, c = f.shape
        if batch.offset is not None:
            f = f + xp.reshape(xp.asarray(batch.offset, dtype=f.dtype), (n, -1))
        weight = xp.ones(n, dtype=f.dtype) if batch.weight is None else xp.asarray(batch.weight, dtype=f.dtype)
        check_targets(self.posterior.likelihood, batch, c)
        return f, xp.asarray(batch.target), weight


def check_targets(likelihood: Likelihood, batch: Batch, c: int) -> None:
    """Raise `TargetError` for targets outside the support of `c` outputs, naming the example by its id."""
    y = batch.target
    if len(y) and isinstance(y[0], str):
        raise TargetError(
            f"targets are text, the first is {str(y[0])!r}: expected numbers. The model has no class names: pass class "
            "numbers, [names.index(label) for label in y], counted from 0 in the order of the model's outputs"
        )
    try:
        likelihood.check_target(y, c)
    except TargetError as error:
        raise error.with_id(batch.ids) from None
