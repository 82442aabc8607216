"""The contract: what a posterior must answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood


@dataclass(frozen=True)
class Marginals:
    """Outputs `f [n, c]` and their posterior covariances `V [n, c, c]`.

    `spread [n, c, c]` is uncertainty of `f` beyond `V` that no example can move (a sparse Gaussian process has some):
    expectations are taken under `V + spread`, deviations follow `V`.
    """

    f: Array
    variance: Array
    spread: Array | None = None


@dataclass(frozen=True)
class Description:
    """What a posterior says of itself; it travels into the map's provenance as it is.

    `estimator` is the estimator of deviations whose sizes can be trusted with this posterior;
    `effective_parameters` is the posterior's own count, independent of the map (`P − δ tr S⁻¹` where known);
    `distance` how far the parameters are from the optimum: posterior standard deviations per effective parameter;
    `polishable` whether `memory_map(…, polish=True)` can bring them there;
    `nonlinear` whether outputs are not linear in the parameters, so that sizes are those of one Newton step.
    """

    model: str
    posterior: str
    likelihood: str
    prior: str = "none"
    algorithm: str = ""
    coverage: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    aliased: tuple[str, ...] = ()
    classes: tuple[Any, ...] = ()
    rank: int | None = None
    effective_parameters: float | None = None
    dispersion: float | tuple[float, ...] | None = None
    dispersion_estimated: bool = False
    residual_df: float | None = None
    distance: float | None = None
    polishable: bool = False
    nonlinear: bool = False
    estimator: str = "cavity"
    notes: tuple[str, ...] = ()
    methods: tuple[str, ...] = field(default=("nickl2023memory", "tailor2023maps"))


@runtime_checkable
class Posterior(Protocol):
    """A Gaussian belief about outputs: all that the map needs of a model."""

    @property
    def likelihood(self) -> Likelihood:
        """How outputs and targets meet."""

    @property
    def description(self) -> Description:
        """What this posterior is, for provenance."""

    def marginals(self, inputs: Any) -> Marginals:
        """`f` and `V` of a batch, in one pass."""
