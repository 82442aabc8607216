"""The fewest examples without which a coefficient changes its sign or its significance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from memorymaps.analysis.answers.local_objective import LocalFit, LocalObjective
from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array
from memorymaps.maps.columns import to_record_batch
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.result_table import SummarisedTable
from memorymaps.posteriors.capabilities import Capabilities, capabilities_of
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.group_refits import held_hyperparameters
from memorymaps.posteriors.origin import Origin

_CHANGES = ("sign", "significance")
_MAX_SHARE = 0.5  # of the examples: no result of the others is one of these data
_RETURNED = 100  # size of a set up to which each of its examples is tried to be put back
_STEPS, _TOLERANCE = 200, 1e-4
_CONVERGED = 1e-2  # relative change of a refit that counts as none

Effects = Callable[[LocalFit, Array], Array]


@dataclass(frozen=True)
class CoefficientState:
    """A coefficient without some examples: `value`, `error` (standard error), `p_value` that it is 0."""

    value: float
    error: float
    p_value: float

    def __str__(self) -> str:
        return f"{self.value:.4g} (s.e. {self.error:.2g}, p = {self.p_value:.2g})"


@dataclass(frozen=True, repr=False)
class SmallestFlip(SummarisedTable):
    """Examples without which a coefficient changes its sign or significance, in the order of their removal.

    Columns: `id`; `target`; `influence` (change of the coefficient when this example alone is removed).

    Attributes
    ----------
    parameter, change : which coefficient, and what was to change: `"sign"` or `"significance"`.
    before, refitted : the coefficient with all examples, and in a refit without these.
    predicted : its value without these by adding up the influences of single examples at the fit, without refits.
    confirmed : whether the refit has the change.
    examples : number of training examples.
    warning : why there is no confirmed set, empty if there is one.
    held : what refits hold at its value although it was chosen or computed from all examples, as in the map's trust.
    """

    parameter: str
    change: str
    before: CoefficientState
    predicted: float
    refitted: CoefficientState
    confirmed: bool
    examples: int
    warning: str = ""
    held: str = ""

    @property
    def share(self) -> float:
        """Share of the training examples."""
        return len(self) / self.examples

    def _text(self) -> str:
        number = f"{len(self):,} of {self.examples:,} examples ({self.share:.2g})" if len(self) else "no examples"
        number = number.replace(f"({self.share:.2g})", f"({self.share:.2%})")
        head = f"{self.parameter}: {self.before} with all examples"
        if not self.confirmed:
            words = [f"{head}; no set found whose removal changes its {self.change}: {self.warning}"]
        else:
            words = [
                head,
                f"{self.refitted} in a refit without {number}; {self.predicted:.4g} was predicted without refits",
                f"its {self.change} changes: confirmed. An upper bound: a smaller set may exist",
                self.table.slice(0, 10).to_pandas().to_string(),
            ]
        return "\n".join(filter(None, [*words, self.held]))


def smallest_flip(m: MemoryMap, parameter: str, change: str = "sign", *, level: float = 0.05) -> SmallestFlip:
    """The fewest examples found without which a coefficient changes its sign, or its significance at `level`.

    Greedy: the examples whose removal moves the coefficient (or its t-statistic) most, half as many at a time as are
    predicted to be needed, with the model refitted in between; or, if they are fewer and suffice, all that are
    predicted at the full fit, as in approximate maximum influence perturbation [Broderick, Giordano & Meager 2020].
    Sets of up to 100 are reduced by examples that can be put back. The result is confirmed by a refit of the whole
    model. It is an upper bound: a set that is smaller still may exist, as the search is not exhaustive.

    Significance is that of Wald's test, `|θ̂_j| > z s.e.`, with Student's t where the dispersion was estimated, which is
    estimated again without the examples. Of penalised models the standard error is the posterior's.

    Parameters
    ----------
    m : map in memory of a linear model or a GLM with one output; only its examples are candidates.
    parameter : name of the coefficient, one of `m.provenance.description.parameters`.
    change : `"sign"`, or `"significance"`: significant to insignificant, or the reverse.
    level : level of the test.

    Raises
    ------
    TypeError
        The model has no named coefficients, or is not refitted by Newton's method; several outputs.
    ValueError
        No coefficient of that name; the map was read from disk.

    Examples
    --------
    >>> import statsmodels.api as sm
    >>> from memorymaps import memory_map
    >>> data = sm.datasets.longley.load_pandas()
    >>> results = sm.OLS(data.endog, sm.add_constant(data.exog)).fit()
    >>> found = smallest_flip(memory_map(results), "GNPDEFL")
    >>> len(found), found.confirmed
    (1, True)
    """
    if change not in _CHANGES:
        raise ValueError(f"change = {change!r}: expected 'sign' or 'significance'")
    if not 0 < level < 1:
        raise ValueError(f"level = {level!r}: expected a number between 0 and 1, as 0.05")
    origin = require_origin(m)
    able = _require_coefficients(m, origin)
    place = _position(origin.posterior.description, parameter)
    objective = LocalObjective.of(m)
    test = CoefficientTest.of(origin, able, objective, place, change, level)
    search = _Search(objective, test, np.intersect1d(m["row"], np.flatnonzero(objective.weight > 0)))
    return _result(m, search, search.smallest(), parameter, able)


def _require_coefficients(m: MemoryMap, origin: Origin) -> Capabilities:
    able = capabilities_of(origin.posterior)
    if m.provenance.outputs != 1:
        raise TypeError(
            f"{m.provenance.outputs} outputs: expected a model with one, whose coefficient has one sign. Coefficients "
            "of several outputs without chosen examples: m.leave_out({'chosen': ids}).coefficients()"
        )
    if able.coefficient_refit is not None:
        raise TypeError(
            f"the coefficients of {m.provenance.description.model} are refitted by its library, and those of an L1 "
            "penalty or a sign constraint end at zero before they change their sign: expected a linear model or a GLM "
            "with a smooth penalty or none. Without chosen examples: m.leave_out({'chosen': ids}).coefficients()"
        )
    if able.coefficients is None or able.from_whitened is None or able.coordinate_refit is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} has no named coefficients that are refitted by Newton's method: "
            "expected a linear model or a GLM. Examples that change a prediction: influence_on(m, inputs)"
        )
    return able


def _position(description: Description, parameter: str) -> int:
    names = list(description.parameters)
    if parameter not in names:
        raise ValueError(f"no coefficient {parameter!r}: expected one of {names[:20]}")
    if parameter in description.aliased:
        raise ValueError(
            f"the coefficient {parameter!r} is a combination of earlier columns and not determined: expected one of "
            f"{[name for name in names if name not in description.aliased][:20]}"
        )
    return names.index(parameter)


@dataclass(frozen=True)
class CoefficientTest:
    """Coefficient `θ̂ + aᵀu` with its test, and the number that is negative once it has changed."""

    value: float
    direction: Array
    degrees: float | None
    change: str
    level: float
    sign: float
    significant: bool

    @classmethod
    def of(
        cls, origin: Origin, able: Capabilities, objective: LocalObjective, place: int, change: str, level: float
    ) -> CoefficientTest:
        """The test of coefficient `place` at the full fit."""
        assert able.coefficients is not None
        assert able.from_whitened is not None
        value = float(able.coefficients()[place, 0])
        direction = able.from_whitened(np.eye(objective.root.shape[-1]))[:, place, 0]
        d = origin.posterior.description
        degrees = d.residual_df if d.dispersion_estimated else None
        test = cls(value, direction, degrees, change, level, float(np.sign(value)), False)
        return cls(value, direction, degrees, change, level, test.sign, test.state(objective.full_fit).p_value < level)

    def state(self, fit: LocalFit) -> CoefficientState:
        """The coefficient at a fit."""
        variance = self.direction @ np.linalg.solve(fit.curvature, self.direction)
        value, left = self.value + self.direction @ fit.u, self._degrees(fit)
        error = float(np.sqrt(variance * self._relative_dispersion(fit, left)))
        return CoefficientState(float(value), error, float(2 * self._tail(abs(value) / error, left)))

    def _degrees(self, fit: LocalFit) -> float | None:
        return None if self.degrees is None else self.degrees - float(np.sum(fit.objective.counts[~fit.kept]))

    def _relative_dispersion(self, fit: LocalFit, left: float | None) -> float:
        return 1.0 if left is None else float(np.sum(fit.pearson_squares()[fit.kept])) / left

    @staticmethod
    def _tail(t: Any, left: Any) -> Any:
        return stats.norm.sf(t) if left is None else stats.t.sf(t, left)

    def _critical(self, left: float | None) -> float:
        tail = self.level / 2
        return float(stats.norm.isf(tail) if left is None else stats.t.isf(tail, left))

    def has_changed(self, fit: LocalFit) -> bool:
        """Whether the coefficient has the other sign, or the other significance."""
        found = self.state(fit)
        return (
            self.sign * found.value < 0 if self.change == "sign" else (found.p_value < self.level) != self.significant
        )

    def distance(self, fit: LocalFit) -> float:
        """How far the coefficient is from the change, in standard errors: negative once it has passed it."""
        found, left = self.state(fit), self._degrees(fit)
        return float(self._distance(found.value, found.error, left))

    def _distance(self, value: Any, error: Any, left: float | None) -> Any:
        t = self.sign * value / error
        if self.change == "sign":
            return t
        return t - self._critical(left) if self.significant else self._critical(left) - t

    def coefficient_effects(self, fit: LocalFit, rows: Array) -> Array:
        """Changes of the coefficient `[k]` when each kept row is left out: one Newton step."""
        return np.asarray(fit.removals(rows).change @ self.direction)

    def with_held_error(self, fit: LocalFit, rows: Array) -> Array:
        """Changes of `distance [k]`, the standard error held at its value."""
        found, left = self.state(fit), self._degrees(fit)
        value = found.value + self.coefficient_effects(fit, rows)
        return np.asarray(self._distance(value, found.error, left) - self.distance(fit))

    def effects(self, fit: LocalFit, rows: Array) -> Array:
        """Changes of `distance [k]` when each kept row is left out, those of the standard error included."""
        along = fit.removals(rows).solved[:, 0] @ self.direction
        value, left = self.state(fit).value + self.coefficient_effects(fit, rows), self._degrees(fit)
        room, curvature = fit.room(rows)
        variance = self.direction @ np.linalg.solve(fit.curvature, self.direction) + along**2 * curvature / room
        if left is None:
            return np.asarray(self._distance(value, np.sqrt(variance), None) - self.distance(fit))
        squares = fit.pearson_squares()
        rest = (np.sum(squares[fit.kept]) - squares[rows] / room) / (left - 1)
        with np.errstate(invalid="ignore"):
            return np.asarray(self._distance(value, np.sqrt(variance * rest), left - 1) - self.distance(fit))


@dataclass(frozen=True)
class _Search:
    objective: LocalObjective
    test: CoefficientTest
    candidates: Array

    def smallest(self) -> tuple[Array, str]:
        """Rows in the order of their removal, and why they do not suffice (empty if they do)."""
        ways = (
            [self.test.with_held_error]
            if self.test.change == "sign"
            else [self.test.effects, self.test.with_held_error]
        )
        found = [search(effects) for effects in ways for search in (self._greedy, self.at_once)]
        rows, why = min(found, key=lambda each: (bool(each[1]), len(each[0])))
        return (rows if why else self._reduced(rows)), why

    def at_once(self, effects: Effects) -> tuple[Array, str]:
        """The rows that are predicted to suffice at the full fit, and why they do not."""
        rows, _ = self._next(self.objective.full_fit, effects)
        fit = self._fit(rows)
        if not len(rows) or fit is None or self.test.distance(fit) >= 0:
            return rows, "those predicted at the full fit do not suffice"
        return self._shortest(rows, 0), ""

    def _greedy(self, effects: Effects) -> tuple[Array, str]:
        removed, most, before = np.zeros(0, dtype=np.intp), int(_MAX_SHARE * len(self.candidates)), 0
        fit: LocalFit | None = self.objective.full_fit
        while fit is not None and self.test.distance(fit) >= 0:
            rows, reaches = self._next(fit, effects)
            rows = rows[: max(1, len(rows) // 2)] if reaches else rows[: max(1, most // 8)]
            if not len(rows):
                return removed, "no example moves it that way"
            if len(removed) + len(rows) > most:
                return removed, f"not with half of the {len(self.candidates):,} examples"
            before, removed = len(removed), np.concatenate([removed, rows])
            fit = self._fit(removed)
        if fit is None:
            return removed, "the other examples do not determine the model"
        return self._shortest(removed, before), ""

    def _next(self, fit: LocalFit, effects: Effects) -> tuple[Array, bool]:
        """Rows by their effect at a fit, as many as are predicted to suffice, and whether they do."""
        rows = self.candidates[fit.kept[self.candidates]]
        effect = np.nan_to_num(effects(fit, rows), nan=0.0)
        order = np.argsort(effect, kind="stable")
        order = order[effect[order] < 0]
        total = np.cumsum(effect[order])
        needed = int(np.searchsorted(-total, self.test.distance(fit))) + 1
        return rows[order[:needed]], needed <= len(order)

    def _shortest(self, removed: Array, before: int) -> Array:
        """The first of the rows that suffice, by bisection: the first `before` do not, all do."""
        low, high = before, len(removed)
        while high - low > 1:
            middle = (low + high) // 2
            fit = self._fit(removed[:middle])
            low, high = (low, middle) if fit is not None and self.test.distance(fit) < 0 else (middle, high)
        return removed[:high]

    def _reduced(self, removed: Array) -> Array:
        """Without those that can be put back, the last ones first."""
        if len(removed) > _RETURNED:
            return removed
        for row in removed[::-1]:
            fewer = removed[removed != row]
            fit = self._fit(fewer) if len(fewer) else None
            if fit is not None and self.test.has_changed(fit):
                removed = fewer
        return removed

    def _fit(self, removed: Array) -> LocalFit | None:
        kept = np.ones(len(self.objective.f), dtype=bool)
        kept[removed] = False
        return self.objective.minimum(kept, np.zeros(self.objective.root.shape[-1]))


def _result(
    m: MemoryMap, search: _Search, found: tuple[Array, str], parameter: str, able: Capabilities
) -> SmallestFlip:
    (rows, why), test, objective = found, search.test, search.objective
    assert able.coordinate_refit is not None
    full = objective.full_fit
    influence = test.coefficient_effects(full, rows) if len(rows) else np.zeros(0)
    kept = np.ones(len(objective.f), dtype=bool)
    kept[rows] = False
    u, remaining = able.coordinate_refit(np.sort(rows), _STEPS, _TOLERANCE) if len(rows) else (full.u, 0.0)
    refitted = LocalFit(objective, kept, u, objective.derivatives(u, kept)[1])
    confirmed = not why and remaining <= _CONVERGED and test.has_changed(refitted)
    if not why and not confirmed:
        why = "a refit without the set found does not confirm it"
    place = {row: k for k, row in enumerate(m["row"].tolist())}
    chosen = np.asarray([place[row] for row in rows.tolist()], dtype=np.intp)
    columns = {"id": m["id"][chosen], "target": m["target"][chosen], "influence": influence}
    return SmallestFlip(
        pa.Table.from_batches([to_record_batch(columns)]), parameter, test.change, test.state(full),
        test.value + float(np.sum(influence)), test.state(refitted), confirmed, len(objective.f), why,
        held_hyperparameters(m.provenance.description),
    )  # fmt: skip
