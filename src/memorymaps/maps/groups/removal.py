"""How outputs and parameters change without each group: by refits where one step may be too long, else by one step."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorymaps.core.arrays import Array, Batch
from memorymaps.core.perturbation.deviation import AT_BOUND
from memorymaps.core.perturbation.group_removal import GroupSystem
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.capabilities import GroupRemoval, capabilities_of
from memorymaps.posteriors.group_refits import refit_coordinates, refit_groups, removal_capabilities
from memorymaps.posteriors.origin import Origin

_CHUNK = 256  # members processed at once
_MAX_RESIDUAL = 1e-2  # largest relative residual of iterative solves: two digits
_OWN_CURVATURE = (Approximation.EXACT, Approximation.ONE_STEP, Approximation.EXACT_CURVATURE)


@dataclass(frozen=True)
class GroupChanges:
    """What removing each of `g` groups changes.

    Attributes
    ----------
    deviation_of : `(first row, batch) → Δf [n, c, g]` of a batch of training examples.
    coordinates : `u [g, r]`, changes of the parameters in the coordinates of `covariance_root`; None: not known.
    coefficients : `[g, p, c]`, those of refits without each group; None: `coordinates` tells them, or nothing does.
    log_integral : `[g]`, what the joint log score adds to the members' log-likelihood; None: not known.
    warning : of each group, where it was refitted; None: one step was taken.
    """

    deviation_of: Callable[[int, Batch], Array]
    coordinates: Array | None = None
    log_integral: Array | None = None
    warning: tuple[str, ...] | None = None
    coefficients: Array | None = None


def remove_groups(origin: Origin, members: list[Array]) -> GroupChanges:
    """The changes without each group of training rows, by the most accurate means that is affordable."""
    root, affordable = removal_capabilities(origin).covariance_root, refit_coordinates(origin, members)
    if affordable is not None and root is not None:
        return _with_coordinates(origin, root, members, affordable.coordinates, affordable.warning)
    refits = refit_groups(origin, members)
    if refits is not None:
        return GroupChanges(
            lambda start, b: refits.deviation[start : start + len(b)], warning=refits.warning,
            coefficients=refits.coefficients,
        )  # fmt: skip
    stated = stated_removals(origin, members)
    if stated is not None:
        deviation = np.stack([each.deviation for each in stated], axis=-1)
        scores = _scores(origin, [each.log_integral for each in stated])
        return GroupChanges(lambda start, b: deviation[start : start + len(b)], log_integral=scores)
    if root is not None:
        return _with_coordinates(origin, root, members, None, None)
    return GroupChanges(_by_iteration(origin, members))


def _with_coordinates(
    origin: Origin, root: Callable[[Any], Array], members: list[Array], u: Array | None, warning: tuple[str, ...] | None
) -> GroupChanges:
    """Changes `Z u` with `u [g, r]` of refits, or, for None, of one step."""
    known = [None] * len(members) if u is None else list(u)
    found = [_solved(origin, root, rows, each) for rows, each in zip(members, known, strict=True)]
    coordinates = np.stack([each for each, _ in found])
    deviation = functools.partial(_linear_deviation, root, coordinates.T)
    return GroupChanges(deviation, coordinates, _scores(origin, [each for _, each in found]), warning)


def _scores(origin: Origin, log_integrals: list[float]) -> Array | None:
    """The log integrals `[g]` of models whose joint log scores they are."""
    exact = origin.posterior.description.approximation in _OWN_CURVATURE
    known = exact and origin.posterior.likelihood.is_density and capabilities_of(origin.posterior).penalty is None
    return np.asarray(log_integrals) if known else None


def stated_removals(origin: Origin, members: list[Array]) -> list[GroupRemoval] | None:
    """The removals of groups of training rows as the posterior computes them; None where it does not."""
    remove = capabilities_of(origin.posterior).group_removal
    return None if remove is None else [remove(np.sort(rows)) for rows in members]


def removal_coordinates(origin: Origin, root: Callable[[Any], Array], rows: Array) -> Array:
    """`u [r]` of removing training rows together in one step, `Δf = Z u` at any input; `root`: inputs → `Z [n, c, r]`.

    NaN where the other examples do not determine the parameters.
    """
    return _solved(origin, root, rows, None)[0]


def _linear_deviation(root: Callable[[Any], Array], u: Array, start: int, batch: Batch) -> Array:
    return np.tensordot(root(batch.inputs), u, axes=(-1, 0))


def _solved(origin: Origin, root: Callable[[Any], Array], rows: Array, u: Array | None) -> tuple[Array, float]:
    """`u [r]` and the log integral; NaN where the other examples do not determine the parameters."""
    system = _group_system(origin, root, rows)
    if not _is_positive_definite(system.matrix):
        return (np.full(system.rank, np.nan) if u is None else u), np.nan
    found = system.coordinates(_share_of_penalty(origin, rows)) if u is None else u
    return found, float(system.log_integral(found))


def _is_positive_definite(matrix: Array) -> bool:
    """Whether all pivots of the Cholesky decomposition are away from zero, in units of the full fit's curvature."""
    try:
        pivots = np.diagonal(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        return False
    return bool(np.min(pivots, initial=1.0) ** 2 >= AT_BOUND)


def _share_of_penalty(origin: Origin, rows: Array) -> Array | float:
    penalty = capabilities_of(origin.posterior).penalty
    if penalty is None:
        return 0.0
    weight = origin.examples.take(np.sort(rows)).weight
    return float(len(rows) if weight is None else np.sum(weight)) * penalty.coordinates


def _group_system(origin: Origin, root: Callable[[Any], Array], rows: Array) -> GroupSystem:
    members = np.sort(rows)
    chunks = (origin.examples.take(members[start : start + _CHUNK]) for start in range(0, len(members), _CHUNK))
    pieces = (_member_terms(origin, root, batch) for batch in chunks)
    first = next(pieces)
    c, r = first[1].shape[1:]
    if len(members) * c < r:
        return GroupSystem.of_few_rows(*map(np.concatenate, zip(first, *pieces, strict=True)))
    return GroupSystem.of(itertools.chain([first], pieces))


def _member_terms(origin: Origin, root: Callable[[Any], Array], batch: Batch) -> tuple[Array, Array, Array]:
    """`e [m, c]`, `Z [m, c, r]` and `Λ [m, c, c]`."""
    stats: Any = origin.batch_statistics(batch)
    return stats.error, root(batch.inputs), stats.curvature


def _by_iteration(origin: Origin, members: list[Array]) -> Callable[[int, Batch], Array]:
    """One step with the exact curvature, by iterative solves."""
    influence = capabilities_of(origin.posterior).removal
    if influence is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} offers no group removal: its capabilities have neither "
            "covariance_root nor removal"
        )
    deltas, residual = influence.parameter_change([np.sort(rows) for rows in members])
    if np.any(residual > _MAX_RESIDUAL):
        raise ValueError(f"group removal has a relative residual of {residual.max():.1g}: use smaller groups")
    return lambda start, batch: influence.output_change(batch.inputs, deltas)
