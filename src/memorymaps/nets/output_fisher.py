"""Root directions of the output curvature, `L [k, n, c]` with `Σ_k L_k L_kᵀ = w Λ`, for the curvature pass.

exact       all directions of Λ (the generalised Gauss–Newton matrix, the Fisher information)
leading     three leading directions of each Λ and one signed sum of the others: for many outputs
mc          one sample of the target from the model, `E L Lᵀ = Λ`
empirical   the observed errors; not the curvature of the model, provided for comparison
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from memorymaps.core.likelihoods.base import Likelihood
from memorymaps.core.perturbation.curvature_sketch import nystrom_sketch, random_signs

FisherRoot = Callable[[Likelihood, Tensor, Tensor], Tensor]


def exact(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """All columns of a root of `Λ`, `[r, n, c]`; for softmax `r = c − 1`."""
    root: Tensor = likelihood.fisher_root(f.double(), y)
    return root.permute(2, 0, 1)


def leading_directions(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """The three leading directions of `Λ` and a signed sum of the others, `[4, n, c]`; unbiased."""
    root: Tensor = nystrom_sketch(likelihood, f.double(), y, 3, seed=1)
    return root.permute(2, 0, 1)


def monte_carlo(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """A random signed sum of the columns of a root of `Λ`, `[1, n, c]`; unbiased, seeded by the batch content."""
    f = f.double()
    root: Tensor = likelihood.fisher_root_matvec(f, y, random_signs(f, seed=1)[..., None])
    return root.permute(2, 0, 1)


def empirical(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """The errors `e_i`, `[1, n, c]` (empirical Fisher)."""
    error: Tensor = likelihood.error(f.double(), y)
    return error[None]


FISHER_ROOTS: dict[str, FisherRoot] = {
    "exact": exact,
    "leading": leading_directions,
    "mc": monte_carlo,
    "empirical": empirical,
}

FEW_DIRECTIONS = {"leading": 4, "mc": 1, "empirical": 1}  # of those roots that have not one for each output
