"""Really leaving rows out: the training loss without them, minimised again from the network at rest.

    F(θ) = Σ_{i∉M} w_i (ℓ_i(θ) − ℓ_i(θ°)) + ½ Σ_j δ_j (θ_j² − θ°_j²) − ⟨∇L(θ°), θ − θ°⟩

`θ°` is where the training loss leads from the trained weights; the last term takes away what little slope is left
there, so that parameters stay unless something is left out. L-BFGS starts from the posterior's covariance: tens of
passes over the data, not a training from scratch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from memorymaps.core.arrays import Array, Batch
from memorymaps.nets.autograd.batch_size import numpy
from memorymaps.nets.autograd.per_example_vjp import functional_forward
from memorymaps.nets.cost_model import MINUTE, at_hand, forward_work, is_small
from memorymaps.nets.covariance.block_diagonal import Spreading
from memorymaps.nets.curvature.conjugate_gradient import preconditioner
from memorymaps.nets.curvature.ggn import Parameters, Vectors, operator_of
from memorymaps.nets.problem import Setting
from memorymaps.nets.refit.lbfgs import Metric, descent

_FIRST = 10  # steps before it is asked whether outputs have settled
_COMING = 300  # steps that the network itself may take until it rests
_REST = 1e-2  # its slope then, in posterior standard deviations over all parameters
_UNASKED = 30  # examples that `"auto"` leaves out by itself, fewer where passes are dear
_PASSES = 60  # over the data that an example takes (benchmarks: 16 to 80)


@dataclass(frozen=True)
class Objective:
    """`F` and its gradient for `keep [N]`, ones and zeros; with everything kept, its minimum is `θ°`, the origin."""

    setting: Setting
    parameters: Parameters
    prior: Array
    origin: Array
    losses: Array
    slope: Array
    keep: Array

    @classmethod
    def at(cls, setting: Setting, theta: Array | None = None) -> Objective:
        """One pass over the data: `ℓ_i(θ°)` and `∇L(θ°)`, at the network's own weights or at others."""
        operator = operator_of(setting)
        parameters, prior = operator.parameters, numpy(operator.prior)
        origin = numpy(parameters.flat(parameters.values)) if theta is None else theta
        keep, values = np.ones(len(setting.examples)), parameters.named(parameters.placed(origin))
        losses, pushes = zip(*_passes(setting, values, keep), strict=True)
        slope = prior * origin + sum(numpy(parameters.flat(push)) for push in pushes)
        return cls(setting, parameters, prior, origin, np.concatenate(losses), slope, keep)

    @classmethod
    def at_rest(cls, setting: Setting, covariance: Spreading) -> Objective:
        """Where the training loss leads from the network's own weights."""
        setting = at_hand(setting)
        start = cls.at(setting)
        free = replace(start, slope=np.zeros_like(start.slope))
        rest = start.origin
        for theta, slope in islice(descent(free, _metric(free, covariance), rest), _COMING + 1):
            rest = theta
            if slope <= _REST:
                break
        return start if rest is start.origin else cls.at(setting, rest)

    def without(self, rows: Array) -> Objective:
        """The same without some rows."""
        keep = np.ones_like(self.keep)
        keep[rows] = 0
        return replace(self, keep=keep)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """One pass over the data; infinite where outputs are not finite."""
        moved = theta - self.origin
        value = float(self.prior * moved @ (self.origin + moved / 2) - self.slope @ moved)
        gradient, start = self.prior * theta - self.slope, 0
        for losses, push in _passes(self.setting, self.values(theta), self.keep):
            rows = slice(start, start + len(losses))
            value += float(np.where(self.keep[rows] > 0, losses - self.losses[rows], 0.0).sum())
            gradient += numpy(self.parameters.flat(push))
            start = rows.stop
        return (value if np.isfinite(value) else np.inf), gradient

    def values(self, theta: Array) -> Vectors:
        """The covered parameters at `θ [P]`, by name."""
        return self.parameters.named(self.parameters.placed(theta))


