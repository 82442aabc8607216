"""The one equation: from `(f, V, Λ, e)` to what leaving an example out does (method.md §3, §8).

Everything here is arrays in, arrays out, for a batch of `n` examples with `c` outputs:
`error e [n, c]`, `variance V [n, c, c]`, `curvature Λ [n, c, c]`. Each example's weight is already inside
`e` and `Λ`.

The forms of the deviation `Δf = f^{\\i} − f`:

    P   diag(V) e                    the papers' diagonal products
    F   V e                          first order [MPE Eq. 12]
    R   V (I − ΛV)⁻¹ e               exact for linear regression [CW]
    I   Δf = V e(f + Δf)             the removed loss exact, the remaining losses quadratic

and two ways to the change of the mean: linearised `(dσ/df) Δf` (`Λ Δf` for canonical links), or exact
`σ(f + Δf) − σ(f)` (suffix `sm`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from array_api_compat import array_namespace, device

from memorymaps._types import Array
from memorymaps.likelihoods import Likelihood

_AT_BOUND = 1e-10  # 1 − h below this: the model cannot be refitted without the example
_NEARLY_SINGULAR = 1e-6  # 1 − h below this: Δf has lost about ten of sixteen digits
_ITERATIONS = 50
_TOLERANCE = 1e-10


class Warn(enum.IntFlag):
    """Warning lights of one example; several can shine at once, 0 means none."""

    NONE = 0
    BOUND = 1
    """An eigenvalue of `ΛV` reaches its bound 1: leaving the example out is undefined in this posterior."""
    NEAR_SINGULAR = 2
    """`I − ΛV` is nearly singular: sizes carry few digits."""
    NOT_CONVERGED = 4
    """The implicit form found no fixed point."""
    FIRST_ORDER = 8
    """`ΛV` reaches or passes its bound and the deviation is of first order: finite, but too small."""
    PARETO_K = 16
    """Importance sampling does not reach the posterior without the example: too few draws, or too much influence."""

    @property
    def words(self) -> str:
        """The lights by name, comma separated."""
        return ", ".join(str(flag.name).lower().replace("_", " ") for flag in Warn if flag and flag in self)


def leverage(variance: Array, curvature: Array) -> Array:
    """Bayesian leverage `h = tr(Λ V)`: `[n]`, in effective parameters.

    Examples
    --------
    >>> import numpy as np
    >>> leverage(np.eye(2)[None] / 4, np.eye(2)[None])
    array([0.5])
    """
    xp = array_namespace(variance)
    return xp.sum(curvature * xp.matrix_transpose(variance), axis=(-2, -1))


def leverage_norm(variance: Array, curvature: Array) -> Array:
    """`‖diag(V Λ)‖₂`: `[n]`, the summary of the 2023 reference code."""
    xp = array_namespace(variance)
    diagonal = xp.sum(variance * xp.matrix_transpose(curvature), axis=-1)
    return xp.sqrt(xp.sum(diagonal**2, axis=-1))


def first_order(error: Array, variance: Array) -> Array:
    """`Δf = V e`: `[n, c]` [MPE Eq. 12]."""
    return _apply(variance, error)


def cavity(error: Array, variance: Array, curvature: Array) -> Array:
    """`Δf = V (I − ΛV)⁻¹ e`: `[n, c]`; exact for linear regression [CW]. NaN where `ΛV` reaches its bound.

    Examples
    --------
    >>> import numpy as np
    >>> cavity(np.array([[1.0]]), np.array([[[0.5]]]), np.array([[[1.0]]]))
    array([[1.]])
    """
    return _apply(cavity_variance(variance, curvature), error)


def cavity_variance(variance: Array, curvature: Array) -> Array:
    """`V^{\\i} = V (I − ΛV)⁻¹`: `[n, c, c]`, the variance of `f_i` with example `i` left out."""
    return _inflated(variance, *_spectrum(variance, curvature))


def _inflated(variance: Array, h: Array, basis: Array) -> Array:
    """`V + B diag(h/(1 − h)) Bᵀ`: the cavity variance, symmetric and free of cancellation."""
    xp = array_namespace(variance)
    room = xp.where(1 - h < _AT_BOUND, xp.nan * h, 1 - h)
    return variance + xp.matmul(basis * (h / room)[..., None, :], xp.matrix_transpose(basis))


def _spectrum(variance: Array, curvature: Array) -> tuple[Array, Array]:
    """Eigenvalues `h [n, c]` of `ΛV` and `B = V L Q h^{-1/2}` (zero where h is), with `Λ = L Lᵀ`."""
    xp = array_namespace(variance)
    values, vectors = _eigh(curvature)
    root = vectors * xp.sqrt(xp.clip(values, min=0))[..., None, :]
    spread = xp.matmul(variance, root)
    h, rotation = _eigh(xp.matmul(xp.matrix_transpose(root), spread))
    h = xp.clip(h, min=0)
    scale = xp.where(h > 0, 1 / xp.sqrt(xp.where(h > 0, h, xp.ones_like(h))), xp.zeros_like(h))
    return h, xp.matmul(spread, rotation) * scale[..., None, :]


def _eigh(matrix: Array) -> tuple[Array, Array]:
    xp = array_namespace(matrix)
    if matrix.shape[-1] == 1:  # one output: nothing to rotate, and a million LAPACK calls saved
        return matrix[..., 0], xp.ones_like(matrix)
    return tuple(xp.linalg.eigh((matrix + xp.matrix_transpose(matrix)) / 2))


def bound_warnings(variance: Array, curvature: Array) -> Array:
    """`Warn` codes `[n]` from the largest eigenvalue of `ΛV`, which any honest posterior keeps below 1."""
    return _bound_codes(array_namespace(variance).max(_spectrum(variance, curvature)[0], axis=-1))


def _bound_codes(largest: Array) -> Array:
    xp = array_namespace(largest)
    room = 1 - largest
    bound, near = room < _AT_BOUND, room < _NEARLY_SINGULAR
    return xp.where(bound, int(Warn.BOUND), xp.where(near, int(Warn.NEAR_SINGULAR), 0))


def implicit(likelihood: Likelihood, f: Array, y: Array, weight: Array, variance: Array) -> tuple[Array, Array]:
    """`Δf` with `Δf = V w e(f + Δf)`, by damped Newton steps of size `c × c`: `([n, c], converged [n])`.

    The remaining losses are kept quadratic while the removed one is exact; for Gaussian likelihoods this is
    `cavity`. Examples without a fixed point come back NaN and not converged.
    """
    xp = array_namespace(f)
    eye = xp.eye(f.shape[-1], dtype=f.dtype, device=device(f))

    def gap(delta: Array) -> Array:
        return delta - _apply(variance, weight[:, None] * likelihood.error(f + delta, y))

    delta, rest = xp.zeros_like(f), gap(xp.zeros_like(f))
    for _ in range(_ITERATIONS):
        slope = eye - xp.matmul(variance, weight[:, None, None] * likelihood.curvature(f + delta, y))
        delta, rest = _damped(gap, delta, rest, xp.linalg.solve(slope, rest[..., None])[..., 0])
    size = xp.linalg.vector_norm(delta, axis=-1)
    converged = xp.linalg.vector_norm(rest, axis=-1) <= _TOLERANCE * (1 + size)
    return xp.where(converged[:, None], delta, xp.nan * delta), converged


def _damped(gap: Callable[[Array], Array], delta: Array, rest: Array, step: Array) -> tuple[Array, Array]:
    """Halve each example's step until its gap shrinks; where it never does, stay."""
    xp = array_namespace(delta)
    size = xp.linalg.vector_norm(rest, axis=-1)
    scale = xp.ones_like(size)
    for _ in range(12):
        tried = gap(delta - scale[:, None] * step)
        better = xp.linalg.vector_norm(tried, axis=-1) < size
        if xp.all(better):
            break
        scale = xp.where(better, scale, scale / 2)
    moved = xp.where(better[:, None], delta - scale[:, None] * step, delta)
    return moved, gap(moved)


