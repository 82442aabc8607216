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

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood

# Inside, a direction lies together in memory, [n, k, c]; at the doors it is the usual [n, c, k].
_OVERSAMPLING = 6  # outputs that are rotated with those that give the directions


def nystrom_sketch(likelihood: Likelihood, f: Array, y: Array, k: int, seed: int = 0) -> Array:
    """Directions `R [n, c, k + 1]` with `E R Rᵀ = Λ`; exact, its last column zero, where `k` reaches the rank.

    Curvature and leverage must not share a `seed`: a posterior that was built along the very directions it is asked
    about answers with too little variance.

    Examples
    --------
    >>> from memorymaps.core.likelihoods.categorical import Categorical
    >>> f, y = np.array([[2.0, 0.0, -1.0]]), np.array([0])
    >>> R = leading(Categorical(), f, y, k=2)
    >>> bool(np.allclose(R @ R.mT, Categorical().curvature(f, y)))
    True
    """
    xp = array_namespace(f)
    return xp.matrix_transpose(xp.concat(_nystrom(*_range_and_image(likelihood, f, y, k, seed)), axis=-2))


def deflated_nystrom(likelihood: Likelihood, f: Array, y: Array, error: Array, k: int, seed: int = 0) -> Array:
    """`R [n, c, k + 1]` with `γ² e eᵀ + E R Rᵀ = Λ`, `γ² = 1/(eᵀΛ⁺e)`: for a map, which asks about `e` anyway.

    Of a confident, correct prediction `e` is nearly the leading direction itself.
    """
    xp = array_namespace(f)
    u, bent, rest = _range_and_image(likelihood, f, y, k + 1, seed)
    e, (along, kappa) = error[:, None], likelihood.score_preimage(f, y)
    part = _reciprocal(along(e))[..., None]
    bent = bent - kappa[:, None, None] * part * xp.matmul(u, xp.matrix_transpose(e)) * e
    rest = rest - part * along(rest)[..., None] * e
    return xp.matrix_transpose(xp.concat(_top_k(*_nystrom(u, bent, rest), k, random_signs(f[:, :1], seed)), axis=-2))


def error_and_roots(likelihood: Likelihood, f: Array, y: Array, weight: Array, k: int) -> Array:
    """`D = [w e, √w R] [n, c, k + 2]`: the error and the directions beside it, of every example with its weight."""
    xp, error = array_namespace(f), likelihood.error(f, y)
    roots = xp.matrix_transpose(deflated_nystrom(likelihood, f, y, error, k))
    whole, half = (each[:, None, None] for each in (weight, xp.sqrt(weight)))
    return xp.matrix_transpose(xp.concat([whole * error[:, None], half * roots], axis=-2))


def root_scales(likelihood: Likelihood, f: Array, y: Array, d: Array) -> Array:
    """`[n, k]`: what the columns of `D` are multiplied by to be a root of `w Λ`; all but the error are one already."""
    xp = array_namespace(f)
    along, kappa = likelihood.score_preimage(f, y)
    first = xp.sqrt(kappa[:, None] * _reciprocal(along(d[:, None, :, 0])))
    return xp.concat([first, xp.ones_like(d[:, 0, 1:])], axis=-1)


def _range_and_image(likelihood: Likelihood, f: Array, y: Array, k: int, seed: int) -> tuple[Array, Array, Array]:
    """`Uᵀ [n, k, c]`, `(ΛU)ᵀ` and the signed sum of all columns of `L`, `[n, 1, c]`."""
    xp = array_namespace(f)
    guess = likelihood.fisher_root_matvec(f, y, _initial_subspace(likelihood, f, y, k, random_signs(f, seed)))
    bent = likelihood.fisher_matvec(f, y, guess[..., :-1])
    return tuple(xp.matrix_transpose(each) for each in (guess[..., :-1], bent, guess[..., -1:]))