def _passes(setting: Setting, values: Vectors, keep: Array) -> Iterator[tuple[Array, Vectors]]:
    """Weighted losses `[n]` of all rows, and the gradient of those kept, part by part."""
    start = 0
    for batch in setting.examples:
        mine = keep[start : start + len(batch)]
        yield from setting.size.run(batch.inputs, functools.partial(_of_part, setting, values, batch, mine))
        start += len(batch)


def _of_part(
    setting: Setting, values: Vectors, batch: Batch, keep: Array, inputs: Any, part: slice
) -> tuple[Array, Vectors]:
    likelihood, y, w = setting.network.likelihood, setting.target(batch)[part], setting.weights(batch)[part]
    with torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        f = functional_forward(setting.network, leaves, setting.network.place(inputs))
        wide = f.detach().double()
        if not bool(torch.isfinite(wide).all()):
            return np.full(len(f), np.inf), {name: torch.zeros_like(value) for name, value in values.items()}
        push = (w * torch.as_tensor(keep[part]).to(w))[:, None] * likelihood.error(wide, y)
        found = torch.autograd.grad(f, list(leaves.values()), push.to(f), materialize_grads=True, allow_unused=True)
    return numpy(w * likelihood.nll(wide, y)), dict(zip(values, found, strict=True))


def refitted(
    objective: Objective, covariance: Spreading, wanted: Array, steps: int, tolerance: float
) -> tuple[Array, float]:
    """Outputs `f [n, c]` of the rows `wanted` at the minimum of `F`, and how far they still moved.

    Stops where predictions have moved, since half of ten or more steps, by no more than `tolerance` of the whole way,
    or where the slope has fallen to that part of what it was.
    """
    setting, passed, slopes, moving = objective.setting, [], [], 0.0
    mean, inputs = setting.network.likelihood.mean, setting.examples.take(wanted).inputs
    if objective.keep.all():
        return _outputs(setting, objective.values(objective.origin), inputs), 0.0
    places = descent(objective, _metric(objective, covariance), objective.origin)
    for theta, slope in islice(places, steps + 1):
        passed.append(_outputs(setting, objective.values(theta), inputs))
        slopes.append(slope)
        moving = _part(slope, slopes[0])
        if len(passed) > _FIRST:
            moving = min(moving, _moving(*map(mean, (passed[0], passed[len(passed) // 2], passed[-1]))))
        if moving <= tolerance:
            break
    return passed[-1], moving


def affordable(setting: Setting, covariance: Spreading) -> int:
    """How many refits a minute or two of a core allow; none where no dense matrix holds the posterior."""
    if not covariance.independent or len(covariance.groups) > 1 or not is_small(setting):
        return 0
    each = _PASSES * (3 * forward_work(setting) + 2 * setting.count**2)
    return int(min(_UNASKED, MINUTE / 2 // each))  # many small products take twice as long


def _metric(objective: Objective, covariance: Spreading) -> Metric:
    """`g ↦ S⁻¹g` for vectors in main memory."""
    solve = preconditioner(objective.setting, covariance)
    return lambda g: numpy(solve(objective.parameters.placed(g)[None])[0])


def _outputs(setting: Setting, values: Vectors, inputs: Any) -> Array:
    """`f [n, c]` at other parameters."""

    def work(x: Any, _: slice) -> Array:
        return numpy(functional_forward(setting.network, values, setting.network.place(x)))

    with torch.no_grad():
        return np.concatenate(list(setting.size.run(inputs, work)))


def _moving(first: Array, middle: Array, last: Array) -> float:
    """How much of the way from the first to the last lies behind the middle one."""
    return _part(float(np.linalg.norm(last - middle)), float(np.linalg.norm(last - first)))


def _part(some: float, whole: float) -> float:
    return min(1.0, some / whole) if 0 < whole < np.inf else float(some > 0)
