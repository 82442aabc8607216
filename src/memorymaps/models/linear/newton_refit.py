"""Linear predictors fitted again without some rows: damped Newton steps from the fitted optimum.

    L(B) = Σ_{i∉M} w_i ℓ_i(Bᵀx_i + offset_i) + ½ Σ δ B²,    B = B̂ + W u

in the posterior's own coordinates `u`, where the Hessian of the whole loss at `B̂` is the identity: each Newton system
is solved by a few conjugate-gradient products at `O(n p c)` each, and no Hessian is formed. The penalty `δ` is that of
the weight that is left; the dispersion and the preprocessing are held fixed. Source: Nocedal & Wright 2006,
algorithm 7.1 (Newton-CG).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.covariance_roots import AnyCovarianceRoot
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.perturbation.deviation import AT_BOUND
from memorymaps.core.perturbation.group_removal import few_rows_coordinates, group_coordinates
from memorymaps.models.linear.infinite_estimates import Descent, endless_descent, followed, limit_of_outputs

_MAX_PRODUCTS = 100  # conjugate-gradient products a Newton step
_MAX_HALVINGS = 30
_EPS = float(np.finfo(float).eps)  # of the loss: decreases below cannot be seen
_STATIONARY = 1e-9  # Newton decrement, in posterior standard deviations, at which the iteration ends
_RUN_AWAY = 1e-2  # of the length of `u`: from a last step as long on, the minimum is at infinity
_DESCENT = 1e-4  # share of the predicted decrease that a step must reach
_LONGEST = 1e3  # times the gradient, steps of losses with curvature on some pieces only
_FORCING = 0.1  # largest relative residual of a Newton system
_MORE = 0.55  # of the slope: a quadratic loss decreases by half of it over a Newton step; from here on it is doubled
_SEEN = 1e-13  # of the loss, a slope above which a decrease is no rounding
_ROUNDING = 1e-12  # of the loss: differences below are not decreases
_CALL = 200_000  # multiplications that take as long as NumPy's overhead of one product
_REFIT_PRODUCTS = 100  # products with the data in a refit (measured: 20 to 120)
_BUDGET = 2 * 10**9  # multiplications for refits that nobody asked for: half a second of one core …
_FITS = 2  # … or that many Hessians, what a fit takes by Newton's method
_CURVE = 100  # multiplications that take as long as the error of one output
_CHUNK = 2 * 10**6  # outputs held at a time when many rows are left out one by one
_CHORD_STEPS = 12  # with one Hessian: what they leave of the way falls by 0.05 to 0.5 a step
_NEWTON_STEPS, _ARRIVED = 200, 1e-4  # relative to the way, the last step of a refit without one row
_EXAMPLES_BUDGET = 2 * 10**10  # multiplications for refits without single rows when predictions are asked about
_SINGLE_STEPS = 6  # of these refits
_IN_MEMORY = 2 * 10**7  # numbers in the design matrix up to which refits are made unasked


@dataclass(frozen=True)
class TrainingRows:
    """The training data of a linear predictor in memory: `x [n, p]`, targets, weights `[n]`, offsets `[n, c]`."""

    x: Array
    target: Array
    weight: Array
    offset: Array

    @classmethod
    def of(cls, design: Callable[[object], Array], batches: list[Batch], outputs: int) -> TrainingRows:
        """Gather batches."""
        x = np.concatenate([design(batch.inputs) for batch in batches])
        weights = [np.ones(len(b)) if b.weight is None else np.asarray(b.weight, dtype=float) for b in batches]
        offsets = [np.zeros((len(b), outputs)) if b.offset is None else _columns(b.offset, outputs) for b in batches]
        target = np.concatenate([np.asarray(batch.target) for batch in batches])
        return cls(x, target, np.concatenate(weights), np.concatenate(offsets))

    def without(self, removed: Array) -> TrainingRows:
        """The same rows, those removed with weight zero."""
        weight = self.weight.copy()
        weight[removed] = 0.0
        return dataclasses.replace(self, weight=weight)


def _columns(offset: Array, outputs: int) -> Array:
    values = np.reshape(np.asarray(offset, dtype=float), (len(offset), -1))
    return np.broadcast_to(values, (len(values), outputs))


@dataclass(frozen=True)
class PenalisedLoss:
    """`L` and its derivatives in the coordinates `u [r]`; `likelihood` and `structure` of unit dispersion.

    `penalty_of`: total weight → `δ [p, c]`.
    """

    rows: TrainingRows
    likelihood: Likelihood
    coefficients: Array
    penalty_of: Callable[[float], Array]
    structure: AnyCovarianceRoot

    @cached_property
    def total_weight(self) -> float:
        """`Σw`."""
        return float(np.sum(self.rows.weight))

    @cached_property
    def penalty(self) -> Array:
        """`δ [p, c]`."""
        return self.penalty_of(self.total_weight)

    @cached_property
    def penalty_coordinates(self) -> Array:
        """`Wᵀ∇ψ [r]`, the gradient of the penalty for each unit of weight; zero where it does not depend on weight."""
        less = self.penalty - self.penalty_of(self.total_weight - 1.0)
        return self.structure.whiten(less * self.coefficients)

    def without(self, removed: Array) -> PenalisedLoss:
        """The loss without some rows."""
        return dataclasses.replace(self, rows=self.rows.without(removed))

    def parameters(self, u: Array) -> Array:
        """`B̂ + W u [p, c]`."""
        return self.coefficients + self.structure.from_whitened(u)

    def outputs(self, u: Array, wanted: Array | slice = slice(None)) -> Array:
        """`f [n, c]` of some rows."""
        return self.rows.x[wanted] @ self.parameters(u) + self.rows.offset[wanted]

    def value(self, u: Array) -> float:
        """`L`; infinite where it is not finite."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            f = self.outputs(u)
            losses = np.where(self.rows.weight > 0, self.likelihood.nll(f, self.rows.target), 0.0)
            total = self.rows.weight @ losses + 0.5 * np.sum(self.penalty * self.parameters(u) ** 2)
        return float(total) if np.isfinite(total) else np.inf

    def gradient(self, u: Array, f: Array) -> Array:
        """`∇L [r]` at outputs `f` of `u`."""
        error = self.rows.weight[:, None] * self.likelihood.error(f, self.rows.target)
        return self.structure.whiten(self.rows.x.T @ error + self.penalty * self.parameters(u))

    def hessian_product(self, v: Array, curvature: Callable[[Array], Array]) -> Array:
        """`∇²L v [r]`, `curvature(d) = wΛd` for directions `d [n, c]`."""
        move = self.structure.from_whitened(v)
        return self.structure.whiten(self.rows.x.T @ curvature(self.rows.x @ move) + self.penalty * move)

    def newton_step(self, u: Array) -> Array:
        """`−H⁻¹∇L [r]`."""
        f = np.where(self.rows.weight[:, None] > 0, self.outputs(u), 0.0)  # those of rows left out may overflow
        curvature = self.curvature_at(f)
        return -_solve(lambda v: self.hessian_product(v, curvature), self.gradient(u, f))

    def largest_change(self, step: Array) -> float:
        """The largest change of an output by a step, over rows with a weight."""
        moves = self.rows.x[self.rows.weight > 0] @ self.structure.from_whitened(step)
        return float(np.max(np.abs(moves), initial=0.0))

    def endless_descent(self) -> Descent | None:
        """Where and how the loss falls for ever, what is finite at its limit; none where it has a minimum."""
        start = np.zeros(self.structure.rank)
        found = endless_descent(self, start, self.newton_step(start))
        return None if found is None else followed(self, found)

    def curvature_at(self, f: Array) -> Callable[[Array], Array]:
        """`d ↦ wΛd` at outputs `f`."""
        weight, likelihood = self.rows.weight[:, None], self.likelihood.cached_at(f)
        if f.shape[1] == 1:
            diagonal = weight * likelihood.curvature(f, self.rows.target)[:, :, 0]
            return lambda d: diagonal * d
        return lambda d: weight * likelihood.fisher_matvec(f, self.rows.target, d[..., None])[..., 0]


