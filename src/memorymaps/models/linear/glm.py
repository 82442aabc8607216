"""Models with a linear predictor `f = Bᵀx + offset`: exact or Laplace posterior from one pass over the data.

`S = Σ_i w_i Λ_i ⊗ x_i x_iᵀ + diag(δ)` is accumulated as a triangular QR factor if outputs are independent, which does
not square the condition number, and as a Gram matrix for softmax. For the Gaussian likelihood this is the exact
posterior, for the others Laplace's approximation at the fitted parameters.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.covariance_roots import (
    AnyCovarianceRoot,
    CoupledCurvature,
    IndependentCovarianceRoots,
    IndependentCurvature,
)
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.likelihoods.exponential_family import ExponentialFamily, Gaussian
from memorymaps.core.likelihoods.links import Identity
from memorymaps.core.likelihoods.observed_information import ObservedInformation, has_observed_information
from memorymaps.data.examples import DataError, Examples
from memorymaps.models.linear.active_set import L1ActiveSet, L1ActiveSetWarnings, roots_of
from memorymaps.models.linear.concave_curvature import subtract_curvature
from memorymaps.models.linear.newton_refit import LinearRefit, TrainingRows
from memorymaps.models.linear.stationarity import (
    NEARLY_STATIONARY,
    Gradient,
    change_of_errors,
    check_curved,
    check_stationary,
    distance_in_deviations,
)
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import Capabilities, PenaltyPerWeight, Refit
from memorymaps.posteriors.contract import Description, Marginals
from memorymaps.posteriors.origin import check_targets

_ROUNDING = 1e-13  # of residuals beside means: sums of some hundred products in double precision
_RAN_AWAY = 1e8  # loss of an example beyond that of other coefficients, from which curvatures may overflow
_EXPECTED_NOTE = (
    "Curvature: expected (Fisher) information, as asked for or as the observed one is not positive definite. The link "
    "is not canonical: sizes are those of one scoring step, which may differ from a Newton step's."
)


@dataclass(frozen=True)
class LinearModel:
    """A fitted linear predictor as plain data, made by the adapters of libraries.

    Attributes
    ----------
    coefficients : `[p, c]`, in the columns of `design`.
    design : inputs → features `x [n, p]`, intercept included.
    penalty : total weight `Σw` → `δ [p, c]`, the ridge on each parameter in units where the dispersion is 1; whether it
        grows with the weight decides what a removed example takes of it along.
    free : `[p, c]`, True for parameters that are estimated; the others are fixed (at zero by an L1 penalty).
    dispersion : `φ` where the fit gives it; `None`: 1 if `dispersion_known`, else Pearson's estimate `χ²/(n − tr H)`.
    dispersion_known : True: `φ` is a constant of the model (Poisson, Bernoulli). False: it was estimated from the data,
        which the map states; left-out losses hold it at its value, and classical measures estimate it without the
        example where `residual_df` is known.
    residual_df : degrees of freedom belonging to a given `dispersion`; `None`: not known (chosen by the evidence).
    notes, cautions : sentences for the map's summary; cautions are printed as warnings.
    hyperparameters_held : those that the fit chose from the data, as `"alpha, by cross-validation"`: a removal holds
        them at their values.
    l1 : total weight `Σw` → `λ [p, c]`, the L1 penalty on each parameter; `None`: no such penalty.
    shrinkable : `[p, c]`, parameters that an L1 penalty or a sign constraint may hold at zero; `None`: none.
    positive : whether `shrinkable` parameters are constrained to be ≥ 0.
    closed_form : whether the solver ends at the optimum up to rounding.
    stochastic : whether it may end anywhere (stochastic gradients): its distance says nothing about the data.
    to_original : changes of the coefficients `[..., p, c]` → of those of the model's own columns (see `coordinates`),
        whose names `parameters` are.
    prior_variance : variance that the prior alone determines, outside of these coordinates (see `row_space`).
    """

    name: str
    likelihood: Likelihood
    coefficients: Array
    design: Callable[[Any], Array]
    parameters: tuple[str, ...]
    penalty: Callable[[float], Array]
    free: Array
    prior: str = "none"
    dispersion: float | tuple[float, ...] | None = None
    dispersion_known: bool = True
    residual_df: float | None = None
    classes: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    hyperparameters_held: str = ""
    l1: Callable[[float], Array] | None = None
    shrinkable: Array | None = None
    positive: bool = False
    closed_form: bool = False
    stochastic: bool = False
    to_original: Callable[[Array], Array] | None = None
    prior_variance: OutsideVariance | None = None


class OutsideVariance(Protocol):
    """Variance outside the coordinates of a linear model, at unit dispersion."""

    def of_outputs(self, inputs: Any) -> Array:
        """`[n, c]`."""

    def of_parameters(self) -> Array:
        """`[p, c]`, of the model's own columns."""


