"""Roots of the output curvature: directions `L [k, n, c]` with `Σ_k L_k L_kᵀ = w Λ`, which layers are asked along.

exact       all directions of Λ (the generalised Gauss–Newton matrix, the Fisher information)
mc          one draw of the target from the model, `E L Lᵀ = Λ`
empirical   the observed errors; not a curvature of this model, kept for comparison
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from memorymaps.likelihoods import Categorical, Likelihood

Root = Callable[[Likelihood, Tensor, Tensor], Tensor]


def exact(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """`[c, n, c]`: eigen-directions of `Λ`; for softmax the closed form `√p_k (1_k − p)`."""
    f = f.double()
    if isinstance(likelihood, Categorical):
        p = likelihood.mean(f)
        return (torch.eye(p.shape[1]).to(p)[:, None] - p) * p.T.sqrt()[..., None]
    values, vectors = torch.linalg.eigh(likelihood.curvature(f))
    return (vectors * values.clamp(min=0).sqrt()[:, None]).permute(2, 0, 1)


def monte_carlo(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """`[1, n, c]`: a random signed sum of the exact directions, seeded by the data; unbiased, one reverse pass."""
    roots = exact(likelihood, f, y)
    generator = torch.Generator(device="cpu").manual_seed(len(f))
    signs = torch.randint(0, 2, roots.shape[:2], generator=generator).to(roots) * 2 - 1
    return torch.einsum("kn,knc->nc", signs, roots)[None]


def empirical(likelihood: Likelihood, f: Tensor, y: Tensor) -> Tensor:
    """`[1, n, c]`: the errors `e_i`."""
    error: Tensor = likelihood.error(f.double(), y)
    return error[None]


ROOTS: dict[str, Root] = {"exact": exact, "mc": monte_carlo, "empirical": empirical}