def group_deviation(error: Array, within: Array, curvature: Array, across: Array) -> Array:
    """What removing `m` examples together does elsewhere: `V_{·M} (I − Λ_M V_{MM})⁻¹ e_M` [MPE Eq. 14].

    `error [m, c]`, `within` = `V_{MM} [m, c, m, c]`, `curvature [m, c, c]`, `across` = `V_{·M} [k, c, m, c]`;
    returns `[k, c]`. With `across = within` these are the members' own deviations.
    """
    xp = array_namespace(error)
    m, c = error.shape
    loaded = xp.matmul(curvature, xp.reshape(within, (m, c, m * c)))
    system = xp.eye(m * c, dtype=error.dtype, device=device(error)) - xp.reshape(loaded, (m * c, m * c))
    push = xp.linalg.solve(system, xp.reshape(error, (m * c, 1)))
    return xp.reshape(xp.matmul(xp.reshape(across, (-1, m * c)), push), (-1, c))


def group_shift(pieces: Iterable[tuple[Array, Array, Array]]) -> Array:
    """The same in the posterior's own coordinates: `u = (I − ZᵀΛZ)⁻¹ Zᵀe`, so that `Δf = z u` anywhere.

    A group comes in pieces `(e [m, c], Z [m, c, r], Λ [m, c, c])` with `V_{ij} = z_i z_jᵀ`; an `r × r` system however
    large the group. `[r]`.
    """
    parts = iter(pieces)
    load, push = _load_and_push(*next(parts))
    for piece in parts:
        more = _load_and_push(*piece)
        load, push = load + more[0], push + more[1]
    xp = array_namespace(load)
    return xp.linalg.solve(xp.eye(len(load), dtype=load.dtype, device=device(load)) - load, push)[:, 0]


