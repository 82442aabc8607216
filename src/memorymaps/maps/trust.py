"""Which figures of a map can be used: exact, verified, estimated, as ranks only, or not at all, with reasons."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from memorymaps.core.wording import counted
from memorymaps.maps.premises import (
    HIGH_LEVERAGE,
    largest_leverage,
    long_step_share,
    many_long_steps,
    mean_leverage,
    newton_step_unreliable,
    not_stationary,
    remaining_distance,
    stands_off_optimum,
    variational_steps_too_long,
    verified_rows,
)
from memorymaps.posteriors.approximation import Approximation
from memorymaps.posteriors.group_refits import changed_by_groups, held_hyperparameters, held_scale

if TYPE_CHECKING:
    from memorymaps.maps.provenance import Agreement
    from memorymaps.maps.table import ExampleTable
    from memorymaps.posteriors.contract import Description


class Level(enum.StrEnum):
    """How far a figure can be trusted, best first."""

    EXACT = "exact"
    """Equal to refitting, to rounding, with what the reasons name held at its value."""
    VERIFIED = "verified"
    """Computed by refitting, or on the exact curvature."""
    ESTIMATED = "estimated"
    """Sizes agree with refitting up to an error that was measured for this kind of model, or that is stated."""
    RANKS = "ranks only"
    """The order of examples is informative, sizes are not."""
    UNUSABLE = "not to be used"
    """Measured to be wrong, or without any measurement that it is right."""

    @property
    def sizes(self) -> bool:
        """Whether sizes can be used, not only their order."""
        return self in (Level.EXACT, Level.VERIFIED, Level.ESTIMATED)


_ORDER = list(Level)
FIGURES = ("leverage", "sensitivity", "loo_loss", "ranks", "groups")
_FIGURE_OF = {
    "leverage_norm": "leverage", "output_sensitivity": "deviation", "deviation": "sensitivity",
    "loo_prediction": "sensitivity", "loo_mean": "sensitivity", "memorization": "loo_loss",
}  # fmt: skip

_E, _V, _S, _R, _U = Level
BASE_VERDICTS: dict[str, tuple[Level, Level, Level, Level, Level, str]] = {
    Approximation.EXACT: (_E, _E, _E, _E, _E, "Gaussian and linear in the parameters: removal is exact"),
    Approximation.ACTIVE_SET: (
        _E, _S, _S, _S, _S, "right as long as the same coefficients stay at zero when an example is left out",
    ),
    Approximation.ONE_STEP: (_E, _S, _S, _S, _S, "one Newton step from the optimum; errors of a few percent measured"),
    Approximation.NONSMOOTH: (
        _S, _S, _S, _S, _S, "the loss is piecewise: curvature is that of the loss smoothed by the posterior",
    ),
    Approximation.EXACT_CURVATURE: (_S, _S, _S, _S, _S, "one Newton step of a nonlinear model, on its full curvature"),
    Approximation.CHECKED_CURVATURE: (
        _S, _S, _S, _S, _S, "approximate curvature whose effective parameters agree with the exact one",
    ),
    Approximation.APPROXIMATE_CURVATURE: (
        _R, _R, _R, _S, _R, "unverified approximate curvature: leverages of 1.3 to 2.5 times the exact ones measured",
    ),
    Approximation.SOME_PARAMETERS: (
        _R, _R, _U, _S, _U,
        "only some of the parameters are covered, the others would change, too: "
        "leverages of 0.1 to 0.4 of all parameters' measured",
    ),
    Approximation.OPTIMIZER_STATE: (
        _R, _R, _U, _S, _U, "curvature from the optimiser's state: left-out losses of it were measured to be wrong",
    ),
    Approximation.STRUCTURE_FIXED: (
        _R, _R, _U, _S, _U,
        "splits are fixed, and were chosen with the example: retraining changes them, and leverages were 0.1 to 1 "
        "times those with splits free",
    ),
    Approximation.CROSS_FITTED: (
        _S, _R, _S, _S, _U, "predictions of refits without a fifth of the examples, not without one alone",
    ),
    Approximation.CROSS_FITTED_ENSEMBLE: (
        _S, _S, _S, _S, _U, "predictions of refits without a fifth of the examples, which differ by 10 to 20 % here",
    ),
    Approximation.DRAWS: (_S, _S, _S, _S, _S, "moments of posterior draws"),
    Approximation.OTHER_DRAWS: (
        _U, _R, _U, _R, _U,
        "draws differ by seed, mask, learning rate or resample, not as a posterior's: sizes of 0.0002 to 1.6 times the "
        "posterior's measured of networks, rank correlations of leverage -0.2 to 0.96, of sensitivity 0.1 to 0.99",
    ),
    Approximation.VARIATIONAL: (_S, _S, _S, _S, _R, "a variational posterior, its hyperparameters held"),
    Approximation.FACTORIZED: (
        _R, _R, _R, _S, _R,
        "a variational posterior without correlations: leverages off by 55 to 86 % of those with them and sizes of 1.3 "
        "to 2.5 times refits' measured",
    ),
    Approximation.UNSTATED: (
        _R, _R, _R, _R, _R, "the posterior does not state its approximation: no measurement speaks for its sizes",
    ),
}  # fmt: skip
_SLOPE, _RANKS = 0.15, 0.9  # by how much a slope may differ from 1; rank correlation of an order that is verified
_ENOUGH = 10  # retrained examples from which a figure of the map can be called verified
_LARGE_ERROR = 0.3  # relative error from which sizes are not meaningful
_NOT_EXACT = 0.005  # from which they are not exact
_FOUND = ((3.0, Level.UNUSABLE, "a quarter"), (1.0, Level.RANKS, "half"))  # from such stated errors on
_LOOSE, _LOST = 1.0, 2.0  # distances from the optimum from which ranks are "ranks only", and nothing is to be used
_LOOSE_OF_CURVED, _LOST_OF_CURVED = 0.5, 1.5  # the same of networks and kernel machines
_NEAR_ONE = 0.8  # leverage per output from which left-out losses of approximate curvature were wrong; 0.61: 5 % off
_PIECEWISE_LINEAR = ("Hinge", "EpsilonInsensitive", "Pinball", "Perceptron")  # losses with a slope that jumps
_ONE_TREE = re.compile(r"DecisionTree|ExtraTree(?!s)")
_MUCH_NEGATIVE = 0.1  # of the positive curvature; below, sizes 1 to 8 % too small were measured
_MANY = 0.05  # share of examples with a warning from which it counts for the map


@dataclass(frozen=True)
class Verdict:
    """How far one figure of a map can be trusted.

    Attributes
    ----------
    figure : `"leverage"`, `"sensitivity"`, `"loo_loss"`, `"ranks"` or `"groups"`; `"deviation"` where it differs.
    level : see `Level`.
    reasons : why, most basic first.
    error : relative standard error of sizes where the posterior states one.
    """

    figure: str
    level: Level
    reasons: tuple[str, ...] = ()
    error: float | None = None

    @property
    def sizes(self) -> bool:
        """Whether sizes can be used, not only their order."""
        return self.level.sizes

    def at_most(self, level: Level, reason: str) -> Verdict:
        """This verdict, or the lower `level`, with one more reason unless it has it."""
        lower = max(self.level, level, key=_ORDER.index)
        reasons = self.reasons if reason in self.reasons else (*self.reasons, reason)
        return dataclasses.replace(self, level=lower, reasons=reasons)

    def __str__(self) -> str:
        about = "" if self.error is None else f"about {self.error:.0%}" if self.error >= 0.005 else "below 1%"
        error = about and f", relative error {about}"
        return f"{self.figure}: {self.level}{error} ({'; '.join(self.reasons)})"


@dataclass(frozen=True)
class Trust:
    """The verdicts on a map's figures; `trust["loo_loss"]`, or any other column that leaving an example out changes.

    Columns with a verdict: `leverage`, `leverage_norm` (leverage); `sensitivity`, `output_sensitivity`, `deviation`,
    `loo_prediction`, `loo_mean` (sensitivity); `loo_loss`, `memorization` (left-out loss); `ranks` and `groups` are
    verdicts on the order of examples and on `leave_out`. Where the posterior states that deviations are less exact than
    the changes of the mean, `deviation` and `output_sensitivity` have a verdict of their own. Columns of the fit itself
    (`error`, `residual`, `loss`, `prediction`, …) are not estimates of another fit and have none.
    """

    verdicts: tuple[Verdict, ...]

    def __getitem__(self, name: str) -> Verdict:
        found, figure = {verdict.figure: verdict for verdict in self.verdicts}, name
        while figure not in found:
            if figure not in _FIGURE_OF:
                raise KeyError(
                    f"no verdict on {name!r}: it is not a figure about leaving examples out. Expected one of "
                    f"{', '.join((*FIGURES, *_FIGURE_OF))}"
                )
            figure = _FIGURE_OF[figure]
        return found[figure]

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __contains__(self, name: object) -> bool:
        return name in FIGURES or name in _FIGURE_OF

    def __str__(self) -> str:
        return "\n".join(map(str, self.verdicts))

    __repr__ = __str__

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain strings, numbers and lists, for JSON."""
        return [{**dataclasses.asdict(v), "level": str(v.level), "reasons": list(v.reasons)} for v in self.verdicts]


