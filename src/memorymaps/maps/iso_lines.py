"""What the lines of a map's picture join: examples of equal sensitivity, as far as leverage and error give it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np

from memorymaps.core.arrays import Array

if TYPE_CHECKING:
    from memorymaps.maps.table import ExampleTable


class IsoScore(enum.StrEnum):
    """A function of leverage `h` and error `e` whose level lines are drawn."""

    CAVITY = "cavity"
    """`h e/(1 − h)`: the sensitivity of one output; to first order in the change of the mean where that is curved."""
    PRODUCT = "product"
    """`h e`: the first-order sensitivity of one output; of several outputs, whose leverages add up, an indication."""

    @property
    def formula(self) -> str:
        """In words, for a picture."""
        return {
            IsoScore.CAVITY: "leverage × error / (1 − leverage)",
            IsoScore.PRODUCT: "leverage × error",
        }[self]

    def score(self, leverage: Array, error: Array) -> Array:
        """The function's values `[n]`; NaN where it is undefined."""
        if self is IsoScore.PRODUCT:
            return leverage * error
        return leverage * error / np.where(leverage < 1, 1 - leverage, np.nan)

    def error(self, leverage: Array, level: float) -> Array:
        """The error at which it has this level, for leverages `[n]`; NaN where there is none."""
        if self is IsoScore.PRODUCT:
            return level / leverage
        return level * np.where(leverage < 1, 1 - leverage, np.nan) / leverage


def iso_score_of(m: ExampleTable) -> IsoScore:
    """The function whose level lines are those of the map's sensitivity, or come nearest to them."""
    cavity = m.provenance.estimator.name in ("cavity", "bounded_cavity", "implicit")
    return IsoScore.CAVITY if cavity and m.provenance.outputs == 1 else IsoScore.PRODUCT
