"""Estimators of the memory-perturbation equation: effects of leaving an example out (method.md §3, §8).

For a batch of `n` examples with `c` outputs: `error e [n, c]`, `variance V [n, c, c]`, `curvature Λ [n, c, c]`. The
example's weight is a factor of `e` and `Λ`.

Estimators of the deviation `Δf = f^{\\i} − f`, with the letters used in the papers:

    diagonal         P     diag(V) e             diagonal products
    first_order      F     V e                   [MPE Eq. 12]
    cavity           R     V (I − ΛV)⁻¹ e        exact for linear regression [CW]
    bounded_cavity   R/F   cavity where all eigenvalues of ΛV are below 1, first order elsewhere
    implicit         I     Δf = V e(f + Δf)      the removed loss exact, the remaining losses quadratic
    out_of_bag       –     f_oob − f             the members of an ensemble that were not trained on the example

Where the penalty is one per unit of weight, the example takes its share along: `V e` becomes `V e + s` in each of them.

and of the change of the mean: `exact`, `σ(f + Δf) − σ(f)` (the suffix `-sm` of the letters), or `linearised`,
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
from memorymaps.core.perturbation.local import BatchStatistics, FullVariance
from memorymaps.core.perturbation.sketched import SketchedVariance


def _diagonal(stats: FullVariance) -> tuple[Array, Array]:
    deviation = array_namespace(stats.f).linalg.diagonal(stats.variance) * stats.error
    return stats.with_penalty_response(deviation), _first_order_warnings(stats)


def _first_order(stats: FullVariance | SketchedVariance) -> tuple[Array, Array]:
    return stats.first_order(), _first_order_warnings(stats)


def _cavity(stats: FullVariance | SketchedVariance) -> tuple[Array, Array]:
    """Without warnings where the posterior states the cavity variance: these are of the difference `I − ΛV`."""
    if stats.stated_cavity_variance is not None:
        return stats.cavity(), array_namespace(stats.f).zeros(len(stats.f), dtype=int)
    return stats.cavity(), _bound_warnings(stats)


def _implicit(stats: FullVariance) -> tuple[Array, Array]:
    variance = stats.variance  # raises where there are directions only
    start = stats.with_penalty_response(stats.f)
    delta, converged = implicit(stats.likelihood, start, stats.y, stats.weight, variance)
    delta = stats.with_penalty_response(delta)
    return delta, _bound_warnings(stats) + array_namespace(stats.f).where(converged, 0, int(Warn.NOT_CONVERGED))


def _bounded_cavity(stats: FullVariance | SketchedVariance) -> tuple[Array, Array]:
    """Cavity where all eigenvalues of `ΛV` are below 1, first order elsewhere (approximate posteriors)."""
    if stats.stated_cavity_variance is not None:
        return _cavity(stats)
    return stats.bounded_cavity(_exceeds_bound(stats)), _first_order_warnings(stats)


def _out_of_bag(stats: FullVariance) -> tuple[Array, Array]:
    """Cavity, marked as a long step, where all members were trained on the example.

    Raises
    ------
    ValueError
        The model is no ensemble of members that were trained on parts of the data.
    """
    if getattr(stats, "out_of_bag", None) is None:
        raise ValueError(
            "estimator='out_of_bag' is for forests with bootstrap=True: leave estimator out for the model's own"
        )
    xp = array_namespace(stats.f)
    known = xp.all(xp.isfinite(stats.out_of_bag), axis=-1)
    delta = xp.where(known[:, None], stats.out_of_bag - stats.f, stats.cavity())
    return delta, xp.where(known, 0, _bound_warnings(stats) | int(Warn.LONG_STEP))


def _bound_warnings(stats: FullVariance | SketchedVariance) -> Array:
    return bound_codes(stats.largest_eigenvalue)


def _exceeds_bound(stats: FullVariance | SketchedVariance) -> Array:
    return 1 - stats.largest_eigenvalue < NEARLY_SINGULAR


def _first_order_warnings(stats: FullVariance | SketchedVariance) -> Array:
    """`Warn.FIRST_ORDER` at and beyond the bound, where first-order deviations are finite but too small."""
    return array_namespace(stats.f).where(_exceeds_bound(stats), int(Warn.FIRST_ORDER), 0)


def _exact_change(stats: BatchStatistics, delta: Array) -> Array:
    return stats.likelihood.mean(stats.f + delta) - stats.likelihood.mean(stats.f)


def _linearised_change(stats: BatchStatistics, delta: Array) -> Array:
    return matvec(stats.likelihood.mean_jacobian(stats.f), delta)


_DEVIATIONS: dict[str, Callable[[Any], tuple[Array, Array]]] = {
    "diagonal": _diagonal,
    "first_order": _first_order,
    "cavity": _cavity,
    "bounded_cavity": _bounded_cavity,
    "implicit": _implicit,
    "out_of_bag": _out_of_bag,
}
_CHANGES: dict[str, Callable[[BatchStatistics, Array], Array]] = {
    "exact": _exact_change,
    "linearised": _linearised_change,
}


@dataclass(frozen=True)
class Estimator:
    """How the deviation `Δf` and the change of the mean are estimated; names as listed in the module's docstring.

    Raises
    ------
    ValueError
        Unknown name; the message lists the known ones.
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

    def deviation(self, stats: Any) -> tuple[Array, Array]:
        """`Δf [n, c]` and `Warn` codes `[n]`."""
        return _DEVIATIONS[self.name](stats)

    def removal_error(self, stats: Any) -> Array:
        """`[n, c]`, with which the covariance with another output gives that output's deviation.

        `e` of first-order estimators, else `(I − ΛV)⁻¹e` (of `bounded_cavity` within the bound; `implicit` to first
        order in `Δf`).
        """
        if self.name in ("first_order", "diagonal"):
            return stats.error
        if self.name == "bounded_cavity" and stats.stated_cavity_variance is None:
            xp = array_namespace(stats.f)
            return xp.where(_exceeds_bound(stats)[:, None], stats.error, stats.removal_error())
        return stats.removal_error()

    def mean_change(self, stats: BatchStatistics, deviation: Array) -> Array:
        """`Δμ [n, c]`; for the linearised diagonal estimator only the diagonal of `dσ/df` is used."""
        if (self.name, self.change) == ("diagonal", "linearised"):
            return array_namespace(stats.f).linalg.diagonal(stats.likelihood.mean_jacobian(stats.f)) * deviation
        return _CHANGES[self.change](stats, deviation)