def trust_of(m: ExampleTable) -> Trust:
    """The verdicts on a map, from its description and its table alone: the same after a trip through a file."""
    d = m.provenance.description
    *levels, reason = BASE_VERDICTS[_approximation(m)]
    pairs = zip(FIGURES, levels, strict=True)
    found = {figure: Verdict(figure, level, (reason,), _error_of(figure, d)) for figure, level in pairs}
    for rule in _RULES:
        for figures, level, why in rule(m):
            found |= {figure: found[figure].at_most(level, why) for figure in figures}
    verdicts = {name: _retrained(m, _verified(m, _refined(m, verdict))) for name, verdict in found.items()}
    return Trust((*verdicts.values(), *_of_deviations(m, verdicts["sensitivity"])))


def _error_of(figure: str, d: Description) -> float | None:
    """The relative error that the posterior states of a figure; that of leverages where it states no other.

    Of groups only where their removal is exact but for rounding: errors of approximations are of single examples.
    """
    if figure == "groups":
        return d.relative_error if d.approximation == Approximation.EXACT else None
    place = {"sensitivity": 0, "ranks": 0, "loo_loss": 1}.get(figure)
    return d.relative_error if place is None or d.size_errors is None else d.size_errors[place]


def _approximation(m: ExampleTable) -> str:
    d = m.provenance.description
    if d.approximation or not d.posterior.startswith("exact"):
        return d.approximation if d.approximation in BASE_VERDICTS else Approximation.UNSTATED
    return Approximation.EXACT  # written before descriptions had the field