def _nystrom(u: Array, bent: Array, rest: Array) -> tuple[Array, Array]:
    """`(B M^{+½})ᵀ [n, k, c]`, and the rest without its part in it."""
    xp = array_namespace(u)
    inverse = xp.matrix_transpose(_inverse_root(xp.matmul(u, xp.matrix_transpose(bent))))
    main = xp.matmul(inverse, bent)
    inside = xp.matmul(inverse, xp.matmul(u, xp.matrix_transpose(rest)))
    return main, rest - xp.matmul(xp.matrix_transpose(inside), main)


def _top_k(main: Array, rest: Array, k: int, sign: Array) -> tuple[Array, Array]:
    """The `k` longest of the directions `main`, rotated to be orthogonal; any other joins the rest with a sign."""
    xp = array_namespace(main)
    rotation = xp.flip(xp.linalg.eigh(xp.matmul(main, xp.matrix_transpose(main)))[1], axis=-1)
    turned = xp.matmul(xp.matrix_transpose(rotation), main)
    return turned[:, :k], rest + sign[..., None] * xp.sum(turned[:, k:], axis=-2, keepdims=True)


def _reciprocal(size: Array) -> Array:
    """`1/x`, zero where nothing is there."""
    xp = array_namespace(size)
    return xp.where(size > 0, 1 / xp.where(size > 0, size, xp.ones_like(size)), xp.zeros_like(size))


def _initial_subspace(likelihood: Likelihood, f: Array, y: Array, k: int, sign: Array) -> Array:
    """`[n, c, k + 1]`: `L` times it are the `k` longest rotated columns, and all columns summed with signs."""
    xp, c = array_namespace(f), f.shape[1]
    top = _top_positions(likelihood.fisher_diagonal(f, y), min(k + _OVERSAMPLING, c))
    rotation = xp.flip(xp.linalg.eigh(likelihood.fisher_root_gram(f, y, top))[1], axis=-1)
    rest = xp.sum(rotation * sign[:, None, : rotation.shape[-1]], axis=-1)
    v = xp.zeros((len(f), min(k, c) + 1, c), dtype=f.dtype, device=device(f))
    v[:, -1] = sign
    v[xp.arange(len(f), device=device(f))[:, None], :, top] = xp.concat([rotation[..., :k], rest[..., None]], axis=-1)
    return xp.matrix_transpose(v)


def _inverse_root(m: Array) -> Array:
    """`M^{+½}`, up to a rotation: `W [n, k, k]` with `W Wᵀ = M⁺`, whatever the lengths that `M` was made of."""
    xp = array_namespace(m)
    size = xp.linalg.diagonal(m)
    scale = xp.sqrt(_reciprocal(size))
    values, vectors = xp.linalg.eigh(scale[..., :, None] * m * scale[..., None, :])
    good = values > 1e-12 * values[:, -1:]
    root = xp.where(good, 1 / xp.sqrt(xp.where(good, values, xp.ones_like(values))), xp.zeros_like(values))
    return scale[..., :, None] * vectors * root[:, None]


def _top_positions(values: Array, m: int) -> Array:
    """Places `[n, m]` of the `m` largest values in each row, without sorting a thousand of them."""
    xp = array_namespace(values)
    left, rows = xp.asarray(values, copy=True), xp.arange(len(values), device=device(values))
    found = []
    for _ in range(m):
        found.append(xp.argmax(left, axis=-1))
        left[rows, found[-1]] = -math.inf
    return xp.stack(found, axis=-1)


def random_signs(f: Array, seed: int = 0) -> Array:
    """Random signs in the shape of `f`, decided by seed and content: the same for the same batch, unlike for others."""
    xp = array_namespace(f)
    content = f.detach().cpu().numpy() if is_torch_array(f) else np.asarray(f)
    some = np.ascontiguousarray(content[:, :8])  # enough to know it by
    bits = np.random.default_rng([seed, zlib.crc32(some.tobytes())]).bytes(-(-content.size // 8))
    drawn = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=content.size).reshape(f.shape) * 2.0 - 1
    return xp.asarray(drawn, dtype=f.dtype, device=device(f))
