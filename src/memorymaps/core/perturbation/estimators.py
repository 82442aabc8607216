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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import (
    _NEARLY_SINGULAR,
    Warn,
    _apply,
    _bound_codes,
    bound_warnings,
    cavity,
    cavity_variance,
    first_order,
    implicit,
    leverage,
    leverage_norm,
)
from memorymaps.core.perturbation.group_removal import group_deviation, group_shift
from memorymaps.core.perturbation.local import Local, _Seen
from memorymaps.core.perturbation.sketched import Sketched


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