_Finding = tuple[tuple[str, ...], Level, str]
_SIZES = ("sensitivity", "loo_loss", "groups")


def _held(m: ExampleTable) -> Iterator[_Finding]:
    d = m.provenance.description
    for figures, why in ((_SIZES, held_hyperparameters(d)), (("loo_loss",), held_scale(d))):
        if why:
            yield figures, Level.EXACT, why
    for level, why in changed_by_groups(d):
        yield ("groups",), Level(level), why
    if not m.provenance.loss_is_density:
        yield ("loo_loss",), Level.ESTIMATED, "not a log density: only differences have a meaning"


def _not_at_optimum(m: ExampleTable) -> Iterator[_Finding]:
    d = m.provenance.description
    why = f"the fit stands {remaining_distance(d)} from the optimum"
    leverage = ("leverage",) if _leverage_is_of_the_optimum(d) else ()
    if stands_off_optimum(m) and d.approximation == Approximation.EXACT:
        yield (*_SIZES, "ranks"), Level.ESTIMATED, why
    if not not_stationary(m):
        if leverage and stands_off_optimum(m):
            yield leverage, Level.ESTIMATED, why
        return
    yield (*_SIZES, *leverage), Level.RANKS, why
    if d.nonlinear:
        yield ("leverage",), Level.EXACT, f"of the weights as they are: {why}"
    yield from _order_off_optimum(m, leverage)


