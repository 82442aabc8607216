"""Retraining without some rows: the training loss without them, minimised again from the minimum of the full loss.

    F(θ) = Σ_{i∉M} w_i (ℓ_i(θ) − ℓ_i(θ°)) + ½ Σ_j δ_j (θ_j² − θ°_j²) − ⟨∇L(θ°), θ − θ°⟩

`θ°` is the minimum that L-BFGS reaches from the trained weights; the last term removes the remaining gradient there, so
that parameters change only if rows are left out. L-BFGS is preconditioned by the posterior covariance: tens of passes
over the data instead of a training from scratch.
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
from memorymaps.nets.autograd.batch_size import to_numpy
from memorymaps.nets.autograd.per_example_autodiff import functional_forward
from memorymaps.nets.cost_model import MACS_PER_MINUTE, fits_in_memory, forward_macs, in_memory
from memorymaps.nets.covariance.block_diagonal import PosteriorCovariance
from memorymaps.nets.curvature.conjugate_gradient import preconditioner
from memorymaps.nets.curvature.ggn import ParameterVector
from memorymaps.nets.jacobian.products import NamedTensors
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.refit.influence import preconditioner_without
from memorymaps.nets.refit.lbfgs import InverseHessian, preconditioned_lbfgs

_MAX_CONVERGENCE_STEPS = 300  # largest number of steps from the trained weights to the minimum
_GRADIENT_TOLERANCE = 1e-2  # gradient norm there, in posterior standard deviations over all parameters
_MAX_AUTO_REFITS = 30  # refits that `"auto"` makes by default, fewer where passes are expensive
_PASSES_PER_REFIT = 60  # passes over the data per refit (benchmarks: 16 to 80)


@dataclass(frozen=True)
class LeaveOutObjective:
    """`F` and its gradient; `included [N]` is 1 for rows in the loss and 0 for rows left out.

    With all rows included the minimum is `origin`, `θ° [P]`; `residual_gradient` is `∇L(θ°)`.
    """

    problem: LaplaceProblem
    parameters: ParameterVector
    prior: Array
    origin: Array
    losses: Array
    residual_gradient: Array
    included: Array

    @classmethod
    def at_parameters(cls, problem: LaplaceProblem, theta: Array | None = None) -> LeaveOutObjective:
        """The objective with `θ°` at the network's weights, or at `theta [P]`; one pass over the data."""
        parameters = ParameterVector(problem.site.values)
        prior = to_numpy(parameters.flatten({name: problem.prior[name] for name in parameters.values}))
        origin = to_numpy(parameters.flatten(parameters.values)) if theta is None else theta
        included, values = np.ones(len(problem.examples)), parameters.unflatten(parameters.to_device(origin))
        chunks = list(_loss_chunks(problem, values, included))
        losses, chunk_gradients = [each[0] for each in chunks], [each[1] for each in chunks]
        gradient = sum((to_numpy(parameters.flatten(each)) for each in chunk_gradients), start=np.zeros_like(origin))
        return cls(
            problem, parameters, prior, origin, np.concatenate(problem.ranks.gathered(losses)),
            prior * origin + problem.ranks.total(gradient), included,
        )  # fmt: skip

    @classmethod
    def at_minimum(cls, problem: LaplaceProblem, covariance: PosteriorCovariance) -> LeaveOutObjective:
        """The objective with `θ°` at the minimum that is reached from the network's weights."""
        problem = in_memory(problem)
        start = cls.at_parameters(problem)
        free = replace(start, residual_gradient=np.zeros_like(start.residual_gradient))
        minimum = start.origin
        for theta, norm in islice(
            preconditioned_lbfgs(free, _inverse_hessian(free, covariance), minimum), _MAX_CONVERGENCE_STEPS + 1
        ):
            minimum = theta
            if norm <= _GRADIENT_TOLERANCE:
                break
        return start if minimum is start.origin else cls.at_parameters(problem, minimum)

    def without(self, rows: Array) -> LeaveOutObjective:
        """The objective without some rows."""
        included = np.ones_like(self.included)
        included[rows] = 0
        return replace(self, included=included)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at `theta [P]`, one pass over the data; infinite where outputs are not finite."""
        delta, ranks = theta - self.origin, self.problem.ranks
        value, gradient, start = 0.0, np.zeros_like(theta), self.problem.examples.share.start
        if ranks.is_first:
            value = float(self.prior * delta @ (self.origin + delta / 2) - self.residual_gradient @ delta)
            gradient = self.prior * theta - self.residual_gradient
        for losses, chunk_gradient in _loss_chunks(self.problem, self.values(theta), self.included):
            rows = slice(start, start + len(losses))
            value += float(np.where(self.included[rows] > 0, losses - self.losses[rows], 0.0).sum())
            gradient += to_numpy(self.parameters.flatten(chunk_gradient))
            start = rows.stop
        value, gradient = ranks.total((value, gradient))
        return (value if np.isfinite(value) else np.inf), gradient

    def values(self, theta: Array) -> NamedTensors:
        """The covered parameters at `theta [P]`, by name."""
        return self.parameters.unflatten(self.parameters.to_device(theta))


def _loss_chunks(
    problem: LaplaceProblem, values: NamedTensors, included: Array
) -> Iterator[tuple[Array, NamedTensors]]:
    """Weighted losses `[n]` of all rows, and the gradient of the included ones, chunk by chunk."""
    start = problem.examples.share.start
    for batch in problem.examples:
        mask = included[start : start + len(batch)]
        yield from problem.batch_size.run(
            batch.inputs, functools.partial(_losses_and_gradient, problem, values, batch, mask)
        )
        start += len(batch)


def _losses_and_gradient(
    problem: LaplaceProblem, values: NamedTensors, batch: Batch, included: Array, inputs: Any, rows: slice
) -> tuple[Array, NamedTensors]:
    likelihood, y, w = problem.network.likelihood, problem.target(batch)[rows], problem.weights(batch)[rows]
    with torch.enable_grad():
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        f = functional_forward(problem.network, leaves, problem.network.to_device(inputs))
        f64 = f.detach().double()
        if not bool(torch.isfinite(f64).all()):
            return np.full(len(f), np.inf), {name: torch.zeros_like(value) for name, value in values.items()}
        cotangent = (w * torch.as_tensor(included[rows]).to(w))[:, None] * likelihood.error(f64, y)
        found = torch.autograd.grad(
            f, list(leaves.values()), cotangent.to(f), materialize_grads=True, allow_unused=True
        )
    return to_numpy(w * likelihood.nll(f64, y)), dict(zip(values, found, strict=True))


def refit_outputs(
    objective: LeaveOutObjective, covariance: PosteriorCovariance, wanted: Array, steps: int, tolerance: float
) -> tuple[Array, float]:
    """Outputs `f [n, c]` of the rows `wanted` at the minimum of `F`, and how far from it the steps ended.

    The second number is the gradient norm in units of that at the start, where the rows have just been removed: outputs
    may stand still for many steps on a plateau that the gradient tells from a minimum. Ends at `tolerance`.
    """
    problem, theta = objective.problem, objective.origin
    norms: list[float] = []
    inputs, remaining = problem.examples.take(wanted).inputs, 0.0
    if not objective.included.all():
        iterates = preconditioned_lbfgs(objective, _inverse_hessian(objective, covariance), objective.origin)
        for point, norm in islice(iterates, steps + 1):
            theta, norms = point, [*norms, norm]
            remaining = problem.ranks.agreed(_fraction(norm, norms[0]))
            if remaining <= tolerance:
                break
    return _outputs(problem, objective.values(theta), inputs), remaining


def affordable_refits(
    problem: LaplaceProblem, covariance: PosteriorCovariance, passes: int = _PASSES_PER_REFIT,
    most: int = _MAX_AUTO_REFITS,
) -> int:  # fmt: skip
    """Number of refits that take a minute or two of a core; 0 unless the posterior is one dense matrix."""
    if not covariance.is_block_diagonal or len(covariance.groups) > 1 or not fits_in_memory(problem):
        return 0
    each = passes * (3 * forward_macs(problem) + 2 * problem.num_parameters**2)
    return int(min(most, MACS_PER_MINUTE / 2 // each))  # small matrix products take twice as long


def _inverse_hessian(objective: LeaveOutObjective, covariance: PosteriorCovariance) -> InverseHessian:
    """`g ↦ S⁻¹g` for vectors in main memory; of sampled rows `S_{−M}⁻¹g`, without those of the rows left out: the first
    step is then to the parameters that the map's own leave-one-out leads to.
    """
    left_out = np.flatnonzero(objective.included == 0)
    if len(left_out):
        solve = preconditioner_without(objective.problem, covariance, [left_out])
    else:
        solve = preconditioner(objective.problem, covariance)
    return lambda g: to_numpy(solve(objective.parameters.to_device(g)[None])[0])


def _outputs(problem: LaplaceProblem, values: NamedTensors, inputs: Any) -> Array:
    """Outputs `f [n, c]` at other parameters."""

    def work(x: Any, _: slice) -> Array:
        return to_numpy(functional_forward(problem.network, values, problem.network.to_device(x)))

    with torch.no_grad():
        return np.concatenate(list(problem.batch_size.run(inputs, work)))


def _fraction(some: float, whole: float) -> float:
    return min(1.0, some / whole) if 0 < whole < np.inf else float(some > 0)
