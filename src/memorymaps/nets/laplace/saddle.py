"""Whether a stationary point of a network's loss is a minimum: how far the loss falls along its lowest curvature.

    H = S + R,    S = GGN + diag δ,    R = Σ_i Σ_c w_i e_ic ∇²f_ic

At a saddle point, as where all weights of a layer are zero, the gradient vanishes and says nothing; retraining leaves
it. In units of `D = diag S`, the precisions of single parameters with the others held: in those of `S` directions that
nothing determines but a prior of 1e-6 are so long that what is left of the gradient curves them. By all eigenvalues of
`D^{−1/2} H D^{−1/2}` or, of many parameters, the lowest one by Lanczos. Along its direction the loss itself is
computed: at a minimum on a kink, as networks of ReLUs have them, second derivatives are negative and it does not fall.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.batch_size import to_numpy
from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.cost_model import MACS_PER_MINUTE, fits_in_memory, forward_macs, in_memory
from memorymaps.nets.curvature.accumulators import DiagonalCurvature
from memorymaps.nets.curvature.ggn import ggn_operator, group_order
from memorymaps.nets.curvature.residual_hessian import residual_curvature, residual_products
from memorymaps.nets.curvature.structure import accumulate_over_data
from memorymaps.nets.laplace_problem import LaplaceProblem
from memorymaps.nets.refit.objective import LeaveOutObjective

_MOST = 1000  # parameters of which all eigenvalues are computed
_PASSES = 10  # forward passes that a product with both matrices costs
_BASIS, _RESTARTS = 30, 3  # of Lanczos: vectors and restarts, …
_PRODUCTS = 70  # … products that these are at most
_ACCURACY = 0.1  # of the lowest eigenvalue
_STEPS = 2.0 ** -np.arange(8)  # along the direction, either way, in standard deviations


class Curved(NamedTuple):
    """An eigenvalue of `D^{−1/2} H D^{−1/2}`, and `D^{−1/2}u [P]` of its eigenvector, in the order of the blocks."""

    value: float
    direction: Tensor


def fall_beyond_saddle(problem: LaplaceProblem) -> float:
    """By how much the loss, less its gradient, falls along the lowest curvature within one standard deviation.

    0 at a minimum, and where it is not computed: for networks of one layer, which are linear in their parameters,
    without second derivatives, where it takes more than a second, or where Lanczos does not converge.
    """
    p = problem.num_parameters
    if len(problem.blocks) == 1 or not _is_affordable(problem, p if p <= _MOST else _PRODUCTS):
        return 0.0
    problem = in_memory(problem)
    lowest = (by_matrix if p <= _MOST else by_products)(problem)
    return _fall(problem, lowest.direction) if lowest.value < 0 else 0.0


def _is_affordable(problem: LaplaceProblem, products: int) -> bool:
    if problem.product_strategy == "per example":
        return False
    few = fits_in_memory(problem) and products * _PASSES * forward_macs(problem) <= MACS_PER_MINUTE / 50
    return few and problem.has_second_derivatives


def _fall(problem: LaplaceProblem, direction: Tensor) -> float:
    objective = LeaveOutObjective.at_parameters(problem)
    along = to_numpy(direction[group_order(problem, (ParameterGroup(problem.blocks),)).argsort()])
    values = [objective(objective.origin + step * along)[0] for step in (*_STEPS, *-_STEPS)]
    return max(0.0, -min(values))


def by_matrix(problem: LaplaceProblem) -> Curved:
    """The lowest of all eigenvalues; zero where entries are not finite."""
    group, ggn = ParameterGroup(problem.blocks), ggn_operator(problem)
    order = group_order(problem, (group,))
    s = ggn(torch.eye(problem.num_parameters).to(ggn.prior))[order][:, order].double()
    scale = s.diagonal().rsqrt()
    scaled = scale[:, None] * (s + residual_curvature(problem, group)) * scale
    if not bool(scaled.isfinite().all()):
        return Curved(0.0, scale)
    values, vectors = torch.linalg.eigh(scaled)
    return Curved(float(values[0]), scale * vectors[:, 0])


def by_products(problem: LaplaceProblem) -> Curved:
    """The lowest eigenvalue by Lanczos; zero where it is no outlier, as at a minimum."""
    group, ggn, p = ParameterGroup(problem.blocks), ggn_operator(problem), problem.num_parameters
    order, scale = group_order(problem, (group,)), _gauss_newton_diagonal(problem).rsqrt()
    back = order.argsort()

    def scaled(u: Array) -> Array:
        v = (scale * torch.as_tensor(u, device=scale.device))[None]
        product = ggn(v[:, back].to(ggn.prior))[:, order].double() + residual_products(problem, group, v)
        return to_numpy(scale * product[0])

    operator, start = LinearOperator((p, p), scaled, dtype=np.float64), np.random.default_rng(0).normal(size=p)
    try:
        values, vectors = eigsh(operator, 1, which="SA", v0=start, ncv=_BASIS, maxiter=_RESTARTS, tol=_ACCURACY)
    except ArpackNoConvergence:
        return Curved(0.0, scale)
    return Curved(float(values[0]), scale * torch.as_tensor(vectors[:, 0], device=scale.device))


def _gauss_newton_diagonal(problem: LaplaceProblem) -> Tensor:
    """`D [P]`, in the order of the blocks."""
    curvatures = [DiagonalCurvature(problem.zeros(*block.shape)) for block in problem.blocks]
    accumulate_over_data(problem, problem.block_groups, [*curvatures])
    pairs = zip(curvatures, problem.block_groups, strict=True)
    return torch.cat([(c.total + group.pack(problem.prior).double()).reshape(-1) for c, group in pairs])
