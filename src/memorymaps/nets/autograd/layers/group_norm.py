"""Group norms on contiguous inputs.

On a processor torch's backward pass of a group norm ends the process (a segmentation fault) where its input is in a
channels-last layout and gradients of scale and shift are asked for without that of the input, as they are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ContiguousGroupNorms(TorchFunctionMode):  # type: ignore[misc]  # torch is untyped here
    """Context: inputs of `torch.nn.functional.group_norm` are made contiguous; layers of modules call it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """`func(*args, **kwargs)`."""
        if func is F.group_norm and isinstance(args[0], Tensor) and args[0].device.type == "cpu":
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))
