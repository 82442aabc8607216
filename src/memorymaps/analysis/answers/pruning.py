"""Which examples can go: removal in steps of those without which other examples are predicted best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.analysis.answers.local_objective import LocalFit, LocalObjective
from memorymaps.analysis.refinement import require_origin
from memorymaps.analysis.refitting import require_refit
from memorymaps.core.arrays import Array
from memorymaps.core.settings import as_count
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.result_table import SummarisedTable
from memorymaps.posteriors.capabilities import Refit

_SHARES = tuple(round(0.1 * k, 1) for k in range(9, 0, -1))  # of the examples, at which the curve is drawn
_STEP = 0.1  # largest share of the examples left that is removed before the model is refitted
_STEPS, _TOLERANCE = 200, 1e-4
_NOTHING_LOST = 1.0  # standard errors of the difference up to which a loss is not larger


@dataclass(frozen=True, repr=False)
class Pruning(SummarisedTable):
    """The curve of the left-out loss as examples are removed; a row for each number of examples kept, most first.

    Columns: `kept`, `share`; `left_out_loss` (mean over all examples, each predicted without itself: nats);
    `standard_error` (of its difference from that of the full fit). With `check=True` also, from real refits, on
    examples that were neither in training nor used to choose: `held_out_loss`, `held_out_error` (standard error of its
    difference from that of the full fit), `random_loss` (as many examples drawn at random), `difference` (held out
    minus random) and `difference_error` (its standard error).

    Attributes
    ----------
    order : ids in the order of their removal.
    kept : ids of the examples to keep.
    fewest : the fewest examples of the curve, from the full fit on, whose loss is at most one standard error above that
        of the full fit: the held-out loss with `check=True`, else the left-out loss, which is too small by the choice.
    """

    order: Array
    kept: Array
    fewest: int

    def __str__(self) -> str:
        n = int(self["kept"][0])
        checked = "random_loss" in self.table.column_names
        how = "held-out" if checked else "left-out"
        caution = "" if checked else " (of the examples they were chosen by: too small; check=True holds examples out)"
        head = f"{self.fewest:,} of {n:,} examples ({self.fewest / n:.0%}) predict as well, by {how} loss{caution}"
        return (
            f"{head}\n{self.table.to_pandas().to_string(index=False)}\nkept: {len(self.kept):,} examples, ids in .kept"
        )


def prune(
    m: MemoryMap, keep: float | None = None, *, check: bool = False, folds: int = 3, seed: int = 0
) -> Pruning:  # fmt: skip
    """Which examples can go, and how many before the left-out loss rises.

    Removed first are those with the smallest `qᵀΔu_i + ½ Δu_iᵀHΔu_i`: the change of the left-out loss of the others, to
    second order, when example `i` is removed (`Δu_i` its removal, `q` the gradient of the left-out losses, `H` the
    curvature). At most a tenth at a time; then the model is fitted to the rest, and all is computed again. Examples
    removed count in the left-out loss, too: a set is good if it predicts what it has not got.

    The left-out loss of the curve is that of the examples by which they were chosen, and is too small by that choice.
    `check=True` measures it: without each of `folds` parts of the examples in turn, the others are pruned, and pruned
    at random, the model is refitted, and the part is predicted.

    Parameters
    ----------
    m : map in memory of a linear model, a GLM, a Gaussian process, kernel ridge, or a small network with
        `Laplace("full")`; all its training examples are candidates.
    keep : how many examples to keep: a share below 1, or a number; default: `fewest`.
    check : compare with random subsets by refits, `folds` × 2 at each of the ten points of the curve.
    seed : of the parts and of the random subsets.

    Raises
    ------
    TypeError
        The posterior's curvature is not that of its objective, or with `check=True` it cannot refit its model.
    ValueError
        The map was read from disk, or has a part of its training examples; `keep` is no share and no number of them.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import scale
    >>> from memorymaps import memory_map
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> found = prune(memory_map(LogisticRegression(tol=1e-8).fit(scale(X), y), scale(X), y), keep=0.5)
    >>> len(found.kept), found.fewest < 300
    (284, True)
    """
    number, folds = _number(m, keep), as_count("folds", folds)
    objective = LocalObjective.of(m)
    points = [round(share * len(m)) for share in _SHARES]
    steps = list(_steps(objective, np.arange(len(m)), sorted({*points, number or 0} - {0}, reverse=True)))
    full = steps[0].loss
    rows = [_row(step, full, objective) for step in steps if step.fit.kept.sum() in (len(m), *points)]
    if check:
        rows = _checked(m, objective, rows, folds, seed)
    fewest = _fewest(rows, *(("held_out_loss", "held_out_error") if check else ("left_out_loss", "standard_error")))
    by_row = m["id"][np.argsort(m["row"])]
    removed = np.concatenate([step.removed for step in steps])
    if number is not None and len(removed) < len(m) - number:
        raise ValueError(
            f"keep = {keep!r}: fewer than {len(m) - len(removed):,} examples do not determine the model: keep more"
        )
    kept = np.setdiff1d(np.arange(len(m)), removed[: len(m) - (number or fewest)])
    return Pruning(pa.Table.from_pylist(rows), by_row[removed], by_row[kept], fewest)


def _number(m: MemoryMap, keep: float | None) -> int | None:
    require_origin(m)
    if len(m) != m.provenance.n:
        raise ValueError(
            f"the map has {len(m):,} of {m.provenance.n:,} training examples: expected all, as memory_map returns them"
        )
    if keep is None:
        return None
    number = round(keep * len(m)) if 0 < keep < 1 else keep
    if not 1 <= number < len(m) or number != int(number):
        raise ValueError(
            f"keep = {keep!r}: expected a share below 1, as 0.5, or a number below {len(m):,}, as {len(m) // 2}"
        )
    return int(number)


@dataclass(frozen=True)
class _Step:
    """A fit, the left-out losses `[n]` of all examples there, and the rows removed since the fit before."""

    fit: LocalFit
    loss: Array
    removed: Array


def _steps(objective: LocalObjective, pool: Array, points: list[int]) -> Iterator[_Step]:
    """Fits to fewer and fewer examples of the pool, among them those that keep the numbers `points`.

    Ends early where the examples left do not determine the model.
    """
    kept = np.zeros(len(objective.f), dtype=bool)
    kept[pool] = True
    fit = objective.full_fit if kept.all() else objective.minimum(kept, np.zeros(objective.root.shape[-1]))
    removed = np.zeros(0, dtype=np.intp)
    while fit is not None:
        effect, loss = _effects(fit, pool)
        yield _Step(fit, loss, removed)
        left = int(fit.kept.sum())
        target = max((point for point in points if point < left), default=None)
        if target is None:
            return
        rows = np.flatnonzero(fit.kept)
        number = min(left - target, max(1, int(_STEP * left)))
        removed = rows[np.argsort(effect, kind="stable")[:number]]
        kept = fit.kept.copy()
        kept[removed] = False
        fit = objective.minimum(kept, fit.u)


def _effects(fit: LocalFit, pool: Array) -> tuple[Array, Array]:
    """Change of the pool's left-out loss when each kept row is removed `[k]`, and the left-out losses `[n]`.

    `q = Σ_j Z_jᵀ(I − Λ_jV_j)⁻¹e_j` at left-out outputs, without the factor for examples that are removed already; the
    left-out loss of `i` itself does not change.
    """
    objective, rows = fit.objective, np.flatnonzero(fit.kept)
    solved, error, system = fit.removal_errors(rows)
    change = np.nan_to_num(np.einsum("kcr,kc->kr", solved, error))
    f = fit.f.copy()
    f[rows] += np.einsum("kcr,kr->kc", objective.root[rows], change)
    slopes = objective.local_terms(f, np.arange(len(f)))[0]
    slopes[rows] = np.nan_to_num(np.linalg.solve(system, slopes[rows, :, None])[..., 0])
    gradients = np.einsum("ncr,nc->nr", objective.root, slopes)
    own = np.einsum("kr,kr->k", change, gradients[rows])
    effect = change @ gradients[pool].sum(axis=0) - own
    effect += 0.5 * np.einsum("kr,rs,ks->k", change, fit.curvature, change)
    return effect, objective.likelihood.example_loss(f, objective.y, objective.weight)


def _row(step: _Step, full: Array, objective: LocalObjective) -> dict[str, Any]:
    weight = objective.counts
    kept = int(step.fit.kept.sum())
    mean, error = _mean_and_error(step.loss, weight)[0], _mean_and_error(step.loss - full, weight)[1]
    return {"kept": kept, "share": kept / len(full), "left_out_loss": mean, "standard_error": error}


def _mean_and_error(values: Array, weight: Array) -> tuple[float, float]:
    """Weighted mean, and its standard error."""
    total = float(np.sum(weight))
    mean = float(weight @ values) / total
    return mean, float(np.sqrt(np.sum((weight * (values - mean)) ** 2)) / total)


def _fewest(rows: list[dict[str, Any]], loss: str, error: str) -> int:
    """The number kept at the last of the first points whose loss is no larger than that of the full fit."""
    found = rows[0]["kept"]
    for row in rows[1:]:
        if not row[loss] <= rows[0][loss] + _NOTHING_LOST * row[error]:
            break
        found = row["kept"]
    return int(found)


def _checked(
    m: MemoryMap, objective: LocalObjective, rows: list[dict[str, Any]], folds: int, seed: int
) -> list[dict[str, Any]]:
    """The rows with the losses of held-out examples, by refits on pruned and on random subsets of the others."""
    source, rng, n = require_refit(require_origin(m).posterior), np.random.default_rng(seed), len(m)
    if not 2 <= folds <= n // 2:
        raise ValueError(f"folds = {folds}: expected 2 to {n // 2}, at least two examples in each part")
    part = rng.permutation(np.arange(n) % folds)
    shares = [row["share"] for row in rows]
    losses = np.full((2, len(shares), n), np.nan)
    for fold in range(folds):
        held, pool = np.flatnonzero(part == fold), np.flatnonzero(part != fold)
        subsets = _subsets(objective, pool, shares)
        for k, share in enumerate(shares):
            if k >= len(subsets):
                break
            random = rng.permutation(pool)[: len(subsets[k])]
            for j, chosen in enumerate((subsets[k], random) if share < 1 else (pool, pool)):
                losses[j, k, held] = _held_out(source, objective, chosen, held)
    return [row | _comparison(losses[:, k], losses[0, 0], objective.counts) for k, row in enumerate(rows)]


def _subsets(objective: LocalObjective, pool: Array, shares: list[float]) -> list[Array]:
    """The examples of a pool that are kept at each share."""
    points = [round(share * len(pool)) for share in shares]
    kept = {int(step.fit.kept.sum()): np.flatnonzero(step.fit.kept) for step in _steps(objective, pool, points[1:])}
    return [kept[point] for point in points if point in kept]


def _held_out(source: Refit, objective: LocalObjective, chosen: Array, held: Array) -> Array:
    """Losses of the held-out rows after a refit to the chosen ones."""
    removed = np.setdiff1d(np.arange(len(objective.f)), chosen)
    f = source.refit(removed, held, _STEPS, _TOLERANCE)[0]
    return objective.likelihood.example_loss(f, objective.y[held], objective.weight[held])


def _comparison(losses: Array, full: Array, weight: Array) -> dict[str, float]:
    pruned, random = losses
    difference, error = _mean_and_error(pruned - random, weight)
    return {
        "held_out_loss": _mean_and_error(pruned, weight)[0],
        "held_out_error": _mean_and_error(pruned - full, weight)[1],
        "random_loss": _mean_and_error(random, weight)[0], "difference": difference, "difference_error": error,
    }  # fmt: skip
