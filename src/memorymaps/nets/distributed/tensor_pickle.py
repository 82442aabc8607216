"""Values with tensors as bytes: a tensor as its own numbers, without the storage that it is a view of."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch import Tensor


class _TensorPickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor:
            return NotImplemented
        numbers = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return _tensor, (numbers, value.dtype, tuple(value.shape), value.device.type)


def to_bytes(value: Any) -> bytes:
    """A value as bytes."""
    found = io.BytesIO()
    _TensorPickler(found, protocol=5).dump(value)
    return found.getvalue()


def from_bytes(content: bytes) -> Any:
    """The value; tensors on this process' current device of the kind they were on.

    Examples
    --------
    >>> from_bytes(to_bytes({"x": torch.arange(6.0).reshape(2, 3)[:, 1]}))
    {'x': tensor([1., 4.])}
    """
    return pickle.loads(content)


def _tensor(numbers: bytes, dtype: torch.dtype, shape: tuple[int, ...], kind: str) -> Tensor:
    flat = torch.frombuffer(bytearray(numbers), dtype=dtype) if numbers else torch.zeros(0, dtype=dtype)
    return flat.reshape(shape).to(kind)
