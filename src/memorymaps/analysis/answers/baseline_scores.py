"""Scores of the literature to compare a map's columns with: EL2N, GraNd, and the area under the margin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from memorymaps.analysis.refinement import require_origin
from memorymaps.core.arrays import Array
from memorymaps.maps.loo_averages import is_binary, is_classes
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.trajectory import Trajectory
from memorymaps.posteriors.capabilities import capabilities_of

if TYPE_CHECKING:
    import pandas as pd


def el2n(m: MemoryMap) -> Array:
    """`‖p(x_i) − onehot(y_i)‖₂`: `[n]`, the error of a classifier [Paul, Ganguli & Dziugaite 2021].

    The map's `error`; with one output `√2 |p − y|`. The paper takes it early in training and averages over seeds:
    `run.at(step)` of a Tracker's run, and the mean over runs.

    Raises
    ------
    ValueError
        The map is not of classes.
    """
    _require_classes(m, "el2n")
    return m["error"] * (np.sqrt(2) if m.provenance.outputs == 1 else 1.0)


def grand(m: MemoryMap) -> Array:
    """`‖∇_θ ℓ_i‖₂ = ‖J_iᵀe_i‖₂`: `[n]`, the norm of each example's gradient [Paul, Ganguli & Dziugaite 2021].

    Weights are included. Linear models: `‖x_i‖ ‖e_i‖`; networks: one reverse pass for each batch, over the parameters
    that the posterior covers.

    Raises
    ------
    ValueError
        The map was read from disk.
    TypeError
        The model has no parameters with a gradient (trees, Gaussian processes).
    """
    origin = require_origin(m)
    norm = capabilities_of(origin.posterior).gradient_norm
    if norm is None:
        raise TypeError(
            f"{type(origin.posterior).__name__} has no gradient of parameters: expected a linear model or a network. "
            "m['error'] is defined for all models"
        )
    origin.check_unchanged()
    found = []
    for batch in origin.examples:
        stats: Any = origin.batch_statistics(batch)
        found.append(norm(batch.inputs, stats.error))
    return np.concatenate(found)[m["row"]]


@overload
def area_under_margin(source: MemoryMap) -> Array: ...
@overload
def area_under_margin(source: Trajectory) -> pd.Series: ...
def area_under_margin(source: MemoryMap | Trajectory) -> Any:
    """Margin of the given label, `f_y − max_{k ≠ y} f_k`, averaged over training: AUM [Pleiss et al. 2020].

    Of a Tracker's run over its recorded steps (a series, index: id); of a map of boosted trees over the iterations,
    `[n]`. With one output the margin is `±f`. Small, negative: the other examples speak against the label.

    Raises
    ------
    TypeError
        A map whose model is not fitted in stages.
    ValueError
        The maps are not of classes, have no outputs, or are of part of a run's examples; a map read from disk.
    """
    if isinstance(source, Trajectory):
        return _of_run(source)
    codes, staged = staged_outputs(source)
    return np.mean([margins(f, codes) for f in staged], axis=0)


def staged_outputs(m: MemoryMap) -> tuple[Array, Array]:
    """Class numbers `[n]`, and outputs `f [T, n, c]` after each iteration of boosting."""
    _require_classes(m, "area_under_margin")
    origin = require_origin(m)
    stages = capabilities_of(origin.posterior).staged_outputs
    if stages is None:
        raise TypeError(
            f"{m.provenance.description.model} is not fitted in stages: expected boosted trees, or a network's run. "
            "Record one with Tracker(net, optimizer, data, path=…) and pass Trajectory.load(path)"
        )
    batch = origin.examples.take(m["row"])
    return np.asarray(batch.target), stages(batch)


def has_stages(m: MemoryMap) -> bool:
    """Whether the outputs after each iteration of fitting are known."""
    return m.origin is not None and capabilities_of(m.origin.posterior).staged_outputs is not None


def margins(f: Array, given: Array) -> Array:
    """`f_y − max_{k ≠ y} f_k` of outputs `f [n, c]` and class numbers `[n]`; of one output `±f`.

    Examples
    --------
    >>> margins(np.array([[2.0, 0.5, 1.0]]), np.array([2])).tolist()
    [-1.0]
    """
    f, codes, rows = np.asarray(f, dtype=float), np.asarray(given).astype(np.intp), np.arange(len(f))
    if f.shape[1] == 1:
        return np.where(codes == 1, f[:, 0], -f[:, 0])
    others = f.copy()
    others[rows, codes] = -np.inf
    return np.asarray(f[rows, codes] - others.max(axis=1))


def _of_run(run: Trajectory) -> pd.Series:
    import pandas as pd

    ids, codes, recorded = recorded_outputs(run)
    return pd.Series(np.mean([margins(f, codes) for f in recorded], axis=0), index=pd.Index(ids, name="id"), name="aum")


def recorded_outputs(run: Trajectory) -> tuple[Array, Array, Array]:
    """Ids and class numbers `[n]`, and outputs `f [steps, n, c]` at the recorded steps of a run."""
    first = run.at(run.steps[0])
    _require_classes(first, "area_under_margin")
    if "output" not in first.table.column_names:
        raise ValueError(
            "the maps of this run have no column 'output' (more than 100 outputs): label_issues(run.at(run.steps[-1])) "
            "ranks by the last map"
        )
    ids, outputs = run.column("output")
    codes = _class_numbers(first, run.column("target")[1][0])
    return ids, codes, outputs.reshape(*outputs.shape[:2], -1)


def _class_numbers(m: MemoryMap, target: Array) -> Array:
    known = {label: code for code, label in enumerate(m.provenance.description.classes or (0, 1))}
    if m.provenance.description.classes or is_binary(m):
        return np.asarray([known[label] for label in target.tolist()])
    return np.asarray(target)


def _require_classes(m: MemoryMap, name: str) -> None:
    if not is_classes(m):
        raise ValueError(
            f"{name} of a {m.provenance.description.likelihood} likelihood: expected a classifier's map. m['error'] is "
            "the size of the residuals of this one"
        )
