"""A few directions that stand for a large `Λ`: the leading ones exactly, one signed random one for all others.

With `B = ΛU` and `M = UᵀΛU` the Nyström part `B M⁺ Bᵀ` never exceeds `Λ`, and what it leaves has the root
`(I − B M⁺Uᵀ) L`, `L Lᵀ = Λ`. Its columns, summed with random signs, give one direction `r` with `E r rᵀ` equal to
the rest, so that `tr(ΛV)` is unbiased however few directions are taken (method.md §5). `U` is a first guess: the
columns of `L` that belong to the outputs with the largest curvature, rotated to be orthogonal, the longest of them.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from memorymaps._types import Array
from memorymaps.likelihoods import Likelihood

# Inside, a direction lies together in memory, [n, k, c]; at the doors it is the usual [n, c, k].
_SPARE = 6  # outputs that are rotated with those that give the directions


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
    guess = likelihood.root(f, y, _rotated(likelihood, f, y, k, signs(f, seed)))
    u, rest = xp.matrix_transpose(guess[..., :-1]), xp.matrix_transpose(guess[..., -1:])
    bent = xp.matrix_transpose(likelihood.curve(f, y, guess[..., :-1]))
    inverse = xp.matrix_transpose(_inverse_root(xp.matmul(u, xp.matrix_transpose(bent))))
    main = xp.matmul(inverse, bent)
    inside = xp.matmul(inverse, xp.matmul(u, xp.matrix_transpose(rest)))
    return xp.matrix_transpose(xp.concat([main, rest - xp.matmul(xp.matrix_transpose(inside), main)], axis=-2))


def error_and_roots(likelihood: Likelihood, f: Array, y: Array, weight: Array, k: int) -> Array:
    """`D = [w e, √w R] [n, c, k + 2]`: the error and the leading directions of every example with its weight."""
    xp = array_namespace(f)
    roots = xp.matrix_transpose(leading(likelihood, f, y, k))
    whole, half = (each[:, None, None] for each in (weight, xp.sqrt(weight)))
    return xp.matrix_transpose(xp.concat([whole * likelihood.error(f, y)[:, None], half * roots], axis=-2))


def _rotated(likelihood: Likelihood, f: Array, y: Array, k: int, sign: Array) -> Array:
    """`[n, c, k + 1]`: `L` times it are the `k` longest rotated columns, and all columns summed with signs."""
    xp, c = array_namespace(f), f.shape[1]
    top = _largest(likelihood.information(f, y), min(k + _SPARE, c))
    rotation = xp.flip(xp.linalg.eigh(likelihood.root_gram(f, y, top))[1], axis=-1)
    rest = xp.sum(rotation * sign[:, None, : rotation.shape[-1]], axis=-1)
    v = xp.zeros((len(f), min(k, c) + 1, c), dtype=f.dtype, device=device(f))
    v[:, -1] = sign
    v[xp.arange(len(f), device=device(f))[:, None], :, top] = xp.concat([rotation[..., :k], rest[..., None]], axis=-1)
    return xp.matrix_transpose(v)


def _inverse_root(m: Array) -> Array:
    """`M^{+½}`, up to a rotation: `W [n, k, k]` with `W Wᵀ = M⁺`, whatever the lengths that `M` was made of."""
    xp = array_namespace(m)
    size = xp.linalg.diagonal(m)
    scale = xp.where(size > 0, 1 / xp.sqrt(xp.where(size > 0, size, xp.ones_like(size))), xp.zeros_like(size))
    values, vectors = xp.linalg.eigh(scale[..., :, None] * m * scale[..., None, :])
    good = values > 1e-12 * values[:, -1:]
    root = xp.where(good, 1 / xp.sqrt(xp.where(good, values, xp.ones_like(values))), xp.zeros_like(values))
    return scale[..., :, None] * vectors * root[:, None]


def _largest(values: Array, m: int) -> Array:
    """Places `[n, m]` of the `m` largest values in each row, without sorting a thousand of them."""
    xp = array_namespace(values)
    left, rows = xp.asarray(values, copy=True), xp.arange(len(values), device=device(values))
    found = []
    for _ in range(m):
        found.append(xp.argmax(left, axis=-1))
        left[rows, found[-1]] = -math.inf
    return xp.stack(found, axis=-1)


def signs(f: Array, seed: int = 0) -> Array:
    """Random signs in the shape of `f`, decided by seed and content: the same for the same batch, unlike for others."""
    xp = array_namespace(f)
    content = f.detach().cpu().numpy() if is_torch_array(f) else np.asarray(f)
    some = np.ascontiguousarray(content[:, :8])  # enough to know it by
    bits = np.random.default_rng([seed, zlib.crc32(some.tobytes())]).bytes(-(-content.size // 8))
    drawn = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=content.size).reshape(f.shape) * 2.0 - 1
    return xp.asarray(drawn, dtype=f.dtype, device=device(f))
