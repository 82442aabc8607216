"""Effect of removing a group `M` of examples together: `Δf = V_{·M}(I − Λ_M V_{MM})⁻¹e_M`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class GroupSystem:
    """The linear system of a removal in whitened coordinates: `I − G` with `G = ZᵀΛZ [r, r]`, and `b = Zᵀe [r]`.

    Made of pieces `(e [m, c], Z [m, c, r], Λ [m, c, c])` with `V_{ij} = z_i z_jᵀ`: `r × r` for groups of any size, and
    for groups of `k < r` outputs `k × k`, in coordinates of their rows' span, `basis` `Q [r, k]`: `QᵀGQ` and `Qᵀb`.
    """

    gram: Array
    gradient: Array
    basis: Array | None = None

    @classmethod
    def of(cls, pieces: Iterable[tuple[Array, Array, Array]]) -> GroupSystem:
        """The sums over the pieces of a group."""
        remaining = iter(pieces)
        gram, total = _normal_equations(*next(remaining))
        for piece in remaining:
            more = _normal_equations(*piece)
            gram, total = gram + more[0], total + more[1]
        return cls(gram, total[:, 0])

    @classmethod
    def of_few_rows(cls, error: Array, z: Array, curvature: Array) -> GroupSystem:
        """The system of one piece whose `m·c` outputs are fewer than coordinates `r`: `m·c × m·c`."""
        xp, (m, c, r) = array_namespace(z), z.shape
        basis, triangle = xp.linalg.qr(xp.matrix_transpose(xp.reshape(z, (m * c, r))))
        within = cls.of([(error, xp.reshape(xp.matrix_transpose(triangle), (m, c, m * c)), curvature)])
        return cls(within.gram, within.gradient, basis)

    @property
    def rank(self) -> int:
        """Number of coordinates `r`."""
        return len(self.gram if self.basis is None else self.basis)

    @property
    def matrix(self) -> Array:
        """`I − G`, the curvature of the other examples' loss in the coordinates where that of all is `I`."""
        xp, gram = array_namespace(self.gram), self.gram
        return xp.eye(len(gram), dtype=gram.dtype, device=device(gram)) - gram

    def coordinates(self, gradient: Array | float = 0.0) -> Array:
        """`u = (I − G)⁻¹ (b + g) [r]`, with `Δf = z u` for any example.

        `g [r]`: whitened gradient of what is removed besides losses (the members' share of a penalty per unit of
        weight). Outside the span of the rows `u = g`.
        """
        within, outside = self._split(gradient)
        xp = array_namespace(self.gram)
        found = xp.linalg.solve(self.matrix, (self.gradient + within)[:, None])[:, 0]
        return found if self.basis is None else self.basis @ found + outside

    def log_integral(self, u: Array) -> Array:
        """`½ log det(I − G) − ½ uᵀ(I − G)u`; NaN where `I − G` is not positive definite.

        With the members' losses at the fit, `log p(y_M ∣ y_{−M}) = −Σ_M ℓ_i + log_integral(u)` where `u` leads to the
        optimum without them: exact for Gaussian likelihoods, Laplace's approximation around the fit for others.
        """
        xp, matrix = array_namespace(self.gram), self.matrix
        within, outside = self._split(u)
        sign, logarithm = xp.linalg.slogdet(matrix)
        return xp.where(sign > 0, 0.5 * (logarithm - within @ matrix @ within - xp.sum(outside**2)), xp.nan)

    def _split(self, u: Any) -> tuple[Any, Any]:
        """Coordinates of `u [r]`, or 0, in the span of the rows, and what of `u` is outside, `(I − QQᵀ)u`."""
        if self.basis is None or not hasattr(u, "shape"):
            return u, 0 * u
        within = array_namespace(self.basis).matrix_transpose(self.basis) @ u
        return within, u - self.basis @ within


def group_coordinates(pieces: Iterable[tuple[Array, Array, Array]], gradient: Array | float = 0.0) -> Array:
    """The same removal in whitened coordinates: `u = (I − ZᵀΛZ)⁻¹ (Zᵀe + g) [r]`, see `GroupSystem`."""
    return GroupSystem.of(pieces).coordinates(gradient)


def few_rows_coordinates(error: Array, z: Array, curvature: Array, gradient: Array) -> Array:
    """`group_coordinates` of one piece by a system of its `m·c` outputs: for fewer of them than coordinates `r`.

    `(I − ZᵀΛZ)⁻¹ (Zᵀe + g) = Zᵀ (I − ΛV)⁻¹ (e + ΛZg) + g` with `V = ZZᵀ` (Woodbury) and `g [r]`.
    """
    xp, r = array_namespace(error), z.shape[-1]
    rows = xp.reshape(z, (-1, r))
    curved = xp.reshape(xp.matmul(curvature, z), (-1, r))  # ΛZ
    system = xp.eye(len(rows), dtype=rows.dtype, device=device(rows)) - curved @ xp.matrix_transpose(rows)
    right = xp.reshape(error, (-1,)) + curved @ gradient
    return xp.matrix_transpose(rows) @ xp.linalg.solve(system, right[:, None])[:, 0] + gradient


def _normal_equations(error: Array, factor: Array, curvature: Array) -> tuple[Array, Array]:
    """`ZᵀΛZ [r, r]` and `Zᵀe [r, 1]`."""
    xp, r = array_namespace(error), factor.shape[-1]
    flat = xp.matrix_transpose(xp.reshape(factor, (-1, r)))
    product = xp.reshape(xp.matmul(curvature, factor), (-1, r))
    return xp.matmul(flat, product), xp.matmul(flat, xp.reshape(error, (-1, 1)))
