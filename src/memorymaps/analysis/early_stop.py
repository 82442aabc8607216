"""What it changes that a fit stopped early: the map's sizes against those at the optimum of the same objective.

A distance from the optimum does not tell how wrong sizes are: at 0.5 posterior standard deviations sensitivities of one
logistic regression were off by 24 %, of another by 33 %. Where the remaining Newton steps are affordable they are made
on a copy, and the two maps are compared.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.estimators import loo_loss, perturb
from memorymaps.data.examples import DataError
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.premises import stands_off_optimum
from memorymaps.posteriors.origin import Origin
from memorymaps.posteriors.polish import polished

_BUDGET = 2 * 10**9  # multiplications of the remaining steps: half a second of one core
_PASSES = 10  # over the data, to the optimum
_UNNAMED = 100  # parameters of an output where the description does not name them
_TOP = 25  # largest sizes that are compared


def with_optimum_gap(m: MemoryMap) -> MemoryMap:
    """The map with `Description.optimum_gap` where its fit stands off an optimum that is affordable to reach."""
    d, origin = m.provenance.description, m.origin
    size = (len(d.parameters) or _UNNAMED) * m.provenance.outputs
    if origin is None or not (d.polishable and stands_off_optimum(m)) or _PASSES * m.provenance.n * size**2 > _BUDGET:
        return m
    try:
        at_optimum = Origin(polished(origin.posterior, origin.examples), origin.examples)
    except DataError:  # Newton's method does not reach it either: the distance alone decides
        return m
    sizes, losses = _scores(m, at_optimum)
    top = _largest(m["sensitivity"], sizes)
    gap = (*line_through_origin(m["sensitivity"][top], sizes[top]), *line_through_origin(m["loo_loss"], losses))
    note = (
        f"The fit stopped {d.distance:.2g} posterior standard deviations (each) before its optimum, where the largest "
        f"sizes differ by {gap[1]:.0%} and left-out losses by {gap[3]:.0%} (measured on a copy)."
    )
    description = dataclasses.replace(d, optimum_gap=gap, notes=(*d.notes, note))
    return dataclasses.replace(m, provenance=dataclasses.replace(m.provenance, description=description))


def _scores(m: MemoryMap, origin: Origin) -> tuple[Array, Array]:
    """Sensitivities and left-out losses `[n]` of the map's examples by another posterior."""
    at = origin.batch_statistics(origin.examples.take(m["row"]))
    effect = perturb(at, m.provenance.estimator)
    with np.errstate(over="ignore", invalid="ignore"):
        return effect.sensitivity, loo_loss(at, effect.deviation)


def _largest(*scores: Array) -> Array:
    """Positions of the examples with the largest scores, by either of them."""
    return np.unique(np.concatenate([np.argsort(-np.nan_to_num(each))[:_TOP] for each in scores]))


def line_through_origin(estimate: Array, truth: Array) -> tuple[float, float]:
    """Slope of `estimate [n]` on `truth [n]` through the origin, and its relative error; of the finite ones.

    Examples
    --------
    >>> line_through_origin(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    (2.0, 1.0)
    """
    known = np.isfinite(estimate) & np.isfinite(truth)
    size = float(np.linalg.norm(truth[known]))
    if not size > 0:
        return 1.0, float(np.linalg.norm(estimate[known]))
    slope = float(estimate[known] @ truth[known]) / size**2
    return slope, float(np.linalg.norm(estimate[known] - truth[known])) / size
