"""The numbers of a module, for the fingerprint of a map's model: parameters and buffers, by name."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_WHOLE = 2**22  # values of a tensor up to which all of them are hashed
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def module_state(module: nn.Module) -> dict[str, Any]:
    """`tensor_state` of the module's parameters and buffers."""
    return tensor_state(dict(itertools.chain(module.named_parameters(), module.named_buffers())))


def tensor_state(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors as arrays of their bits; large ones as the sum of these and every k-th of them.

    The sum is computed where the tensor is, at memory bandwidth, in whole numbers: the same for any number of threads.
    A changed value changes it; two values that change places are seen if one of them is a k-th.
    """
    return {name: _numbers(value) for name, value in tensors.items() if isinstance(value, Tensor)}


def _numbers(value: Tensor) -> Any:
    if hasattr(value, "__tensor_flatten__"):  # several tensors that act as one, as torchao's quantised weights
        return {name: _numbers(getattr(value, name)) for name in value.__tensor_flatten__()[0]}
    bits = _bits(value.detach())
    if bits.numel() <= _WHOLE:
        return bits.cpu().numpy()
    every = bits.reshape(-1)[:: bits.numel() // _WHOLE + 1]
    return {"sum": int(bits.sum(dtype=torch.int64)), "values": every.cpu().numpy()}


def _bits(value: Tensor) -> Tensor:
    if value.is_quantized:
        value = value.int_repr()
    if value.layout != torch.strided:
        value = value.to_dense()
    dense = torch.view_as_real(value) if value.is_complex() else value
    return dense.contiguous().view(_INTEGERS[dense.element_size()])
