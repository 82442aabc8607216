"""Which examples can go: removal in steps of those without which other examples are predicted best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa

from memorymaps.analysis.answers.local_objective import LocalFit, LocalObjective
from memorymaps.analysis.refinement import require_origin
from memorymaps.analysis.refitting import require_refit
from memorymaps.core.arrays import Array
from memorymaps.core.settings import as_count
from memorymaps.core.wording import counted
from memorymaps.maps.loo_averages import is_classes
from memorymaps.maps.memory_map import MemoryMap
from memorymaps.maps.result_table import SummarisedTable
from memorymaps.posteriors.capabilities import Refit, capabilities_of
from memorymaps.posteriors.group_refits import held_in_words

_SHARES = tuple(round(0.1 * k, 1) for k in range(9, 0, -1))  # of the examples, at which the curve is drawn
_STEP = 0.1  # largest share of the examples left that is removed before the model is refitted
_CLASS_STEP = 1.5  # times that share at most of one class: similar examples are not redundant together
_PARTS = 100  # of a step, after each of which the effects of the others are updated
_DRAWS = 3  # random subsets of each number and part
_STEPS, _TOLERANCE = 2000, 1e-4
_CLEAR = 2.0  # standard errors from which a difference is told
_CONVERGED = 1e-2  # what is left of a refit's way at which it has reached the minimum


@dataclass(frozen=True, repr=False)
class Pruning(SummarisedTable):
    """The curve of the left-out loss as examples are removed; a row for each number of examples kept, most first.

    Columns: `kept`, `share`; `left_out_loss` (mean over all examples, each predicted without itself: nats);
    `standard_error` (of its difference from that of the full fit). With `check=True` also, from real refits, on
    examples that were neither in training nor used to choose: `held_out_loss`, `held_out_error` (standard error of its
    difference from that of the full fit), `random_loss` (as many examples, drawn at random three times), `difference`
    (held out minus random) and `difference_error` (its standard error).

    Attributes
    ----------
    order : ids in the order of their removal.
    kept : ids of the examples to keep.
    fewest : the fewest examples of the curve, from the full fit on, whose loss is at most that of the full fit plus its
        standard error: the held-out loss with `check=True`, else the left-out loss.
    tolerance : that standard error, over examples.
    unsettled : how many refits of `check=True` had not reached their minimum.
    held : what removals and refits hold at its value although it was computed from all examples, as in the map's trust.
    """

    order: Array
    kept: Array
    fewest: int
    tolerance: float
    unsettled: int = 0
    held: str = ""

    def _text(self) -> str:
        n = int(self["kept"][0])
        checked = "random_loss" in self.table.column_names
        how = "held-out" if checked else "left-out"
        hint = "" if checked else "; check=True compares with random subsets, on held-out examples"
        head = (
            f"{self.fewest:,} of {n:,} examples ({self.fewest / n:.0%}) predict as well, by {how} loss, up to its "
            f"standard error ({self.tolerance:.2g}){hint}"
        )
        if checked and np.any(worse := self["difference"] > _CLEAR * self["difference_error"]):
            shares = ", ".join(f"{share:.0%}" for share in self["share"][worse])
            head = f"{head}\nas many random examples predict better with {shares} kept"
        if self.unsettled:
            head = f"{head}\n{counted(self.unsettled, 'refit')} of the check had not converged in {_STEPS:,} steps"
        table = self.table.to_pandas().to_string(index=False)
        kept = f"kept: {counted(len(self.kept), 'example')}, ids in .kept"
        return "\n".join(filter(None, [head, table, kept, self.held]))


def prune(
    m: MemoryMap, keep: float | None = None, *, check: bool = False, folds: int = 3, seed: int = 0
) -> Pruning:  # fmt: skip
    """Which examples can go, and how many before the left-out loss rises.

    Removed first are the examples of the smallest `gᵀΔu_i + ½ Δu_iᵀHΔu_i + max(qᵀΔu_i, 0)`, where `Δu_i` is the change
    of the parameters when `i` is removed, `g` and `H` gradient and curvature of the loss of all examples, and `q` the
    gradient of the left-out losses of all others: the fit to those kept stays at the fit to all, as `g` lets changes
    cancel that would add up. Harmful ones are not removed for doing harm, which was measured to fit the noise; see
    `label_issues`. `g` is updated after each hundredth of a step; a step is at most a tenth (15 % of a class), then the
    model is fitted to the rest, and all is computed again. Examples removed count in the left-out loss, too.

    The left-out loss of the curve is that of the examples by which they were chosen; `check=True` measures it on
    others: without each of `folds` parts of the examples in turn, the others are pruned, and pruned at random, the
    model is refitted, and the part is predicted.

    Parameters
    ----------
    m : map in memory of a linear model, a GLM, a Gaussian process, kernel ridge, or a small network with
        `Laplace("full")`; all its training examples are candidates.
    keep : how many examples to keep: a share below 1, or a number; default: `fewest`.
    check : compare with random subsets by refits, `folds` × 4 at each of the ten points of the curve.
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
    number, folds, seed = _number(m, keep), as_count("folds", folds), as_count("seed", seed, least=0)
    pruner = _Pruner.of(m)
    points = [round(share * len(m)) for share in _SHARES]
    steps = list(pruner.steps(np.arange(len(m)), sorted({*points, number or 0} - {0}, reverse=True)))
    full = steps[0].loss
    rows = [_row(step, full) for step in steps if step.fit.kept.sum() in (len(m), *points)]
    tolerance = _mean_and_error(full, pruner.objective.counts)[1]
    unsettled = 0
    if check:
        rows, tolerance, unsettled = _checked(m, pruner, rows, folds, seed)
    fewest = _fewest(rows, "held_out_loss" if check else "left_out_loss", tolerance)
    by_row = m["id"][np.argsort(m["row"])]
    removed = np.concatenate([step.removed for step in steps])
    if number is not None and len(removed) < len(m) - number:
        raise ValueError(
            f"keep = {keep!r}: fewer than {len(m) - len(removed):,} examples do not determine the model: keep more"
        )
    kept = np.setdiff1d(np.arange(len(m)), removed[: len(m) - (number or fewest)])
    held = held_in_words(m.provenance.description)
    return Pruning(pa.Table.from_pylist(rows), by_row[removed], by_row[kept], fewest, tolerance, unsettled, held)


