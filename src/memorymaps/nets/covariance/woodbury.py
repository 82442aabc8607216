"""Products with the inverse of a precision plus a low-rank term, by the Woodbury identity.

`S = D + AᵀA` with rows `A [m, P]`: in whitened coordinates `U = A D^{-1/2}`,
`V = z zᵀ − z Uᵀ(I + U Uᵀ)⁻¹U zᵀ` with `z = J D^{-1/2}`. With the rows of the examples with the largest curvature
this is the active set; with all rows and `D` the prior the exact dual (Gram) form; with leading eigenvectors, low rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorymaps.nets.covariance.rounding import OF_DIFFERENCES


@dataclass(frozen=True)
class Woodbury:
    """Whitened rows `U [m, P]` and the eigendecomposition of `U Uᵀ`, in double precision."""

    rows: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor

    @classmethod
    def from_rows(cls, rows: Tensor) -> Woodbury:
        """From whitened rows `U [m, P]`."""
        rows = rows.double()
        eigenvalues, eigenvectors = torch.linalg.eigh(rows @ rows.T)
        return cls(rows, eigenvalues.clamp(min=0), eigenvectors)

    def variance(self, z: Tensor) -> Tensor:
        """Variances `V [n, k, k]` for whitened gradients `z [n, k, P]`."""
        wide = z.double()
        x = self._project(z) / (1 + self.eigenvalues).sqrt()
        return wide @ wide.transpose(1, 2) - x @ x.transpose(1, 2)

    @property
    def rounding(self) -> float:
        """`10 ε tr U Uᵀ`: variances are differences of `z zᵀ` and the rest."""
        return OF_DIFFERENCES * float(self.eigenvalues.sum())

    def inv_sqrt_matvec(self, z: Tensor) -> Tensor:
        """`(I + UᵀU)^{-1/2} z [..., P]` (the root is symmetric)."""
        gain = (1 - (1 + self.eigenvalues).rsqrt()) / self.eigenvalues.clamp(min=1e-300)
        return z.double() - ((self._project(z) * gain) @ self.eigenvectors.T) @ self.rows

    def solve(self, z: Tensor) -> Tensor:
        """`(I + UᵀU)⁻¹z [..., P]`."""
        return z.double() - ((self._project(z) / (1 + self.eigenvalues)) @ self.eigenvectors.T) @ self.rows

    def inverse_trace(self, weight: Tensor) -> float:
        """`tr(diag(w) (I + UᵀU)⁻¹)` for `w [P]`."""
        rotated = (self.eigenvectors.T @ self.rows).square() @ weight.double()
        return float(weight.double().sum() - (rotated / (1 + self.eigenvalues)).sum())

    def _project(self, z: Tensor) -> Tensor:
        """Coordinates of `U z` in the eigenvectors of `U Uᵀ`, `[..., m]`."""
        return (z.double() @ self.rows.T) @ self.eigenvectors