def _order_off_optimum(m: ExampleTable, leverage: tuple[str, ...]) -> Iterator[_Finding]:
    d = m.provenance.description
    curved = d.nonlinear or _is_kernel_machine(d)
    if stands_off_optimum(m, _LOST_OF_CURVED if curved else _LOST):
        measured = "0 to 0.2" if curved else "0.2"
        why = f"so far from the optimum rank correlations of {measured} were measured (median)"
        yield (*_SIZES, "ranks", *(() if _is_least_squares(d) else leverage)), Level.UNUSABLE, why
    elif curved and stands_off_optimum(m, _LOOSE_OF_CURVED):
        yield ("ranks",), Level.RANKS, "so far from the optimum rank correlations of 0.4 to 0.9 were measured (medians)"
    elif stands_off_optimum(m, _LOOSE):
        why = "so far from the optimum a quarter of the 5 % most sensitive were those at the optimum (median)"
        yield ("ranks",), Level.RANKS, why


def _leverage_is_of_the_optimum(d: Description) -> bool:
    """Not of least squares without coefficients that may be zero, whose curvature is the same anywhere, nor of
    networks: it is that of the weights they have.
    """
    constant = _is_least_squares(d) and d.approximation != Approximation.ACTIVE_SET
    return not (d.nonlinear or constant or d.approximation == Approximation.EXACT)


def _is_least_squares(d: Description) -> bool:
    return d.posterior.startswith("exact")


def _is_kernel_machine(d: Description) -> bool:
    return d.approximation == Approximation.NONSMOOTH and d.posterior.startswith("Gaussian process")


def _not_convex(m: ExampleTable) -> Iterator[_Finding]:
    share = m.provenance.description.negative_curvature
    why = f"the loss is not convex: negative curvature, {share:.1%} of the positive one, counts as none"
    if share >= _MUCH_NEGATIVE:
        measured = "sizes of 0.25 to 0.7 times refits' measured"
        yield _SIZES, Level.RANKS, f"{why}: {measured}"
    if share > 0:
        yield ("leverage", *_SIZES, "ranks"), Level.ESTIMATED, why


def _no_minimum(m: ExampleTable) -> Iterator[_Finding]:
    if m.provenance.description.infinite_estimates:
        yield (
            ("leverage",),
            Level.ESTIMATED,
            "the loss has no minimum: the fit ends where its solver stops",
        )


def _piecewise_linear(m: ExampleTable) -> Iterator[_Finding]:
    d = m.provenance.description
    jumps = d.likelihood.rpartition(" ")[2] in _PIECEWISE_LINEAR  # "one-vs-one Hinge"
    if d.approximation == Approximation.NONSMOOTH and (jumps or d.cautions):
        yield (
            ("sensitivity", "loo_loss"),
            Level.RANKS,
            "kinked loss: sizes that were not refitted were 0.3 to 1.2 of refits",
        )


def _one_tree(m: ExampleTable) -> Iterator[_Finding]:
    if _ONE_TREE.search(m.provenance.description.model):
        yield ("ranks",), Level.UNUSABLE, "a single tree: rank correlations with refits of 0.3 and 0.6 measured"


