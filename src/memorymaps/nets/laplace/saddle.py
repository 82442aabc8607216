"""Whether a stationary point of a small network's loss is a minimum: its lowest curvature.

    H = S + R,    S = GGN + diag δ,    R = Σ_i Σ_c w_i e_ic ∇²f_ic

At a saddle point, as where all weights of a layer are zero, the gradient vanishes and says nothing; retraining leaves
it. In units of `D = diag S`, the precisions of single parameters with the others held: in those of `S` directions that
nothing determines but a prior of 1e-6 are so long that what is left of the gradient curves them.
"""

from __future__ import annotations

import torch

from memorymaps.nets.autograd.parameter_blocks import ParameterGroup
from memorymaps.nets.cost_model import MACS_PER_MINUTE, fits_in_memory, forward_macs, in_memory
from memorymaps.nets.curvature.ggn import ggn_operator, group_order
from memorymaps.nets.curvature.residual_hessian import residual_curvature
from memorymaps.nets.laplace_problem import LaplaceProblem

_MOST = 1000  # parameters
_PASSES = 10  # forward passes that a row of both matrices costs


def lowest_curvature(problem: LaplaceProblem) -> float:
    """The lowest eigenvalue of `D^{−1/2} H D^{−1/2}`; 0 where it is not computed.

    It is not for networks of one layer, which are linear in their parameters, without second derivatives, of more than
    a thousand parameters, or where it takes more than a second.
    """
    if not _is_affordable(problem):
        return 0.0
    problem = in_memory(problem)
    group, ggn = ParameterGroup(problem.blocks), ggn_operator(problem)
    order = group_order(problem, (group,))
    s = ggn(torch.eye(problem.num_parameters).to(ggn.prior))[order][:, order].double()
    scale = s.diagonal().rsqrt()
    scaled = scale[:, None] * (s + residual_curvature(problem, group)) * scale
    return float(torch.linalg.eigvalsh(scaled)[0]) if bool(scaled.isfinite().all()) else 0.0


def _is_affordable(problem: LaplaceProblem) -> bool:
    p = problem.num_parameters
    if len(problem.blocks) == 1 or p > _MOST or problem.product_strategy == "per example":
        return False
    few = fits_in_memory(problem) and p * _PASSES * forward_macs(problem) <= MACS_PER_MINUTE / 50
    return few and problem.has_second_derivatives
