"""Text summary of a map: units of the scores, effective parameters, concentration of sensitivity, warnings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.core.wording import counted
from memorymaps.files.safe_text import printable
from memorymaps.maps.loo_averages import leave_one_out, weights_of
from memorymaps.maps.premises import (
    HIGH_LEVERAGE,
    long_steps_matter,
    mean_leverage,
    newton_step_unreliable,
    no_minimum,
    not_stationary,
    remaining_distance,
    variational_steps_too_long,
)
from memorymaps.maps.trust import trust_of

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable

_RANKS_ONLY = (
    "first-order sizes of a network: use ranks only. refine(m, top=…) or refit(m, top=…) gives sizes of the largest"
)


@dataclass(frozen=True)
class Summary:
    """Sections of text, each a heading with lines; `str` and `print` give the text."""

    sections: tuple[tuple[str, tuple[str, ...]], ...]

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join([title, *(f"  {printable(line)}" for line in lines or ("none",))])
            for title, lines in self.sections
        )

    __repr__ = __str__

    @property
    def warnings(self) -> tuple[str, ...]:
        """The lines under "Warnings"; empty where there is nothing to warn of (printed as "none")."""
        return dict(self.sections).get("Warnings", ())


def summarise(m: ExampleTable) -> Summary:
    """The `Summary` of a map."""
    if not len(m):
        return Summary((("Map", ("no examples",)),))
    sections = [
        ("Map", _map_lines(m)),
        ("Scores (unit, sign)", _unit_lines()),
        ("Complexity", _complexity_lines(m)),
        ("Memory", _concentration_lines(m)),
        ("Leave-one-out", (str(dataclasses.replace(leave_one_out(m), held="")), *_loss_lines(m))),
        ("Trust", tuple(map(str, trust_of(m)))),
        ("Warnings", warnings_of(m)),
    ]
    return Summary(tuple(sections))


def _map_lines(m: ExampleTable) -> tuple[str, ...]:
    d = m.provenance.description
    part = "" if len(m) == m.provenance.n else f" (of {m.provenance.n:,} in training; sums below are over these only)"
    without = int(np.count_nonzero(weights_of(m) == 0))
    part += f", {without:,} of weight 0, which count nowhere" * (without > 0)
    lines = [f"{counted(len(m), 'example')}{part}, {d.model}", f"likelihood {d.likelihood}, posterior {d.posterior}"]
    lines += [f"prior: {d.prior}", f"estimator: {m.provenance.estimator}", *d.coverage, *d.notes]
    return tuple(lines)


def _loss_lines(m: ExampleTable) -> tuple[str, ...]:
    if m.provenance.loss_is_density:
        return ()
    return (
        "losses are no log densities (quasi-likelihood, half deviance, another loss): only differences have a meaning",
    )


def _unit_lines() -> tuple[str, ...]:
    return (
        "error        ≥ 0, units of the target: ‖prediction − truth‖",
        "leverage     ≥ 0, effective parameters: sensitivity of an example's prediction to its own target",
        "sensitivity  ≥ 0, units of the target: change of its prediction if it is left out",
        "deviation    signed, units of the output: prediction without the example − prediction with it",
    )


def _complexity_lines(m: ExampleTable) -> tuple[str, ...]:
    d, total = m.provenance.description, float(np.sum(m["leverage"]))
    lines = [f"Σ leverage = {total:.2f} effective parameters, {mean_leverage(m):.4f} per example"]
    if d.effective_parameters is not None and len(m) == m.provenance.n:
        lines.append(f"computed by the posterior: {d.effective_parameters:.2f}")
    if isinstance(d.dispersion, float):
        how = "estimated" if d.dispersion_estimated else "known"
        lines.append(f"dispersion {d.dispersion:.4g} ({how})")
    return tuple(lines)


def _concentration_lines(m: ExampleTable) -> tuple[str, ...]:
    s = m["sensitivity"]
    lines = [
        f"{top_share(s, part):.0%} of the sensitivity is in {part:.0%} of the examples" for part in (0.01, 0.05, 0.2)
    ]
    top = m.top(5)
    return (*lines, "most sensitive: " + ", ".join(str(value) for value in top["id"].tolist()))


def top_share(sensitivity: Array, part: float) -> float:
    """Share of the total in the fraction `part` of the examples with the largest values (at least one example).

    Examples
    --------
    >>> top_share(np.array([9.0, 1.0, 0.0, 0.0]), 0.25)
    0.9
    """
    s = np.sort(sensitivity[np.isfinite(sensitivity)])[::-1]
    total = float(np.sum(s))
    return float(np.sum(s[: max(1, round(part * len(s)))])) / total if total > 0 else 0.0


def warnings_of(m: ExampleTable) -> tuple[str, ...]:
    """Warnings about the map and its examples, as sentences."""
    codes = m["warning"].astype(np.int64)  # files of earlier versions hold 8 bits
    shown = [flag for flag in Warn if flag and (flag != Warn.LONG_STEP or long_steps_matter(m))]
    held = m.provenance.description.held_fixed
    lines = [_warning_line(flag, int(np.count_nonzero(codes & int(flag))), len(m), held) for flag in shown]
    cautions = (*m.provenance.description.cautions, *_warn_off_optimum(m))
    return (*cautions, *_warn_first_order(m), *_warn_long_step(m), *(line for line in lines if line))


def _warning_line(flag: Warn, count: int, n: int, held: str) -> str:
    meaning = {
        Warn.BOUND: f"at the bound: with {held} held fixed no prediction is left without them (NaN); refit(m, top=…)"
        if held
        else "at the bound: the model is determined by them alone and cannot be refitted without them (NaN)",
        Warn.NEAR_SINGULAR: "nearly at the bound: sizes have few significant digits",
        Warn.FIRST_ORDER: "at or beyond the bound: first-order sizes, too small",
        Warn.NOT_CONVERGED: "whose iteration has not converged: no fixed point (NaN), or too few steps (refine, refit)",
        Warn.LONG_STEP: "whose Newton step may be too long: read sizes as ranks, or refit(m, top=…)",
        Warn.PARETO_K: "with a Pareto-k above the limit of importance sampling: use more draws, or refit without them",
        Warn.UNDEFINED: "whose left-out prediction is at the end of the family's range or outside: their left-out loss "
        "is infinite or not defined (NaN), and averages exclude them",
        Warn.ACTIVE_SET: "without which other coefficients are zero: sizes fix the zeros, refit without them",
        Warn.CROSS_FITTED: "predicted by refits without a fifth of the examples, as many are alone in their leaves: "
        "read sizes as ranks, refit(m, top=…) leaves out one at a time",
    }
    return f"{count:,} of {n:,} examples {meaning[flag]}" if count else ""


def _warn_first_order(m: ExampleTable) -> tuple[str, ...]:
    """First-order sizes are too small by a factor of about `1 − h`, which matters for large mean leverage."""
    mean = mean_leverage(m)
    if m.provenance.estimator.name != "first_order":
        return ()
    if mean >= HIGH_LEVERAGE:
        return (
            f"first-order sizes with {mean:.2g} effective parameters per example: deviations and the leave-one-out "
            "loss are understated. Use an exact structure, refine(m) or refit(m), or ranks only",
        )
    return (_RANKS_ONLY,) if m.provenance.description.nonlinear else ()


_VARIATIONAL = (
    "one step from a variational posterior this flexible: the largest sizes were 0.4 to 0.8 of those of refits, sizes "
    "are ranks"
)


def _warn_long_step(m: ExampleTable) -> tuple[str, ...]:
    if variational_steps_too_long(m):
        return (_VARIATIONAL,)
    if not newton_step_unreliable(m):
        return ()
    why = (
        f"{mean_leverage(m):.2g} effective parameters per example, and outputs that are not linear in the parameters: "
    )
    refitted = int(np.count_nonzero(m["refitted"])) if "refitted" in m else 0
    if refitted:
        return (
            f"{why}one Newton step may differ from the refit by a fifth and more. "
            f"{counted(refitted, 'example was', 'examples were')} refitted without, column 'refitted'; "
            "refit(m, top=…) does so for more, retrain_check(m) measures the agreement",
        )
    return (
        f"{why}one Newton step may differ from the refit by a fifth and more, in the leave-one-out loss most. "
        "refit(m, top=…) refits without the largest, retrain_check(m) measures the agreement",
    )


def _warn_off_optimum(m: ExampleTable) -> tuple[str, ...]:
    """That there is no optimum, or that the parameters are far from it."""
    d = m.provenance.description
    if d.infinite_estimates:
        return (no_minimum(d),)
    if not not_stationary(m):
        return ()
    return (
        f"the parameters are {remaining_distance(d)} from the "
        "optimum on this data: not the training data or weights, or the fit has not converged"
        + _gap_words(d.optimum_gap)
        + (": memory_map(…, polish=True) makes the remaining Newton steps on a copy" if d.polishable else ""),
    )


def _gap_words(gap: tuple[float, ...] | None) -> str:
    if gap is None:
        return ""
    slope, error, _, loss_error = gap
    return f". Sizes differ from those at the optimum (slope {slope:.2f}, error {error:.2f}; losses {loss_error:.2f})"
