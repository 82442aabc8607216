"""Group norms on contiguous inputs.

On a processor torch's backward pass of a group norm ends the process (a segmentation fault) where its input is in a
channels-last layout and gradients of scale and shift are asked for without that of the input, as they are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_GROUP_NORMS = (F.group_norm, torch.group_norm)


class ContiguousGroupNorms(TorchFunctionMode):  # type: ignore[misc]  # torch is untyped here
    """Context: tensors that group norms take are made contiguous, in layers of modules and in calls of the function."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """`func(*args, **kwargs)`."""
        if func not in _GROUP_NORMS:
            return func(*args, **(kwargs or {}))
        return func(*map(_contiguous, args), **{name: _contiguous(value) for name, value in (kwargs or {}).items()})


def _contiguous(value: Any) -> Any:
    """A tensor on a processor in its usual layout; anything else as it is."""
    return value.contiguous() if isinstance(value, Tensor) and value.device.type == "cpu" else value
