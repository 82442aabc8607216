"""Boosting with several Newton steps for the leaf values of one tree (CatBoost's `leaf_estimation_iterations`).

Each step starts from the outputs with the values found so far, `f + Mθ`; the learning rate multiplies the last `θ`:

    θ ← θ − s D⁻¹ Mᵀ w e(f + Mθ),    D = Mᵀ w Λ(f + Mθ) + λ

with a scale `s` of 1, 1/2, 1/4, …: the library halves a step that does not decrease the loss. To first order, with
denominators and scales fixed, the steps of a tree are one Newton step with another step size `b` and curvature `κ`:

    δθ = b Mᵀ(u − κ δf),    b ← (1 − s C/D) b + s/D,    bκ ← (1 − s C/D) bκ + s K/D,    K = wΛ(f + Mθ), C = MᵀK
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.models.trees.boosting import FixedStructureBoosting

_DOUBTFUL = 1e-2  # relative change of a loss whose sign the library's fast exponentials may have wrong (3e-3 was seen)
_EXACT = 1e-8  # relative difference from the library's leaf values at which its scales are found
_MAX_SCHEDULES = 1024  # sequences of scales that are tried for one tree: all of ten steps are 512


@dataclass(frozen=True)
class RepeatedNewtonBoosting(FixedStructureBoosting):
    """Boosting of one output with several Newton steps in each tree; `scales` has `s` for the steps of each tree."""

    scales: tuple[tuple[float, ...], ...] = ()

    def newton_step(self, t: int, f: Array) -> tuple[Array, Array]:
        """Leaf values `θ [P_t]` of iteration `t`, and step sizes `ηb [P_t]`."""
        steps = self._steps(t, f)
        return self.learning_rate * steps.value, self.learning_rate * steps.size

    def curvature(self, t: int, f: Array) -> Array:
        """`κ [n, 1, 1]`."""
        return self.curvature_diagonal(t, f)[:, :, None]

    def curvature_diagonal(self, t: int, f: Array) -> Array:
        """`κ [n, 1]`."""
        steps = self._steps(t, f)
        size = steps.size[steps.leaf]
        return np.divide(steps.response, size, out=np.zeros_like(size), where=size != 0)[:, None]

    def _steps(self, t: int, f: Array) -> _LeafSteps:
        steps = _LeafSteps.at_zero(self, t, f)
        for scale in self.scales[t]:
            steps = steps.then(scale)
        return steps


@dataclass(frozen=True)
class _LeafSteps:
    """Leaf values `θ [leaves]` after some steps from the outputs `f [n, 1]`, with `b [leaves]` as `size` and `bκ [n]`
    as `response`; the next step is computed in advance.
    """

    boosting: FixedStructureBoosting
    leaf: Array
    weight: Array
    f: Array
    value: Array
    size: Array
    response: Array
    curvature: Array = field(init=False)
    inverse: Array = field(init=False)
    step: Array = field(init=False)

    def __post_init__(self) -> None:
        likelihood, target = self.boosting.likelihood, self.boosting.target
        moved, width = self.outputs(), len(self.value)
        gradient = np.bincount(self.leaf, self.weight * likelihood.error(moved, target)[:, 0], width)
        curvature = self.weight * likelihood.fisher_diagonal(moved, target)[:, 0]
        denominator = np.bincount(self.leaf, curvature, width) + self.boosting.ridge
        inverse = np.divide(1.0, denominator, out=np.zeros_like(denominator), where=denominator > 1e-30)
        for name, computed in (("curvature", curvature), ("inverse", inverse), ("step", -inverse * gradient)):
            object.__setattr__(self, name, computed)

    @classmethod
    def at_zero(cls, boosting: FixedStructureBoosting, t: int, f: Array) -> _LeafSteps:
        """Before the first step of iteration `t`."""
        leaf = boosting.leaves[:, t, 0]
        zero = np.zeros(int(leaf.max()) + 1)
        return cls(boosting, leaf, boosting.iteration_weights(t), f, zero, zero, np.zeros(len(f)))

    def outputs(self, scale: float = 0.0) -> Array:
        """`f + M(θ + s · step) [n, 1]`."""
        value = self.value if scale == 0 else self.value + scale * self.step
        return self.f + value[self.leaf][:, None]

    def loss(self, scale: float = 0.0) -> float:
        """Loss of these outputs, summed with the weights."""
        return float(self.weight @ self.boosting.likelihood.nll(self.outputs(scale), self.boosting.target))

    def then(self, scale: float) -> _LeafSteps:
        """After one more step."""
        taken = scale * self.inverse
        kept = 1 - taken * np.bincount(self.leaf, self.curvature, len(taken))
        response = kept[self.leaf] * self.response + taken[self.leaf] * self.curvature
        value, size = self.value + scale * self.step, kept * self.size + taken
        return dataclasses.replace(self, value=value, size=size, response=response)


def with_leaf_steps(
    model: FixedStructureBoosting, base: Array, values: Array, steps: int, backtracking: bool
) -> RepeatedNewtonBoosting:
    """The ensemble with the scales of its steps, found from the library's leaf values at the examples, `[n, T]`.

    A step that does not decrease the loss is tried again at half its length; a try counts as one of `steps`. The
    library's loss is rounded, so that where it changes little both outcomes are tried, until leaf values agree.
    """
    f, scales = np.broadcast_to(base, (len(values), 1)), []
    for t in range(values.shape[1]):
        start = _LeafSteps.at_zero(model, t, f)
        aim = values[:, t] / model.learning_rate
        scales.append(_matching(start, aim, steps) if backtracking else (1.0,) * steps)
        f = f + values[:, t, None]
    own = {each.name: getattr(model, each.name) for each in dataclasses.fields(model)}
    return RepeatedNewtonBoosting(**own, scales=tuple(scales))


def _matching(start: _LeafSteps, aim: Array, steps: int) -> tuple[float, ...]:
    """The scales whose leaf values are nearest to `aim [n]`, the first within rounding."""
    best: tuple[float, ...] = ()
    least = np.inf
    for value, scales in itertools.islice(_schedules(start, start.loss(), steps), _MAX_SCHEDULES):
        gap = float(np.max(np.abs(value[start.leaf] - aim), initial=0.0))
        if gap < least:
            least, best = gap, scales
        if gap <= _EXACT * (1 + float(np.max(np.abs(aim), initial=0.0))):
            break
    return best


def _schedules(now: _LeafSteps, loss: float, left: int) -> Iterator[tuple[Array, tuple[float, ...]]]:
    """Leaf values `[leaves]` and scales of all sequences of `left` tries, the likeliest first."""
    doubtful: list[tuple[float, float, int]] = []  # accepted though the loss did not decrease
    for tries in range(left):
        scale = 0.5**tries
        found = now.loss(scale)
        clear = not abs(found - loss) <= _DOUBTFUL * abs(loss)
        if found < loss:
            yield from _continued(now, scale, found, left - tries - 1)
        elif not clear:
            doubtful.append((scale, found, left - tries - 1))
        if found < loss and clear:
            break
    else:
        yield now.value, ()
    for scale, found, rest in doubtful:
        yield from _continued(now, scale, found, rest)


def _continued(now: _LeafSteps, scale: float, loss: float, left: int) -> Iterator[tuple[Array, tuple[float, ...]]]:
    for value, scales in _schedules(now.then(scale), loss, left):
        yield value, (scale, *scales)
