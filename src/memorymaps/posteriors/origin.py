"""Where a map came from while it is in memory: its posterior and its training examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.likelihoods.base import Likelihood, TargetError
from memorymaps.core.perturbation.curvature_sketch import error_and_roots, root_scales
from memorymaps.core.perturbation.local import Local
from memorymaps.core.perturbation.sketched import Sketched
from memorymaps.data.examples import Examples
from memorymaps.data.repeated import RepeatedExamples
from memorymaps.posteriors.capabilities import Directional, capabilities_of
from memorymaps.posteriors.contract import Posterior
from memorymaps.posteriors.model_state import ModelState


@dataclass(frozen=True)
class Origin:
    """Where a map came from, while it is still in memory: the posterior and the examples it was fitted to."""

    posterior: Posterior
    examples: Examples
    model: ModelState | None = None

    def check_unchanged(self) -> None:
        """Raise `DataError` if the data or the model's parameters are others than when the map was drawn."""
        if self.model is not None:
            self.model.check_unchanged()
        if isinstance(self.examples, RepeatedExamples):
            self.examples.check_unchanged()

    def local(self, batch: Batch) -> Local | Sketched:
        """A batch seen from the posterior: outputs with their offset, variances, weights; float64."""
        able = capabilities_of(self.posterior)
        if able.directional is not None:
            return self._sketched(able.directional, batch)
        own = able.training_marginals
        marginals = self.posterior.marginals(batch.inputs) if own is None else own(batch)
        xp = array_namespace(marginals.f)
        variance = xp.astype(marginals.variance, xp.float64)
        belief = variance if marginals.spread is None else variance + marginals.spread
        fitted = None if able.subgradient is None else able.subgradient(batch.ids)
        f, y, weight = self._seen(marginals.f, batch)
        return Local(self.posterior.likelihood.averaged_over(belief).cached_at(f), f, y, weight, variance, fitted)

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """A batch in the parts that the posterior looks at together."""
        directional = capabilities_of(self.posterior).directional
        if directional is None:
            yield batch
            return
        for rows, inputs in directional.parts(batch.inputs):
            yield batch.cut(rows, inputs)

    def _sketched(self, source: Directional, batch: Batch) -> Sketched:
        likelihood = self.posterior.likelihood

        def choose(f: Array, rows: slice) -> Array:
            f, y, weight = self._seen(f, batch.cut(rows))
            return error_and_roots(likelihood.cached_at(f), f, y, weight, source.directions)

        seen = source.along(batch.inputs, choose)
        f, y, weight = self._seen(seen.f, batch)
        likelihood = likelihood.cached_at(f)
        scale = root_scales(likelihood, f, y, seen.directions)
        return Sketched(likelihood, f, y, weight, seen.directions, scale, seen.gram, seen.respond)

    def _seen(self, f: Array, batch: Batch) -> tuple[Array, Array, Array]:
        """Outputs with their offset, targets that were checked, weights."""
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
            f"targets are text, the first is {str(y[0])!r}: expected numbers. The model does not know its classes' "
            "names: pass their numbers, [names.index(label) for label in y], counted from 0 in the order of its outputs"
        )
    try:
        likelihood.check_target(y, c)
    except TargetError as error:
        raise error.named(batch.ids) from None