@dataclass(frozen=True)
class LinearPosterior:
    """`q(B) = N(B̂, S⁻¹)`: marginals, cross-covariances and parameter changes of a linear predictor."""

    likelihood: Likelihood
    description: Description
    coefficients: Array
    design: Callable[[Any], Array]
    structure: AnyCovarianceRoot
    refits: Refit | None = field(default=None, kw_only=True)
    with_expected_information: Callable[[], LinearPosterior] | None = field(default=None, kw_only=True)
    model: LinearModel | None = field(default=None, kw_only=True)
    active_set: L1ActiveSetWarnings | None = field(default=None, kw_only=True)
    penalty: PenaltyPerWeight | None = field(default=None, kw_only=True)
    to_original: Callable[[Array], Array] | None = field(default=None, kw_only=True)
    prior_variance: OutsideVariance | None = field(default=None, kw_only=True)
    newton_step: Array | None = field(default=None, kw_only=True)  # to the optimum [p, c], where no coefficient is held

    @property
    def capabilities(self) -> Capabilities:
        """Cross-covariances, parameter changes, active set, refits; Newton's method where the loss is not quadratic."""
        newton = self.refits if isinstance(self.refits, LinearRefit) else None
        exact = is_quadratic(self.likelihood) and self.penalty is None
        return Capabilities(
            covariance_root=self.covariance_root, from_whitened=self.from_whitened, refit=self.refits,
            extra_columns=self.active_set,
            newton=None if exact else newton, group_refit=None if exact and newton else self.refits,
            check=None if newton else self.refits, penalty=self.penalty, parameter_variance=self.parameter_variance,
            coefficients=self.original_coefficients, coordinate_refit=self.refit_coordinates if newton else None,
            gradient_norm=self.gradient_norm if self.to_original is None else None,
        )  # fmt: skip

    def gradient_norm(self, inputs: Any, error: Array) -> Array:
        """`‖x_i‖₂ ‖e_i‖₂ [n]`, of the gradients `x_i e_iᵀ`."""
        return np.linalg.norm(self.design(inputs), axis=1) * np.linalg.norm(error, axis=1)

    def original_coefficients(self) -> Array:
        """`B̂ [p, c]` of the model's own columns."""
        return self.coefficients if self.to_original is None else self.to_original(self.coefficients)

    def refit_coordinates(self, removed: Array, steps: int, tolerance: float) -> tuple[Array, float]:
        """`u [r]` of a refit without some rows by Newton's method, and how far it was from its end."""
        assert isinstance(self.refits, LinearRefit)
        u, remaining = self.refits.coordinates(removed, steps, tolerance)
        roots = self.structure.roots if isinstance(self.structure, IndependentCovarianceRoots) else (self.structure,)
        scale = np.sqrt(np.broadcast_to(self.dispersions, (len(roots),)))
        return u / np.repeat(scale, [root.rank for root in roots]), remaining

    def marginals(self, inputs: Any) -> Marginals:
        """`f = Bᵀx [n, c]` and `V = (I ⊗ xᵀ) S⁻¹ (I ⊗ x) [n, c, c]`."""
        x = self.design(inputs)
        f, variance = x @ self.coefficients, self.structure.variance(x)
        if self.prior_variance is not None:
            outside = self.prior_variance.of_outputs(inputs) * self.dispersions
            variance = variance + outside[..., None] * np.eye(f.shape[1])
        return Marginals(f, variance)

    @property
    def dispersions(self) -> Array:
        """`φ`, one for all outputs or one each, by which the prior's variance is multiplied."""
        phi = self.description.dispersion
        return np.asarray(1.0 if phi is None else phi, dtype=float)

    def parameter_variance(self) -> Array:
        """`diag S⁻¹ [p, c]`."""
        basis = self.from_whitened(np.eye(self.structure.rank))
        inside = np.sum(basis**2, axis=0)
        return (
            inside if self.prior_variance is None else inside + self.dispersions * self.prior_variance.of_parameters()
        )

    def covariance_root(self, inputs: Any) -> Array:
        """`Z [n, c, r]` with `V_ij = Z_i Z_jᵀ`."""
        return self.structure.covariance_root(self.design(inputs))

    def from_whitened(self, u: Array) -> Array:
        """Change of the parameters `[..., p, c]` for coordinates `u [..., r]`."""
        change = self.structure.from_whitened(u)
        return change if self.to_original is None else self.to_original(change)


