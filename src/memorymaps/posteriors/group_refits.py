"""Removal of groups by refits, where one linear step may be too long, and what to distrust of a removal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.wording import counted
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import Capabilities, Refit, capabilities_of
from memorymaps.posteriors.contract import Description
from memorymaps.posteriors.origin import Origin

_MAX_CLONES = 20  # groups for which estimators are fitted from scratch
_STEPS, _TOLERANCE = 2000, 1e-4
_NO_END = (
    "outputs have no end without these (the last steps of the refit are {:.1%} of its way), as where no other example "
    "has a class: read sensitivities and the others' losses, not the members' losses or coefficients"
)
_UNDETERMINED = "the other examples do not determine the model"
_CONVERGED = 1e-2  # relative change of a refit's outputs that counts as none
_TRAINED = 0.1  # posterior standard deviations from the optimum up to which a network's refit is that of a removal
_APPROXIMATE = (Approximation.APPROXIMATE_CURVATURE, Approximation.CHECKED_CURVATURE)
_LONG_STEP = 0.18  # effective parameters per member from which one step of a nonlinear model may be a fifth too long
_CHANGED_BY_GROUPS = (  # held, though refits without a group would change it (benchmarks/fidelity/held.py)
    (
        "class weights",
        "not to be used",
        "class weights of refits follow the group's classes: sizes of 0.01 to 2 times theirs measured",
    ),
    (
        "gamma='scale'",
        "ranks only",
        "gamma of refits follows the group's inputs: sizes of 0.5 to 1 times theirs measured",
    ),
    (
        "residuals' scale",
        "ranks only",
        "the scale of refits follows the group's residuals: sizes of 0.4 to 1.3 times theirs measured",
    ),
)


def removal_capabilities(origin: Origin) -> Capabilities:
    """The posterior's capabilities; of a network roots of its curvature if that is exact, else systems with it."""
    able = capabilities_of(origin.posterior)
    if able.removal is None or able.covariance_root is None:
        return able
    approximate = origin.posterior.description.approximation in _APPROXIMATE
    if approximate:
        return dataclasses.replace(able, covariance_root=None)
    return dataclasses.replace(able, cross_covariance=None)


@dataclass(frozen=True)
class GroupRefits:
    """Deviations `[n, c, groups]` of all training examples by refits, NaN where one failed, and `warning [groups]`.

    `coefficients [groups, p, c]`: those of the refits, where they are told.
    """

    deviation: Array
    warning: tuple[str, ...]
    coefficients: Array | None = None


@dataclass(frozen=True)
class CoordinateRefits:
    """Changes of the whitened parameters by refits, `u [groups, r]`, NaN where one failed, and `warning [groups]`."""

    coordinates: Array
    warning: tuple[str, ...]


def refit_coordinates(origin: Origin, members: list[Array]) -> CoordinateRefits | None:
    """Refits without each group in the parameters' coordinates; `None` where `refit_groups` says so, or none exist."""
    capabilities = capabilities_of(origin.posterior)
    source, refit = capabilities.group_refit, capabilities.coordinate_refit
    if source is None or refit is None or not _is_affordable(source, origin, members):
        return None
    found = [refit(np.sort(rows), _STEPS, _TOLERANCE) for rows in members]
    return CoordinateRefits(np.stack([u for u, _ in found]), tuple(_refit_warning(*each) for each in found))


def _refit_warning(values: Array, remaining: float) -> str:
    if not np.all(np.isfinite(values)):
        return _UNDETERMINED
    return "" if remaining <= _CONVERGED else _NO_END.format(remaining)


def _is_affordable(source: Refit, origin: Origin, members: list[Array]) -> bool:
    """Whether groups are refitted. Single examples are removed from networks by one step, as in the map."""
    return len(members) <= _most_groups(source, origin) and (source.concurrent or max(map(len, members)) > 1)


def _most_groups(source: Refit, origin: Origin) -> float:
    """Number of groups that are refitted: any by Newton's method, few by clones, of networks as many as they say.

    Of networks that stand off their optimum none: their refit would be the rest of the training.
    """
    if source.concurrent:
        return math.inf if source.max_automatic_refits() else _MAX_CLONES
    distance = origin.posterior.description.distance
    return source.max_automatic_refits() if distance is not None and distance <= _TRAINED else 0