def minimise(
    loss: PenalisedLoss, start: Array, steps: int, tolerance: float, longest: float = np.inf
) -> tuple[Array, float]:
    """`u [r]` at the minimum, and what remains: 0 there, else the last step relative to the length of `u`, at most 1.

    Ends where a step's Newton decrement has fallen below 1e-9 posterior standard deviations, below `tolerance²` of the
    first one's, as Newton's steps converge quadratically, or to where the loss cannot show its decrease. Where the
    minimum is at infinity, as without any example of a class, the last step is as long as those before. Shortened
    steps of more than `longest` times the gradient, along which the loss has lost its curvature, are not made: the
    gradient's is.
    """
    u, first, decrement = start, None, np.inf
    value, before = loss.value(u), list[Array]()  # `u` before each doubled step
    for _ in range(steps):
        f = np.where(loss.rows.weight[:, None] > 0, loss.outputs(u), 0.0)  # those of rows left out may overflow
        gradient = loss.gradient(u, f)
        curvature = loss.curvature_at(f)
        direction = -_solve(lambda v, weights=curvature: loss.hessian_product(v, weights), gradient)  # type: ignore[misc]
        decrement = float(np.sqrt(max(-gradient @ direction, 0.0)))
        long = np.linalg.norm(direction) > longest * np.linalg.norm(gradient)
        first = (float(np.linalg.norm(gradient)) if long else decrement) if first is None else first
        if decrement <= max(_STATIONARY, tolerance**2 * first, np.sqrt(_EPS * abs(value))):
            moves = [u - each for each in before]
            return u + direction, _remaining_share(u, [direction, *_flat(loss, curvature, moves)])
        times, found = _line_search(loss, u, value, direction, -(decrement**2))
        if times < 1 and long:
            direction = -gradient
            times, found = _line_search(loss, u, value, direction, -float(gradient @ gradient))
        value = found
        if not times:
            break
        before += [u] if times > 1 else []
        u = u + times * direction
    way = float(np.linalg.norm(u))
    return u, min(1.0, decrement / way) if way > 0 else float(decrement > _STATIONARY)


