"""By how much two computations of the same outputs may differ."""

from __future__ import annotations

import torch
from torch import Tensor

_RELATIVE = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF_PRECISION = 0.1  # of bfloat16 and float16, several layers deep


def difference_beyond(found: Tensor, expected: Tensor, dtype: torch.dtype) -> float:
    """Largest difference between outputs computed in `dtype`, if it is more than rounding; else 0. NaN counts."""
    size = float(expected.abs().max()) if expected.numel() else 0.0
    gap = float((found - expected).abs().max()) if expected.numel() else 0.0
    return 0.0 if gap <= _RELATIVE.get(dtype, _HALF_PRECISION) * size else gap
