"""When an axis is logarithmic, and where values are drawn that a logarithmic axis cannot show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_MIN_DECADES = 1.4  # the axis is logarithmic if the middle 80 % of the data span at least this many decades
_MIN_POSITIVE_SHARE = 0.8  # the axis is linear unless more than this share of the values can be drawn on it
_RELATIVE_ZERO = 1e-9  # relative to the largest value: smaller values count as zero on a logarithmic axis


def clip_to_axes(ax: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Coordinates clipped to the axes' limits, for points outside them (such as zero on a logarithmic axis)."""
    return np.clip(x, *ax.get_xlim()), np.clip(y, *ax.get_ylim())


def effective_zero(values: pd.Series) -> float:
    """Largest value that counts as zero on a logarithmic axis: leverages far from a margin can be as small as 1e-80."""
    return float(values.max()) * _RELATIVE_ZERO


def spans_decades(values: pd.Series) -> bool:
    """Whether the middle 80 % of the positive values span 1.4 decades and more than 80 % of the values are positive."""
    positive = values[values > effective_zero(values)]
    return len(positive) > max(1, _MIN_POSITIVE_SHARE * len(values)) and bool(
        np.log10(positive.quantile(0.9) / positive.quantile(0.1)) >= _MIN_DECADES
    )
