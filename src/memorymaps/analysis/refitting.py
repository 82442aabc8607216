"""`refit`: deviations of the most sensitive examples measured by refits without them, one at a time."""

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
    """A map whose `top` examples have deviations from refits without each; others unchanged.

    `Δf_i = f_i(θ^{\\i}) − f_i(θ°)`, where `θ°` minimises the training loss `L`, starting from the trained weights, and
    `θ^{\\i} = argmin L(θ) − w_iℓ_i(θ)`, starting from `θ°`. By L-BFGS with the posterior covariance as initial inverse
    Hessian; each step is one pass over the data. A refit stops when the change of the example's prediction in the
    second half of the steps is at most `tolerance` of its total change (deviations are then a few percent too small).
    The column `refitted` marks these rows; one that has not stopped after `steps` has the warning `NOT_CONVERGED`.
    Leverage is unchanged. For networks whose summary warns that one Newton step may overstate sizes.

    Parameters
    ----------
    path : file to which each result is appended when it is finished; a second call resumes from it.

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
    source, where = require_refit(origin.posterior), m["row"][rows]
    origin.check_unchanged()
    f = origin.batch_statistics(origin.examples.take(where)).f
    settings = {"memorymaps": "refit", "steps": steps, "tolerance": tolerance, **refit_settings(m)}
    with Journal.resume(path, m, dict(zip(where.tolist(), f, strict=True)), settings) as journal:
        _run(source, where, journal, steps, tolerance, progress)
        rest, found = (
            journal.result(-1, where)[0],
            [journal.result(row, where[k : k + 1]) for k, row in enumerate(where)],
        )
    deviation = np.stack([output[0] for output, _ in found]) - rest
    remaining_change = np.asarray([change for _, change in found])
    warning = np.where(remaining_change > tolerance, int(Warn.NOT_CONVERGED), 0)
    mean = origin.posterior.likelihood.mean
    drift = float(np.max(np.sum(np.abs(mean(rest) - mean(f)), axis=-1)))
    note = (
        f"{len(rows):,} examples (largest {by}) refitted without each, column 'refitted'; training to the minimum "
        f"first changed their predictions by up to {drift:.2g}"
    )
    return replace_deviations(m, rows, deviation, warning, "refitted", note)


def require_refit(source: Posterior) -> Refit:
    """The posterior's capability `refit`.

    Raises
    ------
    TypeError
        The posterior does not offer it.
    """
    found = capabilities_of(source).refit
    if found is None:
        raise TypeError(
            f"{type(source).__name__} cannot refit its model: use retrain_check(m, retrain), where "
            "retrain(removed, wanted) fits it without the rows `removed` and returns the outputs of the rows `wanted`"
        )
    return found


def refit_settings(m: MemoryMap) -> dict[str, str]:
    """Settings besides the data on which refits depend, for the journal: model, likelihood and prior."""
    d = m.provenance.description
    return {"recipe": "refit", "model": d.model, "likelihood": d.likelihood, "prior": d.prior}


def _run(source: Refit, rows: Array, journal: Journal, steps: int, tolerance: float, progress: bool | None) -> None:
    """Run all refits that are missing in the journal; first the one with nothing removed."""
    tasks = [(-1, rows[:0], rows), *((int(row), rows[k : k + 1], rows[k : k + 1]) for k, row in enumerate(rows))]
    missing = [task for task in tasks if not journal.has_result(task[0], task[2])]
    hidden = None if progress is None else not progress
    for row, removed, wanted in tqdm(missing, desc="refitting", unit="model", delay=1.0, disable=hidden):
        journal.add(row, wanted, *source.refit(removed, wanted, steps, tolerance))
