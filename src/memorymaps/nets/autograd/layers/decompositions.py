"""Layers whose kernels hide what a map needs, written out in small operations while it is drawn."""

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
    """Recurrent layers in steps and attention in projections; all is put back afterwards."""
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
    """`None` for a forward that is not torch's own, or is written out already."""
    if "forward" in vars(layer) or (
        isinstance(layer, nn.MultiheadAttention) and not attention.has_packed_projection(layer)
    ):
        return None
    kinds = (kind for kind in _DECOMPOSED_FORWARDS if isinstance(layer, kind) and type(layer).forward is kind.forward)
    return next((_DECOMPOSED_FORWARDS[kind] for kind in kinds), None)
