"""Roots of the output curvature: directions `L [k, n, c]` with `Σ_k L_k L_kᵀ = w Λ`, which layers are asked along.

exact       all directions of Λ (the generalised Gauss–Newton matrix, the Fisher information)
leading     three leading directions of each Λ, one signed sum of the rest: for many outputs
mc          one draw of the target from the model, `E L Lᵀ = Λ`
empirical   the observed errors; not a curvature of this model, kept for comparison
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.perturbation.curvature_sketch import nystrom_sketch, signs

FisherRoot = Callable[[Likelihood, Tensor, Tensor], Tensor]


def exact(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """`[r, n, c]`: all columns of a root of `Λ`, of which softmax has one less than classes."""
    root: Tensor = likelihood.fisher_root(f.double(), y)
    return root.permute(2, 0, 1)


def leading_directions(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """`[4, n, c]`: the three leading directions and a signed sum of the rest; unbiased, four reverse passes."""
    root: Tensor = nystrom_sketch(likelihood, f.double(), y, 3, seed=1)
    return root.permute(2, 0, 1)


def monte_carlo(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """`[1, n, c]`: a random signed sum of a root's columns, decided by the content of the batch; unbiased."""
    f = f.double()
    root: Tensor = likelihood.fisher_root_matvec(f, y, signs(f, seed=1)[..., None])
    return root.permute(2, 0, 1)


def empirical(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """`[1, n, c]`: the errors `e_i`."""
    error: Tensor = likelihood.error(f.double(), y)
    return error[None]


FISHER_ROOTS: dict[str, FisherRoot] = {
    "exact": exact,
    "leading": leading_directions,
    "mc": monte_carlo,
    "empirical": empirical,
}