@dataclass
class _DataSums:
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

    def merged(self, other: _DataSums) -> _DataSums:
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


def laplace(model: LinearModel, examples: Examples, observed: bool = True) -> LinearPosterior:
    """Posterior of a fitted linear predictor from one pass over its training data.

    `observed`: with the Hessian of the loss itself where it is positive definite, else with the expected one.

    Raises
    ------
    DataError
        Non-finite features or targets outside the support; more free parameters than examples where the
        noise has to be estimated.
    """
    check_coefficients(model)
    return laplace_of(model, LocalQuadratic.of(model, examples, observed), examples)


def laplace_of(model: LinearModel, quadratic: LocalQuadratic, examples: Examples) -> LinearPosterior:
    """The posterior from the objective around the coefficients; raises as `laplace`."""
    structure, penalty, sums = quadratic.structure, quadratic.penalty, quadratic.sums
    check_curved(model, structure)
    effective = structure.effective_parameters(penalty)
    phi, df = _dispersion(model, sums, effective)
    scale = np.sqrt(np.broadcast_to(np.asarray(phi, dtype=float), (model.coefficients.shape[1],)))
    count, unit = float(np.sum(effective)), quadratic.likelihood
    distance = distance_in_deviations(quadratic.gradient, structure, quadratic.diagonal, scale, count)
    if np.all(scale > 0):  # a dispersion of zero is refused as such
        check_stationary(model, quadratic.gradient, structure, distance, examples)
    description = _describe(model, unit, structure, quadratic.estimated, count, phi, df, distance)
    if distance > NEARLY_STATIONARY and not is_quadratic(unit):
        change = change_of_errors(model, unit, quadratic.newton_step(), examples)
        description = dataclasses.replace(description, error_change=change)
    load = functools.partial(_training_rows, model, examples)
    scaled = structure.scale_outputs(scale)
    return LinearPosterior(
        _with_dispersion(unit, phi), description, model.coefficients, model.design, scaled,
        model=model, refits=LinearRefit(unit, model.coefficients, model.penalty, structure, load, sums.n),
        penalty=penalty_per_weight(model.design, scaled, penalty_rate(model, sums.weight) / scale**2),
        with_expected_information=functools.partial(laplace, model, examples, observed=False),
        active_set=_active_set(model, quadratic, scale),
        to_original=model.to_original, prior_variance=model.prior_variance,
        newton_step=None if model.shrinkable is not None else quadratic.newton_step(),
    )  # fmt: skip


def penalty_per_weight(
    design: Callable[[Any], Array], structure: AnyCovarianceRoot, rate: Array
) -> PenaltyPerWeight | None:
    """The capability `penalty` for the gradient `∇ψ [p, c]` of a penalty per unit of weight; `None` if it is zero."""
    if not np.any(rate):
        return None
    u = structure.whiten(rate)
    change = structure.from_whitened(u)
    return PenaltyPerWeight(lambda inputs: design(inputs) @ change, u)


