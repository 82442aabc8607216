"""The verdict on one cell of the catalogue: right, refused, warned of, or wrong in silence.

Truth is what leaving examples out of the model's own fit does, by real refits. A figure is off where its slope through
the origin misses 1 by more than 0.15, or its relative error exceeds 0.3. Examples with a warning of their own count as
said; for the others, figures that are off must be named by a warning or a trust verdict of the map.
"""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import memorymaps as mm

SLOPE, ERROR = 0.15, 0.3
K = 8  # examples that are refitted
UNCERTAIN = ("ranks only", "not to be used")
LIBRARY = str(Path(mm.__file__).parent)
REMEDY = re.compile(
    r"expected|expecting|pass|\bfit\b|\buse\b|\bcall\b|\bdrop\b|leave|\bset\b|\bmap\b|draw|refit|choose|train|load|give|\badd\b"
    r"|divide|reset|return|remove|give|one of|supported:|as .* reads|encode|convert|fill",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Truth:
    """What leaving out does: for training rows, `before` and `after [k, c]` outputs, targets and weights."""

    changes: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    y: Any
    weight: np.ndarray | None = None


@dataclass(frozen=True)
class Case:
    """One input: how it is mapped, what is true, what is typed instead after a refusal.

    Attributes
    ----------
    draw : maps the input.
    truth : by refits; none where no number can be right (a NaN, another target): only a refusal or a warning will do.
    remedy : what the message of a refusal tells to do, executed.
    says : regular expression for the message of a refusal.
    usual : warnings of the family's clean map, which say nothing about this fault; `None`: all warnings count.
    """

    draw: Callable[[], Any]
    truth: Truth | None = None
    remedy: Callable[[], Any] | None = None
    says: str = ""
    usual: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Verdict:
    """`kind` is right, refused, warned or silent; `figures` holds slopes and errors, `words` what was said."""

    kind: str
    words: str = ""
    figures: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}: " + ", ".join(f"{k} {v:.3g}" for k, v in self.figures.items()) + f"; {self.words[:300]}"


def judge(case: Case) -> Verdict:
    """Map the input and compare it with the truth; a refusal is judged by its message and its remedy."""
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        try:
            m = case.draw()
        except Exception as error:
            check_refusal(error, case.says)
            if case.remedy is not None:
                found = judge_map(case.remedy(), None, None)
                assert found.kind != "silent", f"the remedy maps wrongly: {found}"
            return Verdict("refused", str(error))
        return judge_map(m, case.truth, case.usual, required=case.truth is None)


