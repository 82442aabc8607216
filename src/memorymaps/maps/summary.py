"""A map in words: what each score says, how complex the model is, where its memory sits, what to distrust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memorymaps.core.arrays import Array
from memorymaps.core.perturbation.deviation import Warn
from memorymaps.files.safe_text import printable
from memorymaps.maps.loo_averages import leave_one_out

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable

_HIGH_LEVERAGE = 0.3  # mean leverage from which first-order sizes deserve a warning
_LONG_STEP = 0.18  # mean leverage from which one Newton step can be a fifth and more too long (benchmarks)
_RANKS = (
    "first-order sizes of a network: read them as ranks. refine(m, top=…) or refit(m, top=…) gives sizes of the largest"
)
_DISTANCE = 0.05  # posterior standard deviations per effective parameter that deserve a warning


@dataclass(frozen=True)
class Summary:
    """Lines of text under headings; prints as itself."""

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
    """What a map says, in words a user understands."""
    if not len(m):
        return Summary((("Map", ("no examples",)),))
    sections = [
        ("Map", _what(m)),
        ("Scores (unit, sign)", _units()),
        ("Complexity", _complexity(m)),
        ("Memory", _memory(m)),
        ("Leave-one-out", (str(leave_one_out(m)),)),
        ("Warnings", warnings_of(m)),
    ]
    return Summary(tuple(sections))


def _what(m: ExampleTable) -> tuple[str, ...]:
    d = m.provenance.description
    part = "" if len(m) == m.provenance.n else f" (of {m.provenance.n:,} in training; sums below are over these only)"
    lines = [f"{len(m):,} examples{part}, {d.model}", f"likelihood {d.likelihood}, posterior {d.posterior}"]
    lines += [f"prior: {d.prior}", f"estimator: {m.provenance.estimator}", *d.coverage, *d.notes]
    return tuple(lines)


def _units() -> tuple[str, ...]:
    return (
        "error        ≥ 0, units of the target: ‖prediction − truth‖",
        "leverage     ≥ 0, effective parameters: how far the model lets an example move its own prediction",
        "sensitivity  ≥ 0, units of the target: how far its prediction moves if it is left out",
        "deviation    signed, units of the output: prediction without the example − prediction with it",
    )


def _complexity(m: ExampleTable) -> tuple[str, ...]:
    d, total = m.provenance.description, float(np.sum(m["leverage"]))
    lines = [f"Σ leverage = {total:.2f} effective parameters, {total / len(m):.4f} an example"]
    if d.effective_parameters is not None and len(m) == m.provenance.n:
        lines.append(f"the posterior's own count: {d.effective_parameters:.2f}")
    if isinstance(d.dispersion, float):
        how = "estimated" if d.dispersion_estimated else "known"
        lines.append(f"dispersion {d.dispersion:.4g} ({how})")
    return tuple(lines)


def _memory(m: ExampleTable) -> tuple[str, ...]:
    s = m["sensitivity"]
    lines = [f"{share(s, part):.0%} of the sensitivity is in {part:.0%} of the examples" for part in (0.01, 0.05, 0.2)]
    top = m.top(5)
    return (*lines, "most sensitive: " + ", ".join(str(value) for value in top["id"].tolist()))


def share(sensitivity: Array, part: float) -> float:
    """Share of the total that the largest `part` of the examples hold (at least one example).

    Examples
    --------
    >>> share(np.array([9.0, 1.0, 0.0, 0.0]), 0.25)
    0.9
    """
    s = np.sort(sensitivity[np.isfinite(sensitivity)])[::-1]
    total = float(np.sum(s))
    return float(np.sum(s[: max(1, round(part * len(s)))])) / total if total > 0 else 0.0


def warnings_of(m: ExampleTable) -> tuple[str, ...]:
    """Warning lights of the map and its examples, in words."""
    codes = m["warning"]
    lines = [_light(flag, int(np.count_nonzero(codes & int(flag))), len(m)) for flag in Warn if flag]
    return (*_far(m), *_warn_first_order(m), *_warn_long_step(m), *(line for line in lines if line))


def _light(flag: Warn, count: int, n: int) -> str:
    meaning = {
        Warn.BOUND: "at the bound: the model hangs on them alone and cannot be refitted without them (NaN)",
        Warn.NEAR_SINGULAR: "nearly at the bound: sizes carry few digits",
        Warn.FIRST_ORDER: "at or past the bound: first-order sizes, too small",
        Warn.NOT_CONVERGED: "whose iteration has not converged: no fixed point (NaN), or more steps to refine or refit",
        Warn.PARETO_K: "with a Pareto-k beyond what importance sampling can bear: more draws, or leave out for real",
        Warn.UNDEFINED: "whose left-out prediction leaves the range of the family: no left-out loss (NaN or infinite)",
        Warn.ACTIVE_SET: "without which other coefficients are zero: sizes hold the zeros fixed, leave out for real",
    }
    return f"{count:,} of {n:,} examples {meaning[flag]}" if count else ""


def _warn_first_order(m: ExampleTable) -> tuple[str, ...]:
    """First-order sizes fall short by about `1/(1 − h)`: too much where the model leans on each example."""
    mean = float(np.mean(m["leverage"])) if len(m) else 0.0
    if m.provenance.estimator.name != "first_order":
        return ()
    if mean >= _HIGH_LEVERAGE:
        return (
            f"first-order sizes with {mean:.2g} effective parameters an example: what leaving out does, and the "
            "leave-one-out loss with it, is understated. Use an exact structure, refine(m) or refit(m), or read ranks "
            "only",
        )
    return (_RANKS,) if m.provenance.description.nonlinear else ()


def newton_step_unreliable(m: ExampleTable) -> bool:
    """Whether cavity sizes, one Newton step's, may be too large: the network leans on each example, and nonlinear."""
    if not len(m) or not m.provenance.description.nonlinear or m.provenance.estimator.name == "first_order":
        return False
    return float(np.mean(m["leverage"])) >= _LONG_STEP


def _warn_long_step(m: ExampleTable) -> tuple[str, ...]:
    if not newton_step_unreliable(m):
        return ()
    why = (
        f"{float(np.mean(m['leverage'])):.2g} effective parameters an example, and outputs that are not linear in the "
        "parameters: "
    )
    many = int(np.count_nonzero(m["refitted"])) if "refitted" in m else 0
    if many:
        return (
            f"{why}one Newton step may overstate sizes. {many:,} examples were really left out, column 'refitted'; "
            "refit(m, top=…) does so for more, retrain_check(m) tells how sizes compare",
        )
    return (
        f"{why}one Newton step may overstate the largest sizes, and the leave-one-out loss more. refit(m, top=…) "
        "really leaves the largest out, retrain_check(m) tells how sizes compare",
    )


def not_stationary(m: ExampleTable) -> bool:
    """Whether the parameters are not where training would come to rest."""
    distance = m.provenance.description.distance
    return distance is not None and not distance < _DISTANCE


def _far(m: ExampleTable) -> tuple[str, ...]:
    d = m.provenance.description
    if not not_stationary(m):
        return ()
    return (
        f"the parameters are {d.distance:.2g} posterior standard deviations (each) from the "
        "optimum on this data: not the training data or weights, or the fit has not converged"
        + (": memory_map(…, polish=True) makes the remaining Newton steps on a copy" if d.polishable else ""),
    )
