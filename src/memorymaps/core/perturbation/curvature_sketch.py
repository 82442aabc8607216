"""Sketch of a large `Λ` by a few directions: a Nyström approximation plus one random direction for the residual.

With `B = ΛU` and `M = UᵀΛU` the Nyström approximation `B M⁺ Bᵀ ⪯ Λ` leaves a residual with the root
`(I − B M⁺Uᵀ) L`, `L Lᵀ = Λ`. The sum of the root's columns with random signs is one direction `r` with `E r rᵀ` equal
to the residual, so that `tr(ΛV)` is unbiased for any number of directions (method.md §5). The initial subspace `U`:
the columns of `L` of the outputs with the largest curvature, rotated to be orthogonal, the longest of them.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array

from memorymaps.core.arrays import Array
from memorymaps.core.likelihoods.base import Likelihood

# Internally a direction is contiguous in memory, [n, k, c]; arguments and results are [n, c, k].
_OVERSAMPLING = 6  # further outputs in the initial subspace


def nystrom_sketch(likelihood: Likelihood, f: Array, y: Array, k: int, seed: int = 0) -> Array:
    """Directions `R [n, c, k + 1]` with `E R Rᵀ = Λ`; exact, with the last column zero, if `k` reaches the rank of `Λ`.

    Use different seeds for the curvature of a posterior and for the leverage: the variance is underestimated along
    the directions from which the posterior was built.

    Examples
    --------
    >>> from memorymaps.core.likelihoods.categorical import Categorical
    >>> f, y = np.array([[2.0, 0.0, -1.0]]), np.array([0])
    >>> R = nystrom_sketch(Categorical(), f, y, k=2)
    >>> bool(np.allclose(R @ R.mT, Categorical().curvature(f, y)))
    True
    """
    xp = array_namespace(f)
    return xp.matrix_transpose(xp.concat(_nystrom(*_range_and_image(likelihood, f, y, k, seed)), axis=-2))


def deflated_nystrom(likelihood: Likelihood, f: Array, y: Array, error: Array, k: int, seed: int = 0) -> Array:
    """`R [n, c, k + 1]` with `γ² e eᵀ + E R Rᵀ = Λ`, `γ² = 1/(eᵀΛ⁺e)`: the sketch after deflation of the error `e`.

    A map needs `V e` in any case, and for confident, correct predictions `e` is nearly the leading direction of `Λ`.
    """
    xp = array_namespace(f)
    u, image, rest = _range_and_image(likelihood, f, y, k + 1, seed)
    e, (product, kappa) = error[:, None], likelihood.score_preimage(f, y)
    scale = _reciprocal(product(e))[..., None]
    image = image - kappa[:, None, None] * scale * xp.matmul(u, xp.matrix_transpose(e)) * e
    rest = rest - scale * product(rest)[..., None] * e
    return xp.matrix_transpose(xp.concat(_top_k(*_nystrom(u, image, rest), k, random_signs(f[:, :1], seed)), axis=-2))


def error_and_roots(likelihood: Likelihood, f: Array, y: Array, weight: Array, k: int) -> Array:
    """`D = [w e, √w R] [n, c, k + 2]`: weighted errors and weighted directions of `deflated_nystrom`."""
    xp, error = array_namespace(f), likelihood.error(f, y)
    roots = xp.matrix_transpose(deflated_nystrom(likelihood, f, y, error, k))
    whole, half = (each[:, None, None] for each in (weight, xp.sqrt(weight)))
    return xp.matrix_transpose(xp.concat([whole * error[:, None], half * roots], axis=-2))


def root_scales(likelihood: Likelihood, f: Array, y: Array, d: Array) -> Array:
    """Factors `[n, k]` that make the columns of `D` a root of `wΛ`: `γ` for the error, one for the others."""
    xp = array_namespace(f)
    product, kappa = likelihood.score_preimage(f, y)
    first = xp.sqrt(kappa[:, None] * _reciprocal(product(d[:, None, :, 0])))
    return xp.concat([first, xp.ones_like(d[:, 0, 1:])], axis=-1)


def _range_and_image(likelihood: Likelihood, f: Array, y: Array, k: int, seed: int) -> tuple[Array, Array, Array]:
    """`Uᵀ [n, k, c]`, `(ΛU)ᵀ [n, k, c]` and the signed sum of all columns of `L`, `[n, 1, c]`."""
    xp = array_namespace(f)
    guess = likelihood.fisher_root_matvec(f, y, _initial_subspace(likelihood, f, y, k, random_signs(f, seed)))
    image = likelihood.fisher_matvec(f, y, guess[..., :-1])
    return tuple(xp.matrix_transpose(each) for each in (guess[..., :-1], image, guess[..., -1:]))


def _nystrom(u: Array, image: Array, rest: Array) -> tuple[Array, Array]:
    """`(B M^{+½})ᵀ [n, k, c]`, and `rest` minus its component in the Nyström approximation."""
    xp = array_namespace(u)
    inverse = xp.matrix_transpose(_inverse_root(xp.matmul(u, xp.matrix_transpose(image))))
    main = xp.matmul(inverse, image)
    coefficients = xp.matmul(inverse, xp.matmul(u, xp.matrix_transpose(rest)))
    return main, rest - xp.matmul(xp.matrix_transpose(coefficients), main)


def _top_k(main: Array, rest: Array, k: int, sign: Array) -> tuple[Array, Array]:
    """The `k` longest directions of `main` after rotation to orthogonality; the others join `rest` with signs."""
    xp = array_namespace(main)
    rotation = xp.flip(xp.linalg.eigh(xp.matmul(main, xp.matrix_transpose(main)))[1], axis=-1)
    rotated = xp.matmul(xp.matrix_transpose(rotation), main)
    return rotated[:, :k], rest + sign[..., None] * xp.sum(rotated[:, k:], axis=-2, keepdims=True)


def _reciprocal(size: Array) -> Array:
    """`1/x` where `x > 0`, else zero."""
    xp = array_namespace(size)
    return xp.where(size > 0, 1 / xp.where(size > 0, size, xp.ones_like(size)), xp.zeros_like(size))


def _initial_subspace(likelihood: Likelihood, f: Array, y: Array, k: int, sign: Array) -> Array:
    """`[n, c, k + 1]`: times `L`, the `k` longest rotated columns of `L` and the signed sum of all its columns."""
    xp, c = array_namespace(f), f.shape[1]
    top = _top_positions(likelihood.fisher_diagonal(f, y), min(k + _OVERSAMPLING, c))
    rotation = xp.flip(xp.linalg.eigh(likelihood.fisher_root_gram(f, y, top))[1], axis=-1)
    rest = xp.sum(rotation * sign[:, None, : rotation.shape[-1]], axis=-1)
    v = xp.zeros((len(f), min(k, c) + 1, c), dtype=f.dtype, device=device(f))
    v[:, -1] = sign
    v[xp.arange(len(f), device=device(f))[:, None], :, top] = xp.concat([rotation[..., :k], rest[..., None]], axis=-1)
    return xp.matrix_transpose(v)


def _inverse_root(m: Array) -> Array:
    """`W [n, k, k]` with `W Wᵀ = M⁺`, computed after scaling the diagonal of `M` to one."""
    xp = array_namespace(m)
    size = xp.linalg.diagonal(m)
    scale = xp.sqrt(_reciprocal(size))
    values, vectors = xp.linalg.eigh(scale[..., :, None] * m * scale[..., None, :])
    positive = values > 1e-12 * values[:, -1:]
    root = xp.where(positive, 1 / xp.sqrt(xp.where(positive, values, xp.ones_like(values))), xp.zeros_like(values))
    return scale[..., :, None] * vectors * root[:, None]


def _top_positions(values: Array, m: int) -> Array:
    """Positions `[n, m]` of the `m` largest values in each row, by repeated argmax (no full sort)."""
    xp = array_namespace(values)
    remaining, rows = xp.asarray(values, copy=True), xp.arange(len(values), device=device(values))
    found = []
    for _ in range(m):
        found.append(xp.argmax(remaining, axis=-1))
        remaining[rows, found[-1]] = -math.inf
    return xp.stack(found, axis=-1)


def random_signs(f: Array, seed: int = 0) -> Array:
    """Random signs in the shape of `f`, seeded by `seed` and the content of `f`: reproducible for the same batch."""
    xp = array_namespace(f)
    content = f.detach().cpu().numpy() if is_torch_array(f) else np.asarray(f)
    hashed = np.ascontiguousarray(content[:, :8])  # eight outputs identify a batch
    bits = np.random.default_rng([seed, zlib.crc32(hashed.tobytes())]).bytes(-(-content.size // 8))
    drawn = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=content.size).reshape(f.shape) * 2.0 - 1
    return xp.asarray(drawn, dtype=f.dtype, device=device(f))