def _flat(loss: PenalisedLoss, curvature: Callable[[Array], Array], moves: list[Array]) -> list[Array]:
    """Those of the moves along which the loss has no curvature left, 1 at the fit with all rows."""
    return [move for move in moves if move @ loss.hessian_product(move, curvature) < AT_BOUND * (move @ move)]


def _remaining_share(u: Array, steps: list[Array]) -> float:
    """Length of the longest step relative to that of `u`, where the iteration ended although that is no small part: the
    minimum is at infinity. 0 elsewhere.

    `steps`: the last one, and the moves since doubled ones along which the curvature has vanished: where a doubled step
    went so far that the loss cannot show further ones, the last one only mends its error.
    """
    longest, way = max(float(np.linalg.norm(step)) for step in steps), float(np.linalg.norm(u))
    ran_away = way > 0 and longest > max(_RUN_AWAY * way, _STATIONARY / _RUN_AWAY)
    return min(1.0, longest / way) if ran_away else 0.0


def _solve(product: Callable[[Array], Array], right: Array) -> Array:
    """`H⁻¹g` by conjugate gradients, as accurately as Newton's steps at that gradient deserve: to `min(0.1, ‖g‖)`."""
    x, residual = np.zeros_like(right), right.copy()
    direction, square = residual.copy(), float(residual @ residual)
    goal = max(1e-24, min(_FORCING**2, square)) * square
    for _ in range(min(_MAX_PRODUCTS, 2 * len(right) + 2)):
        if square <= goal:
            break
        image = product(direction)
        bend = float(direction @ image)
        if not bend > 0:
            break
        x = x + (square / bend) * direction
        residual = residual - (square / bend) * image
        new = float(residual @ residual)
        direction, square = residual + (new / square) * direction, new
    return x if np.any(x) else right


def _line_search(loss: PenalisedLoss, u: Array, value: float, direction: Array, slope: float) -> tuple[float, float]:
    """How many times the step is taken, 0 where none decreases the loss, and the loss there.

    Halved until the loss decreases by a share of what its slope predicts; doubled where it decreases by more than a
    parabola does, as without end where the minimum is at infinity.
    """
    step = 1.0
    for _ in range(_MAX_HALVINGS):
        found = loss.value(u + step * direction)
        if found <= value + _DESCENT * step * slope + _ROUNDING * abs(value):
            more = step == 1 and found < value + _MORE * slope and -slope > _SEEN * abs(value)
            return _doubled(loss, u, direction, found) if more else (step, found)
        step /= 2
    return 0.0, value


