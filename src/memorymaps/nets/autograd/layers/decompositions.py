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
    changed = [(part, forward) for part in module.modules() if (forward := _decomposed_forward(part)) is not None]
    for part, forward in changed:
        part.forward = functools.partial(forward, part)
        if isinstance(part, nn.MultiheadAttention):
            attention.add_projection(part)
    try:
        yield
    finally:
        for part, _ in changed:
            del part.forward
            if isinstance(part, nn.MultiheadAttention):
                attention.remove_projection(part)


def _decomposed_forward(part: nn.Module) -> Callable[..., Any] | None:
    """`None` for a forward that is not torch's own, or is written out already."""
    if "forward" in vars(part) or (
        isinstance(part, nn.MultiheadAttention) and not attention.has_packed_projection(part)
    ):
        return None
    kinds = (kind for kind in _DECOMPOSED_FORWARDS if isinstance(part, kind) and type(part).forward is kind.forward)
    return next((_DECOMPOSED_FORWARDS[kind] for kind in kinds), None)
