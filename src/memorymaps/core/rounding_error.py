"""From which relative error of leverages rounding is stated, and warned of: the same for models of every kind."""

from __future__ import annotations

STATED, WARNED = 1e-4, 0.01


def stated(error: float) -> float | None:
    """A relative error of leverages, where it is worth stating.

    Examples
    --------
    >>> stated(0.02), stated(1e-6)
    (0.02, None)
    """
    return error if error >= STATED else None


def warned(error: float, sentence: str) -> tuple[str, ...]:
    """A `sentence` with `{error}`, where rounding may change leverages by a percent or more.

    Examples
    --------
    >>> warned(0.021, "off by {error:.0%}"), warned(1e-6, "off by {error:.0%}")
    (('off by 2%',), ())
    """
    return (sentence.format(error=error),) if error >= WARNED else ()