def _number(m: MemoryMap, keep: Any) -> int | None:
    require_origin(m)
    if len(m) != m.provenance.n:
        raise ValueError(
            f"the map has {len(m):,} of {m.provenance.n:,} training examples: expected all, as memory_map returns them"
        )
    if keep is None:
        return None
    if isinstance(keep, bool) or not isinstance(keep, Real):
        raise TypeError(f"keep = {keep!r}: expected a share below 1, as 0.5, or a number of examples")
    share = float(keep)
    number = round(share * len(m)) if 0 < share < 1 else share
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


@dataclass(frozen=True)
class _Pruner:
    """Removal in steps; `group [n]` are class numbers, of which none is removed much faster than the others."""

    objective: LocalObjective
    group: Array

    @classmethod
    def of(cls, m: MemoryMap) -> _Pruner:
        """Of a map's model."""
        objective = LocalObjective.of(m)
        classes = is_classes(m) and objective.y.ndim == 1
        return cls(objective, objective.y.astype(np.intp) if classes else np.zeros(len(m), dtype=np.intp))

    def lowest(self, rows: Array, effects: RemovalEffects, number: int) -> Array:
        """The rows `[number]` of the smallest effect together, at most `1.5 number/k` of `k` of each class.

        A hundredth at a time; then the effects of the others are those after it.
        """
        group, left = self.group[rows], np.ones(len(rows), dtype=bool)
        room = np.maximum(1, np.ceil(_CLASS_STEP * np.bincount(group) * number / len(rows))).astype(np.intp)
        taken: list[Array] = []
        gradient = effects.gradient
        while (missing := number - sum(map(len, taken))) > 0:
            if not room[group[left]].any():
                room = room + 1  # all that is left is of classes of which enough are removed
            order = np.flatnonzero(left)[np.argsort(effects.total(gradient)[left], kind="stable")]
            order = order[_rank_in_group(group[order]) < room[group[order]]]
            chosen = order[: min(missing, -(-number // _PARTS))]
            left[chosen], room = False, room - np.bincount(group[chosen], minlength=len(room))
            gradient = gradient + effects.curvature @ effects.change[chosen].sum(axis=0)
            taken.append(rows[chosen])
        return np.concatenate(taken)

    def steps(self, pool: Array, points: list[int]) -> Iterator[_Step]:
        """Fits to fewer and fewer examples of the pool, among them those that keep the numbers `points`.

        Ends early where the examples left do not determine the model.
        """
        objective = self.objective
        kept = np.zeros(len(objective.f), dtype=bool)
        kept[pool] = True
        fit = objective.full_fit if kept.all() else objective.minimum(kept, np.zeros(objective.root.shape[-1]))
        removed = np.zeros(0, dtype=np.intp)
        while fit is not None:
            effects, loss = removal_effects(fit, pool)
            yield _Step(fit, loss, removed)
            left = int(fit.kept.sum())
            target = max((point for point in points if point < left), default=None)
            if target is None:
                return
            number = min(left - target, max(1, int(_STEP * left)))
            removed = self.lowest(np.flatnonzero(fit.kept), effects, number)
            kept = fit.kept.copy()
            kept[removed] = False
            fit = objective.minimum(kept, fit.u)

    def subsets(self, pool: Array, shares: list[float]) -> list[Array]:
        """The examples of a pool that are kept at each share."""
        points = [round(share * len(pool)) for share in shares]
        kept = {int(step.fit.kept.sum()): np.flatnonzero(step.fit.kept) for step in self.steps(pool, points[1:])}
        return [kept[point] for point in points if point in kept]


def _rank_in_group(group: Array) -> Array:
    """How many earlier entries have the same value, `[n]`."""
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], group[order])
    rank = np.empty(len(group), dtype=np.intp)
    rank[order] = np.arange(len(group)) - start
    return rank


@dataclass(frozen=True)
class RemovalEffects:
    """What removing kept rows changes: `Δu [k, r]`, and what the loss of all examples of the pool makes of it.

    `gradient [r]` and `curvature [r, r]` of that loss; `own [k]`: the effect of each row alone on the others'.
    """

    change: Array
    gradient: Array
    curvature: Array
    own: Array

    def total(self, gradient: Array) -> Array:
        """`gᵀΔu_i + ½ Δu_iᵀHΔu_i`, what the loss of all examples rises by, and the row's own effect: `[k]`."""
        return np.asarray(self.change @ gradient + self.own)


def removal_effects(fit: LocalFit, pool: Array) -> tuple[RemovalEffects, Array]:
    """What removing each kept row costs, and the left-out losses `[n]` of all examples.

    `gᵀΔu_i + ½ Δu_iᵀHΔu_i + max(qᵀΔu_i, 0)`, with the loss of the whole pool, which the full fit minimises: rows whose
    changes cancel are removed together, and a row that does harm is not removed for that. `q`: see `left_out_slopes`.
    """
    change, linear, loss = left_out_slopes(fit, pool)
    needed = np.isnan(change).any(axis=1)  # without these the others do not determine the parameters
    change = np.nan_to_num(change)
    everyone = np.zeros(len(fit.kept), dtype=bool)
    everyone[pool] = True
    gradient, curvature = fit.objective.derivatives(fit.u, everyone)
    own = np.maximum(linear, 0) + 0.5 * np.einsum("kr,rs,ks->k", change, curvature, change)
    own[needed] = np.inf
    return RemovalEffects(change, gradient, curvature, own), loss


def left_out_slopes(fit: LocalFit, pool: Array) -> tuple[Array, Array, Array]:
    """Changes when each kept row is removed: `Δu_i [k, r]`, NaN at the bound, and `qᵀΔu_i [k]`; left-out losses `[n]`.

    `qᵀΔu_i` is the change of the others' left-out losses to first order: `q = Σ_{j ≠ i} Z_jᵀ(I − Λ_jV_j)⁻¹e_j` over the
    pool, at left-out outputs, without the factor for examples that are removed already.
    """
    objective, rows = fit.objective, np.flatnonzero(fit.kept)
    removals = fit.removals(rows)
    change = np.nan_to_num(removals.change)
    f = fit.f.copy()
    f[rows] += np.einsum("kcr,kr->kc", objective.root[rows], change)
    slopes = objective.local_terms(f, np.arange(len(f)))[0]
    slopes[rows] = np.nan_to_num(np.linalg.solve(removals.system, slopes[rows, :, None])[..., 0])
    gradients = np.einsum("ncr,nc->nr", objective.root, slopes)
    linear = change @ gradients[pool].sum(axis=0) - np.einsum("kr,kr->k", change, gradients[rows])
    return removals.change, linear, objective.likelihood.example_loss(f, objective.y, objective.weight)


def _row(step: _Step, full: Array) -> dict[str, Any]:
    weight = step.fit.objective.counts
    kept = int(step.fit.kept.sum())
    mean, error = _mean_and_error(step.loss, weight)[0], _mean_and_error(step.loss - full, weight)[1]
    return {"kept": kept, "share": kept / len(full), "left_out_loss": mean, "standard_error": error}


def _mean_and_error(values: Array, weight: Array) -> tuple[float, float]:
    """Weighted mean, and its standard error."""
    total = float(np.sum(weight))
    mean = float(weight @ values) / total
    return mean, float(np.sqrt(np.sum((weight * (values - mean)) ** 2)) / total)


def _fewest(rows: list[dict[str, Any]], loss: str, tolerance: float) -> int:
    """The number kept at the last of the first points whose loss is no larger than that of the full fit."""
    found = rows[0]["kept"]
    for row in rows[1:]:
        if not row[loss] <= rows[0][loss] + tolerance:
            break
        found = row["kept"]
    return int(found)


def _checked(
    m: MemoryMap, pruner: _Pruner, rows: list[dict[str, Any]], folds: int, seed: int
) -> tuple[list[dict[str, Any]], float, int]:
    """The rows with the losses of held-out examples, by refits on pruned and on random subsets of the others.

    And the standard error of the full fit's, and the number of refits that had not reached their minimum.
    """
    held_out, rng, n = _HeldOut.of(m, pruner.objective), np.random.default_rng(seed), len(m)
    if not 2 <= folds <= n // 2:
        raise ValueError(f"folds = {folds}: expected 2 to {n // 2}, at least two examples in each part")
    part = rng.permutation(np.arange(n) % folds)
    shares = [row["share"] for row in rows]
    losses = np.full((2, len(shares), n), np.nan)
    for fold in range(folds):
        held, pool = np.flatnonzero(part == fold), np.flatnonzero(part != fold)
        subsets = pruner.subsets(pool, shares)
        for k, share in enumerate(shares):
            if k >= len(subsets):
                break
            losses[:, k, held] = held_out.losses(subsets[k], held)
            if share < 1:
                drawn = [rng.permutation(pool)[: len(subsets[k])] for _ in range(_DRAWS)]
                losses[1, k, held] = np.mean([held_out.losses(each, held) for each in drawn], axis=0)
    weight = pruner.objective.counts
    compared = [row | _comparison(losses[:, k], losses[0, 0], weight) for k, row in enumerate(rows)]
    return compared, _mean_and_error(losses[0, 0], weight)[1], held_out.unsettled


@dataclass
class _HeldOut:
    """Losses by refits to some rows, the same as those of groups; `unsettled`: how many had not converged."""

    source: Refit
    objective: LocalObjective
    unsettled: int = 0

    @classmethod
    def of(cls, m: MemoryMap, objective: LocalObjective) -> _HeldOut:
        posterior = require_origin(m).posterior
        return cls(capabilities_of(posterior).group_refit or require_refit(posterior), objective)

    def losses(self, chosen: Array, held: Array) -> Array:
        """Of the held-out rows after a refit to the chosen ones."""
        removed, objective = np.setdiff1d(np.arange(len(self.objective.f)), chosen), self.objective
        f, moving = self.source.refit(removed, held, _STEPS, _TOLERANCE)
        self.unsettled += moving > _CONVERGED
        return objective.likelihood.example_loss(f, objective.y[held], objective.weight[held])


def _comparison(losses: Array, full: Array, weight: Array) -> dict[str, float]:
    pruned, random = losses
    difference, error = _mean_and_error(pruned - random, weight)
    return {
        "held_out_loss": _mean_and_error(pruned, weight)[0],
        "held_out_error": _mean_and_error(pruned - full, weight)[1],
        "random_loss": _mean_and_error(random, weight)[0], "difference": difference, "difference_error": error,
    }  # fmt: skip