def penalty_rate(model: LinearModel, weight: float) -> Array:
    """`∇ψ [p, c]`: what one unit of the total weight adds to the gradient of ridge and L1 penalties."""
    rate = (model.penalty(weight) - model.penalty(weight - 1.0)) * model.coefficients
    if model.l1 is not None:
        rate = rate + (model.l1(weight) - model.l1(weight - 1.0)) * np.sign(model.coefficients)
    return np.where(model.free, rate, 0.0)


def _active_set(model: LinearModel, quadratic: LocalQuadratic, scale: Array) -> L1ActiveSetWarnings | None:
    """The check of changes of the active set, for independent outputs with an L1 penalty or a sign constraint."""
    curvature, gradient = quadratic.sums.curvature, quadratic.gradient
    if model.shrinkable is None or not isinstance(curvature, IndependentCurvature):
        return None
    pieces = zip(curvature.factors(quadratic.penalty), roots_of(quadratic.structure), strict=True)
    smooth, weight = gradient.smooth(), quadratic.sums.weight
    rate = penalty_rate(model, weight)
    l1_rate = gradient.l1 - (0.0 if model.l1 is None else model.l1(weight - 1.0))
    outputs = tuple(
        L1ActiveSet(
            model.coefficients[:, k], gradient.l1[:, k], smooth[:, k], factor, root, gradient.shrinkable[:, k],
            model.positive, rate[:, k], l1_rate[:, k],
        )
        for k, (factor, root) in enumerate(pieces)
    )  # fmt: skip
    return L1ActiveSetWarnings(model.design, outputs, scale)


@dataclass(frozen=True)
class LocalQuadratic:
    """The objective around the coefficients, at unit dispersion: gradient, curvature, sums over the data."""

    likelihood: Likelihood
    sums: _DataSums
    penalty: Array
    structure: AnyCovarianceRoot
    estimated: Array
    gradient: Gradient

    @classmethod
    def of(
        cls, model: LinearModel, examples: Examples, observed: bool = False, compared: Sequence[LinearModel] = ()
    ) -> LocalQuadratic:
        """From passes over the data; `observed`: with the Hessian itself where it is positive definite.

        `compared`: models, this one first, whose losses are summed as well; where its own has run away, the rest of the
        sums is left out.
        """
        others = tuple(each.coefficients for each in compared)
        unit, sums, structure, estimated = _information(model, examples, observed, others)
        penalty, zeros = model.penalty(sums.weight), np.zeros(model.coefficients.shape)
        gradient = Gradient(
            sums.gradient, sums.unweighted, model.coefficients, penalty,
            zeros if model.l1 is None else model.l1(sums.weight), model.free,
            zeros > 0 if model.shrinkable is None else model.shrinkable, model.positive,
        )  # fmt: skip
        return cls(unit, sums, penalty, structure, estimated, gradient)

    def freed(self, free: Array) -> LocalQuadratic:
        """The same with other coefficients free."""
        structure, estimated = self.sums.curvature.posterior_root(self.penalty, free)
        gradient = dataclasses.replace(self.gradient, free=free)
        return LocalQuadratic(self.likelihood, self.sums, self.penalty, structure, estimated, gradient)

    def newton_step(self) -> Array:
        """`−S⁻¹∇L [p, c]` of the free coefficients, which remains to the optimum."""
        rest = np.where(self.gradient.free, self.gradient.residual(), 0.0)
        return -np.asarray(self.structure.from_whitened(self.structure.whiten(rest)))

    @property
    def diagonal(self) -> Array:
        """`S_jj [p, c]`."""
        return self.sums.curvature.diagonal() + self.penalty


def objective(model: LinearModel, examples: Examples) -> float:
    """`Σ w ℓ + ½ Σ δB² + Σ λ|B|` at unit dispersion, by a pass over the data; infinite where it is not finite."""
    unit = _with_dispersion(model.likelihood, 1.0)
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
    _, f, weight = _outputs(model, batch)
    sums += _loss(unit, f, weight, batch.target), np.sum(weight)


