"""What removing a group of examples together does: `Δf = V_{·M}(I − Λ_M V_{MM})⁻¹e_M`."""

from __future__ import annotations

from collections.abc import Iterable

from array_api_compat import array_namespace, device

from memorymaps.core.arrays import Array


def group_deviation(error: Array, member_covariance: Array, curvature: Array, cross_covariance: Array) -> Array:
    """What removing `m` examples together does elsewhere: `V_{·M} (I − Λ_M V_{MM})⁻¹ e_M` [MPE Eq. 14].

    `error [m, c]`, `member_covariance` = `V_{MM} [m, c, m, c]`, `curvature [m, c, c]`, `cross_covariance` = `V_{·M} [k, c, m, c]`;
    returns `[k, c]`. With `cross_covariance = member_covariance` these are the members' own deviations.
    """
    xp = array_namespace(error)
    m, c = error.shape
    loaded = xp.matmul(curvature, xp.reshape(member_covariance, (m, c, m * c)))
    system = xp.eye(m * c, dtype=error.dtype, device=device(error)) - xp.reshape(loaded, (m * c, m * c))
    push = xp.linalg.solve(system, xp.reshape(error, (m * c, 1)))
    return xp.reshape(xp.matmul(xp.reshape(cross_covariance, (-1, m * c)), push), (-1, c))


def group_coordinates(pieces: Iterable[tuple[Array, Array, Array]]) -> Array:
    """The same in the posterior's own coordinates: `u = (I − ZᵀΛZ)⁻¹ Zᵀe`, so that `Δf = z u` anywhere.

    A group comes in pieces `(e [m, c], Z [m, c, r], Λ [m, c, c])` with `V_{ij} = z_i z_jᵀ`; an `r × r` system however
    large the group. `[r]`.
    """
    parts = iter(pieces)
    load, push = _normal_equations(*next(parts))
    for piece in parts:
        more = _normal_equations(*piece)
        load, push = load + more[0], push + more[1]
    xp = array_namespace(load)
    return xp.linalg.solve(xp.eye(len(load), dtype=load.dtype, device=device(load)) - load, push)[:, 0]


def _normal_equations(error: Array, factor: Array, curvature: Array) -> tuple[Array, Array]:
    """`ZᵀΛZ [r, r]` and `Zᵀe [r, 1]`."""
    xp, r = array_namespace(error), factor.shape[-1]
    flat = xp.matrix_transpose(xp.reshape(factor, (-1, r)))
    bent = xp.reshape(xp.matmul(curvature, factor), (-1, r))
    return xp.matmul(flat, bent), xp.matmul(flat, xp.reshape(error, (-1, 1)))