def _first_order(m: ExampleTable) -> Iterator[_Finding]:
    if m.provenance.estimator.name not in ("first_order", "diagonal"):
        return
    yield ("sensitivity", "loo_loss"), Level.RANKS, "first-order sizes are too small by a factor of about 1 − h"
    variational = Approximation.VARIATIONAL, Approximation.FACTORIZED
    averaged = m.provenance.description.approximation in variational  # follows held-out loss in training
    if len(m) and not averaged and not mean_leverage(m) < HIGH_LEVERAGE:
        yield ("loo_loss",), Level.UNUSABLE, "and the model has many effective parameters per example"


def _long_step(m: ExampleTable) -> Iterator[_Finding]:
    approximation = m.provenance.description.approximation
    if newton_step_unreliable(m):
        yield _SIZES, Level.RANKS, "one Newton step may be too long for a model this flexible"
    elif variational_steps_too_long(m):
        yield (
            ("sensitivity", "loo_loss"),
            Level.RANKS,
            "one step from a variational posterior this flexible: largest sizes of 0.4 to 0.8 of refits' measured",
        )
    elif approximation == Approximation.ONE_STEP and many_long_steps(m):
        share = long_step_share(m)
        yield _SIZES, Level.RANKS, f"{share:.0%} of the sensitivity is in examples whose Newton step may be too long"


def _high_leverage(m: ExampleTable) -> Iterator[_Finding]:
    """Of curvature that is right on average: `1/(1 − h)` of one example near 1 is not."""
    d, h = m.provenance.description, largest_leverage(m)
    if d.approximation == Approximation.CHECKED_CURVATURE and d.relative_error is None and not h < _NEAR_ONE:
        why = f"a leverage of {h:.2f} by approximate curvature: left-out losses 1.3 to 100 times too large measured"
        yield ("sensitivity", "loo_loss"), Level.RANKS, why


def _stated_error(m: ExampleTable) -> Iterator[_Finding]:
    errors = {figure: _error_of(figure, m.provenance.description) for figure in FIGURES}
    large = tuple(name for name, error in errors.items() if error is not None and not error < _LARGE_ERROR)
    sizes = tuple(name for name in large if name != "ranks")
    if sizes:
        yield sizes, Level.RANKS, "with an error this large"
    for least, level, part in _FOUND:
        if "ranks" in large and not (errors["ranks"] or 0.0) < least:
            why = f"with an error this large {part} of the 5 % most sensitive were the exact ones (medians measured)"
            yield ("ranks",), level, why
            return


def _not_exact(m: ExampleTable) -> Iterator[_Finding]:
    *levels, _ = BASE_VERDICTS[_approximation(m)]
    error = m.provenance.description.relative_error or 0.0
    figures = tuple(name for name, level in zip(FIGURES, levels, strict=True) if level == Level.EXACT)
    if figures and not error < _NOT_EXACT:
        yield figures, Level.ESTIMATED, "with the error that the posterior states"


def _marked(m: ExampleTable) -> Iterator[_Finding]:
    many = int(np.count_nonzero(m["warning"])) if len(m) else 0
    if many > _MANY * len(m):
        yield ("sensitivity", "loo_loss"), Level.RANKS, f"{many:,} of {len(m):,} examples carry a warning"
    elif many:
        yield ("sensitivity", "loo_loss"), Level.EXACT, f"{many:,} of {len(m):,} examples carry a warning of their own"


_RULES = (
    _held,
    _not_convex,
    _no_minimum,
    _not_exact,
    _stated_error,
    _piecewise_linear,
    _one_tree,
    _first_order,
    _not_at_optimum,
    _long_step,
    _high_leverage,
    _marked,
)


