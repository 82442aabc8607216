"""Along which directions of its outputs an example's variance is found, and what stands for the others.

`Q_i [c, r_i]` is orthonormal, the error `e_i` first and then the leading eigenvectors of `Λ_i` outside of it: `r_i`
reverse passes and rows of a system instead of `c`. `V e` is exact along `Q`; the rest of `V_i` is completed by the mean
variance of examples that have all directions (`covariance/completion.py`), which are also those on which the error of
leaving directions out is found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from memorymaps.core.arrays import Batch
from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.nets.covariance.completion import OWN_SCALE, Completion, mean_variance
from memorymaps.nets.laplace.leading import leading_basis
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.sampled.measures import MEASURES, Removal, cavity_measures, magnitudes

_LEFT_OUT = 0.15  # of a curvature's trace, or of the examples' root mean square where that is more
_MOST_SCALE = 2.0  # of what the others are by the mean variance, by which it may be off
_TINY, _ROUNDING = 1e-300, 1e-9
_OF_DEVIATION = " Of the column 'deviation', whose outputs that Λ does not see are only estimated, {:.1%}."

Data = tuple[Tensor, Tensor, Tensor]  # outputs `f [n, c]`, targets and weights of some examples, in double precision


@dataclass(frozen=True)
class Directions:
    """How many directions each training example has, `counts [N]`, and the mean variance `[c, c]` of some that have
    all, once it is known; until then the identity stands for it.

    `spread` says for leverage, sensitivity and left-out loss what the directions that are left out add to the error: so
    many times their scale (`left_out_scale`); `added` is that error over the examples, relative; `deviation_error` that
    of all outputs of `V^{\\i}e`, those that `Λ` does not see included. They were `chosen` where some examples may have
    fewer than all.
    Products are in `precision`; `rounding` is what this changes, relative.
    """

    counts: Tensor
    mean_variance: Tensor | None = field(default=None, repr=False)
    spread: tuple[float, float, float] = (0.0, 0.0, 0.0)
    added: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation_error: float | None = None
    chosen: bool = False
    precision: torch.dtype = torch.float64
    rounding: float = 0.0

    @classmethod
    def all_of(cls, problem: LaplaceProblem) -> Directions:
        """All outputs of every example: nothing is left out."""
        shape = (len(problem.examples),)
        return cls(torch.full(shape, problem.num_outputs, device=problem.network.device))

    @classmethod
    def leading(cls, problem: LaplaceProblem, most: float = math.inf) -> Directions:
        """The fewest directions of each example that leave at most 15 % of `tr wΛ_i` out, or of its root mean square
        over the examples where that is more; a larger part where there would be more than `most` on average. One
        forward pass.
        """
        found = [each for batch in problem.examples for each in _left_out(problem, batch)]
        left = torch.cat(problem.ranks.gathered(found)).to(problem.network.device)
        size = left[:, :1].clamp(min=float(left[:, 0].square().mean().sqrt()))
        part = left[:, 1:-1] / size.clamp(min=_TINY)
        return cls(1 + (part > _part_left_out(part, most - 1)).sum(1), chosen=True, precision=torch.float32)

    def all_again(self, outputs: int) -> Directions:
        """All outputs of every example, in double precision."""
        return Directions(torch.full_like(self.counts, outputs))

    @property
    def exact(self) -> bool:
        """Whether all examples have all directions, in double precision."""
        return self.precision == torch.float64 and not self.chosen

    @property
    def notes(self) -> tuple[str, ...]:
        """What the map says of it; nothing where all examples have all directions."""
        if self.exact:
            return ()
        error = ", ".join(f"{name} {each:.1%}" for name, each in zip(MEASURES, self.added, strict=True))
        rounding = f" Single precision changes the columns by {self.rounding:.1e}."
        deviation = "" if self.deviation_error is None else _OF_DEVIATION.format(self.deviation_error)
        return (
            f"Along {self.mean:.2f} directions of each example's outputs on average, its error and the leading ones of "
            "its curvature; variances along the others are those of the mean variance, given these. What this changes, "
            f"in the standard errors: {error}.{deviation}{rounding if self.precision == torch.float32 else ''}",
        )

    @property
    def mean(self) -> float:
        """Directions of an example, on average."""
        return float(self.counts.double().mean())

    def groups(self, positions: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Examples at these positions with equally many directions: the number, and places in `positions`."""
        counts = self.counts[positions]
        for count in counts.unique().cpu().tolist():
            yield int(count), torch.nonzero(counts == count).flatten()

    def completion(self, basis: Tensor) -> Completion:
        """Of variances along `Q [n, c, r]`."""
        mean = torch.eye(basis.shape[1]) if self.mean_variance is None else self.mean_variance
        return Completion.of(basis, mean)

    def calibrated(
        self,
        likelihood: Likelihood,
        data: Data,
        exact: Tensor,
        positions: Tensor,
        part: Tensor,
    ) -> tuple[Directions, Tensor]:
        """With the mean variance and the spread from examples whose cavity variances `exact [n, c, c]` have all
        directions, each standing for `part [n]` others; and what leaving directions out changes, `[3, n]`.
        """
        f, y, w = data
        if bool((self.counts == f.shape[1]).all()):
            return self, f.new_zeros(3, len(f))
        basis, left = ordered_directions(likelihood, f, y, w)
        counts = self.counts[positions].to(f)
        some = basis * (torch.arange(f.shape[1], device=f.device) < counts[:, None])[:, None]
        within = torch.matmul(some.mT, torch.matmul(exact, some))
        true = cavity_measures(likelihood, f, y, w, exact)
        mean = _right_on_average(likelihood, data, (some, within), part, mean_variance(exact, part), true[0])
        completion = Completion.of(some, mean)
        whole = completion.whole(within)
        removal = Removal.of(likelihood, f, y, w, whole)
        found, others = removal.value(likelihood, y, w), removal.added_leverage(completion.others(within))
        outside = left.gather(1, self.counts[positions][:, None])[:, 0], left[:, 0]
        scale = left_out_scale(likelihood, data, found, outside, others, counts).square() @ part
        off = found - true
        square, size = off.square() @ part, (true.square() @ part).clamp(min=_TINY)
        spread, added = (square / scale.clamp(min=_TINY)).sqrt().where(scale > 0, 0), (square / size).sqrt()
        deviation = relative_deviation_error(likelihood, data, whole, exact, part)
        spreads, of_all = tuple(spread.tolist()), tuple(added.tolist())
        return replace(self, mean_variance=mean, spread=spreads, added=of_all, deviation_error=deviation), off

    def uncertainty(self, likelihood: Likelihood, data: Data, basis: Tensor, value: Tensor, others: Tensor) -> Tensor:
        """What the directions that are left out add to the errors of `value [3, n]`, `[3, n]`; `others [n]` is what
        they are of the leverage.
        """
        f, y, w = data
        if basis.shape[1] == basis.shape[2] or not any(self.spread):
            return torch.zeros_like(value)
        curvature = w[:, None, None] * likelihood.curvature(f, y)
        trace = curvature.diagonal(dim1=1, dim2=2).sum(1)
        kept = (torch.matmul(curvature, basis) * basis).sum((1, 2))
        scale = left_out_scale(likelihood, data, value, (trace - kept, trace), others, torch.tensor(basis.shape[2]))
        return value.new_tensor(self.spread)[:, None] * scale


