"""Newton steps from the coefficients of a linear predictor to the optimum of its objective.

    L(B) = Σ w ℓ(Bᵀx) + ½ Σ δB² + Σ λ|B|

Damped by halving. Under an L1 penalty or a sign constraint the step is made within the orthant of the present signs:
a coefficient that would change its sign stops at zero, and one at zero is freed where its gradient exceeds `λ`
(Andrew & Gao 2007).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.data.examples import DataError, Examples
from memorymaps.models.linear.glm.fit import laplace_of
from memorymaps.models.linear.glm.model import LinearModel
from memorymaps.models.linear.glm.objective_value import objective, penalised
from memorymaps.models.linear.glm.posterior import LinearPosterior
from memorymaps.models.linear.glm.quadratic import LocalQuadratic
from memorymaps.models.linear.newton_refit import LinearRefit
from memorymaps.models.linear.piecewise_linear import NonsmoothLinearPosterior, nonsmooth_posterior
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.polish import polished

_STEPS = 100
_STATIONARY = 1e-8  # posterior standard deviations at unit dispersion
_REACHED = 1e-2  # at which the optimum counts as reached
_HALVINGS = 39  # after the whole step
_PROJECTED = 2  # halvings before steps end at the first change of sign
_RELEASES = 3  # attempts to release several coefficients from zero together
_CROSSED = 1e-12  # of a step: a coefficient this close to zero has reached it
_ROUNDING = 1e-12  # of the objective: smaller differences are none
_NEARER = 0.5  # share of the gradient below which a step has brought it closer to zero


@polished.register(LinearPosterior)
def _polished_linear(source: LinearPosterior, examples: Examples) -> LinearPosterior:
    if source.model is None:
        raise TypeError(f"polish=True: {type(source).__name__} was made without a LinearModel: make it with laplace(…)")
    end = optimum(source.model, source.newton_step, examples)
    found = laplace_of(end.model, end.quadratic, examples)
    if found.refits is None:  # of L1 penalties and sign constraints: by clones, which the adapter made
        found = dataclasses.replace(found, refits=source.refits, coefficient_refit=source.coefficient_refit)
    return dataclasses.replace(found, description=_kept(source.description, found.description))


@polished.register(NonsmoothLinearPosterior)
def _polished_nonsmooth(source: NonsmoothLinearPosterior, examples: Examples) -> NonsmoothLinearPosterior:
    """With squared ramps only, and their scale held: Huber's loss, the squared hinge."""
    if source.nonsmooth is None or not isinstance(source.refits, LinearRefit):
        raise TypeError(
            f"polish=True: the loss of {source.description.model} has kinks and no Newton steps to make. Fit again "
            "with a smaller tolerance and more iterations (tol=1e-8, max_iter=10_000) and map that"
        )
    linear = dataclasses.replace(source.nonsmooth.linear, coefficients=source.refits.minimum)
    found = nonsmooth_posterior(dataclasses.replace(source.nonsmooth, linear=linear), examples)
    if not (found.description.distance or 0.0) <= _REACHED:
        raise _unreached(linear.name, found.description.distance or np.inf)
    return dataclasses.replace(found, description=_kept(source.description, found.description))


def _kept(before: Description, after: Description) -> Description:
    """The description at the optimum, with the names that wrappers have given."""
    moved = f"{before.distance:.2g}" if before.distance is not None else "some"
    note = (
        f"The fit had stopped {moved} posterior standard deviations (each) before the optimum: the map is that of a "
        "copy after the remaining Newton steps. Outputs and predictions are the copy's."
    )
    return dataclasses.replace(
        after,
        model=before.model,
        parameters=before.parameters,
        aliased=before.aliased,
        notes=(*before.notes, note),
        hyperparameters_held=before.hyperparameters_held,
    )


@dataclass(frozen=True)
class PolishState:
    """A model during its polish: the objective around it and its value, Newton's step and the gradient's length.

    `slope` is in posterior standard deviations. `quadratic` is of the model's free coefficients, `freed` also of those
    at zero that the step releases.
    """

    model: LinearModel
    quadratic: LocalQuadratic
    freed: LocalQuadratic
    direction: Array
    value: float
    slope: float


def optimum(model: LinearModel, step: Array | None, examples: Examples) -> PolishState:
    """The model with the coefficients that minimise its objective on these examples.

    `step [p, c]`: Newton's at the model, where it is known; each further one takes one pass over the data.

    Raises
    ------
    DataError
        Newton's method reaches the optimum neither from the coefficients nor from zero.
    """
    zero = dataclasses.replace(model, coefficients=np.zeros_like(model.coefficients))
    slope = np.inf
    for start in _starts(model, zero, step, examples):
        found = _descend(start, examples)
        slope = found.slope
        if slope <= _REACHED:
            return found
    raise _unreached(model.name, slope)


