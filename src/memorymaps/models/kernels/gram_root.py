"""A root `K = L Lᵀ` of a Gram matrix by pivoted Cholesky: features in which a kernel model is a linear predictor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

from memorymaps.core.arrays import Array

_NEGLIGIBLE = 1e-13  # of the largest prior variance: what the columns that are left out explain of any


@dataclass(frozen=True)
class GramRoot:
    """Features `L [N, r]` of the training inputs with `L Lᵀ = K`; `pivots [r]` are the rows in which `L` is triangular.

    Few columns where the kernel is smooth, `N` where it is not. (LAPACK: `pstrf`)
    """

    features: Array
    pivots: Array

    @classmethod
    def of(cls, gram: Array) -> GramRoot:
        """Of `K [N, N]`, positive semi-definite: `N r²` multiplications."""
        packed, order, rank, _ = dpstrf(gram, tol=_NEGLIGIBLE * float(np.max(np.diagonal(gram))), lower=1)
        features = np.empty((len(gram), rank))
        features[order - 1] = np.tril(packed)[:, :rank]
        return cls(features, order[:rank] - 1)

    def at(self, cross: Array) -> Array:
        """Features `[k, r]` of other inputs, from `k(x, X) [k, N]`."""
        triangular = self.features[self.pivots]
        return np.asarray(solve_triangular(triangular, cross[:, self.pivots].T, lower=True).T)
