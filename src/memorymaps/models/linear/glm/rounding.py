"""What rounding changes of leverages where columns are nearly collinear: stated, and warned of."""

from __future__ import annotations

import dataclasses

from memorymaps.posteriors.contract import Description

_STATED, _WARNED = 1e-4, 0.01  # relative errors from which rounding is stated, and warned of
_CAUTION = (
    "nearly collinear columns: rounding may change leverages by {error:.0%}. Drop one of the columns that nearly are "
    "combinations of others, or replace it by its difference from them"
)


def stated(error: float) -> float | None:
    """A relative error of leverages, where it is worth stating."""
    return error if error >= _STATED else None


def cautions(error: float) -> tuple[str, ...]:
    """A sentence where rounding may change leverages by a percent or more."""
    return (_CAUTION.format(error=error),) if error >= _WARNED else ()


def with_rounding(description: Description, error: float) -> Description:
    """The description with the relative `error` of leverages by rounding, where it is worth stating."""
    found = (*description.cautions, *cautions(error))
    return dataclasses.replace(description, relative_error=stated(error), cautions=found)
