"""Optional functions of a posterior besides outputs and variances, as one record.

A posterior has its record in the attribute `capabilities`; a wrapper returns the record of the wrapped posterior,
changed by `on_inputs` if it transforms inputs. The library uses this record only, never `isinstance` of a posterior.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.local import FullVariance
from memorymaps.data.coercion import take_rows
from memorymaps.posteriors.contract import Marginals, Posterior

Transform = Callable[[Any], Any]


class DirectionalMarginals(Protocol):
    """Outputs `f [n, c]` of a batch and their covariance along directions `D [n, c, k]`: `gram = DᵀVD [n, k, k]`."""

    @property
    def f(self) -> Array:
        """`[n, c]`."""

    @property
    def directions(self) -> Array:
        """`D [n, c, k]`."""

    @property
    def gram(self) -> Array:
        """`DᵀVD [n, k, k]`."""

    def matvec(self, coefficients: Array) -> Array:
        """`V D s [n, c]` for coefficients `s [n, k]` of the directions."""


class DirectionalCovariance(Protocol):
    """Output covariances along chosen directions, at a cost that does not grow with `c²`, for many outputs."""

    @property
    def directions(self) -> int:
        """Number of leading directions of each `Λ` that a map uses."""

    def chunks(self, inputs: Any) -> Iterator[tuple[slice, Any]]:
        """Consecutive chunks of a batch that fit in memory, each with its rows."""

    def directional_marginals(self, inputs: Any, choose: Callable[[Array, slice], Array]) -> DirectionalMarginals:
        """Marginals of a batch along `D = choose(f, rows)`, chosen from the outputs `f` of these rows."""


class RemovalInfluence(Protocol):
    """Changes of parameters and outputs when groups of training rows are removed, with the exact curvature matrix."""

    def parameter_change(self, groups: Sequence[Array], steps: int = ..., tolerance: float = ...) -> tuple[Any, Array]:
        """Changes `Δθ [g, P]` for groups of training rows, and the relative residuals `[g]` of the linear systems."""

    def output_change(self, inputs: Any, deltas: Any) -> Array:
        """Changes of the outputs for the parameter changes of `parameter_change`: `[n, c, g]`."""


@dataclass(frozen=True)
class Undetermined:
    """Training examples `rows` that must be refitted, of a prediction that is the mean of `models` models."""

    rows: Array
    models: int


class Refit(Protocol):
    """Refits without some training rows, started from the fitted parameters."""

    @property
    def concurrent(self) -> bool:
        """Whether several refits may run at once, in threads."""

    def max_automatic_refits(self) -> int:
        """Number of refits that `memory_map` may run by default; 0: only on request."""

    def refit(self, removed: Array, wanted: Array, steps: int = ..., tolerance: float = ...) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted` after the refit, and how far from its end it was, 0 to 1.

        With nothing removed: the outputs at the optimum, to which the others are compared.
        """


class CoefficientRefit(Protocol):
    """A refit without some training rows, as `Refit.refit`, that also tells the coefficients."""

    def __call__(
        self, removed: Array, wanted: Array, steps: int = ..., tolerance: float = ...
    ) -> tuple[Array, float, Array]:
        """Outputs `f [n, c]` of the rows `wanted`, their relative change, and `θ̂ [p, c]` after the refit."""


class RefitOnRequest:
    """Base of the `Refit`s that `memory_map` never makes by default, and that may run at once."""

    @property
    def concurrent(self) -> bool:
        """Several refits may run at once, in threads."""
        return True

    def max_automatic_refits(self) -> int:
        """None by default."""
        return 0


class NewtonRefit(Refit, Protocol):
    """Refits by Newton's method, of which a map takes the first step: cheap enough to be made unasked."""

    def second_step(self, rows: Array) -> tuple[Array, Array]:
        """What a second Newton step would add to the deviation of each row left out: the step, and a bound `[k, c]`."""


@dataclass(frozen=True)
class PenaltyPerWeight:
    """A penalty `W ψ(θ)` that is one per unit of total weight `W`: an example of weight `w` takes `w ψ` along.

    Attributes
    ----------
    outputs : `inputs → xᵀS⁻¹∇ψ [n, c]`, the change of outputs to first order for each unit of weight removed.
    coordinates : the same change of parameters, `[r]`, in the coordinates of `covariance_root`.
    """

    outputs: Callable[[Any], Array]
    coordinates: Array