def relative_deviation_error(likelihood: Likelihood, data: Data, found: Tensor, exact: Tensor, part: Tensor) -> float:
    """`√Σ part ‖(found − exact)we‖²` in parts of `√Σ part ‖exact we‖²`, for variances `[n, c, c]` and `part [n]`."""
    f, y, w = data
    error = (w[:, None] * likelihood.error(f, y))[..., None]
    off, size = (part @ torch.matmul(each, error).square().sum((1, 2)) for each in (found - exact, exact))
    return float((off / size.clamp(min=_TINY)).sqrt())


def _right_on_average(
    likelihood: Likelihood, data: Data, along: tuple[Tensor, Tensor], part: Tensor, mean: Tensor, leverage: Tensor
) -> Tensor:
    """The mean variance `[c, c]`, scaled so that leverages sum to the true ones, `[n]`, to first order in the scale.

    What is completed is in proportion to `t^(1 − ¾)` of a mean variance `t V̄`, hence the power; it is scaled by ½ to 2.
    """
    basis, within = along
    completion = Completion.of(basis, mean)
    whole, others = completion.whole(within), completion.others(within)
    without, found = (cavity_measures(likelihood, *data, each)[0] @ part for each in (whole - others, whole))
    missing, wanted = float(found - without), float(leverage @ part - without)
    times = min(_MOST_SCALE, max(1 / _MOST_SCALE, wanted / missing)) if missing > 0 else 1.0
    return mean * times ** (1 / (1 - OWN_SCALE))


def _part_left_out(part: Tensor, most: float) -> float:
    """15 %, or the least of `part [N, r]` that at most `most` of each row are above, on average."""
    allowed = most * len(part)
    if allowed >= part.numel():
        return _LEFT_OUT
    return max(_LEFT_OUT, float(part.flatten().sort(descending=True).values[max(0, int(allowed))]))


def _part(left: Tensor, trace: Tensor) -> Tensor:
    """`left/trace [n]`; nothing where it is rounding."""
    found = left / trace.clamp(min=_TINY)
    return torch.where(found > _ROUNDING, found, 0)


def left_out_scale(
    likelihood: Likelihood,
    data: Data,
    value: Tensor,
    outside: tuple[Tensor, Tensor],
    others: Tensor,
    counts: Tensor,
) -> Tensor:
    """`[3, n]`: what the errors of leverage, sensitivity and left-out loss are in proportion to, chosen by measuring.

    `outside` are the trace of `wΛ` that `counts` directions leave out, and all of it; `others` is what they are of the
    leverage. Of leverage in proportion to this, the less the more directions there are; of sensitivity, whose change
    along the error is exact, to its root; of the loss's change to the part of the trace, for each direction.
    """
    part = _part(*outside)
    others = torch.where(part > 0, others, 0)
    _, sensitivity, change = magnitudes(likelihood, data, value)
    return torch.stack([others / counts.sqrt(), sensitivity * others.sqrt(), change * part / counts])


def ordered_directions(likelihood: Likelihood, f: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """All directions `Q [n, c, c]` in their order; the trace of `wΛ` that the first `0 … c` leave out, `[n, c + 1]`.

    `f [n, c]` and `w [n]` in double precision.
    """
    basis, outside = leading_basis(likelihood, f, y)
    return basis, w[:, None] * outside


def _left_out(problem: LaplaceProblem, batch: Batch) -> Iterator[Tensor]:
    y, w = problem.target(batch), problem.weights(batch)

    def work(x: Any, part: slice) -> Tensor:
        f = problem.network.outputs(problem.network.to_device(x)).double()
        return ordered_directions(problem.network.likelihood, f, y[part], w[part])[1]

    with torch.no_grad():
        yield from problem.batch_size.run(batch.inputs, work)
