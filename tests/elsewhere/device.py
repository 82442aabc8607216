"""A second device without hardware: its tensors lie in main memory, and torch treats them as a GPU's.

They cannot become NumPy arrays and do not meet tensors of main memory in one operation (numbers without axes and
indices may, as on CUDA): code that passes here moves its data by itself. Global to the process: for one of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("there")
HERE, THERE = torch.device("cpu"), torch.device("there:0")
_MEETING = {"copy_", "_copy_from", "_to_copy", "index", "index_put_", "_index_put_impl_"}  # of both devices, as on CUDA


class There(Tensor):
    """A tensor on the other device; `inner` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> There:
        made = Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=THERE,
        )  # fmt: skip
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _act(func, args, kwargs or {})


def _inner(x: Any) -> Any:
    return x.inner if isinstance(x, There) else x


def _each(change: Callable[[Tensor], Any], value: Any) -> Any:
    """A value with its tensors changed; by hand, because `tree_map` takes longer than most operations do."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (tuple, list):
        return type(value)([_each(change, x) for x in value])
    if type(value) is dict:
        return {key: _each(change, x) for key, x in value.items()}
    assert not isinstance(value, tuple | list | dict), f"an operation with {type(value)}"
    return value


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _each(found.append, value)
    return found


def _act(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation on what lies behind, its results on the device that torch would put them on."""
    tensors = _tensors((args, kwargs))
    there = [x for x in tensors if isinstance(x, There)]
    here = [x for x in tensors if not isinstance(x, There) and x.ndim]
    if there and here and func._opname not in _MEETING:
        raise RuntimeError(f"Expected all tensors to be on the same device: {func} of {[tuple(x.shape) for x in here]}")
    if func._opname == "_copy_from":
        _inner(args[1]).copy_(_inner(args[0]))
        return args[1]
    asked = kwargs.get("device")
    stays = bool(there) if asked is None else torch.device(asked).type == THERE.type
    inner = kwargs if asked is None else {**kwargs, "device": HERE}
    found = func(*_each(_inner, args), **_each(_inner, inner))
    if torch.Tag.inplace_view in func.tags:
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)
        return args[0]
    known = {id(x.inner): x for x in there}
    return _each(lambda x: known.get(id(x), There(x) if stays else x), found)


def _made(op: Any, *args: Any, **kwargs: Any) -> Any:
    return _act(op, args, {**kwargs, "device": THERE})


_KEY, _LIBRARY, _ATEN = "PrivateUse1", torch.library.Library("aten", "IMPL"), torch.ops.aten
for _op in (_ATEN.empty.memory_format, _ATEN.empty_strided.default, _ATEN.triu_indices.default):
    _LIBRARY.impl(_op.name().removeprefix("aten::"), functools.partial(_made, _op), _KEY)
_LIBRARY.impl("_copy_from", lambda *args: _act(_ATEN._copy_from.default, args, {}), _KEY)
_LIBRARY.impl("_efficientzerotensor", lambda size, dtype=None, **_: There(torch.zeros(size, dtype=dtype)), _KEY)


def moved(net: nn.Module) -> nn.Module:
    """What `net.to("cuda")` does; tied parameters stay tied."""
    made: dict[int, nn.Parameter] = {}
    for module in net.modules():
        for name, value in module._parameters.items():
            if value is not None:
                module._parameters[name] = made.setdefault(
                    id(value), nn.Parameter(There(value.detach().clone()), value.requires_grad)
                )
        for name, value in module._buffers.items():
            module._buffers[name] = None if value is None else There(value.clone())
        if hasattr(module, "_flat_weights_names"):
            module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    return net
