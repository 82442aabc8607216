"""An approximate inverse Hessian made exact along the directions in which it errs most.

`H u = μ S u` in the Krylov space of `S̃⁻¹H`: `B⁻¹ = S̃⁻¹ + U (1/|μ| − 1) Uᵀ` with `Uᵀ S̃ U = 1`. Without an example,
`B_{−i} = B − AᵀA` for its rows `A` of the weighted Jacobian, by Woodbury's formula. It precedes optimisation only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Product = Callable[[np.ndarray], np.ndarray]
SMALLEST, KEPT = 0.05, 1e-10  # of |μ|; of the norm of a new direction, below which the space is exhausted


class Correction(NamedTuple):
    """`g ↦ B⁻¹g`, `μ [k]`, ascending, and their directions `U [k, P]`."""

    solve: Product
    mu: np.ndarray
    directions: np.ndarray


def corrected(solve: Product, hessian: Product, start: np.ndarray, directions: int) -> Correction:
    """By that many steps of Lanczos in the norm of `S̃`."""
    basis, mean = lanczos(solve, hessian, start, directions)
    mu, rotation = np.linalg.eigh((mean + mean.T) / 2)
    u = rotation.T @ basis
    scale = 1 / np.maximum(np.abs(mu), SMALLEST) - 1
    return Correction(lambda g: solve(g) + (scale * (u @ g)) @ u, mu, u)


def lanczos(solve: Product, hessian: Product, start: np.ndarray, directions: int) -> tuple[np.ndarray, np.ndarray]:
    """`V [k, P]` with `V S̃ Vᵀ = 1`, and `V H Vᵀ`; each direction is made orthogonal to all before."""
    basis, duals = np.empty((directions, len(start))), np.empty((directions, len(start)))
    mean, dual = np.zeros((directions, directions)), start
    for k in range(directions):
        for _ in range(2):
            dual = dual - (basis[:k] @ dual) @ duals[:k]
        v = solve(dual)
        size = float(dual @ v) ** 0.5
        if not size > KEPT:
            return basis[:k], mean[:k, :k]
        basis[k], duals[k] = v / size, dual / size
        dual = hessian(basis[k])
        mean[k, : k + 1] = mean[: k + 1, k] = basis[: k + 1] @ dual
    return basis, mean


def without_rows(solve: Product, rows: np.ndarray) -> Product:
    """`(B − AᵀA)⁻¹`; eigenvalues of `1 − A B⁻¹Aᵀ` are `SMALLEST` at least."""
    columns = np.stack([solve(row) for row in rows])
    values, vectors = np.linalg.eigh(np.eye(len(rows)) - (rows @ columns.T + columns @ rows.T) / 2)
    turned = vectors.T @ columns
    return lambda g: solve(g) + (turned @ g / np.maximum(values, SMALLEST)) @ turned