@dataclass(frozen=True)
class CrossCovariance:
    """Covariances of outputs with those at other inputs: in closed form, or by a linear system for each of the latter.

    Attributes
    ----------
    at : `inputs* → (inputs → V [n, c, k, c])` for `k` other inputs.
    numbers : numbers that are held for each of these inputs.
    of_training : `inputs* → (batch → V [n, c, k, c])` of training examples, where it is known more accurately.
    """

    at: Callable[[Any], Callable[[Any], Array]]
    numbers: int
    of_training: Callable[[Any], Callable[[Batch], Array]] | None = None

    def of_batch(self, queries: Any) -> Callable[[Batch], Array]:
        """Function from batches of training examples to their covariances with the outputs of the queries."""
        if self.of_training is not None:
            return self.of_training(queries)
        at = self.at(queries)
        return lambda batch: at(batch.inputs)

    def on_inputs(self, transform: Transform) -> CrossCovariance:
        """Of a wrapper that applies `transform` to inputs first."""
        own = self.of_training
        return dataclasses.replace(
            self,
            at=lambda queries: _before(self.at(transform(queries)), transform),
            of_training=_optional(own, lambda of: lambda queries: _on_batches(of(transform(queries)), transform)),
        )


@dataclass(frozen=True)
class GroupRemoval:
    """The removal of `m` of all `N` training examples together, as the posterior computes it.

    Attributes
    ----------
    deviation : `Δf [N, c]` of all training examples.
    error : `(I − Λ_M V_MM)⁻¹ e_M [m, c]`, with which covariances with the members give `Δf` of any other output.
    log_integral : what the joint log score adds to the members' log-likelihood, see `GroupSystem.log_integral`.
    """

    deviation: Array
    error: Array
    log_integral: float


@dataclass(frozen=True)
class ExampleRefits:
    """Refits without single training examples, of which a prediction at any input is asked.

    Attributes
    ----------
    at : `inputs* → (rows [b] → Δf [k, b, c])`, the changes of the outputs at `k` inputs without each of some training
        rows; NaN where the refit has not reached its end.
    affordable : `() → int`, how many are made when predictions are asked about: those of ten seconds of a core.
    """

    at: Callable[[Any], Callable[[Array], Array]]
    affordable: Callable[[], int]


@dataclass(frozen=True)
class OwnRefits:
    """Refits without single training examples, all together, of which each is asked its own outputs.

    Attributes
    ----------
    deviations : `rows [k] → Δf [k, c]`; NaN where the refit has not reached its end.
    affordable : `() → int`, how many a map may make unasked.
    """

    deviations: Callable[[Array], Array]
    affordable: Callable[[], int]


@dataclass(frozen=True)
class ModelKernel:
    """The kernel of the functions that a model fits: a kernel machine's, or a network's tangent kernel.

    Attributes
    ----------
    gram : `inputs → k [n, n]`.
    ridge : added to its diagonal in least squares.
    numbers : numbers that are held for each example besides.
    """

    gram: Callable[[Any], Array]
    ridge: float
    numbers: int = 0


