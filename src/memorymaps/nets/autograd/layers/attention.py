"""`nn.MultiheadAttention` written out in projections that can be seen: its weights are layers `W a + b` on tokens.

torch projects behind the modules' backs: `in_proj_weight [3e, e]` belongs to no layer, `out_proj` is never called.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

_PROJECTION = "in_proj"  # the name of the layer that holds `in_proj_weight` and `in_proj_bias`


def add_projection(module: nn.MultiheadAttention) -> None:
    """The weights of the input projection as a layer, the same tensors."""
    layer = nn.Linear(1, 1, device="meta")
    layer.weight, layer.bias = module.in_proj_weight, module.in_proj_bias
    module.add_module(_PROJECTION, layer)


def remove_projection(module: nn.MultiheadAttention) -> None:
    """The module as it was."""
    delattr(module, _PROJECTION)


def projection_parameter_path(parameter: str) -> str:
    """Where a parameter sits in the layer: `….in_proj_weight` is `….in_proj.weight`; any other stays in its place."""
    path, _, name = parameter.rpartition(".")
    inner = {f"{_PROJECTION}_{each}": f"{path}.{_PROJECTION}.{each}" for each in ("weight", "bias")}
    return inner.get(name, parameter)


def has_packed_projection(module: nn.MultiheadAttention) -> bool:
    """Whether queries, keys and values have one matrix, and nothing is added to them."""
    return module.in_proj_weight is not None and module.bias_k is None and not module.add_zero_attn


def forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `module(query, key, value, …)` returns; a single sequence is left to torch."""
    if query.ndim != 3 or query.is_nested or (is_causal and attn_mask is None):
        found: tuple[Tensor, Tensor | None] = type(module).forward(
            module, query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
        )
        return found
    q, k, v = (_heads(module, each) for each in _project(module, query, key, value))
    mask = _additive_mask(q, key_padding_mask, attn_mask)
    if need_weights:
        scores = q @ k.mT / q.shape[-1] ** 0.5
        weights = (scores if mask is None else scores + mask).softmax(-1)
        out, returned_weights = weights @ v, weights.mean(1) if average_attn_weights else weights
    else:
        out, returned_weights = F.scaled_dot_product_attention(q, k, v, mask), None
    out = module.out_proj(out.transpose(1, 2).flatten(2))
    return out if module.batch_first else out.transpose(0, 1), returned_weights


def _project(module: Any, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values `[n, t, e]`; each input passes the layer once."""
    projected: dict[int, tuple[Tensor, ...]] = {}
    for each in (query, key, value):
        if id(each) not in projected:
            projected[id(each)] = module.in_proj(each if module.batch_first else each.transpose(0, 1)).chunk(3, -1)
    return projected[id(query)][0], projected[id(key)][1], projected[id(value)][2]


def _heads(module: Any, x: Tensor) -> Tensor:
    """`[n, heads, t, e/heads]`."""
    return x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2)


def _additive_mask(q: Tensor, padding: Tensor | None, attention: Tensor | None) -> Tensor | None:
    """What is added to scores `[n, heads, t, s]`."""
    found = None
    if attention is not None:
        found = (
            _as_additive(attention, q) if attention.ndim == 2 else _as_additive(attention, q).unflatten(0, q.shape[:2])
        )
    if padding is not None:
        hidden = _as_additive(padding, q)[:, None, None]
        found = hidden if found is None else found + hidden
    return found


def _as_additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.is_floating_point():
        return mask.to(like.dtype)
    return like.new_zeros(mask.shape).masked_fill(mask, float("-inf"))