def _refined(m: ExampleTable, verdict: Verdict) -> Verdict:
    """Sensitivities on the exact curvature are still those of one Newton step, without an approximation's error."""
    many = int(np.count_nonzero(m["refined"])) if "refined" in m.table.column_names else 0
    if verdict.figure not in ("sensitivity", "loo_loss") or not many:
        return verdict
    words = f"one step on the exact curvature for {many:,} of {len(m):,} examples, column 'refined'"
    error = verdict.error if many < len(m) else None
    return dataclasses.replace(verdict, error=error, reasons=(*verdict.reasons, words))


def _verified(m: ExampleTable, verdict: Verdict) -> Verdict:
    """Sensitivities that were all computed by refitting are verified; some of them are named."""
    rows = verified_rows(m)
    many = int(np.count_nonzero(rows))
    if verdict.figure == "ranks" and many < len(m):
        return verdict
    if verdict.figure not in ("sensitivity", "loo_loss", "ranks") or not many:
        return verdict
    if many == len(m):
        return dataclasses.replace(verdict, level=Level.VERIFIED, reasons=("every example was refitted without",))
    words = f"{many:,} of {len(m):,} examples are verified, column 'refitted'"
    return dataclasses.replace(verdict, reasons=(*verdict.reasons, words))


def _retrained(m: ExampleTable, verdict: Verdict) -> Verdict:
    """The verdict after `retrain_check`: verified where sizes or order agree with retraining, lowered where not."""
    found = m.provenance.retrained
    if found is None or verdict.figure not in ("sensitivity", "loo_loss", "ranks"):
        return verdict
    at = found.loo_loss if verdict.figure == "loo_loss" else found.sensitivity
    words = f"{counted(found.examples, 'example')} retrained without: {_measured(verdict.figure, at)}"
    if not found.drift < at.typical:
        why = f"{words}, but retraining with nothing left out changes predictions as much, by {found.drift:.2g}"
        return dataclasses.replace(verdict, reasons=(*verdict.reasons, why))
    agrees = at.spearman >= _RANKS if verdict.figure == "ranks" else _sizes_agree(at)
    if not agrees:
        return verdict.at_most(_level_without_agreement(verdict.figure, at), words)
    if found.examples < _ENOUGH or verdict.level == Level.EXACT:
        return dataclasses.replace(verdict, reasons=(*verdict.reasons, words))
    return dataclasses.replace(verdict, level=Level.VERIFIED, reasons=(words,))


def _measured(figure: str, at: Agreement) -> str:
    if figure == "ranks":
        return f"rank correlation {at.spearman:.2f}"
    return f"slope {at.slope:.2f}, relative error {at.relative_error:.2f}"


def _sizes_agree(at: Agreement) -> bool:
    return abs(at.slope - 1) <= _SLOPE and at.relative_error <= _LARGE_ERROR


def _level_without_agreement(figure: str, at: Agreement) -> Level:
    """Of sizes that disagree: their order, if that agrees. Of an order that is not verified: as before, if positive."""
    if figure == "ranks":
        return Level.EXACT if at.spearman >= 0.5 else Level.UNUSABLE
    return Level.RANKS if at.spearman >= 0.5 else Level.UNUSABLE


def _of_deviations(m: ExampleTable, sensitivity: Verdict) -> Iterator[Verdict]:
    """A verdict on deviations of their own, where the posterior states what it adds to their error beside that of
    sensitivities; not where every example was computed without its variances.
    """
    added, columns = m.provenance.description.deviation_error, ("refined", "refitted")
    replaced = sum((np.asarray(m[name]) for name in columns if name in m.table.column_names), np.zeros(len(m), int))
    if added is None or replaced.all():
        return
    words = f"outputs that Λ does not see are only estimated, which adds {added:.0%} to the error of deviations"
    error = math.hypot(added, sensitivity.error or 0.0)
    found = sensitivity.at_most(Level.ESTIMATED if error < _LARGE_ERROR else Level.RANKS, words)
    stated = error if sensitivity.error is not None else None
    yield dataclasses.replace(found, figure="deviation", error=stated)
