"""Curvature of concave losses taken from a posterior: `S = S₊ − N`, where `N` is what they subtract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.linalg as sl

from memorymaps.core.arrays import Array
from memorymaps.core.covariance_roots import AnyCovarianceRoot, CovarianceRoot, IndependentCovarianceRoots


def subtract_curvature(root: AnyCovarianceRoot, concave: Array) -> AnyCovarianceRoot | None:
    """`S^{-1/2}` of `S₊ − N` from that of `S₊` and `N [c, p, p]`; `None` where the difference is not positive definite.

    With `S₊⁻¹ = WWᵀ` and `I − WᵀNW = LLᵀ`: `S⁻¹ = (WL⁻ᵀ)(WL⁻ᵀ)ᵀ`.

    Examples
    --------
    >>> half = subtract_curvature(CovarianceRoot(np.ones((1, 1, 1))), np.full((1, 1, 1), 0.5))
    >>> half.root**2
    array([[[2.]]])
    """
    if not np.any(concave):
        return root
    parts = root.roots if isinstance(root, IndependentCovarianceRoots) else (root,)
    found = [_subtract(part.root[0], own) for part, own in zip(parts, concave, strict=True)]
    if any(each is None for each in found):
        return None
    roots = tuple(replace(part, root=np.asarray(half)[None]) for half, part in zip(found, parts, strict=True))
    return roots[0] if isinstance(root, CovarianceRoot) else IndependentCovarianceRoots(roots)


def _subtract(root: Array, concave: Array) -> Array | None:
    try:
        factor = np.linalg.cholesky(np.eye(root.shape[1]) - root.T @ concave @ root)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(sl.solve_triangular(factor, root.T, lower=True).T)