def _starts(model: LinearModel, zero: LinearModel, step: Array | None, examples: Examples) -> Iterator[PolishState]:
    """The model, after its first step where that lowers the objective, and zero: the lower one first."""
    known = step is not None and bool(np.all(np.isfinite(step)))
    first = dataclasses.replace(model, coefficients=model.coefficients + step) if known else model
    state, (before, at_zero) = _evaluated(first, examples, (model, zero))
    if at_zero < min(before, state.value):
        yield _evaluated(zero, examples)[0]
    yield state if state.value <= before + _rounding(before) else _evaluated(model, examples)[0]
    if at_zero >= min(before, state.value):
        yield _evaluated(zero, examples)[0]


def _evaluated(
    model: LinearModel, examples: Examples, compared: Sequence[LinearModel] = ()
) -> tuple[PolishState, list[float]]:
    """The state at a model and the objective at others, by one pass over the data."""
    every = (model, *compared)
    quadratic = LocalQuadratic.of(model, examples, observed=True, compared=every)
    losses = quadratic.sums.losses
    assert losses is not None  # of `every`
    values = [penalised(each, float(loss), quadratic.sums.weight) for each, loss in zip(every, losses, strict=True)]
    freed, direction = _direction(model, quadratic)
    slope = float(np.linalg.norm(freed.structure.whiten(freed.gradient.residual())))
    return PolishState(
        model, quadratic, freed, direction, values[0], slope if np.isfinite(values[0]) else np.inf
    ), values[1:]


def _unreached(name: str, slope: float) -> DataError:
    return DataError(
        f"polish=True: Newton's method did not reach the optimum of {name} on these data (still {slope:.2g} "
        "posterior standard deviations away). Scale the features, make_pipeline(StandardScaler(), …), fit and map again"
    )


def _descend(state: PolishState, examples: Examples) -> PolishState:
    """The state after Newton steps, until the gradient is zero or neither it nor the objective decreases."""
    for _ in range(_STEPS):
        if state.slope <= _STATIONARY:
            break
        after = _after_step(state, examples)
        if after is None:
            break
        state = after
    return state


def _after_step(state: PolishState, examples: Examples) -> PolishState | None:
    """The state after Newton's step, or a part of it, that lowers the objective; `None`: there is none.

    Where the objective is the same to rounding, as close to the optimum, the gradient decides.
    """
    stepped = _updated(state.model, state.direction, state.freed.gradient.residual())
    tried, _ = _evaluated(stepped, examples, (state.model,))
    if tried.value < state.value - _rounding(state.value):
        return tried
    if tried.value <= state.value + _rounding(state.value):
        return tried if tried.slope < _NEARER * state.slope else None
    found, value = _line_search(state, examples)
    return _evaluated(found, examples)[0] if value < state.value - _rounding(state.value) else None


def _rounding(value: float) -> float:
    return _ROUNDING * abs(value) if np.isfinite(value) else 0.0


def _direction(model: LinearModel, here: LocalQuadratic) -> tuple[LocalQuadratic, Array]:
    """Newton's step `[p, c]`; coefficients at zero move only where their gradient exceeds the penalty."""
    if model.shrinkable is None:
        return here, _step(here)
    residual, at_zero = here.gradient.residual(), model.shrinkable & (model.coefficients == 0)
    free = ~at_zero | (residual != 0)
    for _ in range(_RELEASES):
        here = here.freed(free)
        direction = _step(here)
        wrong = free & at_zero & (direction * residual > 0)
        if not np.any(wrong):
            return here, direction
        free = free & ~wrong
    here = here.freed(~at_zero)
    return here, _step(here)


def _step(here: LocalQuadratic) -> Array:
    slope = here.structure.whiten(np.where(here.gradient.free, here.gradient.residual(), 0.0))
    return -here.structure.from_whitened(slope)


def _line_search(state: PolishState, examples: Examples) -> tuple[LinearModel, float]:
    """The first of the halved steps that lowers the objective; then those that stop at the first change of sign."""
    model, direction, residual = state.model, state.direction, state.freed.gradient.residual()
    whole = 1.0  # which has been tried
    for first in dict.fromkeys((whole, _first_crossing(model, direction))):
        step = first / 2 if first == whole else first
        for _ in range(_HALVINGS if first < whole or model.shrinkable is None else _PROJECTED):
            tried = _updated(model, step * direction, residual)
            found = objective(tried, examples)
            if found < state.value:
                return tried, found
            step /= 2
    return model, state.value


def _first_crossing(model: LinearModel, direction: Array) -> float:
    """The largest step of at most 1 at which no coefficient has passed zero."""
    if model.shrinkable is None:
        return 1.0
    crossing = model.shrinkable & (model.coefficients * direction < 0)
    return float(np.min(-model.coefficients[crossing] / direction[crossing], initial=1.0))


def _updated(model: LinearModel, step: Array, residual: Array) -> LinearModel:
    """The model after a step, coefficients that leave their orthant at zero."""
    coefficients = model.coefficients + step
    if model.shrinkable is None:
        return dataclasses.replace(model, coefficients=coefficients)
    sign = np.where(model.coefficients != 0, np.sign(model.coefficients), -np.sign(residual))
    coefficients = np.where(model.shrinkable & (coefficients * sign <= _CROSSED * np.abs(step)), 0.0, coefficients)
    return dataclasses.replace(model, coefficients=coefficients, free=~model.shrinkable | (coefficients != 0))
