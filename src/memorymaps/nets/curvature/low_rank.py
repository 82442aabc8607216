"""Leading eigenvectors of the whitened curvature, by Lanczos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.batch_size import to_numpy
from memorymaps.nets.covariance.block_diagonal import BlockDiagonalCovariance
from memorymaps.nets.covariance.woodbury import Woodbury
from memorymaps.nets.curvature.ggn import ggn_operator, group_order
from memorymaps.nets.curvature.structure import CurvatureEstimate, CurvatureStructure, Deltas, prior_covariance
from memorymaps.nets.laplace_problem import LaplaceProblem


@dataclass(frozen=True)
class LowRank(CurvatureStructure):
    """The `rows` leading eigenvectors of the whitened curvature by Lanczos, the prior for all other directions."""

    rows: int = 400
    name = "lowrank"
    shared = True

    def fit(self, problem: LaplaceProblem) -> CurvatureEstimate[BlockDiagonalCovariance]:
        """Eigenvectors are computed for the prior that is added."""
        rank = min(self.rows, problem.num_parameters)
        note = f"{rank:,} leading eigenvectors"
        return CurvatureEstimate(lambda deltas: _leading_covariance(problem, deltas, rank), (note,))


def _leading_covariance(problem: LaplaceProblem, deltas: Deltas, rank: int) -> BlockDiagonalCovariance:
    base, operator = prior_covariance(problem, deltas), ggn_operator(problem, with_prior=False)
    order = group_order(problem, base.groups)

    def whitened(q: Array) -> Array:
        """Product of the curvature in whitened coordinates with columns `[P, k]`."""
        v = base.block_inv_sqrt_matvec(torch.as_tensor(q.T).to(operator.prior))[:, order.argsort()]
        return to_numpy(base.block_inv_sqrt_rmatvec(operator(v)[:, order])).T

    values, vectors = _top_eigenpairs(
        whitened, problem.num_parameters, rank, 100 * torch.finfo(operator.prior.dtype).eps
    )
    rows = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
    return BlockDiagonalCovariance(
        base.groups, base.precisions, Woodbury.from_rows(torch.as_tensor(rows).to(operator.prior.device))
    )


def _top_eigenpairs(matmat: Callable[[Array], Array], size: int, rank: int, tolerance: float) -> tuple[Array, Array]:
    """The `rank` largest eigenvalues and their eigenvectors `[size, rank]`, by Lanczos (dense if `rank > size/3`).

    Raises
    ------
    RuntimeError
        Lanczos does not converge.
    """
    if 3 * rank > size:
        matrix = matmat(np.eye(size))
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        return values[-rank:], vectors[:, -rank:]
    operator = LinearOperator((size, size), lambda v: matmat(v.reshape(-1, 1))[:, 0], dtype=np.float64)
    start = np.random.default_rng(0).normal(size=size)
    try:
        found: tuple[Array, Array] = eigsh(operator, rank, which="LA", v0=start, tol=tolerance)
    except ArpackNoConvergence as error:
        raise RuntimeError(
            f"structure='lowrank': {len(error.eigenvalues)} of {rank} leading eigenvectors converged. Request fewer, "
            "Laplace('lowrank', rows=…), or use 'active_set' or 'ekfac'"
        ) from error
    return found
