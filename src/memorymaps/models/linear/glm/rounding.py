"""What rounding changes of leverages where columns are nearly collinear: stated, and warned of."""

from __future__ import annotations

import dataclasses

from memorymaps.posteriors.contract import Description

_STATED, _WARNED = 1e-4, 0.01  # relative errors from which rounding is stated, and warned of
_CAUTION = (
    "nearly collinear columns: rounding may change leverages by {error:.0%}. Drop one of the columns that nearly are "
    "combinations of others, or replace it by its difference from them"
)


def with_rounding(description: Description, error: float) -> Description:
    """The description with the relative `error` of leverages by rounding, where it is worth stating."""
    if error < _STATED:
        return description
    cautions = (_CAUTION.format(error=error),) if error >= _WARNED else ()
    return dataclasses.replace(description, relative_error=error, cautions=(*description.cautions, *cautions))
