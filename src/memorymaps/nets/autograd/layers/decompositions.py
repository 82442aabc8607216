"""Context manager that replaces fused layers by decompositions into elementary operations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from memorymaps.nets.autograd.layers import attention, recurrent

_DECOMPOSED_FORWARDS: dict[type[nn.Module], Callable[..., Any]] = {
    nn.LSTM: recurrent.forward,
    nn.GRU: recurrent.forward,
    nn.RNN: recurrent.forward,
    nn.MultiheadAttention: attention.forward,
}


@contextmanager
def decomposed_layers(module: nn.Module) -> Iterator[None]:
    """Context: recurrent layers as loops over steps, attention as projections; restored afterwards."""
    changed = [(layer, forward) for layer in module.modules() if (forward := _decomposed_forward(layer)) is not None]
    for layer, forward in changed:
        layer.forward = functools.partial(forward, layer)
        if isinstance(layer, nn.MultiheadAttention):
            attention.add_projection(layer)
    try:
        yield
    finally:
        for layer, _ in changed:
            del layer.forward
            if isinstance(layer, nn.MultiheadAttention):
                attention.remove_projection(layer)


def _decomposed_forward(layer: nn.Module) -> Callable[..., Any] | None:
    """The decomposition of a layer; None if its forward is not torch's own or is decomposed already."""
    if "forward" in vars(layer) or (
        isinstance(layer, nn.MultiheadAttention) and not attention.has_packed_projection(layer)
    ):
        return None
    kinds = (kind for kind in _DECOMPOSED_FORWARDS if isinstance(layer, kind) and type(layer).forward is kind.forward)
    return next((_DECOMPOSED_FORWARDS[kind] for kind in kinds), None)
