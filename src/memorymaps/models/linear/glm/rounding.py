"""What rounding changes of leverages where columns are nearly collinear: stated, and warned of."""

from __future__ import annotations

import dataclasses

from memorymaps.core.rounding_error import stated, warned
from memorymaps.posteriors.contract import Description

_CAUTION = (
    "nearly collinear columns: rounding may change leverages by {error:.0%}. Drop one of the columns that nearly are "
    "combinations of others, or replace it by its difference from them"
)


def cautions(error: float) -> tuple[str, ...]:
    """A sentence where rounding may change leverages by a percent or more."""
    return warned(error, _CAUTION)


def with_rounding(description: Description, error: float) -> Description:
    """The description with the relative `error` of leverages by rounding, where it is worth stating."""
    found = (*description.cautions, *cautions(error))
    return dataclasses.replace(description, relative_error=stated(error), cautions=found)
