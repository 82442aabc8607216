"""A few directions that stand for a large `Λ`: the leading ones exactly, one signed random one for all others.

With `B = ΛU` and `M = UᵀΛU` the Nyström part `B M⁺ Bᵀ` never exceeds `Λ`, and what it leaves has the root
`(I − B M⁺Uᵀ) L`, `L Lᵀ = Λ`. Its columns, summed with random signs, give one direction `r` with `E r rᵀ` equal to
the rest, so that `tr(ΛV)` is unbiased however few directions are taken (method.md §5).
"""

from __future__ import annotations

import zlib

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from memorymaps._types import Array
from memorymaps.likelihoods import Likelihood

_STEPS = 2  # of subspace iteration, from the outputs with the largest curvature


def leading(likelihood: Likelihood, f: Array, y: Array, k: int, seed: int = 0) -> Array:
    """Directions `R [n, c, k + 1]` with `E R Rᵀ = Λ`; exact, its last column zero, where `k` reaches the rank.

    Curvature and leverage must not share a `seed`: a posterior that was built along the very directions it is asked
    about answers with too little variance.

    Examples
    --------
    >>> from memorymaps.likelihoods import Categorical
    >>> f, y = np.array([[2.0, 0.0, -1.0]]), np.array([0])
    >>> R = leading(Categorical(), f, y, k=2)
    >>> bool(np.allclose(R @ R.mT, Categorical().curvature(f, y)))
    True
    """
    xp = array_namespace(f)
    u = _subspace(likelihood, f, y, min(k, f.shape[1]))
    bent = likelihood.curve(f, y, u)
    values, vectors = xp.linalg.eigh(xp.matmul(xp.matrix_transpose(u), bent))
    good = values > 1e-12 * values[:, -1:]
    inverse = vectors * xp.where(good, 1 / xp.sqrt(xp.where(good, values, xp.ones_like(values))), 0 * values)[:, None]
    main = xp.matmul(bent, inverse)
    rest = likelihood.root(f, y, signs(f, seed)[..., None])
    inside = xp.matmul(xp.matrix_transpose(xp.matmul(u, inverse)), rest)
    return xp.concat([main, rest - xp.matmul(main, inside)], axis=-1)


def _subspace(likelihood: Likelihood, f: Array, y: Array, k: int) -> Array:
    """Orthonormal `U [n, c, k]` near the leading eigenvectors of `Λ`."""
    xp = array_namespace(f)
    left = likelihood.information(f, y)
    outputs = xp.arange(f.shape[1], device=device(f))[None]
    picked = []
    for _ in range(k):  # the k largest, without sorting a thousand outputs
        picked.append(outputs == xp.argmax(left, axis=-1)[:, None])
        left = xp.where(picked[-1], -xp.ones_like(left), left)
    u = xp.astype(xp.stack(picked, axis=-1), f.dtype)
    for _ in range(_STEPS):
        u = xp.linalg.qr(likelihood.curve(f, y, u)).Q
    return u


def signs(f: Array, seed: int = 0) -> Array:
    """Random signs in the shape of `f`, decided by seed and content: the same for the same batch, unlike for others."""
    xp = array_namespace(f)
    content = f.detach().cpu().numpy() if is_torch_array(f) else np.asarray(f)
    drawn = np.random.default_rng([seed, zlib.crc32(content.tobytes())]).integers(0, 2, f.shape) * 2.0 - 1
    return xp.asarray(drawn, dtype=f.dtype, device=device(f))