def check_refusal(error: Exception, says: str) -> None:
    """A refusal is the library's own, of a kind that callers expect, and tells what to type."""
    assert isinstance(error, (ValueError, TypeError)), f"a crash: {error!r}" + _where(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = frames[-1].filename.startswith(LIBRARY) or type(error).__name__ == "NotFittedError"
    assert own, f"not the library's own message: {error!r}{_where(error)}"
    assert len(str(error)) > 30, f"a message without reasons: {error}"
    assert REMEDY.search(str(error)), f"a message without a remedy: {error}"
    assert re.search(says, str(error)), f"expected {says!r}, got {error}"


def _where(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f" at {last.filename}:{last.lineno}"


def judge_map(m: Any, truth: Truth | None, usual: tuple[str, ...] | None, required: bool = False) -> Verdict:
    """`required`: no map can be right, so that one without a word is wrong."""
    said = words_of(m, usual)
    strange = _not_finite(m)
    if strange:
        return Verdict("silent", f"{strange} is not finite")
    if truth is None:
        return Verdict("warned" if said else ("silent" if required else "right"), said)
    if not len(chosen(m)):
        return Verdict("warned", "every example carries a warning")
    figures = compare(m, truth)
    off = {name for name in ("sensitivity", "loss") if _is_off(figures, name)}
    if not off:
        return Verdict("right", said, figures)
    if said:
        return Verdict("warned", said, figures)
    doubted = {"sensitivity": "sensitivity", "loss": "loo_loss"}
    levels = {name: str(m.trust[doubted[name]].level) for name in off}
    told = UNCERTAIN if usual is None else UNCERTAIN[1:]
    if all(level in told for level in levels.values()):
        return Verdict("warned", str(levels), figures)
    return Verdict("silent", str(levels), figures)


def kind_of(line: str) -> str:
    """A warning without its numbers."""
    return re.sub(r"[\d.,e+-]+", "#", line)[:60]


def words_of(m: Any, usual: tuple[str, ...] | None) -> str:
    """Warnings of the whole map, beyond the usual ones; those of single examples are told by the examples."""
    known = {kind_of(line) for line in usual or () if "not the training data" not in line}
    lines = [line for line in m.summary().warnings if not re.match(r"[\d,]+ of [\d,]+ examples", line)]
    return "; ".join(line for line in lines if kind_of(line) not in known)


def _not_finite(m: Any) -> str:
    """A column with a NaN or an infinity in an example that carries no warning."""
    clear = np.asarray(m["warning"]) == 0
    for name in ("leverage", "sensitivity", "error", "loss", "loo_loss"):
        if not np.all(np.isfinite(np.asarray(m[name], dtype=float)[clear])):
            return name
    return ""


def chosen(m: Any) -> np.ndarray:
    """Positions of the most sensitive examples and as many others, without those that carry a warning."""
    clear = np.flatnonzero(np.asarray(m["warning"]) == 0)
    order = clear[np.argsort(-np.asarray(m["sensitivity"])[clear], kind="stable")]
    rest = np.random.default_rng(0).permutation(order[K // 2 :])
    return np.sort(np.concatenate([order[: K // 2], rest[: K - K // 2]]))


def compare(m: Any, truth: Truth) -> dict[str, float]:
    """Slopes and relative errors of sensitivities and left-out losses of `chosen` examples."""
    places = chosen(m)
    rows = np.asarray(m["row"])[places]
    likelihood = m.origin.batch_statistics(m.origin.examples.take(rows)).likelihood
    before, after = truth.changes(rows)
    known = np.isfinite(after).all(axis=1)
    if not known.any():
        return {"examples": 0}
    places, rows, before, after = places[known], rows[known], before[known], after[known]
    size = np.sum(np.abs(likelihood.mean(after) - likelihood.mean(before)), axis=1)
    weight = np.ones(len(rows)) if truth.weight is None else truth.weight[rows]
    loss = np.asarray(likelihood.example_loss(after, np.asarray(truth.y)[rows], weight), dtype=float)
    floor = 1e-7 * (1 + np.max(np.abs(likelihood.mean(before))))
    s_slope, s_error = line(np.asarray(m["sensitivity"])[places], size, floor)
    l_slope, l_error = line(np.asarray(m["loo_loss"])[places], loss, 1e-7)
    return {
        "examples": len(rows), "slope": s_slope, "error": s_error, "loss slope": l_slope, "loss error": l_error,
    }  # fmt: skip


def line(estimate: np.ndarray, truth: np.ndarray, floor: float) -> tuple[float, float]:
    """Slope through the origin and relative error; differences below `floor` each are none."""
    size, gap = np.linalg.norm(truth), np.linalg.norm(estimate - truth)
    none = floor * np.sqrt(len(truth))
    if gap <= none:
        return 1.0, 0.0
    if size <= none:
        return np.inf, np.inf
    return float(estimate @ truth / size**2), float(gap / size)


def _is_off(figures: dict[str, float], name: str) -> bool:
    prefix = "" if name == "sensitivity" else "loss "
    if f"{prefix}slope" not in figures:
        return False
    slope, error = figures[f"{prefix}slope"], figures[f"{prefix}error"]
    return not (abs(slope - 1) <= SLOPE and error <= ERROR)
