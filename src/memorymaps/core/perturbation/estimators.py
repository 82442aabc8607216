"""The perturbation equation: what leaving an example out does, from `(f, V, Λ, e)` (method.md §3, §8).

Arrays in, arrays out, for a batch of `n` examples with `c` outputs: `error e [n, c]`, `variance V [n, c, c]`,
`curvature Λ [n, c, c]`. The example's weight is a factor of `e` and `Λ`.

Estimators of the deviation `Δf = f^{\\i} − f`, with the letters of the papers:

    diagonal         P     diag(V) e             diagonal products
    first_order      F     V e                   [MPE Eq. 12]
    cavity           R     V (I − ΛV)⁻¹ e        exact for linear regression [CW]
    bounded_cavity   R/F   cavity where all eigenvalues of ΛV are below 1, first order elsewhere
    implicit         I     Δf = V e(f + Δf)      the removed loss exact, the remaining losses quadratic

and two of the change of the mean: `exact`, `σ(f + Δf) − σ(f)` (the suffix `-sm` of the letters), or `linearised`,
`(dσ/df) Δf` (`Λ Δf` for canonical links).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import (
    NEARLY_SINGULAR,
    Warn,
    bound_codes,
    implicit,
    matvec,
)
from memorymaps.core.perturbation.local import BatchStatistics, Local
from memorymaps.core.perturbation.sketched import Sketched


def _diagonal(at: Local) -> tuple[Array, Array]:
    return array_namespace(at.f).linalg.diagonal(at.variance) * at.error, _too_small(at)


def _first_order(at: Local | Sketched) -> tuple[Array, Array]:
    return at.first_order(), _too_small(at)


def _cavity(at: Local | Sketched) -> tuple[Array, Array]:
    return at.cavity(), _bound(at)


def _implicit(at: Local) -> tuple[Array, Array]:
    delta, converged = implicit(at.likelihood, at.f, at.y, at.weight, at.variance)
    return delta, _bound(at) + array_namespace(at.f).where(converged, 0, int(Warn.NOT_CONVERGED))


def _bounded_cavity(at: Local | Sketched) -> tuple[Array, Array]:
    """The cavity form within the bound; the first-order one where an approximate posterior breaks it."""
    return at.cavity_unless(_broken(at)), _too_small(at)


def _bound(at: Local | Sketched) -> Array:
    return bound_codes(at.largest)


def _broken(at: Local | Sketched) -> Array:
    return 1 - at.largest < NEARLY_SINGULAR


def _too_small(at: Local | Sketched) -> Array:
    """First-order sizes stay finite at the bound and past it, where they are too small."""
    return array_namespace(at.f).where(_broken(at), int(Warn.FIRST_ORDER), 0)


def _exact_change(at: BatchStatistics, delta: Array) -> Array:
    return at.likelihood.mean(at.f + delta) - at.likelihood.mean(at.f)


def _linearised_change(at: BatchStatistics, delta: Array) -> Array:
    return matvec(at.likelihood.mean_jacobian(at.f), delta)


_DEVIATIONS: dict[str, Callable[[Any], tuple[Array, Array]]] = {
    "diagonal": _diagonal,
    "first_order": _first_order,
    "cavity": _cavity,
    "bounded_cavity": _bounded_cavity,
    "implicit": _implicit,
}
_CHANGES: dict[str, Callable[[BatchStatistics, Array], Array]] = {
    "exact": _exact_change,
    "linearised": _linearised_change,
}


@dataclass(frozen=True)
class Estimator:
    """How the deviation `Δf` and the change of the mean are estimated: one name each, as listed above.

    Raises
    ------
    ValueError
        No such name; the message lists them.
    """

    name: str = "cavity"
    change: str = "exact"

    def __post_init__(self) -> None:
        if self.name not in _DEVIATIONS:
            raise ValueError(f"no estimator {self.name!r}: choose one of {', '.join(_DEVIATIONS)}")
        if self.change not in _CHANGES:
            raise ValueError(f"change = {self.change!r}: choose one of {', '.join(_CHANGES)}")

    def __str__(self) -> str:
        return self.name if self.change == "exact" else f"{self.name}, linearised change of the mean"

    def deviation(self, at: Any) -> tuple[Array, Array]:
        """`Δf [n, c]` and `Warn` codes `[n]`."""
        return _DEVIATIONS[self.name](at)

    def mean_change(self, at: BatchStatistics, deviation: Array) -> Array:
        """`Δμ [n, c]`; diagonal products stay diagonal."""
        if (self.name, self.change) == ("diagonal", "linearised"):
            return array_namespace(at.f).linalg.diagonal(at.likelihood.mean_jacobian(at.f)) * deviation
        return _CHANGES[self.change](at, deviation)


_LETTERS = {"P": "diagonal", "F": "first_order", "R": "cavity", "R/F": "bounded_cavity", "I": "implicit"}
CODES: dict[str, Estimator] = {
    letter + suffix: Estimator(name, change)
    for letter, name in _LETTERS.items()
    for suffix, change in (("", "linearised"), ("-sm", "exact"))
}


def estimator_named(name: str, change: str | None = None) -> Estimator:
    """The estimator of that name, with exact changes of the mean by default; the papers' codes (`R-sm`) say both.

    Raises
    ------
    ValueError
        No such name; a code together with `change`.

    Examples
    --------
    >>> estimator_named("cavity") == estimator_named("R-sm")
    True
    """
    if name not in CODES:
        return Estimator(name, "exact" if change is None else change)
    if change is not None:
        raise ValueError(
            f"the code {name!r} says how the mean changes, and change = {change!r} was given: leave one out"
        )
    return CODES[name]


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


def perturb(at: Local | Sketched, estimator: Estimator) -> Perturbation:
    """Leverage, deviation, change of the mean and warnings of every example of a batch."""
    deviation, warning = estimator.deviation(at)
    return Perturbation(
        at.leverage,
        at.leverage_norm,
        deviation,
        estimator.mean_change(at, deviation),
        warning,
    )


def loo_loss(at: BatchStatistics, deviation: Array) -> Array:
    """`ℓ_i(f_i + Δf_i)`: `[n]`, in nats [MPE Eq. 15]."""
    return at.likelihood.example_loss(at.f + deviation, at.y, at.weight)


def memorization(loss: Array, loo_loss: Array) -> Array:
    """`p(y_i ∣ f_i) − p(y_i ∣ f_i + Δf_i)`: `[n]`, the estimate of Feldman & Zhang's score for class targets."""
    xp = array_namespace(loss)
    return xp.exp(-loss) - xp.exp(-loo_loss)
