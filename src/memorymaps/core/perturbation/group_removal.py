"""Effect of removing a group `M` of examples together: `Δf = V_{·M}(I − Λ_M V_{MM})⁻¹e_M`."""

from __future__ import annotations

from collections.abc import Iterable

from array_api_compat import array_namespace, device

from memorymaps.core.arrays import Array


def group_deviation(error: Array, member_covariance: Array, curvature: Array, cross_covariance: Array) -> Array:
    """Deviations of `k` examples when `m` examples are removed together: `V_{·M} (I − Λ_M V_{MM})⁻¹ e_M` [MPE Eq. 14].

    `error [m, c]`, `member_covariance` `V_{MM} [m, c, m, c]`, `curvature [m, c, c]`, `cross_covariance`
    `V_{·M} [k, c, m, c]`; returns `[k, c]`. With `cross_covariance = member_covariance`: the members' own deviations.
    """
    xp = array_namespace(error)
    m, c = error.shape
    product = xp.matmul(curvature, xp.reshape(member_covariance, (m, c, m * c)))
    system = xp.eye(m * c, dtype=error.dtype, device=device(error)) - xp.reshape(product, (m * c, m * c))
    solution = xp.linalg.solve(system, xp.reshape(error, (m * c, 1)))
    return xp.reshape(xp.matmul(xp.reshape(cross_covariance, (-1, m * c)), solution), (-1, c))


def group_coordinates(pieces: Iterable[tuple[Array, Array, Array]], gradient: Array | float = 0.0) -> Array:
    """The same removal in whitened coordinates: `u = (I − ZᵀΛZ)⁻¹ (Zᵀe + g) [r]`, with `Δf = z u` for any example.

    `g [r]`: whitened gradient of what is removed besides losses (the members' share of a penalty per unit of weight).

    The group is given in pieces `(e [m, c], Z [m, c, r], Λ [m, c, c])` with `V_{ij} = z_i z_jᵀ`; the linear system is
    `r × r` for groups of any size.
    """
    remaining = iter(pieces)
    gram, total = _normal_equations(*next(remaining))
    for piece in remaining:
        more = _normal_equations(*piece)
        gram, total = gram + more[0], total + more[1]
    xp = array_namespace(gram)
    system = xp.eye(len(gram), dtype=gram.dtype, device=device(gram)) - gram
    return xp.linalg.solve(system, (total[:, 0] + gradient)[:, None])[:, 0]


def _normal_equations(error: Array, factor: Array, curvature: Array) -> tuple[Array, Array]:
    """`ZᵀΛZ [r, r]` and `Zᵀe [r, 1]`."""
    xp, r = array_namespace(error), factor.shape[-1]
    flat = xp.matrix_transpose(xp.reshape(factor, (-1, r)))
    product = xp.reshape(xp.matmul(curvature, factor), (-1, r))
    return xp.matmul(flat, product), xp.matmul(flat, xp.reshape(error, (-1, 1)))
