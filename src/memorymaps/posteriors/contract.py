"""The interface between models and maps: the protocol `Posterior` and its records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.posteriors.approximation import Approximation


@dataclass(frozen=True)
class Marginals:
    """Outputs `f [n, c]` and their posterior covariances `V [n, c, c]`.

    `residual_variance [n, c, c]` is variance of `f` that does not depend on the training data (of a sparse Gaussian
    process: `K_xx − Q_xx`): expectations are taken under `V + residual_variance`, deviations follow `V`.
    `cavity_variance [n, c, c]` is `V (I − ΛV)⁻¹`, the variance of a training example's output without it, of posteriors
    that compute it more accurately than from `V`.
    """

    f: Array
    variance: Array
    residual_variance: Array | None = None
    cavity_variance: Array | None = None


@dataclass(frozen=True)
class Description:
    """Description of a model and its posterior, stored in the map's provenance.

    `estimator` is the default estimator of deviations for this posterior;
    `effective_parameters` is computed by the posterior, independently of the map (`P − δ tr S⁻¹` where known);
    `distance` of the parameters from the optimum, in posterior standard deviations per effective parameter;
    `optimum_gap` slope and relative error of the map's sensitivities, then of its left-out losses, against those at the
    optimum, where the fit stands off it and the remaining steps were made to compare;
    `error_change` by which the errors would change, relatively, in the Newton step that remains to the optimum;
    `infinite_estimates` names parameters that go to infinity on these data: the loss has no minimum;
    `polishable` whether `memory_map(…, polish=True)` minimises the objective from these parameters;
    `nonlinear` whether outputs are nonlinear in the parameters, so that deviations are those of one Newton step;
    `negative_curvature` the share, of the positive one, of curvature that a loss has and that counts as none;
    `approximation` the kind of posterior, on which `MemoryMap.trust` rests (see `Approximation`);
    `relative_error` relative standard error of leverages that the approximation itself states (draws, sampled rows);
    `size_errors` those of sensitivities and of the mean left-out loss, where they are stated apart;
    `deviation_error` what is added of the column `deviation`, whose part that `Λ` does not see is less exact where
    variances are along few directions of the outputs;
    `dispersion_estimated` whether `dispersion` was estimated from the data; it is held at its value when examples are
    left out, but for classical measures where `residual_df`, its degrees of freedom, is known;
    `held_fixed` names what a removal holds fixed although a refit would change it ("splits of trees");
    `hyperparameters_held` names what was chosen or computed from the data and what a removal holds at its value
    ("alpha, by cross-validation", "preprocessing, by StandardScaler"): a reason of the map's trust;
    `cautions` are sentences on what its sizes cannot be trusted for, printed as warnings.
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
    cautions: tuple[str, ...] = ()
    held_fixed: str = ""
    hyperparameters_held: str = ""
    methods: tuple[str, ...] = field(default=("nickl2023memory", "tailor2023maps"))
    approximation: str = Approximation.UNSTATED
    relative_error: float | None = None
    size_errors: tuple[float, float] | None = None
    deviation_error: float | None = None
    optimum_gap: tuple[float, float, float, float] | None = None
    error_change: float | None = None
    infinite_estimates: tuple[str, ...] = ()
    negative_curvature: float = 0.0


@runtime_checkable
class Posterior(Protocol):
    """A Gaussian posterior over a model's outputs: what a map needs of a model."""

    @property
    def likelihood(self) -> Likelihood:
        """Observation model `p(y ∣ f)`."""

    @property
    def description(self) -> Description:
        """Model, prior and approximation, for the map's provenance."""

    def marginals(self, inputs: Any) -> Marginals:
        """Outputs `f [n, c]` and covariances `V [n, c, c]` of a batch."""
