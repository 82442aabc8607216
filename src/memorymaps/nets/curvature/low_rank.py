"""Leading eigenvectors of the whitened curvature by Lanczos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from memorymaps.core.arrays import Array
from memorymaps.nets.autograd.batch_size import numpy
from memorymaps.nets.covariance.block_diagonal import Covariance
from memorymaps.nets.covariance.woodbury import Woodbury
from memorymaps.nets.curvature.ggn import operator_of, order_of
from memorymaps.nets.curvature.structure import Deltas, Held, _prior_only
from memorymaps.nets.problem import Setting


def _lowrank(setting: Setting) -> Held[Covariance]:
    """Leading eigenvectors of the whitened curvature by Lanczos, the prior for all other directions."""
    rank = min(setting.recipe.rows, setting.count)
    return Held(lambda deltas: _leading(setting, deltas, rank), (f"{rank:,} leading eigenvectors",))


def _leading(setting: Setting, deltas: Deltas, rank: int) -> Covariance:
    base, operator = _prior_only(setting, deltas), operator_of(setting, with_prior=False)
    order = order_of(setting, base.groups)

    def whitened(q: Array) -> Array:
        """The curvature between whitened parameters, of columns `[P, k]`."""
        along = base.unwhiten(torch.as_tensor(q.T).to(operator.prior))[:, order.argsort()]
        return numpy(base.whiten(operator(along)[:, order])).T

    values, vectors = _largest(whitened, setting.count, rank, 100 * torch.finfo(operator.prior.dtype).eps)
    rows = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T
    return Covariance(base.groups, base.parts, Woodbury.of(torch.as_tensor(rows).to(operator.prior.device)))


def _largest(act: Callable[[Array], Array], size: int, rank: int, tolerance: float) -> tuple[Array, Array]:
    """The `rank` largest eigenvalues and their vectors `[size, rank]`: by Lanczos, or from all columns if they are few.

    Raises
    ------
    RuntimeError
        Lanczos does not converge.
    """
    if 3 * rank > size:
        matrix = act(np.eye(size))
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        return values[-rank:], vectors[:, -rank:]
    operator = LinearOperator((size, size), lambda v: act(v.reshape(-1, 1))[:, 0], dtype=np.float64)
    start = np.random.default_rng(0).normal(size=size)
    try:
        found: tuple[Array, Array] = eigsh(operator, rank, which="LA", v0=start, tol=tolerance)
    except ArpackNoConvergence as error:
        raise RuntimeError(
            f"structure='lowrank': {len(error.eigenvalues)} of {rank} leading eigenvectors converged. Ask for fewer, "
            "Laplace('lowrank', rows=…), or use 'active_set' or 'ekfac'"
        ) from error
    return found
