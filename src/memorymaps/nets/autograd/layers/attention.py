"""`nn.MultiheadAttention` decomposed into projection layers, so that forward hooks record its weights' inputs.

torch computes both projections without calling a submodule: `in_proj_weight [3e, e]` belongs to no layer and
`out_proj` is never called.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

_PROJECTION = "in_proj"  # name of the added layer with `in_proj_weight` and `in_proj_bias`


def add_projection(module: nn.MultiheadAttention) -> None:
    """Add the input projection as a linear layer that shares its tensors with the module."""
    layer = nn.Linear(1, 1, device="meta")
    layer.weight, layer.bias = module.in_proj_weight, module.in_proj_bias
    module.add_module(_PROJECTION, layer)


def remove_projection(module: nn.MultiheadAttention) -> None:
    """Undo `add_projection`."""
    delattr(module, _PROJECTION)


def projection_parameter_path(parameter: str) -> str:
    """Path in the added layer: `….in_proj_weight` → `….in_proj.weight`; other paths are unchanged."""
    path, _, name = parameter.rpartition(".")
    inner = {f"{_PROJECTION}_{each}": f"{path}.{_PROJECTION}.{each}" for each in ("weight", "bias")}
    return inner.get(name, parameter)


def has_packed_projection(module: nn.MultiheadAttention) -> bool:
    """Whether queries, keys and values share one packed projection, without extra key or value biases."""
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
    """The result of `module(query, key, value, …)`; unbatched and nested inputs are delegated to torch."""
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
    """Queries, keys and values `[n, t, e]`; equal inputs are projected once."""
    projected: dict[int, tuple[Tensor, ...]] = {}
    for each in (query, key, value):
        if id(each) not in projected:
            projected[id(each)] = module.in_proj(each if module.batch_first else each.transpose(0, 1)).chunk(3, -1)
    return projected[id(query)][0], projected[id(key)][1], projected[id(value)][2]


def _heads(module: Any, x: Tensor) -> Tensor:
    """`[n, heads, t, e/heads]`."""
    return x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2)


def _additive_mask(q: Tensor, padding: Tensor | None, attention: Tensor | None) -> Tensor | None:
    """Sum of the masks as an additive term for scores `[n, heads, t, s]`; None without masks."""
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
