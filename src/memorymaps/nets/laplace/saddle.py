"""Whether a stationary point of a network's loss is a minimum: its lowest curvature.

    H = S + R,    S = GGN + diag δ,    R = Σ_i Σ_c w_i e_ic ∇²f_ic

At a saddle point, as where all weights of a layer are zero, the gradient vanishes and says nothing; retraining leaves
it. In units of `D = diag S`, the precisions of single parameters with the others held: in those of `S` directions that
nothing determines but a prior of 1e-6 are so long that what is left of the gradient curves them. By all eigenvalues of
`D^{−1/2} H D^{−1/2}` or, of many parameters, the lowest one by Lanczos. On a kink, as networks of ReLUs have them, it
may be negative at a minimum, too.
"""

from __future__ import annotations

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

_MOST = 1000  # parameters of which all eigenvalues are computed
_PASSES = 10  # forward passes that a product with both matrices costs
_BASIS, _RESTARTS = 30, 3  # of Lanczos: vectors and restarts, …
_PRODUCTS = 70  # … products that these are at most
_ACCURACY = 0.1  # of the lowest eigenvalue


def lowest_curvature(problem: LaplaceProblem) -> float:
    """The lowest eigenvalue of `D^{−1/2} H D^{−1/2}`; 0 where it is not computed.

    It is not for networks that are linear in their parameters, without second derivatives, where it
    takes more than a second, or where Lanczos does not converge.
    """
    p = problem.num_parameters
    if problem.is_linear or not _is_affordable(problem, p if p <= _MOST else _PRODUCTS):
        return 0.0
    return (by_matrix if p <= _MOST else by_products)(in_memory(problem))


def _is_affordable(problem: LaplaceProblem, products: int) -> bool:
    if problem.product_strategy == "per example":
        return False
    few = fits_in_memory(problem) and products * _PASSES * forward_macs(problem) <= MACS_PER_MINUTE / 50
    return few and problem.has_second_derivatives


def by_matrix(problem: LaplaceProblem) -> float:
    """The lowest of all eigenvalues; 0 where entries are not finite."""
    group, ggn = ParameterGroup(problem.blocks), ggn_operator(problem)
    order = group_order(problem, (group,))
    s = ggn(torch.eye(problem.num_parameters).to(ggn.prior))[order][:, order].double()
    scale = s.diagonal().rsqrt()
    scaled = scale[:, None] * (s + residual_curvature(problem, group)) * scale
    return float(torch.linalg.eigvalsh(scaled)[0]) if bool(scaled.isfinite().all()) else 0.0


def by_products(problem: LaplaceProblem) -> float:
    """The lowest eigenvalue by Lanczos; 0 where it is no outlier, as at a minimum, or products are not finite."""
    group, ggn, p = ParameterGroup(problem.blocks), ggn_operator(problem), problem.num_parameters
    order, scale = group_order(problem, (group,)), _gauss_newton_diagonal(problem).rsqrt()
    back = order.argsort()

    def scaled(u: Array) -> Array:
        v = (scale * torch.as_tensor(u, device=scale.device))[None]
        product = ggn(v[:, back].to(ggn.prior))[:, order].double() + residual_products(problem, group, v)
        return to_numpy(scale * product[0])

    operator, start = LinearOperator((p, p), scaled, dtype=np.float64), np.random.default_rng(0).normal(size=p)
    if not np.isfinite(scaled(start)).all():
        return 0.0
    try:
        found = eigsh(
            operator, 1, which="SA", v0=start, ncv=_BASIS, maxiter=_RESTARTS, tol=_ACCURACY, return_eigenvectors=False
        )
    except ArpackNoConvergence:
        return 0.0
    return float(found[0])


def _gauss_newton_diagonal(problem: LaplaceProblem) -> Tensor:
    """`D [P]`, in the order of the blocks."""
    curvatures = [DiagonalCurvature(problem.zeros(*block.shape)) for block in problem.blocks]
    accumulate_over_data(problem, problem.block_groups, [*curvatures])
    pairs = zip(curvatures, problem.block_groups, strict=True)
    return torch.cat([(c.total + group.pack(problem.prior).double()).reshape(-1) for c, group in pairs])
