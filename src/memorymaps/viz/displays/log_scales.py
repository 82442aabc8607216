"""When an axis is logarithmic, and where points go that it cannot show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_MIN_DECADES = 1.4  # when the middle 80 % of the data spans more decades than this, the axis is logarithmic
_MIN_POSITIVE_SHARE = 0.8  # an axis that would hide more of the examples than the rest is linear
_RELATIVE_ZERO = 1e-9  # of the largest value: drawn as zero where the axis is logarithmic


def clip_to_axes(ax: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Positions moved to the axes' edges where they would be outside (zero on a logarithmic axis)."""
    return np.clip(x, *ax.get_xlim()), np.clip(y, *ax.get_ylim())


def effective_zero(values: pd.Series) -> float:
    """What counts as zero on a logarithmic axis: far from a margin a leverage is 1e-80, and nothing to look at."""
    return float(values.max()) * _RELATIVE_ZERO


def spans_decades(values: pd.Series) -> bool:
    """Whether the middle of the data wants a logarithmic axis, and enough of it is positive."""
    positive = values[values > effective_zero(values)]
    return len(positive) > max(1, _MIN_POSITIVE_SHARE * len(values)) and bool(
        np.log10(positive.quantile(0.9) / positive.quantile(0.1)) >= _MIN_DECADES
    )