def _load_and_push(error: Array, factor: Array, curvature: Array) -> tuple[Array, Array]:
    """`ZᵀΛZ [r, r]` and `Zᵀe [r, 1]`."""
    xp, r = array_namespace(error), factor.shape[-1]
    flat = xp.matrix_transpose(xp.reshape(factor, (-1, r)))
    bent = xp.reshape(xp.matmul(curvature, factor), (-1, r))
    return xp.matmul(flat, bent), xp.matmul(flat, xp.reshape(error, (-1, 1)))


@dataclass(frozen=True)
class _Seen:
    """A batch seen from its posterior: outputs `f [n, c]`, targets, weights `[n]`."""

    likelihood: Likelihood
    f: Array
    y: Array
    weight: Array

    @cached_property
    def error(self) -> Array:
        """`w e`: `[n, c]`."""
        return self.weight[:, None] * self.likelihood.error(self.f, self.y)


@dataclass(frozen=True)
class Local(_Seen):
    """With the variances `V [n, c, c]` and what follows from them.

    `fitted [n, c]` are the errors `w e` that the fit itself ended with, where the loss has kinks: there `∇_f ℓ` is an
    interval, and the optimum has chosen one of its numbers.
    """

    variance: Array
    fitted: Array | None = None

    @cached_property
    def error(self) -> Array:
        """`w e`: `[n, c]`."""
        return super().error if self.fitted is None else self.fitted

    @cached_property
    def curvature(self) -> Array:
        """`w Λ`: `[n, c, c]`."""
        return self.weight[:, None, None] * self.likelihood.curvature(self.f, self.y)

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """Eigenvalues of `ΛV` and their basis."""
        return _spectrum(self.variance, self.curvature)

    @cached_property
    def largest(self) -> Array:
        """Largest eigenvalue of `ΛV`: `[n]`."""
        return array_namespace(self.f).max(self.spectrum[0], axis=-1)

    @property
    def leverage(self) -> Array:
        """`h = tr(ΛV)`: `[n]`."""
        return leverage(self.variance, self.curvature)

    @property
    def leverage_norm(self) -> Array | None:
        """`‖diag(VΛ)‖₂`: `[n]`."""
        return leverage_norm(self.variance, self.curvature)

    def first_order(self) -> Array:
        """`V e`: `[n, c]`."""
        return first_order(self.error, self.variance)

    def cavity(self) -> Array:
        """`V (I − ΛV)⁻¹ e`: `[n, c]`."""
        return _apply(_inflated(self.variance, *self.spectrum), self.error)

    def cavity_unless(self, broken: Array) -> Array:
        """The cavity form, first order for the `broken [n]`."""
        return array_namespace(self.f).where(broken[:, None], self.first_order(), self.cavity())


