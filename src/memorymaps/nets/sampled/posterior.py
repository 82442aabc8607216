"""A network's posterior by sampled rows: every training example is seen from the posterior without it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Array, Batch
from memorymaps.data.coercion import check_unique
from memorymaps.data.examples import DataError
from memorymaps.nets.autograd.batch_size import to_numpy
from memorymaps.nets.autograd.network import evaluation_mode
from memorymaps.nets.laplace.posterior import NetworkPosterior
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.covariance import Cavities, SampledCovariance
from memorymaps.nets.sampled.directions import Directions
from memorymaps.nets.sampled.errors.example_estimates import estimated
from memorymaps.nets.sampled.measures import MEASURES
from memorymaps.nets.sampled.solving import RowsForSolving
from memorymaps.posteriors.capabilities import Capabilities
from memorymaps.posteriors.contract import Description, Marginals


@dataclass(frozen=True)
class SampledNetworkPosterior(NetworkPosterior):
    """`N(θ*, S̃⁻¹)`; of a training example, `N(θ*, S̃_{−i}⁻¹)` with its own curvature put back, exactly.

    `places` are the positions of the training examples by their ids. New inputs are asked of `marginals`, training
    examples of `training_marginals`.
    """

    covariance: SampledCovariance
    directions: Directions
    solving: RowsForSolving
    places: Mapping[Any, int] = field(default_factory=dict)
    _latest: list[tuple[Array, Array]] = field(default_factory=list)  # ids of a batch, its standard errors [3, n]

    @property
    def capabilities(self) -> Capabilities:
        """Marginals without own rows, standard errors as columns, removal of groups by iteration, and refits."""
        return replace(
            super().capabilities, training_marginals=self.training_marginals, extra_columns=self.extra_columns
        )

    @property
    def _query_caution(self) -> str:
        """Also what the map's own factor `(I − ΛV)⁻¹` of a removal may be off by."""
        error = self.description.relative_error
        stated = (
            "" if error is None else f"Changes have the map's factor (I − ΛV)⁻¹, of leverages off by about {error:.0%}"
        )
        return ". ".join(filter(None, [super()._query_caution, stated]))

    @functools.cached_property
    def preconditioner(self) -> SampledCovariance:
        """With more rows where the map's are few: drawn at its first use."""
        with evaluation_mode(self.network.module), self._error_context():
            return self.solving.preconditioner(self.problem, self.covariance)

    @functools.cached_property
    def cavities(self) -> Cavities:
        """The training examples' posteriors without them, in the precision of `directions`."""
        return self.covariance.cavities(self.directions.precision)

    def training_marginals(self, batch: Batch) -> Marginals:
        """`f [n, c]` and `V = V^{\\i}(I + ΛV^{\\i})⁻¹ [n, c, c]`, `V^{\\i}` from `S̃_{−i}⁻¹`: always `tr(ΛV) < c`.

        Raises
        ------
        DataError
            An id that no training example has.
        """
        with evaluation_mode(self.network.module), self._error_context():
            f, variance, errors = results(self.problem, self.cavities, batch, self._positions(batch), self.directions)
        self._latest[:] = [(batch.ids, to_numpy(errors))]
        return Marginals(to_numpy(f), to_numpy(variance))

    def extra_columns(self, batch: Batch, at: Any) -> Mapping[str, Array]:
        """`leverage_se`, `sensitivity_se` and `loo_loss_se`: standard errors of these columns in the cavity form, in
        their units; of the draw of the rows, not of the method.
        """
        if not self._latest or self._latest[0][0] is not batch.ids:
            self.training_marginals(batch)
        return {f"{name}_se": values for name, values in zip(MEASURES, self._latest[0][1], strict=True)}

    def _positions(self, batch: Batch) -> Tensor:
        names = batch.ids.tolist()
        strange = [name for name in names if name not in self.places]
        if strange:
            raise DataError(
                f"{strange[0]!r} is no training example's id: these are seen from the posterior without them. Call "
                "posterior.marginals(inputs) for new inputs"
            )
        return torch.tensor([self.places[name] for name in names], device=self.network.device)


def results(
    problem: LaplaceProblem, source: Cavities, batch: Batch, positions: Tensor, directions: Directions
) -> tuple[Tensor, Tensor, Tensor]:
    """`f [n, c]`, the variance with every example in it `[n, c, c]`, and standard errors `[3, n]`, in their order."""
    n, c = len(positions), problem.num_outputs
    like: dict[str, Any] = {"dtype": torch.float64, "device": problem.network.device}
    f, variance, errors = torch.empty(n, c, **like), torch.empty(n, c, c, **like), torch.empty(3, n, **like)
    for here, (outputs, *_), found in estimated(problem, source, batch, positions, directions):
        f[here], variance[here], errors[:, here] = outputs, found.variance, found.standard_error
    return f, variance, errors


def sampled_posterior(
    directions: Directions, solving: RowsForSolving
) -> Callable[[LaplaceProblem, SampledCovariance, Description], SampledNetworkPosterior]:
    """Makes the posterior, with the training examples' positions, read from one more look at their ids.

    Raises
    ------
    DataError
        An id that occurs twice: an example's own rows are found by it.
    """

    def make(problem: LaplaceProblem, covariance: SampledCovariance, description: Description) -> Any:
        ids = problem.ranks.gathered([name for batch in problem.examples for name in batch.ids.tolist()])
        check_unique(ids)
        places = dict(zip(ids, range(len(ids)), strict=True))
        described = replace(description, deviation_error=directions.deviation_error)
        return SampledNetworkPosterior(problem, covariance, described, directions, solving, places)

    return make