@dataclass(frozen=True)
class Capabilities:
    """Optional functions of a posterior; `None` where it does not offer one.

    Attributes
    ----------
    covariance_root : `inputs → Z [n, c, r]` with prediction covariances `V_ij = Z_i Z_jᵀ`; for group removal.
        (linear_operator: `root_decomposition`)
    cross_covariance : covariances with outputs at other inputs, where `Z` is too large, or takes longer: for the
        influence on given predictions.
    query_caution : what single examples' effects on other predictions cannot be trusted for, in words.
    interpolate : `(inputs, Δf [N, c, g]) → (Δf_* [k, c, g], residual [g])`, the changes of the outputs at `k` inputs
        that belong to those of all training outputs, and the share of the latter that no function of the model has.
    from_whitened : `u [..., r] → Δθ [..., p, c]`, parameters from the coordinates of `covariance_root`; for DFBETA.
    directional : covariances along chosen directions only, for many outputs.
    removal : removal of groups by iterative solves with the exact curvature, for models of any size.
    refit : refitting without some rows.
    refitted_variance : `rows → V [k, c, c]`, variances over which each row's own likelihood is averaged after the refit
        without it, NaN where that has not reached its end; of posteriors whose left-out predictions depend on it.
    newton : refitting by Newton's method, for models whose loss is not quadratic in the parameters: maps check their
        steps by it.
    own_refits : refits without single examples all together, where that is cheaper than one by one; without `newton`,
        for models whose step is too short the more, the larger the leverage.
    check : refitting by which maps check their largest sizes, for losses that one smoothed step may miss.
    group_refit : refitting for the removal of groups, where that is affordable and one linear step may be too long.
    example_refits : refits without single examples, cheap enough to be made for those that matter most to given
        predictions, where one step may be too long.
    out_of_bag : `batch → f [n, c]`, outputs of those members of an ensemble that were not trained on the example, NaN
        where there are none.
    undetermined : training examples of whose predictions too little is left without them under what a removal holds
        fixed (examples alone in their leaves): maps refit without these, or cross-fit.
    staged_outputs : `batch → f [T, n, c]`, outputs of training examples after each iteration of a model that is fitted
        in stages (boosting).
    leaf_votes : `batch → p [n, c]`, shares of the classes among the other training examples in the same leaves,
        averaged over trees; NaN where there are no others. For the ranking of suspicious labels.
    kernel : the kernel of the functions that are fitted, for least squares in closed form: the ranking of suspicious
        labels.
    gradient_norm : `(inputs, e [n, c]) → ‖Jᵀe‖₂ [n]`, norms of each example's gradient of the parameters.
    extra_columns : `(batch, statistics) → {name: [n] or [n, c]}`; a column `warning` is combined with the map's.
    training_marginals : `batch → Marginals` of training examples, where they differ from those of new inputs (an
        estimate of `S` that must not contain the example's own rows), or are known more accurately.
    group_removal : `rows → GroupRemoval` of training rows in one step, where it is known more accurately than from
        `covariance_root`.
    subgradient : `ids → w e [n, c]`, the element of `∂ℓ` selected by the optimum (dual variables), for nonsmooth
        losses.
    parameter_variance : `() → diag S⁻¹ [p, c]`, the parameters' posterior variances.
    penalty : a penalty that grows with the total weight, as in objectives that average losses; `None`: the penalty
        stays as it is when examples are left out.
    coefficients : `() → θ̂ [p, c]`, the fitted parameters in the order of `Description.parameters`.
    coordinate_refit : `(rows, steps, tolerance) → u [r]`, the change of the parameters in the coordinates of
        `covariance_root` when the model is refitted without these rows, and how far the refit was from its end; NaN
        where the other rows do not determine it.
    coefficient_refit : what `group_refit` does, with `θ̂ [p, c]` of the refit: for models whose coefficients no change
        in these coordinates tells (L1 penalties, Cox regression).
    fingerprint : hash of the model's parameters and of the recipe, for models that do not tell them otherwise
        (`parameters_of`).
    """

    covariance_root: Callable[[Any], Array] | None = None
    cross_covariance: CrossCovariance | None = None
    query_caution: str = ""
    interpolate: Callable[[Any, Array], tuple[Array, Array]] | None = None
    from_whitened: Callable[[Array], Array] | None = None
    directional: DirectionalCovariance | None = None
    removal: RemovalInfluence | None = None
    refit: Refit | None = None
    refitted_variance: Callable[[Array], Array] | None = None
    newton: NewtonRefit | None = None
    own_refits: OwnRefits | None = None
    check: Refit | None = None
    group_refit: Refit | None = None
    example_refits: ExampleRefits | None = None
    out_of_bag: Callable[[Batch], Array] | None = None
    undetermined: Undetermined | None = None
    staged_outputs: Callable[[Batch], Array] | None = None
    leaf_votes: Callable[[Batch], Array] | None = None
    kernel: ModelKernel | None = None
    gradient_norm: Callable[[Any, Array], Array] | None = None
    extra_columns: Callable[[Batch, FullVariance], Mapping[str, Array]] | None = None
    training_marginals: Callable[[Batch], Marginals] | None = None
    group_removal: Callable[[Array], GroupRemoval] | None = None
    subgradient: Callable[[Array], Array] | None = None
    penalty: PenaltyPerWeight | None = None
    parameter_variance: Callable[[], Array] | None = None
    coefficients: Callable[[], Array] | None = None
    coordinate_refit: Callable[[Array, int, float], tuple[Array, float]] | None = None
    coefficient_refit: CoefficientRefit | None = None
    fingerprint: Callable[[], str] | None = None

    def on_inputs(self, transform: Transform) -> Capabilities:
        """The capabilities of a wrapper that applies `transform` to inputs first (a pipeline)."""
        return dataclasses.replace(
            self,
            covariance_root=_optional(self.covariance_root, lambda root: lambda x: root(transform(x))),
            cross_covariance=_optional(self.cross_covariance, lambda own: own.on_inputs(transform)),
            example_refits=_optional(
                self.example_refits, lambda own: dataclasses.replace(own, at=_before(own.at, transform))
            ),
            interpolate=_optional(self.interpolate, lambda of: lambda x, change: of(transform(x), change)),
            directional=_optional(self.directional, lambda inner: _TransformedDirections(inner, transform)),
            training_marginals=_optional(
                self.training_marginals, lambda of: lambda batch: of(_transformed(batch, transform))
            ),
            out_of_bag=_optional(self.out_of_bag, lambda of: lambda batch: of(_transformed(batch, transform))),
            staged_outputs=_optional(self.staged_outputs, lambda of: lambda batch: of(_transformed(batch, transform))),
            leaf_votes=_optional(self.leaf_votes, lambda of: lambda batch: of(_transformed(batch, transform))),
            kernel=_optional(self.kernel, lambda own: dataclasses.replace(own, gram=_before(own.gram, transform))),
            gradient_norm=_optional(self.gradient_norm, lambda norm: lambda x, error: norm(transform(x), error)),
            penalty=_optional(
                self.penalty, lambda own: dataclasses.replace(own, outputs=lambda x: own.outputs(transform(x)))
            ),
            removal=_optional(self.removal, lambda inner: _TransformedRemoval(inner, transform)),
            extra_columns=_optional(
                self.extra_columns, lambda add: lambda batch, stats: add(_transformed(batch, transform), stats)
            ),
        )