@dataclass(frozen=True)
class Sketched(_Seen):
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
    respond: Callable[[Array], Array]

    @cached_property
    def error(self) -> Array:
        """`w e`: `[n, c]`."""
        return self.directions[..., 0]

    @cached_property
    def _loaded(self) -> Array:
        """`RᵀVR`: `[n, k, k]`."""
        return self.scale[..., :, None] * self.gram * self.scale[..., None, :]

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """Eigenvalues of `RᵀVR` without the rest (at most those of `ΛV`) and their basis, `k − 1` of them."""
        values, vectors = _eigh(self._loaded[..., :-1, :-1])
        return array_namespace(self.f).clip(values, min=0), vectors

    @cached_property
    def largest(self) -> Array:
        """Largest eigenvalue of `ΛV` along the directions that are no random rest: `[n]`."""
        return array_namespace(self.f).max(self.spectrum[0], axis=-1)

    @property
    def leverage(self) -> Array:
        """`h = tr(RᵀVR)`: `[n]`."""
        xp = array_namespace(self.f)
        return xp.sum(xp.linalg.diagonal(self._loaded), axis=-1)

    @property
    def leverage_norm(self) -> Array | None:
        """Needs all of `V`: not known here."""
        return None

    @property
    def variance(self) -> Array:
        """Raises `ValueError`: never formed."""
        raise ValueError(
            f"this form needs the full variances of {self.f.shape[1]} outputs, and the posterior keeps directions: "
            "choose F-sm, R-sm or R/F-sm, or Laplace(..., directions=0) for all C × C"
        )

    def first_order(self) -> Array:
        """`V e`: `[n, c]`."""
        return self._respond(array_namespace(self.f).zeros_like(self.scale))

    def cavity(self) -> Array:
        """`V (I − ΛV)⁻¹ e`: `[n, c]`."""
        return self._respond(self._more)

    def cavity_unless(self, broken: Array) -> Array:
        """The cavity form, first order for the `broken [n]`."""
        xp = array_namespace(self.f)
        return self._respond(xp.where(broken[:, None], xp.zeros_like(self._more), self._more))

    def _respond(self, more: Array) -> Array:
        """`V (e + D m)`."""
        xp = array_namespace(self.f)
        return self.respond(xp.concat([1 + more[:, :1], more[:, 1:]], axis=-1))

    @cached_property
    def _more(self) -> Array:
        """`diag(scale) (I − RᵀVR)⁻¹ RᵀVe`: `[n, k]`, zero for the rest, NaN at the bound."""
        xp = array_namespace(self.f)
        h, basis = self.spectrum
        room = xp.where(1 - h < _AT_BOUND, xp.nan * h, 1 - h)
        pulled = _apply(xp.matrix_transpose(basis), (self.scale * self.gram[..., 0])[:, :-1])
        more = self.scale[:, :-1] * _apply(basis, pulled / room)
        return xp.concat([more, xp.zeros_like(self.scale[:, :1])], axis=-1)


def _diagonal_form(at: Local) -> tuple[Array, Array]:
    return array_namespace(at.f).linalg.diagonal(at.variance) * at.error, _too_small(at)


def _first_order_form(at: Local | Sketched) -> tuple[Array, Array]:
    return at.first_order(), _too_small(at)


def _cavity_form(at: Local | Sketched) -> tuple[Array, Array]:
    return at.cavity(), _bound(at)


def _implicit_form(at: Local) -> tuple[Array, Array]:
    delta, converged = implicit(at.likelihood, at.f, at.y, at.weight, at.variance)
    return delta, _bound(at) + array_namespace(at.f).where(converged, 0, int(Warn.NOT_CONVERGED))


def _trusted_form(at: Local | Sketched) -> tuple[Array, Array]:
    """The cavity form within the bound; the first-order one where an approximate posterior breaks it."""
    return at.cavity_unless(_broken(at)), _too_small(at)