def _doubled(loss: PenalisedLoss, u: Array, direction: Array, value: float) -> tuple[float, float]:
    """How many times the step, doubled as often as the loss decreases, and the loss there."""
    step = 1.0
    while (found := loss.value(u + 2 * step * direction)) < value:
        step, value = 2 * step, found
    return step, value


@dataclass(frozen=True)
class LinearRefit:
    """Refits of a linear predictor, `posteriors.capabilities.NewtonRefit`; `load` reads the training rows once.

    `piecewise`: the loss has curvature on some pieces only, and rows without any may reach one without others.
    """

    likelihood: Likelihood
    coefficients: Array
    penalty_of: Callable[[float], Array]
    structure: AnyCovarianceRoot
    load: Callable[[], TrainingRows]
    examples: int
    piecewise: bool = False

    @cached_property
    def loss(self) -> PenalisedLoss:
        """The loss with all rows."""
        return PenalisedLoss(self.load(), self.likelihood, self.coefficients, self.penalty_of, self.structure)

    @cached_property
    def _rest(self) -> PenalisedLoss:
        """The loss in coordinates around its own minimum, which the fit may have missed by a little."""
        u, _ = minimise(self.loss, np.zeros(self.structure.rank), 50, 0.0)
        return dataclasses.replace(self.loss, coefficients=self.loss.parameters(u))

    @property
    def minimum(self) -> Array:
        """Coefficients `[p, c]` at the minimum with all rows."""
        return self._rest.coefficients

    @property
    def concurrent(self) -> bool:
        """Several refits may run at once."""
        return True

    def max_automatic_refits(self) -> int:
        """Number of refits that take no longer than a fit, or half a second of one core."""
        p, c = self.coefficients.shape
        if self.examples * p > _IN_MEMORY:
            return 0
        budget = max(_BUDGET, _FITS * self.examples * (p * c) ** 2)
        return int(budget // (_REFIT_PRODUCTS * (2 * self.examples * p * c + _CALL)))

    def affordable_single_removals(self) -> int:
        """Number of rows that `single_removals` takes in about ten seconds."""
        p, c = self.coefficients.shape
        if self.examples * p > _IN_MEMORY:
            return 0
        return int(_EXAMPLES_BUDGET // (_SINGLE_STEPS * self.examples * c * (2 * p + _CURVE)))

    def refit(self, removed: Array, wanted: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """Outputs `f [n, c]` of the rows `wanted` at the minimum without the rows `removed`; how far it still is.

        Their limits, some of them infinite, where it is at infinity: without the only event of a group.
        """
        if not len(removed):
            return self._rest.outputs(np.zeros(self.structure.rank), wanted), 0.0
        u, remaining = self.coordinates(removed, steps, tolerance)
        if not np.all(np.isfinite(u)):
            return np.full((len(wanted), self.coefficients.shape[1]), np.nan), remaining
        descent = None if remaining == 0 else self._rest.without(removed).endless_descent()
        if descent is None:
            return self._rest.outputs(u, wanted), remaining
        move = self._rest.rows.x[wanted] @ self.structure.from_whitened(descent.direction)
        return limit_of_outputs(self.likelihood, self._rest.outputs(descent.parameters, wanted), move), 0.0

    def coordinates(self, removed: Array, steps: int = 200, tolerance: float = 0.05) -> tuple[Array, float]:
        """`u [r]` of the minimum without the rows `removed`, from the minimum with all rows, at unit dispersion.

        NaN and infinity where the other rows and the penalty do not determine it.
        """
        if not self._is_determined(removed):
            return np.full(self.structure.rank, np.nan), np.inf
        longest, loss = _LONGEST if self.piecewise else np.inf, self._rest.without(removed)
        return minimise(loss, self._first_step(removed), steps, min(tolerance, 1e-3), longest)

    def _is_determined(self, removed: Array) -> bool:
        """Whether the penalty or the other rows determine the outputs of these: no eigenvalue of `ΛV` is 1.

        At the fit, where `structure` is: its eigenvalues are not 1 to rounding anywhere else. Where a loss has
        curvature on some pieces only, `Λ` of these or of the others may be 0: their rank tells it.
        """
        rest = self.loss.without(removed)
        if np.all(rest.penalty > 0):
            return True
        if self.piecewise:
            return _keep_rank(rest)
        _, z, curvature = _pieces(self.loss, removed)
        values, vectors = np.linalg.eigh(curvature)
        root = vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]
        rows = (root.mT @ z).reshape(-1, z.shape[-1])  # Λ^{1/2}Z
        gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
        return bool(1 - np.linalg.eigvalsh(gram)[-1] > AT_BOUND)

    def _first_step(self, removed: Array) -> Array:
        """`(I − Z_MᵀΛ_MZ_M)⁻¹(Z_Mᵀe_M + w_M Wᵀ∇ψ)`, the map's own step; zero where that is not defined."""
        share = float(np.sum(self._rest.rows.weight[removed])) * self._rest.penalty_coordinates
        pieces = _pieces(self._rest, removed)
        few = pieces[0].size < self.structure.rank
        try:
            u = few_rows_coordinates(*pieces, share) if few else group_coordinates([pieces], share)
        except np.linalg.LinAlgError:
            return np.zeros(self.structure.rank)
        loss = self._rest.without(removed)
        return u if loss.value(u) <= loss.value(0 * u) else 0 * u

    def second_step(self, rows: Array) -> tuple[Array, Array]:
        """What a second Newton step would change after the first, for each of some rows left out alone.

        `Δf₂ − Δf₁ [k, c]` of its own outputs, and a bound on it in every direction `√(V_{\\i} ∇LᵀS_{\\i}⁻¹∇L) [k, c]`
        (Cauchy–Schwarz), both with the Hessian of the first step: two products with the data for all rows together.
        """
        parts = np.array_split(rows, max(1, -(-len(rows) * self.loss.rows.offset.size // _CHUNK)))
        found = [self._second(part) for part in parts]
        return np.concatenate([step for step, _ in found]), np.concatenate([bound for _, bound in found])

    def _second(self, rows: Array) -> tuple[Array, Array]:
        u, at = self._first_steps(rows)
        whitened = self._whitened_gradients(u, rows)
        own = at.z @ whitened[..., None]
        step = _solved(at.system.mT, own)
        squared = np.sum(whitened**2, axis=1) + (own.mT @ at.curvature @ step)[:, 0, 0]
        spread = np.linalg.diagonal(_solved(at.system.mT, at.z @ at.z.mT))
        return -step[..., 0], np.sqrt(np.clip(squared[:, None] * spread, 0, None))

    def _first_steps(self, rows: Array) -> tuple[Array, _Removals]:
        """`u [k, r]` of the map's own step, for each row left out alone."""
        error, z, curvature = _pieces(self._rest, rows)
        system = np.eye(error.shape[1]) - curvature @ z @ z.mT
        share = self._rest.rows.weight[rows, None] * self._rest.penalty_coordinates
        error = error[..., None] + curvature @ (z @ share[..., None])
        u = (z.mT @ _solved(system, error))[..., 0] + share  # Zᵀ(I − ΛV)⁻¹(e + Λs) + w Wᵀ∇ψ
        return u, _Removals(z, curvature, system)

    def _whitened_gradients(self, u: Array, rows: Array) -> Array:
        """`∇L [k, r]` at `u [k, r]`, each without its row."""
        gradient = _gradients(self._rest, self._rest.coefficients + self.structure.from_whitened(u), rows)
        return np.stack([self.structure.whiten(each) for each in gradient])

    def single_removals(self, rows: Array, most: int | None = None) -> Array:
        """`u [k, r]` of the minima without each of some rows, NaN where it was not reached.

        Steps with the Hessian of the first one for all rows together, two products with the data each; those that do
        not converge are refitted one by one, at `most` so many, by default what a map affords.
        """
        if not np.all(self._rest.without(rows[:1]).penalty > 0):
            determined = np.array([self._is_determined(rows[k : k + 1]) for k in range(len(rows))], dtype=bool)
        else:
            determined = np.ones(len(rows), dtype=bool)
        u = np.full((len(rows), self.structure.rank), np.nan)
        places = np.flatnonzero(determined)
        for part in np.array_split(places, max(1, -(-len(places) * self.loss.rows.offset.size // _CHUNK))):
            u[part] = self._together(rows[part])
        missing = places[np.isnan(u[places, 0])][: self.max_automatic_refits() if most is None else most]
        for place in missing.tolist():
            found, remaining = self.coordinates(rows[place : place + 1], _NEWTON_STEPS, _ARRIVED)
            u[place] = found if remaining <= _ARRIVED else np.nan
        return u

    def _together(self, rows: Array) -> Array:
        """`u [k, r]` by steps with the Hessian of the first; NaN where these do not converge."""
        if not len(rows):
            return np.zeros((0, self.structure.rank))
        u, at = self._first_steps(rows)
        size, last, left = np.linalg.norm(u, axis=1), np.full(len(rows), np.inf), np.arange(len(rows))
        for _ in range(_CHORD_STEPS):
            step = at.take(left).solve(self._whitened_gradients(u[left], rows[left]))
            length = np.linalg.norm(step, axis=1)
            converges = length < last[left]
            u[left[~converges]] = np.nan
            u[left[converges]] -= step[converges]
            last[left] = length
            left = left[converges & (length > _ARRIVED * size[left])]
            if not len(left):
                return u
        u[left] = np.nan
        return u


def _pieces(loss: PenalisedLoss, removed: Array) -> tuple[Array, Array, Array]:
    """`e`, `Z`, `Λ` of some rows at `u = 0`."""
    rows, f = loss.rows, loss.outputs(np.zeros(loss.structure.rank), removed)
    weight, y = rows.weight[removed], rows.target[removed]
    error = weight[:, None] * loss.likelihood.error(f, y)
    curvature = weight[:, None, None] * loss.likelihood.curvature(f, y)
    return error, loss.structure.covariance_root(rows.x[removed]), curvature


def _keep_rank(rest: PenalisedLoss) -> bool:
    """Whether rows of weight have the rank of all, of the columns of coefficients without a penalty."""
    x = rest.rows.x[:, ~np.all(rest.penalty > 0, axis=1)]
    return bool(np.linalg.matrix_rank(x[rest.rows.weight > 0]) == np.linalg.matrix_rank(x))


@dataclass(frozen=True)
class _Removals:
    """Of some rows: `Z [k, c, r]`, `Λ`, and the `system` `I − ΛV [k, c, c]` of a removal."""

    z: Array
    curvature: Array
    system: Array

    def take(self, places: Array) -> _Removals:
        """Those of some of them."""
        return _Removals(self.z[places], self.curvature[places], self.system[places])

    def solve(self, gradient: Array) -> Array:
        """`(I − ZᵀΛZ)⁻¹g [k, r]`, by the Hessian without each row."""
        own = self.curvature @ (self.z @ gradient[..., None])
        return np.asarray(gradient + (self.z.mT @ _solved(self.system, own))[..., 0])


def _solved(systems: Array, right: Array) -> Array:
    """`system⁻¹ right` for each of some systems `[k, c, c]`; NaN where one is singular, as at the bound."""
    try:
        return np.asarray(np.linalg.solve(systems, right))
    except np.linalg.LinAlgError:
        found = np.full(right.shape, np.nan)
        for k in np.flatnonzero(np.linalg.matrix_rank(systems) == systems.shape[-1]):
            found[k] = np.linalg.solve(systems[k], right[k])
        return found


def _gradients(loss: PenalisedLoss, coefficients: Array, rows: Array) -> Array:
    """Gradients `[k, p, c]` at coefficients `[k, p, c]`, each without its row."""
    data, (k, p, c) = loss.rows, coefficients.shape
    f = (data.x @ np.moveaxis(coefficients, 1, 0).reshape(p, k * c)).reshape(-1, k, c) + data.offset[:, None]
    weight = np.repeat(data.weight[:, None], k, axis=1)
    weight[rows, np.arange(k)] = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        error = loss.likelihood.error(f.reshape(-1, c), np.repeat(data.target, k, axis=0)).reshape(f.shape)
        weighted = np.where(weight[..., None] > 0, weight[..., None] * error, 0.0)
    total = (data.x.T @ weighted.reshape(len(f), k * c)).reshape(p, k, c)
    left = loss.total_weight - data.weight[rows]
    penalties = np.stack([loss.penalty_of(float(each)) for each in left])
    return np.moveaxis(total, 1, 0) + penalties * coefficients