def _loss(unit: Likelihood, f: Array, weight: Array, target: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return float(np.sum(np.where(weight > 0, weight * unit.nll(f, target), 0.0)))


def check_coefficients(model: LinearModel) -> None:
    """Raise `DataError` for coefficients that are not finite."""
    bad = ~np.all(np.isfinite(model.coefficients), axis=1)
    if np.any(bad):
        names = [name for name, is_bad in zip(model.parameters, bad, strict=True) if is_bad]
        raise DataError(
            f"{model.name} has coefficients that are not finite, of {', '.join(names[:5])}: the fit has diverged or "
            "was edited. Expected finite numbers: scale the features and fit again"
        )


def is_quadratic(likelihood: Likelihood) -> bool:
    """Whether one Newton step reaches the optimum: a Gaussian with the identity link."""
    return isinstance(likelihood, Gaussian) and isinstance(likelihood.link, Identity)


def _training_rows(model: LinearModel, examples: Examples) -> TrainingRows:
    whole = examples.take(np.arange(len(examples)))
    return TrainingRows.of(model.design, [whole], model.coefficients.shape[1])


def _information(
    model: LinearModel, examples: Examples, observed: bool, compared: tuple[Array, ...]
) -> tuple[Likelihood, _DataSums, AnyCovarianceRoot, Array]:
    """The likelihood of unit dispersion, sums, `S^{-1/2}`, and which parameters are estimated.

    With observed information where it is positive definite, else with the expected one.
    """
    unit = _with_dispersion(model.likelihood, 1.0)
    if observed and isinstance(unit, ExponentialFamily) and has_observed_information(unit):
        hessian = ObservedInformation(unit)
        sums = _sum_over_data(model, hessian, examples, compared)
        convex, estimated = sums.curvature.posterior_root(model.penalty(sums.weight), model.free)
        root = subtract_curvature(convex, sums.concave)
        if root is not None:
            return hessian, sums, root, estimated
    sums = _sum_over_data(model, unit, examples, compared)
    return unit, sums, *sums.curvature.posterior_root(model.penalty(sums.weight), model.free)


def _sum_over_data(model: LinearModel, unit: Likelihood, examples: Examples, compared: tuple[Array, ...]) -> _DataSums:
    p, c = model.coefficients.shape
    independent = isinstance(unit, (ExponentialFamily, ObservedInformation))
    kind = IndependentCurvature if independent else CoupledCurvature
    empty = functools.partial(_no_sums, kind, p, c)
    return examples.fold(empty, functools.partial(_add_batch, model, unit, compared), _DataSums.merged)


def _no_sums(kind: Callable[[int, int], IndependentCurvature | CoupledCurvature], p: int, c: int) -> _DataSums:
    return _DataSums(kind(p, c), np.zeros((p, c)), np.zeros(c), np.zeros(c), np.zeros((c, p, p)))


def _add_batch(
    model: LinearModel, unit: Likelihood, compared: tuple[Array, ...], sums: _DataSums, batch: Batch
) -> None:
    x, f, weight = _outputs(model, batch)
    check_targets(unit, batch, f.shape[1])
    if compared:
        losses = np.asarray([_loss(unit, _linear(x, each, batch), weight, batch.target) for each in compared])
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
    sums.weight += float(np.sum(weight))
    sums.n += int(np.count_nonzero(weight))


def _outputs(model: LinearModel, batch: Batch) -> tuple[Array, Array, Array]:
    x = model.design(batch.inputs)
    f = _linear(x, model.coefficients, batch)
    return x, f, np.ones(len(f)) if batch.weight is None else batch.weight


def _linear(x: Array, coefficients: Array, batch: Batch) -> Array:
    """`Bᵀx + offset [n, c]`."""
    f = x @ coefficients
    if batch.offset is not None:
        f = f + np.reshape(batch.offset, (len(f), -1))
    return f


def _with_dispersion(likelihood: Likelihood, phi: float | tuple[float, ...]) -> Likelihood:
    if isinstance(likelihood, ObservedInformation):
        return ObservedInformation(_with_dispersion(likelihood.likelihood, phi))  # type: ignore[arg-type]
    if not isinstance(likelihood, ExponentialFamily):
        return likelihood
    changed: Likelihood = dataclasses.replace(likelihood, dispersion=phi)  # type: ignore[type-var]  # an abstract base
    return changed


def _dispersion(model: LinearModel, sums: _DataSums, effective: Array) -> tuple[Any, float | None]:
    """`φ` and its degrees of freedom: given, 1 for families without dispersion, or Pearson's `χ²/(n − tr H)`."""
    if model.dispersion_known:
        return (1.0 if model.dispersion is None else model.dispersion), model.residual_df
    if model.dispersion is not None:
        if model.residual_df != 0 and np.all(np.asarray(model.dispersion) > 0):  # else the gate says more
            _check_noise(model, sums)
        return model.dispersion, model.residual_df
    df = sums.n - effective
    if np.any(df < 1e-6):
        raise DataError(
            f"{sums.n} examples for {np.max(effective):.1f} free parameters: every example is fitted exactly and the "
            "noise cannot be estimated. Use fewer features or a penalised model (Ridge, Lasso)"
        )
    _check_noise(model, sums)
    phi = sums.chi2 / df
    return (float(phi[0]) if len(phi) == 1 else tuple(phi.tolist())), float(df[0])


def _check_noise(model: LinearModel, sums: _DataSums) -> None:
    """Raise `DataError` where all residuals of an output are rounding errors of its means."""
    if isinstance(model.likelihood, ExponentialFamily) and np.any(sums.chi2 <= _ROUNDING**2 * sums.size):
        raise DataError(
            "all residuals are zero to rounding: the noise cannot be estimated. Pass targets with noise; nothing is "
            "remembered where a formula gives them all"
        )


def _kind_of_information(unit: Likelihood) -> str:
    return "observed" if isinstance(unit, ObservedInformation) else "Fisher"


def _describe(
    model: LinearModel,
    unit: Likelihood,
    structure: AnyCovarianceRoot,
    estimated: Array,
    effective: float,
    phi: Any,
    df: float | None,
    distance: float,
) -> Description:
    names, rotated = np.asarray(model.parameters, dtype=object), model.prior_variance is not None
    exact = is_quadratic(model.likelihood)
    penalised = model.free[:, np.any(model.free, axis=0)]  # without the reference class
    at_zero = int(np.size(penalised) - np.count_nonzero(penalised))
    aliased = () if rotated else tuple(names[np.any(model.free & ~estimated, axis=1)].tolist())
    every = len(names) * model.free.shape[1]
    coverage = [f"{every if rotated else np.count_nonzero(estimated)} of {every} coefficients: exact, full covariance"]
    coverage += [f"{at_zero} fixed at zero by the L1 penalty or a sign constraint"] if at_zero else []
    coverage += [f"aliased (combinations of earlier columns): {', '.join(aliased)}"] if aliased else []
    return Description(
        model=model.name,
        approximation=_approximation(exact and not _is_ridge_per_weight(model), at_zero),
        posterior="exact Gaussian" if exact else f"Laplace, full {_kind_of_information(unit)} information",
        likelihood=type(model.likelihood).__name__,
        prior=model.prior,
        algorithm=_algorithm(exact, at_zero),
        coverage=tuple(coverage),
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
        cautions=model.cautions,
        hyperparameters_held=model.hyperparameters_held,
        methods=("cook1977detection", "cook1980characterizations", "nickl2023memory", "tailor2023maps"),
    )


def _is_ridge_per_weight(model: LinearModel) -> bool:
    """Whether the ridge, and with it the curvature, changes with the total weight."""
    return bool(np.any(model.penalty(2.0) != model.penalty(1.0)))


def _algorithm(exact: bool, at_zero: int) -> str:
    if at_zero:
        return "Newton's method on the active set (the fitted optimum)"
    return "linear equations, in closed form (the fitted optimum)" if exact else "Newton's method (the fitted optimum)"


def _approximation(exact: bool, at_zero: int) -> Approximation:
    if at_zero:
        return Approximation.ACTIVE_SET
    return Approximation.EXACT if exact else Approximation.ONE_STEP