def _bound(at: Local | Sketched) -> Array:
    return _bound_codes(at.largest)


def _broken(at: Local | Sketched) -> Array:
    return 1 - at.largest < _NEARLY_SINGULAR


def _too_small(at: Local | Sketched) -> Array:
    """First-order sizes stay finite at the bound and past it, where they are too small."""
    return array_namespace(at.f).where(_broken(at), int(Warn.FIRST_ORDER), 0)


def _exact_difference(at: _Seen, delta: Array) -> Array:
    return at.likelihood.mean(at.f + delta) - at.likelihood.mean(at.f)


def _linearised(at: _Seen, delta: Array) -> Array:
    return _apply(at.likelihood.slope(at.f), delta)


def _linearised_diagonal(at: _Seen, delta: Array) -> Array:
    return array_namespace(at.f).linalg.diagonal(at.likelihood.slope(at.f)) * delta


@dataclass(frozen=True)
class Form:
    """How a deviation and the change of the mean are computed: two axes, one name each."""

    deviation: Callable[[Any], tuple[Array, Array]]
    change: Callable[[_Seen, Array], Array]


FORMS: dict[str, Form] = {
    "P": Form(_diagonal_form, _linearised_diagonal),
    "P-sm": Form(_diagonal_form, _exact_difference),
    "F": Form(_first_order_form, _linearised),
    "F-sm": Form(_first_order_form, _exact_difference),
    "R": Form(_cavity_form, _linearised),
    "R-sm": Form(_cavity_form, _exact_difference),
    "R/F-sm": Form(_trusted_form, _exact_difference),
    "I": Form(_implicit_form, _linearised),
    "I-sm": Form(_implicit_form, _exact_difference),
}


def form_named(name: str) -> Form:
    """The form of that name.

    Raises
    ------
    ValueError
        No such form; the message lists them.
    """
    if name not in FORMS:
        raise ValueError(f"no form {name!r}: choose one of {', '.join(FORMS)}")
    return FORMS[name]


@dataclass(frozen=True)
class Perturbation:
    """What leaving each example of a batch out does; one row an example."""

    leverage: Array
    leverage_norm: Array | None
    deviation: Array
    change: Array
    warning: Array

    @property
    def sensitivity(self) -> Array:
        """`Σ_c |Δμ_c|`: `[n]`, in units of the target."""
        return array_namespace(self.change).sum(array_namespace(self.change).abs(self.change), axis=-1)

    @property
    def output_sensitivity(self) -> Array:
        """`‖Δf‖₂`: `[n]`, in units of the output."""
        return array_namespace(self.deviation).linalg.vector_norm(self.deviation, axis=-1)


def perturb(at: Local | Sketched, form: Form) -> Perturbation:
    """Leverage, deviation, change of the mean and warnings of every example of a batch."""
    deviation, warning = form.deviation(at)
    return Perturbation(
        at.leverage,
        at.leverage_norm,
        deviation,
        form.change(at, deviation),
        warning,
    )


def loo_loss(at: _Seen, deviation: Array) -> Array:
    """`ℓ_i(f_i + Δf_i)`: `[n]`, in nats [MPE Eq. 15]."""
    return at.likelihood.nll(at.f + deviation, at.y)


def memorization(loss: Array, loo_loss: Array) -> Array:
    """`p(y_i ∣ f_i) − p(y_i ∣ f_i + Δf_i)`: `[n]`, the estimate of Feldman & Zhang's score for class targets."""
    xp = array_namespace(loss)
    return xp.exp(-loss) - xp.exp(-loo_loss)


def _apply(matrix: Array, vector: Array) -> Array:
    return array_namespace(vector).matmul(matrix, vector[..., None])[..., 0]


__all__ = [
    "FORMS",
    "Form",
    "Local",
    "Perturbation",
    "Sketched",
    "Warn",
    "bound_warnings",
    "cavity",
    "cavity_variance",
    "first_order",
    "form_named",
    "group_deviation",
    "group_shift",
    "implicit",
    "leverage",
    "leverage_norm",
    "loo_loss",
    "memorization",
    "perturb",
]
