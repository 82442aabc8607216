"""A batch with `V` along a few directions only, for models with many outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import AT_BOUND, batched_eigh, matvec
from memorymaps.core.perturbation.local import BatchStatistics


@dataclass(frozen=True)
class SketchedVariance(BatchStatistics):
    """With `V` along a few directions only, for many outputs: `D = [e, …, r]`, `Λ ≈ R Rᵀ` with `R = D diag(scale)`.

    `directions = D [n, c, k]`, `scale [n, k]`, `gram = DᵀVD [n, k, k]`, `respond(s) = V D s [n, c]`. As
    `(I − ΛV)⁻¹e = e + R(I − RᵀVR)⁻¹RᵀVe`, every deviation is `V D s`: no number here depends on `c²`.

    The last direction `r` is the signed random rest. Leverage needs it to be unbiased; the inverse must not see it: a
    draw concentrates in one direction what `Λ` spreads over many, and may pass the bound that `Λ` itself honours. All
    others together never exceed `Λ`, so the cavity form lies between first order and what all of `Λ` would give.
    """

    directions: Array
    scale: Array
    gram: Array
    matvec: Callable[[Array], Array]

    @cached_property
    def error(self) -> Array:
        """`w e`: `[n, c]`."""
        return self.directions[..., 0]

    @cached_property
    def _root_gram(self) -> Array:
        """`RᵀVR`: `[n, k, k]`."""
        return self.scale[..., :, None] * self.gram * self.scale[..., None, :]

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """Eigenvalues of `RᵀVR` without the rest (at most those of `ΛV`) and their basis, `k − 1` of them."""
        values, vectors = batched_eigh(self._root_gram[..., :-1, :-1])
        return array_namespace(self.f).clip(values, min=0), vectors

    @cached_property
    def largest_eigenvalue(self) -> Array:
        """Largest eigenvalue of `ΛV` along the directions that are no random rest: `[n]`."""
        return array_namespace(self.f).max(self.spectrum[0], axis=-1)

    @property
    def leverage(self) -> Array:
        """`h = tr(RᵀVR)`: `[n]`."""
        xp = array_namespace(self.f)
        return xp.sum(xp.linalg.diagonal(self._root_gram), axis=-1)

    @property
    def leverage_norm(self) -> Array | None:
        """Needs all of `V`: not known here."""
        return None

    @property
    def variance(self) -> Array:
        """Raises `ValueError`: never formed."""
        raise ValueError(
            f"this form needs the full variances of {self.f.shape[1]} outputs, and the posterior keeps directions: "
            "choose estimator='first_order', 'cavity' or 'bounded_cavity' with exact changes, or "
            "Laplace(..., directions=0) for all C × C"
        )

    def first_order(self) -> Array:
        """`V e`: `[n, c]`."""
        return self._matvec_with(array_namespace(self.f).zeros_like(self.scale))

    def cavity(self) -> Array:
        """`V (I − ΛV)⁻¹ e`: `[n, c]`."""
        return self._matvec_with(self._coefficients)

    def bounded_cavity(self, exceeds_bound: Array) -> Array:
        """The cavity form, first order for the `exceeds_bound [n]`."""
        xp = array_namespace(self.f)
        return self._matvec_with(
            xp.where(exceeds_bound[:, None], xp.zeros_like(self._coefficients), self._coefficients)
        )

    def _matvec_with(self, more: Array) -> Array:
        """`V (e + D m)`."""
        xp = array_namespace(self.f)
        return self.matvec(xp.concat([1 + more[:, :1], more[:, 1:]], axis=-1))

    @cached_property
    def _coefficients(self) -> Array:
        """`diag(scale) (I − RᵀVR)⁻¹ RᵀVe`: `[n, k]`, zero for the rest, NaN at the bound."""
        xp = array_namespace(self.f)
        h, basis = self.spectrum
        one_minus_h = xp.where(1 - h < AT_BOUND, xp.nan * h, 1 - h)
        pulled = matvec(xp.matrix_transpose(basis), (self.scale * self.gram[..., 0])[:, :-1])
        more = self.scale[:, :-1] * matvec(basis, pulled / one_minus_h)
        return xp.concat([more, xp.zeros_like(self.scale[:, :1])], axis=-1)
