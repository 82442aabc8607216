"""The most sensitive examples really left out, one at a time: truth in place of estimates where they matter most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from memorymaps.analysis.journal import Journal
from memorymaps.analysis.refinement import replace_deviations, require_origin, top_positions
from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.posteriors.capabilities import Refit, capabilities_of
from memorymaps.posteriors.contract import Posterior


def refit(
    m: MemoryMap, top: int = 20, *, by: str = "sensitivity", steps: int = 200, tolerance: float = 0.05,
    path: str | Path | None = None, progress: bool | None = None,
) -> MemoryMap:  # fmt: skip
    """A map whose `top` examples have the deviations of a model trained again without each, all others as they were.

    `Δf_i = f_i(θ^{\\i}) − f_i(θ°)`, `θ^{\\i} = argmin L(θ) − w_iℓ_i(θ)` from `θ°` on, where the training loss `L` leads
    from the trained weights: the network comes to rest first, if training has not brought it there. By L-BFGS with the
    posterior's covariance as its first inverse Hessian. Each step is one pass over the data; it stops when the
    example's prediction has moved, since half the steps, by no more than `tolerance` of its whole way: a few percent
    short. The column `refitted` tells which rows; one that still moves after `steps` has the light `NOT_CONVERGED`.
    Leverage stays the posterior's. For networks whose summary warns that one Newton step may be too long.

    Parameters
    ----------
    path : file that each result is appended to as soon as it is there; a second call goes on where it was stopped.

    Raises
    ------
    ValueError
        The map was read from disk, `top`, `steps` or `tolerance` is not positive, or `path` is no journal or that of
        another map, model or recipe (`JournalError`).
    InUseError
        Another process computes the results of `path`.
    TypeError
        The posterior cannot refit its model.

    Examples
    --------
    >>> import torch, memorymaps as mm
    >>> x, y = torch.randn(40, 3), torch.arange(40) % 2
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    >>> m = mm.memory_map(net, x, y, likelihood="categorical", posterior=mm.Laplace(prior=1.0))
    >>> int(mm.refit(m, top=5)["refitted"].sum())
    5
    """
    if top < 1 or steps < 1 or not tolerance > 0:
        raise ValueError(f"top = {top}, steps = {steps}, tolerance = {tolerance}: expected positive numbers")
    origin, rows = require_origin(m), top_positions(m, top, by)
    source, where = refits_of(origin.posterior), m["row"][rows]
    origin.check_unchanged()
    f = origin.local(origin.examples.take(where)).f
    what = {"memorymaps": "refit", "steps": steps, "tolerance": tolerance, **own_recipe(m)}
    with Journal.opened(path, m, dict(zip(where.tolist(), f, strict=True)), what) as journal:
        _run(source, where, journal, steps, tolerance, progress)
        rest, found = (
            journal.result(-1, where)[0],
            [journal.result(row, where[k : k + 1]) for k, row in enumerate(where)],
        )
    deviation = np.stack([output[0] for output, _ in found]) - rest
    moving = np.asarray([moved for _, moved in found])
    warning = np.where(moving > tolerance, int(Warn.NOT_CONVERGED), 0)
    mean = origin.posterior.likelihood.mean
    drift = float(np.max(np.sum(np.abs(mean(rest) - mean(f)), axis=-1)))
    note = (
        f"{len(rows):,} examples (largest {by}) really left out, column 'refitted'; the network came to rest first, "
        f"which moved their predictions by up to {drift:.2g}"
    )
    return replace_deviations(m, rows, deviation, warning, "refitted", note)


def refits_of(source: Posterior) -> Refit:
    """The posterior's own refits.

    Raises
    ------
    TypeError
        It cannot.
    """
    found = capabilities_of(source).refit
    if found is None:
        raise TypeError(
            f"{type(source).__name__} cannot refit its model itself: retrain_check(m, retrain), where "
            "retrain(removed, wanted) fits it without the rows `removed` and returns the outputs of the rows `wanted`"
        )
    return found


def own_recipe(m: MemoryMap) -> dict[str, str]:
    """What a model's own refits depend on beside the data: a journal of another loss, prior or network is not read."""
    d = m.provenance.description
    return {"recipe": "refit", "model": d.model, "likelihood": d.likelihood, "prior": d.prior}


def _run(source: Refit, rows: Array, journal: Journal, steps: int, tolerance: float, progress: bool | None) -> None:
    """Everything that the journal lacks; first the model at rest, with nothing removed."""
    tasks = [(-1, rows[:0], rows), *((int(row), rows[k : k + 1], rows[k : k + 1]) for k, row in enumerate(rows))]
    lacking = [task for task in tasks if not journal.knows(task[0], task[2])]
    hidden = None if progress is None else not progress
    for row, removed, wanted in tqdm(lacking, desc="refitting", unit="model", delay=1.0, disable=hidden):
        journal.add(row, wanted, *source.refit(removed, wanted, steps, tolerance))