NO_CAPABILITIES = Capabilities()


def capabilities_of(source: Posterior) -> Capabilities:
    """The posterior's record; an empty one for posteriors without the attribute `capabilities`."""
    found: Capabilities = getattr(source, "capabilities", NO_CAPABILITIES)
    return found


def _optional(value: Any, change: Callable[[Any], Any]) -> Any:
    return None if value is None else change(value)


def _before(function: Callable[[Any], Any], transform: Transform) -> Callable[[Any], Any]:
    return lambda x: function(transform(x))


def _on_batches(function: Callable[[Batch], Any], transform: Transform) -> Callable[[Batch], Any]:
    return lambda batch: function(_transformed(batch, transform))


def _transformed(batch: Batch, transform: Transform) -> Batch:
    return dataclasses.replace(batch, inputs=transform(batch.inputs))


@dataclass(frozen=True)
class _TransformedDirections:
    inner: DirectionalCovariance
    transform: Transform

    @property
    def directions(self) -> int:
        return self.inner.directions

    def chunks(self, inputs: Any) -> Iterator[tuple[slice, Any]]:
        whole = self.transform(inputs)
        for rows, _ in self.inner.chunks(whole):
            yield rows, take_rows(inputs, rows)

    def directional_marginals(self, inputs: Any, choose: Callable[[Array, slice], Array]) -> DirectionalMarginals:
        return self.inner.directional_marginals(self.transform(inputs), choose)


@dataclass(frozen=True)
class _TransformedRemoval:
    inner: RemovalInfluence
    transform: Transform

    def parameter_change(self, groups: Sequence[Array], steps: int = 200, tolerance: float = 1e-4) -> tuple[Any, Array]:
        return self.inner.parameter_change(groups, steps, tolerance)

    def output_change(self, inputs: Any, deltas: Any) -> Array:
        return self.inner.output_change(self.transform(inputs), deltas)