_LETTERS = {"P": "diagonal", "F": "first_order", "R": "cavity", "R/F": "bounded_cavity", "I": "implicit"}
CODES: dict[str, Estimator] = {
    letter + suffix: Estimator(name, change)
    for letter, name in _LETTERS.items()
    for suffix, change in (("", "linearised"), ("-sm", "exact"))
}


def estimator_named(name: str, change: str | None = None) -> Estimator:
    """The estimator `name`, by default with exact change of the mean; the papers' codes (`R-sm`) fix both.

    Raises
    ------
    ValueError
        Unknown name, or a code together with `change`.

    Examples
    --------
    >>> estimator_named("cavity") == estimator_named("R-sm")
    True
    """
    if name not in CODES:
        return Estimator(name, "exact" if change is None else change)
    if change is not None:
        raise ValueError(
            f"the code {name!r} includes the change of the mean, and change = {change!r} was given: pass only one"
        )
    return CODES[name]


@dataclass(frozen=True)
class Perturbation:
    """Effects of leaving out each example of a batch; arrays with one row per example."""

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


def perturb(stats: FullVariance | SketchedVariance, estimator: Estimator) -> Perturbation:
    """Leverage, deviation, change of the mean and warnings of every example of a batch."""
    deviation, warning = estimator.deviation(stats)
    return Perturbation(
        stats.leverage,
        stats.leverage_norm,
        deviation,
        estimator.mean_change(stats, deviation),
        warning,
    )


def loo_loss(stats: BatchStatistics, deviation: Array) -> Array:
    """`ℓ_i(f_i + Δf_i)`: `[n]`, in nats [MPE Eq. 15]."""
    return stats.likelihood.example_loss(stats.f + deviation, stats.y, stats.weight)


def memorization(loss: Array, loo_loss: Array) -> Array:
    """`p(y_i ∣ f_i) − p(y_i ∣ f_i + Δf_i)`: `[n]`, the estimate of Feldman & Zhang's score for class targets."""
    xp = array_namespace(loss)
    return xp.exp(-loss) - xp.exp(-loo_loss)
