"""Statistics of a batch with `V` along a few directions only, for models with many outputs."""

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
    """Statistics with `V` along `k` directions `D = [e, …, r]` only: `Λ ≈ R Rᵀ` with `R = D diag(scale)`.

    `directions = D [n, c, k]`, `scale [n, k]`, `gram = DᵀVD [n, k, k]`, `matvec(s) = V D s [n, c]`. As
    `(I − ΛV)⁻¹e = e + R(I − RᵀVR)⁻¹RᵀVe`, every deviation is `V D s`: no cost grows with `c²`.

    The last direction `r` is the random direction of the residual. It makes the leverage unbiased but is left out of
    the inverse: a single draw concentrates in one direction what `Λ` distributes over many, and could exceed the bound
    that `Λ` itself respects. The other directions satisfy `R Rᵀ ⪯ Λ`, so that the cavity form lies between first order
    and the one with the full `Λ`.
    """

    directions: Array
    scale: Array
    gram: Array
    matvec: Callable[[Array], Array]
    stated_cavity_variance: None = None

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
        """The `k − 1` eigenvalues of `RᵀVR` without the random direction, and eigenvectors."""
        values, vectors = batched_eigh(self._root_gram[..., :-1, :-1])
        return array_namespace(self.f).clip(values, min=0), vectors

    @cached_property
    def largest_eigenvalue(self) -> Array:
        """Largest of these eigenvalues: `[n]`."""
        return array_namespace(self.f).max(self.spectrum[0], axis=-1)

    @property
    def leverage(self) -> Array:
        """`h = tr(RᵀVR)`: `[n]`."""
        xp = array_namespace(self.f)
        return xp.sum(xp.linalg.diagonal(self._root_gram), axis=-1)

    @property
    def leverage_norm(self) -> Array | None:
        """`None`: it needs the full `V`."""
        return None

    @property
    def variance(self) -> Array:
        """Raises `ValueError`: the full `V` is not formed."""
        raise ValueError(
            f"this estimator needs the full variances of {self.f.shape[1]} outputs; the posterior has directions only: "
            "choose estimator='first_order', 'cavity' or 'bounded_cavity' with exact changes, or "
            "Laplace(..., directions=0) for all C × C"
        )

    def first_order(self) -> Array:
        """`V e`: `[n, c]`."""
        return self._matvec_with(array_namespace(self.f).zeros_like(self.scale))

    def cavity(self) -> Array:
        """`V (I − ΛV)⁻¹ e`: `[n, c]`."""
        return self._matvec_with(self._coefficients)

    def removal_error(self) -> Array:
        """`(I − ΛV)⁻¹ e = e + D s`: `[n, c]`, with which `V` gives the cavity deviation; NaN at the bound."""
        return self.error + matvec(self.directions, self._coefficients)

    def bounded_cavity(self, exceeds_bound: Array) -> Array:
        """Cavity deviations `[n, c]`; first order where `exceeds_bound [n]`."""
        xp = array_namespace(self.f)
        return self._matvec_with(
            xp.where(exceeds_bound[:, None], xp.zeros_like(self._coefficients), self._coefficients)
        )

    def _matvec_with(self, s: Array) -> Array:
        """`V (e + D s)` for coefficients `s [n, k]`."""
        xp = array_namespace(self.f)
        return self.matvec(xp.concat([1 + s[:, :1], s[:, 1:]], axis=-1))

    @cached_property
    def _coefficients(self) -> Array:
        """`diag(scale) (I − RᵀVR)⁻¹ RᵀVe`: `[n, k]`, zero for the random direction, NaN at the bound."""
        xp = array_namespace(self.f)
        h, basis = self.spectrum
        one_minus_h = xp.where(1 - h < AT_BOUND, xp.nan * h, 1 - h)
        projected = matvec(xp.matrix_transpose(basis), (self.scale * self.gram[..., 0])[:, :-1])
        coefficients = self.scale[:, :-1] * matvec(basis, projected / one_minus_h)
        return xp.concat([coefficients, xp.zeros_like(self.scale[:, :1])], axis=-1)
