"""Newton steps that are too long: where one step misses the refit, the example is refitted, or a warning is set.

A map takes one Newton step from the fit. For models that are refitted by Newton's method, the second step is bounded at
the examples where it can be long (largest leverage, largest deviation): examples whose sensitivity or left-out loss it
could change by a fifth are refitted, as many as a fit's own time affords; the others carry `Warn.LONG_STEP`. Where no
second step is known, as of variational posteriors, the leverage takes its place.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings

import numpy as np
import pyarrow as pa

from memorymaps.analysis.early_stop import with_optimum_gap
from memorymaps.analysis.refinement import replace_deviations, require_origin
from memorymaps.analysis.refitting import refit, refit_undetermined
from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.core.perturbation.estimators import perturb
from memorymaps.core.perturbation.local import BatchStatistics
from memorymaps.core.wording import counted
from memorymaps.maps.loo_averages import weights_of
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.premises import newton_step_unreliable, not_stationary
from memorymaps.posteriors.capabilities import NewtonRefit, OwnRefits, Refit, capabilities_of

_MAX_CHECKS = 32  # refits by which sizes are checked where no second step tells
_BY_LEVERAGE = 4  # refits of the largest sizes for one of the largest leverages, whose size a step may hide
_FEW_CHECKS = 4  # the same for networks, whose refits take longer …
_FEW_MARGIN = 1.5  # on what so few refits find
_DOUBTFUL = 0.05  # … from this mean leverage of an output, weighted by sensitivity
_CHECKED = 200  # examples whose second step is bounded
_LONG = 0.2  # relative change of a sensitivity or left-out loss that makes a step too long
_WORTH = 0.1  # relative change from which an example is refitted where that is affordable
_MARKED = 0.3  # relative change that is warned of where the example is not refitted
_SMALL = 0.02  # of the root mean square over the map: changes below are of no consequence
_CONVERGED = 1e-2  # a refit that still moves by more is not taken
_ROUGH = 0.3  # a network's refit that still moves by less tells whether sizes are right
_MARGIN = 1.5  # on the share of the bound that refits reach: 0.21 in 12 refits of the longest, 0.26 in all (digits)
_TELLING = 12  # refits that tell it: of Gaussian processes the longest four reached 0.01 to 0.1, others all of it
_CONTINUED = 0.2  # of the first step, in its direction: a second step from which it is one of many (separation) …
_FLATTENED = 3.0  # … and longer by this than at the first step's curvature (measured: 2.4 to 2.7)
_WRONG_SLOPE, _WRONG_SIZE = 0.15, 0.3  # expected error of a map's sizes from which they are ranks only
_SHORT = 0.05  # leverage, about the share of its way by which a step from a variational posterior is too short
_UNCHECKED = 0.4  # leverage in one direction from which a step that was not checked counts as too long


def refit_unasked(m: MemoryMap, progress: bool | None) -> MemoryMap:
    """The map, with examples refitted where one Newton step may be too long and the posterior affords it.

    Only for a stationary model: elsewhere a refit also moves by what the training left undone.
    """
    m = with_optimum_gap(m)
    able = capabilities_of(require_origin(m).posterior)
    if able.refit is None or not_stationary(m):
        return m
    if able.undetermined is not None:
        return refit_undetermined(m, able.refit, able.undetermined)
    if able.newton is not None:
        return _verified(m, able.newton, able.own_refits or _one_by_one(able.newton))
    if able.own_refits is not None:
        return _refit_short_steps(m, able.own_refits)
    if able.check is not None:
        return _checked(m, able.check)
    many = min(able.refit.max_automatic_refits(), len(m))
    if newton_step_unreliable(m):
        return refit(m, top=many, progress=progress) if many else m
    return _compared(m, able.refit) if many and _is_doubtful(m) else m


def _is_doubtful(m: MemoryMap) -> bool:
    """Whether outputs are nonlinear in the parameters and the examples with large sizes have much leverage."""
    s = np.nan_to_num(m["sensitivity"], posinf=0.0)
    total = float(np.sum(s))
    mean = float(s @ m["leverage"]) / (total * m.provenance.outputs) if total > 0 else 0.0
    return m.provenance.description.nonlinear and mean >= _DOUBTFUL


def _one_by_one(source: NewtonRefit) -> OwnRefits:
    """The refits of a `NewtonRefit`, each on its own; those that have no end are NaN."""

    def deviations(rows: Array) -> Array:
        found = [_own_deviation(source, row) for row in rows]
        outputs = next((len(each) for each in found if each is not None), 1)
        return np.stack([np.full(outputs, np.nan) if each is None else each for each in found])

    return OwnRefits(deviations, source.max_automatic_refits)


def _verified(m: MemoryMap, source: NewtonRefit, refits: OwnRefits) -> MemoryMap:
    """Steps checked at the likeliest examples; the long ones refitted, as many as are affordable, or marked.

    The bound is conservative: what the refits find of it is assumed of those that remain, with a margin.
    """
    affordable = refits.affordable()
    if not affordable:
        return _marked(m, np.flatnonzero(m["leverage"] >= _UNCHECKED))
    places = _candidates(m, max(_CHECKED, affordable))
    if not len(places):
        return m
    checked = _CheckedSteps.of(m, source, places)
    severity = checked.severity(1.0, _WORTH)
    long = [k for k in np.argsort(-severity, kind="stable").tolist() if severity[k] > 0]
    done = _refitted(refits, checked.rows, long[:affordable])
    if len(long) > affordable:
        severity = checked.severity(checked.share_reached(done), _MARKED)
    return _replaced(m, checked.places, done, [k for k in long[affordable:] if severity[k] > 0])


def _refit_short_steps(m: MemoryMap, refits: OwnRefits) -> MemoryMap:
    """Examples of whose deviation leverage says that one step is too short are refitted, or marked.

    Those first that have the largest product of leverage and sensitivity: about what the step misses.
    """
    s, h = np.nan_to_num(m["sensitivity"], posinf=0.0), m["leverage"] / max(1, m.provenance.outputs)
    missed = np.where((weights_of(m) > 0) & (h >= _SHORT) & (s > _SMALL * _root_mean_square(s)), s * h, 0.0)
    order = [k for k in np.argsort(-missed, kind="stable").tolist() if missed[k] > 0]
    affordable = refits.affordable()
    done = _refitted(refits, m["row"], order[:affordable])
    return _replaced(m, np.arange(len(m)), done, [k for k in order[affordable:] if h[k] >= _MARKED])


def _refitted(refits: OwnRefits, rows: Array, chosen: list[int]) -> dict[int, Array | None]:
    """Deviations `[c]` of the `chosen` of some rows, `None` where the refit has not reached its end."""
    if not chosen:
        return {}
    found = refits.deviations(rows[chosen])
    return {k: None if np.isnan(each).any() else each for k, each in zip(chosen, found, strict=True)}


def _candidates(m: MemoryMap, number: int) -> Array:
    """Positions of up to that many examples with the largest leverage, deviation, sensitivity and left-out loss."""
    if number >= len(m):
        return np.flatnonzero((m["warning"] & int(Warn.BOUND)) == 0)
    names = ("leverage", "output_sensitivity", "sensitivity", "loo_loss")
    ranked = [np.argsort(-np.nan_to_num(m[name], nan=np.inf), kind="stable") for name in names]
    found = np.unique(np.concatenate([order[: number // len(names)] for order in ranked]))
    return found[(m["warning"][found] & int(Warn.BOUND)) == 0]  # those at the bound have no refit


def _checked(m: MemoryMap, source: Refit) -> MemoryMap:
    """The largest sizes, and those that fix an active set that changes, replaced by refits; a caution where the largest
    differ so much that the sizes of the others cannot be trusted.
    """
    s, other = np.nan_to_num(m["sensitivity"], nan=np.inf), (m["warning"] & int(Warn.ACTIVE_SET)) != 0
    order, affordable = np.argsort(-s, kind="stable"), source.max_automatic_refits()
    if not affordable and m.provenance.description.likelihood != "Gaussian":
        return _marked(m, np.flatnonzero(m["leverage"] >= _UNCHECKED))
    many = min(affordable, _MAX_CHECKS)
    largest = np.union1d(order[:many], np.argsort(-m["leverage"], kind="stable")[: many // _BY_LEVERAGE])
    places = np.union1d(largest[s[largest] > 0], order[other[order]][:affordable])
    if not len(places):
        return m
    found = [_own_deviation(source, row) for row in m["row"][places]]
    refitted = _replaced(m, places, dict(enumerate(found)), [])
    share = _share_of_rest(refitted, places[~other[places]])
    return _with_caution(refitted, _verdict(m, refitted, places[~other[places]], share))


def _compared(m: MemoryMap, source: Refit) -> MemoryMap:
    """The map, with a caution where rough refits of its largest sizes are others. None is replaced."""
    order = np.argsort(-np.nan_to_num(m["sensitivity"], nan=np.inf), kind="stable")
    places = order[: min(source.max_automatic_refits(), _FEW_CHECKS)]
    found = {k: _own_deviation(source, row, _ROUGH) for k, row in enumerate(m["row"][places])}
    known = [k for k, deviation in found.items() if deviation is not None]
    if not known:
        return m
    refitted = _replaced(m, places[known], {j: found[k] for j, k in enumerate(known)}, [])
    return _with_caution(m, _verdict(m, refitted, places[known], _FEW_MARGIN))


def _with_caution(m: MemoryMap, caution: str) -> MemoryMap:
    if not caution:
        return m
    description = m.provenance.description
    description = dataclasses.replace(description, cautions=(*description.cautions, caution))
    return dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, description=description))


def _verdict(m: MemoryMap, refitted: MemoryMap, places: Array, share: float) -> str:
    """What the refits at `places` say of sizes that make up a `share` of the map; empty where these are right or matter
    little.
    """
    s, truth = m["sensitivity"][places], refitted["sensitivity"][places]
    known = np.isfinite(s) & np.isfinite(truth)
    total = float(np.linalg.norm(truth[known]))
    if not total > 0:
        return ""
    slope = float(s[known] @ truth[known]) / total**2
    error = float(np.linalg.norm(s[known] - truth[known])) / total
    if abs(slope - 1) * share**2 <= _WRONG_SLOPE and error * share <= _WRONG_SIZE:
        return ""
    return (
        f"{counted(int(known.sum()), 'refit')} differing from the estimates (slope {slope:.2f}, relative error "
        f"{error:.2f}): read the sizes of the other examples as ranks, or refit(m, top=…)"
    )


def _share_of_rest(refitted: MemoryMap, places: Array) -> float:
    """Share of the examples that are not at `places` in the norm of the sensitivities."""
    s = np.nan_to_num(refitted["sensitivity"], posinf=0.0)
    total = float(np.linalg.norm(s))
    return float(np.linalg.norm(np.delete(s, places))) / total if total > 0 else 0.0


@dataclass(frozen=True)
class _CheckedSteps:
    """Examples whose second step is bounded: their `places` in the map, training rows, deviations, and bounds."""

    places: Array
    rows: Array
    at: Any
    deviation: Array
    bound: Array
    scales: tuple[float, float]

    @classmethod
    def of(cls, m: MemoryMap, source: NewtonRefit, places: Array) -> _CheckedSteps:
        origin, rows = require_origin(m), m["row"][places]
        at: Any = origin.batch_statistics(origin.examples.take(rows))
        deviation = perturb(at, m.provenance.estimator).deviation
        scales = (_root_mean_square(m["sensitivity"]), _root_mean_square(m["loo_loss"]))
        step, bound = source.second_step(rows)
        along, size = np.sum(step * deviation, axis=1), np.sum(deviation**2, axis=1)
        factor = np.where(along > _CONTINUED * size, _FLATTENED, 1.0)
        return cls(places, rows, at, deviation, factor * np.linalg.norm(bound, axis=1), scales)

    def severity(self, share: float, limit: float) -> Array:
        """How much a second step of that `share` of the bound would change, `[k]`, relative to the map's root mean
        squares; 0 where that is less than the relative `limit`, infinite where the first step is undefined.
        """
        way = np.linalg.norm(self.deviation, axis=1)
        stretch = np.divide(share * self.bound, way, out=np.zeros(len(way)), where=way > 0)[:, None]
        ends = [self.deviation * (1 + stretch), self.deviation * np.clip(1 - stretch, 0, None)]
        total = np.zeros(len(way))
        for score, scale in zip((_sensitivity, _loss), self.scales, strict=True):
            value = score(self.at, self.deviation)
            change = np.max([np.abs(score(self.at, end) - value) for end in ends], axis=0)
            total += np.where((change > limit * np.abs(value)) & (change > _SMALL * scale), change / scale, 0.0)
        return np.where(np.isfinite(self.deviation).all(axis=1), np.nan_to_num(total, nan=np.inf), np.inf)

    def share_reached(self, done: dict[int, Array | None]) -> float:
        """Largest share of the bound that refits reach, with a margin; 1 where too few were made to tell."""
        if len(done) < _TELLING:
            return 1.0
        return min(1.0, _MARGIN * max(self.reached(k, found) for k, found in done.items()))

    def reached(self, k: int, found: Array | None) -> float:
        """Share of the bound by which a refit differs from the first step; 1 where that is not known."""
        if found is None or not self.bound[k] > 0:
            return 1.0
        share = float(np.linalg.norm(found - self.deviation[k]) / self.bound[k])
        return share if np.isfinite(share) else 1.0


def _own_deviation(source: Refit, row: int, converged: float = _CONVERGED) -> Array | None:
    """`Δf [c]` of a row by a refit; none if that has not converged."""
    own = np.asarray([row])
    try:
        with catch_warnings(action="ignore"):  # the user has seen those of the fit; that of no convergence is `moving`
            f, moving = source.refit(own, own)
    except ValueError:  # the only example of its class: no refit exists
        return None
    if not moving <= converged or np.isnan(f).any():  # infinite outputs are limits
        return None
    return np.asarray((f - source.refit(own[:0], own)[0])[0])


def _sensitivity(at: BatchStatistics, deviation: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sum(np.abs(at.likelihood.mean(at.f + deviation) - at.likelihood.mean(at.f)), axis=1)


def _loss(at: BatchStatistics, deviation: Array) -> Array:
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return at.likelihood.nll(at.f + deviation, at.y)


def _root_mean_square(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(finite**2))) if len(finite) else 1.0


def _replaced(m: MemoryMap, places: Array, done: dict[int, Array | None], rest: list[int]) -> MemoryMap:
    """The map with the refits that are `done`; marked are those that have not converged, and the `rest`."""
    failed = [k for k, found in done.items() if found is None]
    marked = _marked(m, places[np.asarray([*failed, *rest], dtype=int)])
    good = sorted(k for k, found in done.items() if found is not None)
    if not good:
        return marked
    deviation, none = np.stack([np.asarray(done[k]) for k in good]), np.zeros(len(good), np.int8)
    note = (
        f"{counted(len(good), 'example')} at which one Newton step may be too long, refitted without each, column "
        "'refitted'"
    )
    return replace_deviations(marked, places[good], deviation, none, "refitted", note)


def _marked(m: MemoryMap, places: Array) -> MemoryMap:
    """The map with `Warn.LONG_STEP` at some of its examples."""
    if not len(places):
        return m
    codes = np.array(m["warning"])
    undefined = codes[places] & int(Warn.BOUND)
    codes[places] |= np.where(undefined, 0, int(Warn.LONG_STEP)).astype(codes.dtype)
    column = m.table.column_names.index("warning")
    return dataclasses.replace(m, table=m.table.set_column(column, "warning", pa.array(codes)))