def refit_groups(origin: Origin, members: list[Array]) -> GroupRefits | None:
    """Refits without each group; `None` where the posterior's linear step is exact, or refits are not affordable."""
    able = capabilities_of(origin.posterior)
    if able.group_refit is None or not _is_affordable(able.group_refit, origin, members):
        return None
    everyone = np.arange(len(origin.examples))
    rest, _, own = _fitted_without(able, everyone[:0], everyone)
    found = [_refit(able, rows, everyone, rest, own) for rows in members]
    coefficients = None if own is None else np.stack([each for _, _, each in found])
    return GroupRefits(np.stack([each for each, _, _ in found], axis=-1), tuple(w for _, w, _ in found), coefficients)


def _refit(able: Capabilities, rows: Array, everyone: Array, rest: Array, own: Array | None) -> tuple[Array, str, Any]:
    none = np.full(rest.shape, np.nan), None if own is None else np.full(own.shape, np.nan)
    try:
        f, moving, coefficients = _fitted_without(able, np.sort(rows), everyone)
    except ValueError as error:
        return none[0], f"cannot be refitted: {error}", none[1]
    if not np.all(np.isfinite(f)):
        why = "cannot be refitted: outputs are not finite" if np.isfinite(moving) else _UNDETERMINED
        return none[0], why, none[1]
    warning = "" if moving <= _CONVERGED else f"the refit has not converged in {_STEPS} steps"
    return f - rest, warning, coefficients


def _fitted_without(able: Capabilities, rows: Array, wanted: Array) -> tuple[Array, float, Array | None]:
    """Outputs after a refit, their relative change, and the coefficients where they are told."""
    if able.coefficient_refit is not None:
        return able.coefficient_refit(rows, wanted, _STEPS, _TOLERANCE)
    assert able.group_refit is not None
    return *able.group_refit.refit(rows, wanted, _STEPS, _TOLERANCE), None


def step_warnings(origin: Origin, columns: dict[str, Array]) -> list[str]:
    """What to distrust of groups that were removed by one linear step, from the columns of `LeaveOut`."""
    description, long_step = origin.posterior.description, _long_step_warning(origin, columns)
    each = np.asarray(columns["leverage"]) / np.asarray(columns["size"])
    finite = np.isfinite(columns["sensitivity"]).tolist()
    return [_step_warning(description, h, known, long_step) for h, known in zip(each, finite, strict=True)]


def _long_step_warning(origin: Origin, columns: dict[str, Array]) -> str:
    source = capabilities_of(origin.posterior).group_refit
    most = 0 if source is None else _most_groups(source, origin)
    if not most or np.max(columns["size"], initial=0) < 2:
        return "one Newton step, which may be too long: read as a rank"
    limit = f" of at most {counted(int(most), 'group')}" if most < math.inf else ""
    return f"one Newton step, which may be too long: m.leave_out(groups) refits without each{limit}"


def _step_warning(description: Any, leverage: float, finite: bool, long_step: str) -> str:
    if not finite:
        return _UNDETERMINED
    if description.held_fixed:
        return f"{description.held_fixed} held fixed: read as a rank"
    if description.nonlinear and leverage >= _LONG_STEP:
        return long_step
    return ""


def held_hyperparameters(description: Description) -> str:
    """What removals hold although it was chosen or computed from all examples, in words; empty: nothing."""
    return description.hyperparameters_held and f"held as in the fit: {description.hyperparameters_held}"


def held_scale(description: Description) -> str:
    """That losses without examples hold a scale that was estimated from all; empty: they do not."""
    estimated = description.dispersion_estimated and description.likelihood == "Gaussian"
    return "the noise scale is held at its value" if estimated else ""


def changed_by_groups(description: Description) -> Iterator[tuple[str, str]]:
    """What of it refits without a group would change: how far groups can be trusted (a `Level`), and why."""
    for held, level, why in _CHANGED_BY_GROUPS:
        if held in description.hyperparameters_held:
            yield level, why


def held_in_words(description: Description, groups: bool = False) -> str:
    """What predictions and losses without examples, or groups, hold, as the map's trust says it; empty: nothing."""
    changed = _changed_in_words(description) if groups else ""
    return "; ".join(filter(None, [held_hyperparameters(description), held_scale(description), changed]))


def held_by_coefficients(description: Description) -> str:
    """What coefficients without groups hold: not the noise scale, which their standard errors estimate again."""
    return "; ".join(filter(None, [held_hyperparameters(description), _changed_in_words(description)]))


def _changed_in_words(description: Description) -> str:
    return "; ".join(f"{level}, as {why}" for level, why in changed_by_groups(description))
